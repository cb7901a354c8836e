//! Messages with file descriptors over a `SOCK_SEQPACKET` Unix socket.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Longest message in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most file descriptors that a message may carry; the kernel closes those beyond.
pub const MAX_FDS: usize = crate::protocol::MAX_BATCH;

/// One end of a control connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// What was received.
#[derive(Debug)]
pub struct Received<T> {
    /// The message.
    pub message: T,
    /// The file descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Connection {
    /// A connected `SOCK_SEQPACKET` socket.
    pub const fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Sends one message, with up to [`MAX_FDS`] file descriptors. Never raises SIGPIPE.
    ///
    /// # Errors
    /// [`Error::Closed`] if the far side is gone, [`Error::Io`] otherwise; on a non-blocking
    /// socket also if the far side does not read.
    pub fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let bytes = serde_json::to_vec(message).map_err(|e| Error::Protocol(e.to_string()))?;
        if bytes.len() > MAX_MESSAGE {
            return Err(Error::Protocol(format!(
                "a message of {} bytes: at most {MAX_MESSAGE} are possible",
                bytes.len()
            )));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = fds.len() <= MAX_FDS
            && (fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
        if !fits {
            return Err(Error::Protocol(format!(
                "{} file descriptors: at most {MAX_FDS} are possible",
                fds.len()
            )));
        }
        let parts = [IoSlice::new(&bytes)];
        match sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(Error::Closed),
            Err(error) => Err(Error::io("send on the control socket", error)),
        }
    }

    /// Receives one message. Waits for it, unless the socket is non-blocking.
    ///
    /// # Errors
    /// [`Error::Closed`] at the end of the connection, [`Error::Protocol`] if the message is too
    /// long or does not parse, [`Error::Io`] otherwise (`EAGAIN`: nothing there, or timed out).
    pub fn recv<T: DeserializeOwned>(&self) -> Result<Received<T>, Error> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let Received { message, fds } = self.receive(&mut bytes)?;
        let message = parse(&bytes, message)?;
        Ok(Received { message, fds })
    }

    /// Receives one message as it is, into `bytes`: its length, or None if it was longer than they
    /// are. Waits for it, unless the socket is non-blocking.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::Io`], as [`recv`](Self::recv).
    pub fn receive(&self, bytes: &mut [u8]) -> Result<Received<Option<usize>>, Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        let received = loop {
            match recvmsg(
                &self.socket,
                &mut parts,
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Error::Closed),
                other => break other.map_err(|e| Error::io("receive on the control socket", e))?,
            }
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                fds.extend(passed);
            }
        }
        // An empty message cannot be told from the end, unless something came with it.
        if received.bytes == 0 && fds.is_empty() {
            return Err(Error::Closed);
        }
        let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
        let message = is_whole.then_some(received.bytes);
        Ok(Received { message, fds })
    }
}

/// The message in what [`Connection::receive`] has received, and how long that was.
///
/// # Errors
/// [`Error::Protocol`] if it was too long or does not parse.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], len: Option<usize>) -> Result<T, Error> {
    let too_long = || Error::Protocol(format!("a message over {MAX_MESSAGE} bytes"));
    let message = len.and_then(|len| bytes.get(..len)).ok_or_else(too_long)?;
    serde_json::from_slice(message).map_err(|error| Error::Protocol(error.to_string()))
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> Self {
        connection.socket
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
