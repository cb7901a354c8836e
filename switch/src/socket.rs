//! The control socket's place in the file system.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use endpoint::Endpoint;
use rustix::fs::Mode;
use rustix::net::SocketType;
use rustix::process::umask;

use crate::access::Access;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Mode of the folder, if it has to be made: the sockets in it have modes of their own.
const FOLDER_MODE: u32 = 0o755;

/// A listening socket, whose file goes when the value goes.
pub struct ControlSocket(Endpoint);

impl ControlSocket {
    /// Listens at `path`, for those whom `access` lets, and at first for no one: ring stacks can read and write
    /// all packet memory. Makes its folder if missing. A file that a killed primary left is replaced.
    ///
    /// # Errors
    /// Someone listens there, something else is there, or it cannot be made so.
    pub fn listen(path: &Path, access: &Access) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            prepare(folder)?;
        }
        match Endpoint::listen(path, SocketType::SEQPACKET, BACKLOG, access.into()) {
            Ok(endpoint) => Ok(Self(endpoint)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(io::Error::other(
                "another multistack listens there: choose another --socket",
            )),
            Err(error) => Err(error),
        }
    }

    /// Lets those open it whom `access` names, and no one else.
    ///
    /// # Errors
    /// What chown(2) or chmod(2) says, with what was to be done.
    pub fn admit(&self, access: &Access) -> io::Result<()> {
        self.0.admit(access.into())
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<&Access> for endpoint::Access {
    fn from(access: &Access) -> Self {
        Self {
            mode: access.mode.0.as_raw_mode(),
            owner: access.owner.map(|owner| owner.0.as_raw()),
            group: access.group.map(|group| group.0.as_raw()),
        }
    }
}

/// The process has one umask: only for the start, when hardly any threads are there.
fn with_umask<T>(mask: u32, f: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_raw_mode(mask));
    let done = f();
    umask(before);
    done
}

/// Makes the folder if it is missing. In one that others can write to, they could put a socket of
/// theirs in this one's place: a warning.
fn prepare(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE);
    with_umask(0o777 & !FOLDER_MODE, || builder.create(folder))?;
    let metadata = std::fs::metadata(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    })?;
    let (is_sticky, others_write) = (metadata.mode() & 0o1000 != 0, metadata.mode() & 0o022 != 0);
    if others_write && !is_sticky {
        tracing::warn!(
            "{} can be written to by others (mode {:04o}): they could take the control socket's place",
            folder.display(),
            metadata.mode() & 0o7777
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_and_socket_have_the_modes_that_were_asked_for() {
        let name = format!("multistack-socket-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let path = folder.join("below").join("a.sock");
        let mode_of = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        // Whatever the caller's umask.
        let before = umask(Mode::from_raw_mode(0o077));
        let socket = ControlSocket::listen(&path, &Access::default()).unwrap();
        umask(before);
        assert_eq!(mode_of(&path), 0o600);
        let folders = [&folder, path.parent().unwrap()].map(mode_of);
        assert_eq!(folders, [0o755, 0o755]);
        let error = ControlSocket::listen(&path, &Access::default()).err();
        assert!(error.unwrap().to_string().contains("another --socket"));
        let access = Access {
            mode: "0666".parse().unwrap(),
            ..Access::default()
        };
        socket.admit(&access).unwrap();
        assert_eq!(mode_of(&path), 0o666);
        drop(socket);
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
