//! Signals, as something that the control thread can wait for.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

/// What has a byte when a signal came.
pub struct Pipe(UnixStream);

impl Pipe {
    /// With its other end.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn new() -> io::Result<(Self, UnixStream)> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        Ok((Self(receiver), sender))
    }

    /// Forgets what came.
    pub fn empty(&self) {
        while (&self.0).read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signals that the primary heeds.
pub struct Signals {
    /// SIGTERM, SIGINT.
    pub end: Pipe,
    /// SIGHUP.
    pub reload: Pipe,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn catch() -> io::Result<Self> {
        let (end, sender) = Pipe::new()?;
        pipe::register(SIGTERM, sender.try_clone()?)?;
        pipe::register(SIGINT, sender)?;
        let (reload, sender) = Pipe::new()?;
        pipe::register(SIGHUP, sender)?;
        Ok(Self { end, reload })
    }
}
