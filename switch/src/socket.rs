//! The control socket's place in the file system.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::umask;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening socket, whose file goes when the value goes.
pub struct ControlSocket {
    path: PathBuf,
    /// The listener.
    pub listener: OwnedFd,
}

impl ControlSocket {
    /// Listens at `path`, for the owner only; makes its folder if missing. A file that a killed
    /// primary left is replaced.
    ///
    /// # Errors
    /// Someone listens there, something else is there, or it cannot be made.
    pub fn listen(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let address = SocketAddrUnix::new(path)?;
        clear(path, &address)?;
        let listener = seqpacket(SocketFlags::NONBLOCK)?;
        // Ring stacks can read and write all packet memory: only the owner may become one.
        let before = umask(Mode::from_raw_mode(0o177));
        let bound = bind(&listener, &address);
        umask(before);
        bound?;
        let socket = Self {
            path: path.to_owned(),
            listener,
        };
        listen(&socket.listener, BACKLOG)?;
        Ok(socket)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already: then someone else has tidied up.
        let _ = std::fs::remove_file(&self.path);
    }
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
