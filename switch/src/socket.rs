//! The control socket's place in the file system.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, chmod, chownat, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{getegid, geteuid, umask};

use crate::access::Access;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Mode of the folder, if it has to be made: the sockets in it have modes of their own.
const FOLDER_MODE: u32 = 0o755;

/// A listening socket, whose file goes when the value goes.
pub struct ControlSocket {
    path: PathBuf,
    /// The listener.
    pub listener: OwnedFd,
}

impl ControlSocket {
    /// Listens at `path`, for those whom `access` lets; makes its folder if missing. A file that a
    /// killed primary left is replaced.
    ///
    /// # Errors
    /// Someone listens there, something else is there, or it cannot be made so.
    pub fn listen(path: &Path, access: &Access) -> io::Result<Self> {
        let socket = Self::bind(path)?;
        socket.admit(access)?;
        listen(&socket.listener, BACKLOG)?;
        Ok(socket)
    }

    /// For no one yet: ring stacks can read and write all packet memory.
    fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            prepare(folder)?;
        }
        let address = SocketAddrUnix::new(path)?;
        clear(path, &address)?;
        let listener = seqpacket(SocketFlags::NONBLOCK)?;
        with_umask(0o777, || bind(&listener, &address))?;
        Ok(Self {
            path: path.to_owned(),
            listener,
        })
    }

    /// Lets those open it whom `access` names, and no one else.
    ///
    /// # Errors
    /// What chown(2) or chmod(2) says, with what was to be done.
    pub fn admit(&self, access: &Access) -> io::Result<()> {
        // The file itself, not what someone may have put in its place.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(open(&self.path, flags, Mode::empty())?);
        if !file.metadata()?.file_type().is_socket() {
            return Err(io::Error::other("its place was taken by something else"));
        }
        let owner = access.owner.map_or_else(geteuid, |owner| owner.0);
        let group = access.group.map_or_else(getegid, |group| group.0);
        chownat(&file, "", Some(owner), Some(group), AtFlags::EMPTY_PATH).map_err(|error| {
            let (owner, group) = (owner.as_raw(), group.as_raw());
            io::Error::other(format!("giving it to user {owner}, group {group}: {error}"))
        })?;
        let mode = access.mode.0;
        chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
            .map_err(|error| io::Error::other(format!("mode {:04o}: {error}", mode.as_raw_mode())))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already: then someone else has tidied up.
        let _ = std::fs::remove_file(&self.path);
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

fn seqpacket(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

fn clear(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("something that is not a socket is there"));
    }
    match connect(seqpacket(SocketFlags::empty())?, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        _ => Err(io::Error::other(
            "another multistack listens there: choose another --socket",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// The umask is the whole process's: one test at a time.
    static TURN: Mutex<()> = Mutex::new(());

    struct Folder {
        path: PathBuf,
        _turn: MutexGuard<'static, ()>,
    }

    impl Folder {
        fn new(name: &str) -> Self {
            let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("multistack-socket-{}-{name}", std::process::id());
            Self {
                path: std::env::temp_dir().join(name),
                _turn: turn,
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    fn access(mode: &str) -> Access {
        Access {
            mode: mode.parse().unwrap(),
            ..Access::default()
        }
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folder_and_socket_have_the_modes_that_were_asked_for() {
        let folder = Folder::new("modes");
        let path = folder.path.join("below").join("a.sock");
        // Whatever the caller's umask.
        let before = umask(Mode::from_raw_mode(0o077));
        let socket = ControlSocket::listen(&path, &Access::default()).unwrap();
        umask(before);
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(
            (mode_of(&folder.path), mode_of(path.parent().unwrap())),
            (0o755, 0o755)
        );
        socket.admit(&access("0666")).unwrap();
        assert_eq!(mode_of(&path), 0o666);
        socket.admit(&access("0")).unwrap();
        assert_eq!(mode_of(&path), 0);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn owner_and_group_are_set_or_the_error_says_what_was_not() {
        let folder = Folder::new("owner");
        let path = folder.path.join("a.sock");
        let mut access = access("0660");
        access.group = Some("54321".parse().unwrap());
        match ControlSocket::listen(&path, &access) {
            Ok(socket) => {
                let metadata = std::fs::metadata(&path).unwrap();
                assert_eq!(
                    (metadata.uid(), metadata.gid()),
                    (geteuid().as_raw(), 54_321)
                );
                // And back.
                socket.admit(&Access::default()).unwrap();
                assert_eq!(std::fs::metadata(&path).unwrap().gid(), getegid().as_raw());
            }
            // Only root can give files away.
            Err(error) => assert!(error.to_string().contains("group 54321"), "{error}"),
        }
    }

    #[test]
    fn at_first_it_is_for_no_one() {
        let folder = Folder::new("window");
        let path = folder.path.join("a.sock");
        let _socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(mode_of(&path), 0);
        // Not for root either: it does not listen.
        let address = SocketAddrUnix::new(&path).unwrap();
        let client = seqpacket(SocketFlags::empty()).unwrap();
        assert!(connect(&client, &address).is_err());
    }

    #[test]
    fn what_took_the_sockets_place_is_left_as_it_is() {
        let folder = Folder::new("place");
        let path = folder.path.join("a.sock");
        let socket = ControlSocket::listen(&path, &Access::default()).unwrap();
        let other = ControlSocket::listen(&folder.path.join("b.sock"), &Access::default()).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other.path, &path).unwrap();
        assert!(socket.admit(&access("0666")).is_err());
        assert_eq!(mode_of(&other.path), 0o600);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(socket.admit(&access("0666")).is_err());
        assert_eq!(mode_of(&path), 0o640);
    }

    #[test]
    fn a_live_socket_is_not_replaced_and_a_dead_one_is() {
        let folder = Folder::new("live");
        let path = folder.path.join("a.sock");
        let socket = ControlSocket::listen(&path, &Access::default()).unwrap();
        assert!(ControlSocket::listen(&path, &Access::default()).is_err());
        // As after a kill: no listener, but the file.
        let ControlSocket { listener, .. } = &socket;
        rustix::net::shutdown(listener, rustix::net::Shutdown::Both).unwrap();
        assert!(ControlSocket::listen(&path, &Access::default()).is_ok());
    }
}
