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

/// What [`Connection::recv`] yields.
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
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
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
        if received.bytes == 0 {
            return Err(Error::Closed);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(Error::Protocol(format!(
                "a message over {MAX_MESSAGE} bytes"
            )));
        }
        let message = serde_json::from_slice(&bytes[..received.bytes])
            .map_err(|error| Error::Protocol(error.to_string()))?;
        Ok(Received { message, fds })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
