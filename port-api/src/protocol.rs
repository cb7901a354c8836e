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

mod limit;
mod rows;
mod spec;
mod text;
mod vhost;

pub use limit::Limit;
pub use rows::{
    ByReason, ClaimRow, PoolStats, PortRow, PortStats, StackRow, Stats, VportStats, WorkerStats,
};
pub use spec::{ClaimSpec, Kind, MAX_BATCH, What};
pub use vhost::{PortSpec, VhostRow};

/// Version of these messages and of the shared layout. Both sides must have the same.
pub const VERSION: u32 = 200 + crate::geometry::LAYOUT_VERSION;

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
    /// SCTP (RFC 9260).
    Sctp,
}

impl Protocol {
    /// The IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => wire::proto::TCP,
            Self::Udp => wire::proto::UDP,
            Self::Sctp => wire::proto::SCTP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(format!("{text:?} is not a protocol: tcp, udp or sctp")),
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
    /// Claim all of these, or none.
    Claim {
        /// 1 to [`MAX_BATCH`].
        claims: Vec<Wanted>,
    },
    /// End a claim of one's own.
    Release {
        /// As in [`Reply::Claimed`].
        claim: u64,
    },
    /// Offer a claim of one's own to another stack, which may then [`Take`](Self::Take) it.
    Offer {
        /// As in [`Reply::Claimed`].
        claim: u64,
        /// The other stack's vport.
        to: u16,
    },
    /// Take over a claim that was offered: from one packet to the next, its packets come here.
    Take {
        /// As in [`Reply::Claimed`].
        claim: u64,
    },
    /// Give up the vport and all claims; the connection stays.
    Detach,
    /// Which stack has this local address and port?
    Holder {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// Local address and port.
        addr: SocketAddr,
    },
    /// What would become of this frame, and why?
    Trace(TraceRequest),
    /// Set limits of a vport, a stack's or the host's, until it is taken out of service. For root and the
    /// switch's own user.
    Limit {
        /// The vport.
        vport: u16,
        /// What it may receive per second; as it is if none.
        rx: Option<Limit>,
        /// What it may send per second; as it is if none.
        tx: Option<Limit>,
    },
    /// Add a vport to which a program or a virtual machine attaches over a vhost-user socket, with claims;
    /// their kernel sockets come with the message, as with [`Claim`](Self::Claim). For root and the
    /// switch's own user.
    AddPort(Box<PortSpec>),
    /// Take such a vport out of service, with its claims and its socket. For root and the switch's own user.
    RemovePort {
        /// The vport.
        vport: u16,
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
    /// Read configuration and policy again. For root and the switch's own user.
    Reload,
    /// All counters.
    Stats {
        /// First vport slot to list.
        from: u16,
    },
}

/// A claim that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What is claimed. A port of 0 stands for the one that the socket is bound to.
    #[serde(flatten)]
    pub spec: ClaimSpec,
    /// A kernel socket that is bound to it comes with the message (`SCM_RIGHTS`, in the order of
    /// the claims).
    pub socket: bool,
}

/// A frame to be traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// DPDK port id where it would come in, or is to go.
    pub port: u8,
    /// The vport that would send it; from the wire if none.
    pub from: Option<u16>,
    /// The frame without FCS, as hexadecimal digits.
    pub frame: String,
}

/// What became of a traced frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The rules that it met, in their order, a line each.
    pub steps: Vec<String>,
    /// Where it goes, or the name of the rule that drops it.
    pub verdict: String,
}

/// What the switch answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "re", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello(Greeting),
    /// To [`Request::Attach`].
    Attached(Box<Attachment>),
    /// To [`Request::Claim`] and [`Request::Take`].
    Claimed {
        /// Names the first of the claims from now on; the others' numbers follow.
        first: u64,
        /// What they are for, in the order asked, with the ports that the kernel chose.
        claims: Vec<ClaimSpec>,
    },
    /// To [`Request::Trace`].
    Traced(Traced),
    /// Done.
    Done,
    /// To [`Request::Holder`].
    Holder {
        /// None if no stack has it.
        holder: Option<String>,
    },
    /// To [`Request::Ports`].
    Ports {
        /// One per NIC port.
        ports: Vec<PortRow>,
    },
    /// To [`Request::Limit`]: the limits now.
    Limits {
        /// What the vport may receive per second.
        rx: Limit,
        /// What it may send per second.
        tx: Limit,
    },
    /// To [`Request::AddPort`].
    Added {
        /// The vport.
        vport: u16,
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
