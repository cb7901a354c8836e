//! What is said over the control socket: one JSON object per `SOCK_SEQPACKET` message, of at most
//! [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes.
//!
//! A client speaks first, with [`Request::Hello`]; every request gets one [`Reply`]. The switch
//! may also say [`Reply::Evicted`] or [`Reply::Shutdown`] at any time; after the latter it closes the
//! connection. Lists come in pages of up to [`PAGE`] rows.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;

mod rows;

pub use rows::{
    ByReason, ClaimRow, PoolStats, PortRow, PortStats, StackRow, Stats, VportStats, WorkerStats,
};

/// Version of these messages and of the shared layout. Both sides must have the same.
pub const VERSION: u32 = 100 + crate::geometry::LAYOUT_VERSION;

/// Most rows in one page of a list.
pub const PAGE: usize = 64;

/// Longest name of a stack, in bytes.
pub const MAX_NAME: usize = 32;

/// A transport protocol that tuples can be claimed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

impl Protocol {
    /// The IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => wire::proto::TCP,
            Self::Udp => wire::proto::UDP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(format!("{text:?} is not a protocol: tcp or udp")),
        }
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// First message: the client's [`VERSION`] and what it is.
    Hello {
        /// The client's [`VERSION`].
        version: u32,
        /// Program and version, for the log.
        client: String,
    },
    /// Become a stack: take a vport.
    Attach {
        /// Shown by `msctl stacks`; up to [`MAX_NAME`] printable ASCII characters, no spaces.
        name: String,
    },
    /// Claim the tuple that the passed socket (one fd, `SCM_RIGHTS`) is bound to.
    Claim {
        /// What the socket speaks.
        protocol: Protocol,
    },
    /// End a claim of one's own.
    Release {
        /// As in [`Reply::Claimed`].
        claim: u64,
    },
    /// Give up the vport and all claims; the connection stays.
    Detach,
    /// Who has this local address and port?
    Holder {
        /// TCP or UDP.
        protocol: Protocol,
        /// Local address and port.
        addr: SocketAddr,
    },
    /// List the NIC ports.
    Ports,
    /// List the attached stacks.
    Stacks {
        /// First slot to list.
        from: u16,
    },
    /// List the claims.
    Claims {
        /// First claim id to list.
        from: u64,
    },
    /// All counters.
    Stats {
        /// First vport slot to list.
        from: u16,
    },
}

/// What the switch answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello(Greeting),
    /// To [`Request::Attach`].
    Attached(Box<Attachment>),
    /// To [`Request::Claim`].
    Claimed {
        /// Names the claim from now on.
        claim: u64,
        /// What it is for.
        addr: SocketAddr,
    },
    /// Done.
    Done,
    /// To [`Request::Holder`].
    Holder {
        /// A stack, or a process with a kernel socket; None if no one has it.
        holder: Option<String>,
    },
    /// To [`Request::Ports`].
    Ports {
        /// One per NIC port.
        ports: Vec<PortRow>,
    },
    /// To [`Request::Stacks`].
    Stacks {
        /// In the order of slots.
        stacks: Vec<StackRow>,
        /// Where the next page starts.
        next: Option<u16>,
    },
    /// To [`Request::Claims`].
    Claims {
        /// In the order of ids.
        claims: Vec<ClaimRow>,
        /// Where the next page starts.
        next: Option<u64>,
    },
    /// To [`Request::Stats`].
    Stats(Box<Stats>),
    /// No, and why.
    Refused {
        /// As in errno(3).
        errno: i32,
        /// A sentence.
        message: String,
    },
    /// The switch ends.
    Shutdown,
    /// The switch has shut this vport. The connection stays, for [`Request::Detach`].
    Evicted {
        /// What the stack did.
        message: String,
    },
}

/// Who the primary is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The primary's [`VERSION`].
    pub version: u32,
    /// The primary's release.
    pub switch: String,
    /// Its DPDK, as `rte_version()` gives it: secondaries need the same.
    pub dpdk: String,
    /// Its EAL `--file-prefix`.
    pub file_prefix: String,
    /// Its process id.
    pub pid: u32,
}

/// All that a stack needs to find its rings and buffers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The vport.
    pub slot: u16,
    /// Most buffers the stack may hold, per worker.
    pub quota: u32,
    /// The memzone of rings and doorbells.
    pub memzone: String,
    /// What lies where in it.
    pub geometry: Geometry,
    /// The buffers.
    pub pool: Pool,
    /// The NIC ports.
    pub ports: Vec<PortRow>,
}

/// As `dpdk::PoolLayout`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The memzone that the buffers lie in.
    pub memzone: String,
    /// Address of buffer 0, the same in every process.
    pub base: u64,
    /// Bytes from one buffer to the next.
    pub stride: u32,
    /// How many there are.
    pub count: u32,
    /// Bytes in each.
    pub buf_len: u16,
}
