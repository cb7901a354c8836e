//! File descriptors that others have opened.
//!
//! To close one may take as long as its maker likes: a file's on a file system in user space, a
//! connection's with data to be sent and `SO_LINGER`, a Unix socket's with such ones in its queue.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use rustix::net::{AddressFamily, sockopt};

/// Descriptors that may wait to be closed.
const WAITING: usize = 4096;

/// Closes what is not worth waiting for, on a thread of its own.
pub struct Closer(Sender<OwnedFd>);

impl Closer {
    /// Starts the thread; it ends with the value.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start() -> io::Result<Self> {
        let (sender, waiting) = bounded(WAITING);
        thread::Builder::new()
            .name("ms-closer".to_owned())
            .spawn(move || waiting.into_iter().for_each(drop))?;
        Ok(Self(sender))
    }

    /// Closes a descriptor soon. Waits for it only if very many wait already.
    pub fn close(&self, fd: impl Into<OwnedFd>) {
        // One for which there is no room comes back in the error, and is closed here.
        let _ = self.0.try_send(fd.into());
    }
}

/// An IP socket that a stack has passed. To close it takes no time, and its port is free then.
#[derive(Debug)]
pub struct Passed(OwnedFd);

impl Passed {
    /// Takes an IP socket.
    ///
    /// # Errors
    /// What it is, if it is none.
    pub fn new(fd: OwnedFd) -> Result<Self, OwnedFd> {
        match sockopt::socket_domain(&fd) {
            Ok(AddressFamily::INET | AddressFamily::INET6) => Ok(Self(fd)),
            _ => Err(fd),
        }
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // Whatever its maker has done with it since.
        let _ = sockopt::set_socket_linger(&self.0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::{Duration, Instant};

    #[test]
    fn a_connection_that_lingers_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _deaf = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 16_000]).is_ok() {}
        sockopt::set_socket_linger(&stream, Some(Duration::from_secs(20))).unwrap();
        let passed = Passed::new(stream.into()).unwrap();
        let start = Instant::now();
        drop(passed);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn only_ip_sockets_are_taken() {
        assert!(Passed::new(UdpSocket::bind("[::1]:0").unwrap().into()).is_ok());
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Passed::new(unix.into()).is_err());
        assert!(Passed::new(std::fs::File::open("/").unwrap().into()).is_err());
    }

    #[test]
    fn what_is_to_be_closed_is_closed() {
        let closer = Closer::start().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        closer.close(theirs);
        ours.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // The end of the connection.
        assert_eq!(io::Read::read(&mut &ours, &mut [0]).unwrap(), 0);
    }
}
