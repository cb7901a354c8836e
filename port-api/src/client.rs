//! A client of the control socket: stacks, and `msctl`.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::conn::Connection;
use crate::error::Error;
use crate::protocol::{Greeting, Reply, Request, VERSION};

/// How long the switch may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How a stack names its side in the switch's log.
pub(crate) const STACK: &str = concat!("port-api ", env!("CARGO_PKG_VERSION"));

/// A connection to a running multistack, past the greeting.
#[derive(Debug)]
pub struct Client {
    conn: Connection,
    greeting: Greeting,
}

impl Client {
    /// Connects to the control socket at `path` and greets. `program` names the client in the
    /// switch's log, such as `msctl 0.1.0`.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Version`], or as [`call`](Self::call).
    pub fn connect(path: &Path, program: &str) -> Result<Self, Error> {
        let failed = |source: rustix::io::Errno| Error::Connect {
            path: path.to_owned(),
            source: source.into(),
        };
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT)).map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        let conn = Connection::new(socket);
        let hello = Request::Hello {
            version: VERSION,
            client: program.to_owned(),
        };
        let greeting = match exchange(&conn, &hello, &[])? {
            Reply::Hello(greeting) => greeting,
            other => return Err(unexpected(other)),
        };
        if greeting.version != VERSION {
            return Err(Error::Version {
                ours: format!("control protocol {VERSION}"),
                theirs: format!("control protocol {}", greeting.version),
            });
        }
        Ok(Self { conn, greeting })
    }

    /// Who the primary is.
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Refused`] with the switch's reason, [`Error::Closed`] if it is gone or ends,
    /// [`Error::Io`] if it does not answer within 10 s.
    pub fn call(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, Error> {
        heard(exchange(&self.conn, request, fds)?)
    }

    /// What the primary says unasked, once it is not [connected](Self::is_connected) any more.
    pub(crate) fn farewell(&self) -> Error {
        let last = self.conn.recv().map(|received| received.message);
        match last.and_then(heard) {
            Ok(reply) => unexpected(reply),
            Err(error) => error,
        }
    }

    /// Whether the primary is still there and has said nothing unasked: that it ends, or that it has
    /// shut this vport. A system call; for idle moments.
    pub fn is_connected(&self) -> bool {
        // All that ever comes unasked is an end: of the vport, the switch or the connection.
        let mut fds = [PollFd::new(&self.conn, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conn.as_fd()
    }
}

fn exchange(conn: &Connection, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, Error> {
    ring::step();
    let sent = conn.send(request, fds);
    ring::step();
    match sent {
        // It may have said why before it closed the connection.
        Ok(()) | Err(Error::Closed) => Ok(conn.recv()?.message),
        Err(error) => Err(error),
    }
}

/// An answer, unless it is a refusal or an end.
fn heard(reply: Reply) -> Result<Reply, Error> {
    match reply {
        Reply::Refused { errno, message } => Err(Error::Refused { errno, message }),
        Reply::Shutdown => Err(Error::Closed),
        Reply::Evicted { message } => Err(Error::Refused {
            errno: libc::ECONNABORTED,
            message: format!("the switch has shut this vport: {message}"),
        }),
        reply => Ok(reply),
    }
}

pub(crate) fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Refused { errno, message } => Error::Refused { errno, message },
        Reply::Shutdown => Error::Closed,
        other => Error::Protocol(format!("not an answer to what was asked: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::socketpair;

    use super::*;

    /// What a stack takes for the end when a primary says `last`, if anything, and is gone.
    fn end(last: Option<&Reply>) -> Error {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let (client, switch) = (
            Client {
                conn: Connection::new(ours),
                greeting: Greeting {
                    version: VERSION,
                    switch: String::new(),
                    dpdk: String::new(),
                    file_prefix: String::new(),
                    pid: 1,
                },
            },
            Connection::new(theirs),
        );
        assert!(client.is_connected());
        if let Some(last) = last {
            switch.send(last, &[]).unwrap();
        }
        drop(switch);
        assert!(!client.is_connected());
        client.farewell()
    }

    #[test]
    fn an_end_of_the_switch_is_no_end_of_a_vport() {
        assert!(end(None).is_primary_gone());
        assert!(end(Some(&Reply::Shutdown)).is_primary_gone());
        let message = "because".to_owned();
        let evicted = end(Some(&Reply::Evicted { message }));
        assert!(!evicted.is_primary_gone());
        assert!(evicted.to_string().ends_with("because"), "{evicted}");
    }
}
