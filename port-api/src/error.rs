//! What can go wrong between a stack and the switch.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::Protocol;

/// Why a call of this crate failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No primary answers at the control socket.
    #[error("{}: {source}: is multistack running, and with this --socket?", path.display())]
    Connect {
        /// The control socket.
        path: PathBuf,
        /// What connect(2) said.
        source: io::Error,
    },
    /// The two sides speak different versions of the control protocol or of DPDK.
    #[error(
        "version mismatch: this program has {ours}, the switch has {theirs}: rebuild one of them"
    )]
    Version {
        /// This side's.
        ours: String,
        /// The primary's.
        theirs: String,
    },
    /// The tuple is taken: EADDRINUSE.
    #[error("{protocol} {addr} is in use by {holder}")]
    InUse {
        /// TCP or UDP.
        protocol: Protocol,
        /// What was to be claimed.
        addr: SocketAddr,
        /// Who has it: a stack, or a process with a kernel socket.
        holder: String,
    },
    /// The switch said no.
    #[error("{message}")]
    Refused {
        /// As in errno(3).
        errno: i32,
        /// Why, in a sentence.
        message: String,
    },
    /// EAL could not be initialised as a secondary.
    #[error("{0}")]
    Eal(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The primary has ended, in order or otherwise.
    #[error("the switch closed the connection")]
    Closed,
    /// The other side said something that the protocol does not have.
    #[error("control protocol: {0}")]
    Protocol(String),
}

impl Error {
    /// The error as an errno(3) number, for callers that want one.
    pub fn errno(&self) -> i32 {
        match self {
            Self::InUse { .. } => libc::EADDRINUSE,
            Self::Refused { errno, .. } => *errno,
            Self::Connect { source, .. } | Self::Io { source, .. } => {
                source.raw_os_error().unwrap_or(libc::EIO)
            }
            Self::Closed => libc::ENOTCONN,
            Self::Version { .. } | Self::Protocol(_) => libc::EPROTO,
            Self::Eal(_) => libc::ENODEV,
        }
    }

    /// Whether there is no primary, any more or yet: what [`await_primary`](crate::await_primary)
    /// helps against. Not so if the switch lives and has shut this stack's vport.
    pub fn is_primary_gone(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Connect { source, .. } => matches!(
                source.raw_os_error(),
                Some(libc::ENOENT | libc::ECONNREFUSED)
            ),
            _ => false,
        }
    }

    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}
