//! What `msctl` lists: ports, stacks, claims, counters.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ClaimSpec, Limit, VhostRow};

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
    /// What the device does for the switch: `rss` (spreads flows over the RX queues), `rx-checksum` (says
    /// whether the checksums of what it receives are right), `tx-checksum` (finishes those of TCP and UDP).
    #[serde(default)]
    pub offloads: Vec<String>,
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
    /// What it may receive per second.
    pub rx_limit: Limit,
    /// What it may send per second.
    pub tx_limit: Limit,
    /// Of a vhost vport: its socket. The process is the switch's own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhost: Option<VhostRow>,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// Its number.
    pub id: u64,
    /// What is claimed.
    #[serde(flatten)]
    pub spec: ClaimSpec,
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

/// A port's packets. `rx_packets = to_vports + to_host + waiting + sum(rx_dropped)` at any moment.
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
    /// Why packets were the host's; what its ring had no room for is in here and in `rx_dropped`.
    #[serde(default)]
    pub host_reasons: ByReason,
    /// Not given to anyone.
    pub rx_dropped: ByReason,
    /// Fragments that wait for the first one of their packet.
    #[serde(default)]
    pub waiting: u64,
    /// Copies given to stacks beside the host's original: of ARP and neighbour discovery, of
    /// multicast and broadcast.
    pub copies: u64,
    /// Packets that the NIC has taken.
    pub tx_packets: u64,
    /// Their bytes, without FCS.
    pub tx_bytes: u64,
    /// Passed, and waiting for the NIC's TX queue to have room now.
    #[serde(default)]
    pub tx_waiting: u64,
    /// Passed, but the NIC's TX queue had no room for too long.
    pub tx_full: u64,
    /// Given to the host, but its netdev was down or full; part of `to_host`.
    #[serde(default)]
    pub host_refused: u64,
    /// The NIC ran out of descriptors (`imissed`), or, under `AF_XDP`, the netdev had to drop.
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
            - i128::from(self.waiting)
            - i128::from(dropped)
    }
}

/// A vport's packets. `tx_packets = tx_wire + tx_local + tx_waiting + tx_full + sum(tx_dropped)` at any
/// moment.
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
    /// Copies (ARP, ND, multicast, broadcast) put into `rx` rings, not counted in `rx_packets`.
    pub rx_copies: u64,
    /// Packets taken from `tx` rings.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Passed on to a NIC, which took them.
    pub tx_wire: u64,
    /// Passed on to another vport.
    #[serde(default)]
    pub tx_local: u64,
    /// Passed on, and waiting for a NIC to have room now.
    #[serde(default)]
    pub tx_waiting: u64,
    /// Passed on to a NIC, which had no room for too long.
    pub tx_full: u64,
    /// Refused, or dropped on the way to another vport.
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
            - i128::from(self.tx_local)
            - i128::from(self.tx_waiting)
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
