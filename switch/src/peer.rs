//! A client of the control socket, and the process behind it.

use std::os::fd::OwnedFd;
use std::time::Instant;

use port_api::Connection;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::pace::Pace;
use crate::policy::User;
use crate::stacks::Stack;

/// Requests that a client may make a second, and at once after a rest. What takes much of the control
/// thread's time, or of the workers', counts as several. A stack that makes a million claims needs
/// four thousand.
const REQUESTS: (u32, u32) = (10_000, 2_000);

/// One client.
pub struct Peer {
    /// Tells it from all others, earlier ones too. Later ones have higher numbers.
    pub id: u64,
    /// None once it has closed the connection, or was cut off.
    pub conn: Option<Connection>,
    /// Its process, as of connecting.
    pub pid: u32,
    /// Its user and group, as of connecting.
    pub user: User,
    /// Becomes readable when the process is dead. A closed connection does not prove that: the
    /// process may live on and write to its rings.
    pub pidfd: OwnedFd,
    /// It has said hello in the right version.
    pub greeted: bool,
    /// When it last asked for something; before it does, when it connected.
    pub heard: Instant,
    /// Of its requests.
    pub pace: Pace,
    /// It has attached at some time: EAL has left files of its in the runtime directory.
    pub was_stack: bool,
    /// Its vport.
    pub stack: Option<Stack>,
    /// The vport is out of service, but the process may still write to its buffers.
    pub evicted: bool,
}

impl Peer {
    /// The peer at the other end of an accepted connection.
    ///
    /// # Errors
    /// If it is dead already, or there are no more descriptors.
    pub fn new(id: u64, socket: OwnedFd, now: Instant) -> Result<Self, Errno> {
        let cred = socket_peercred(&socket)?;
        Ok(Self {
            id,
            conn: Some(Connection::new(socket)),
            pid: cred.pid.as_raw_nonzero().get().unsigned_abs(),
            user: User {
                uid: cred.uid.as_raw(),
                gid: cred.gid.as_raw(),
            },
            pidfd: pidfd_open(cred.pid, PidfdFlags::empty())?,
            greeted: false,
            heard: now,
            pace: Pace::new(REQUESTS.0, REQUESTS.1, now),
            was_stack: false,
            stack: None,
            evicted: false,
        })
    }

    /// "name (pid 123)"
    pub fn describe(&self) -> String {
        match &self.stack {
            Some(stack) => format!("stack {} (pid {})", stack.name, self.pid),
            None => format!("pid {}", self.pid),
        }
    }

    /// Whether anything is left to wait for.
    pub fn is_over(&self) -> bool {
        self.conn.is_none() && !self.was_stack
    }
}
