//! What is said over the control socket: one JSON object per `SOCK_SEQPACKET` message, of at most
//! [`MAX_MESSAGE`](crate::MAX_MESSAGE) bytes.
//!
//! A client speaks first, with [`Request::Hello`]; every request gets one [`Reply`]. The switch
//! may also say [`Reply::Evicted`] or [`Reply::Shutdown`] at any time; after the latter it closes the
//! connection. Lists come in pages of up to [`PAGE`] rows.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;

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

/// A NIC port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRow {
    /// DPDK port id.
    pub id: u8,
    /// DPDK's name of the device.
    pub name: String,
    /// The PMD.
    pub driver: String,
    /// `aa:bb:cc:dd:ee:ff`
    pub mac: String,
    /// Bytes of an IP packet.
    pub mtu: u16,
    /// Whether the link is up.
    pub link_up: bool,
    /// Mbit/s; 0 where unknown.
    pub speed_mbps: u32,
    /// RX queues, one per worker that polls the port.
    pub rx_queues: u16,
    /// The host's netdev of the exception path.
    pub host_netdev: String,
    /// Addresses on that netdev, in CIDR notation.
    pub addresses: Vec<String>,
}

impl PortRow {
    /// The addresses, without prefix lengths.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .filter_map(|cidr| cidr.split('/').next()?.parse().ok())
    }
}

/// An attached stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRow {
    /// Its vport.
    pub slot: u16,
    /// What it calls itself.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// That process's user.
    pub uid: u32,
    /// Seconds since it attached.
    pub age_s: u64,
    /// How many claims it has.
    pub claims: u32,
    /// Buffers it holds now.
    pub held: u32,
    /// Buffers it may hold, over all workers.
    pub quota: u32,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// Its number.
    pub id: u64,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Local address and port.
    pub local: SocketAddr,
    /// The stack's name.
    pub stack: String,
    /// The stack's vport.
    pub slot: u16,
    /// The stack's process.
    pub pid: u32,
}

/// Counts by reason; only what is not zero.
pub type ByReason = BTreeMap<String, u64>;

/// Every counter, read at one moment of each worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The NIC ports.
    pub ports: Vec<PortStats>,
    /// The vports from the asked-for slot on.
    pub vports: Vec<VportStats>,
    /// Where the next page starts.
    pub next: Option<u16>,
    /// The packet pool.
    pub pool: PoolStats,
    /// The workers.
    pub workers: Vec<WorkerStats>,
}

/// A port's packets. `rx_packets = to_vports + to_host + sum(rx_dropped)` at any moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// DPDK port id.
    pub id: u8,
    /// DPDK's name of the device.
    pub name: String,
    /// Packets from the NIC.
    pub rx_packets: u64,
    /// Their bytes, without FCS.
    pub rx_bytes: u64,
    /// Given to stacks.
    pub to_vports: u64,
    /// Given to the host's kernel.
    pub to_host: u64,
    /// Not given to anyone.
    pub rx_dropped: ByReason,
    /// Copies of ARP and ND answers given to stacks beside the host's original.
    pub copies: u64,
    /// Packets that the NIC has taken.
    pub tx_packets: u64,
    /// Their bytes, without FCS.
    pub tx_bytes: u64,
    /// Passed, but the NIC's TX queue had no room.
    pub tx_full: u64,
    /// Given to the host, but its netdev was down or full; part of `to_host`.
    #[serde(default)]
    pub host_refused: u64,
    /// The NIC ran out of descriptors (`imissed`).
    pub nic_missed: u64,
    /// The NIC received garbage (`ierrors`).
    pub nic_errors: u64,
    /// The NIC found no buffer (`rx_nombuf`).
    pub nic_no_mbuf: u64,
}

impl PortStats {
    /// Received packets that no counter accounts for; zero.
    pub fn unaccounted(&self) -> i128 {
        let dropped: u64 = self.rx_dropped.values().sum();
        i128::from(self.rx_packets)
            - i128::from(self.to_vports)
            - i128::from(self.to_host)
            - i128::from(dropped)
    }
}

/// A vport's packets. `tx_packets = tx_wire + tx_full + sum(tx_dropped)` at any moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VportStats {
    /// The vport.
    pub slot: u16,
    /// The stack's name, or the host's netdev.
    pub name: String,
    /// Packets put into `rx` rings.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Meant for this vport, and dropped.
    pub rx_dropped: ByReason,
    /// Copies (ARP, ND) put into `rx` rings, not counted in `rx_packets`.
    pub rx_copies: u64,
    /// Packets taken from `tx` rings.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Passed on to a NIC, which took them.
    pub tx_wire: u64,
    /// Passed on to a NIC, which had no room.
    pub tx_full: u64,
    /// Refused.
    pub tx_dropped: ByReason,
    /// Ring entries that made no sense, and were ignored.
    pub bad_entries: u64,
    /// Buffers lent to it now.
    pub held: u32,
}

impl VportStats {
    /// Sent packets that no counter accounts for; zero.
    pub fn unaccounted(&self) -> i128 {
        let dropped: u64 = self.tx_dropped.values().sum();
        i128::from(self.tx_packets)
            - i128::from(self.tx_wire)
            - i128::from(self.tx_full)
            - i128::from(dropped)
    }
}

/// Where the pool's buffers are: `count = available + held + in_switch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStats {
    /// Buffers in all.
    pub count: u32,
    /// In the pool, per-lcore caches included.
    pub available: u32,
    /// Lent to vports, the host's included.
    pub held: u32,
    /// In the NICs' queues and in the workers' hands.
    pub in_switch: u32,
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStats {
    /// Its lcore.
    pub lcore: u32,
    /// Rounds of its loop.
    pub rounds: u64,
    /// Rounds in which it found something to do.
    pub busy_rounds: u64,
}
