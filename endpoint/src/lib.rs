//! A Unix socket that is listened at, and its file: made for no one, then let those open it who may, and
//! removed at the end if it is still this one.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmod, chownat, fchmod, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::{getegid, geteuid};

/// Who may open the socket. To connect takes the right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Mode of the file.
    pub mode: u32,
    /// Its owner, if not this process's user.
    pub owner: Option<u32>,
    /// Its group, if not this process's.
    pub group: Option<u32>,
}

/// A listening socket, whose file goes when the value goes. Accepting from it does not wait.
#[derive(Debug)]
pub struct Endpoint {
    path: PathBuf,
    /// Device and inode: another process may have put a socket of its own there since.
    place: (u64, u64),
    socket: OwnedFd,
}

impl Endpoint {
    /// Listens at `path` for those whom `access` lets, `backlog` of whom may wait to be accepted. A socket at
    /// which no one listens any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if someone listens there; something else than a socket is there, or it cannot be made so.
    pub fn listen(path: &Path, kind: SocketType, backlog: i32, access: Access) -> io::Result<Self> {
        let endpoint = Self::bind(path, kind)?;
        endpoint.admit(access)?;
        listen(&endpoint.socket, backlog)?;
        Ok(endpoint)
    }

    /// For no one yet.
    fn bind(path: &Path, kind: SocketType) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        clear(path, &address, kind)?;
        let socket = socket(kind, SocketFlags::NONBLOCK)?;
        // The file gets the socket's mode. (The umask would do that too, but is the whole process's.)
        fchmod(&socket, Mode::empty())?;
        bind(&socket, &address)?;
        let (_, metadata) = handle(path)?;
        Ok(Self {
            path: path.to_owned(),
            place: place_of(&metadata),
            socket,
        })
    }

    /// Lets those open it whom `access` names, and no one else.
    ///
    /// # Errors
    /// Its place was taken by something else; or what chown(2) or chmod(2) says, with what was to be done.
    pub fn admit(&self, access: Access) -> io::Result<()> {
        let (file, metadata) = handle(&self.path)?;
        if place_of(&metadata) != self.place {
            return Err(taken());
        }
        let owner = access.owner.map_or_else(geteuid, Uid::from_raw);
        let group = access.group.map_or_else(getegid, Gid::from_raw);
        chownat(&file, "", Some(owner), Some(group), AtFlags::EMPTY_PATH).map_err(|error| {
            let (owner, group) = (owner.as_raw(), group.as_raw());
            io::Error::other(format!("giving it to user {owner}, group {group}: {error}"))
        })?;
        let mode = Mode::from_raw_mode(access.mode);
        chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)
            .map_err(|error| io::Error::other(format!("mode {:04o}: {error}", access.mode)))
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| place_of(&metadata) == self.place);
        if is_ours {
            // Gone meanwhile: then someone else has tidied up.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A Unix socket without a name, closed on exec.
///
/// # Errors
/// What socket(2) says.
pub fn socket(kind: SocketType, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        kind,
        flags | SocketFlags::CLOEXEC,
        None,
    )
}

fn place_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn taken() -> io::Error {
    io::Error::other("its place was taken by something else")
}

/// The file itself, not what someone may put in its place.
fn handle(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.file_type().is_socket() {
        Ok((file, metadata))
    } else {
        Err(taken())
    }
}

/// Removes a socket that no one listens at.
fn clear(path: &Path, address: &SocketAddrUnix, kind: SocketType) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("something that is not a socket is there"));
    }
    // One that has no room for more clients is not waited for: it listens.
    match connect(socket(kind, SocketFlags::NONBLOCK)?, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_it_is_for_no_one() {
        let path = std::env::temp_dir().join(format!("endpoint-window-{}", std::process::id()));
        let _endpoint = Endpoint::bind(&path, SocketType::SEQPACKET).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0);
        // Not for root either: it does not listen.
        let address = SocketAddrUnix::new(&path).unwrap();
        let client = socket(SocketType::SEQPACKET, SocketFlags::empty()).unwrap();
        assert!(connect(&client, &address).is_err());
    }
}
