//! Where front ends are met: a socket that is listened at, or one that is connected to.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmod, chownat, fchmod, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};

/// Connections that may wait for the one before them to end.
const BACKLOG: i32 = 8;

/// Who may open a socket that is listened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Mode of the file.
    pub mode: u32,
    /// Its owner, if not this process's user.
    pub owner: Option<u32>,
    /// Its group, if not this process's.
    pub group: Option<u32>,
}

impl Default for Access {
    /// Mode 0660, for this process's user and group.
    fn default() -> Self {
        Self {
            mode: 0o660,
            owner: None,
            group: None,
        }
    }
}

/// A listening socket, whose file goes when the value goes.
#[derive(Debug)]
pub(crate) struct Listener {
    path: PathBuf,
    /// Device and inode: another process may have put a socket of its own there since.
    place: (u64, u64),
    socket: OwnedFd,
}

impl Listener {
    /// # Errors
    /// Someone listens there, something else than a socket is there, or it cannot be made so.
    pub(crate) fn bind(path: &Path, access: Access) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        clear(path, &address)?;
        let socket = stream_socket()?;
        // The file gets the socket's mode: for no one until it has its owner. (The umask would do that too,
        // but is the whole process's.)
        fchmod(&socket, Mode::empty())?;
        bind(&socket, &address)?;
        let (file, metadata) = handle(path)?;
        let listener = Self {
            path: path.to_owned(),
            place: (metadata.dev(), metadata.ino()),
            socket,
        };
        admit(&file, access)?;
        listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// `None` if no one is there any more.
    pub(crate) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(stream) => Ok(Some(stream.into())),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.place);
        if is_ours {
            // Gone already: then someone else has tidied up.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Connects to a front end that listens.
///
/// # Errors
/// If none does, or too many wait to be accepted there.
pub(crate) fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let socket = stream_socket()?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// The file itself, not what someone may put in its place.
fn handle(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if metadata.file_type().is_socket() {
        Ok((file, metadata))
    } else {
        Err(io::Error::other("its place was taken by something else"))
    }
}

fn admit(file: &File, access: Access) -> io::Result<()> {
    let (owner, group) = (
        access.owner.map(Uid::from_raw),
        access.group.map(Gid::from_raw),
    );
    chownat(file, "", owner, group, AtFlags::EMPTY_PATH)?;
    let mode = Mode::from_raw_mode(access.mode);
    Ok(chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), mode)?)
}

/// Removes a socket that no one listens at.
fn clear(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("something that is not a socket is there"));
    }
    match connect(stream_socket()?, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        _ => Err(io::Error::other("another process listens there")),
    }
}
