//! Counters. Each worker has its own and is their only writer; the control thread gets copies by
//! message, taken between two rounds, so that every sum is exact.

use crate::verdict::{DROP_REASONS, HostReason};

/// Packets by [`DropReason::index`](crate::verdict::DropReason::index).
#[derive(Clone, Copy, Debug)]
pub struct Drops(pub [u64; DROP_REASONS]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DROP_REASONS])
    }
}

impl Drops {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

/// A NIC port's packets on one worker. `rx_packets = to_vports + to_host + waiting +
/// dropped`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct NicCounters {
    /// Received.
    pub rx_packets: u64,
    /// Received bytes, without FCS.
    pub rx_bytes: u64,
    /// Given to stacks.
    pub to_vports: u64,
    /// Given to the host.
    pub to_host: u64,
    /// Why, by [`HostReason`]; with those that found the host's ring full.
    pub host_reasons: [u64; HostReason::NAMES.len()],
    /// Fragments that wait for the first one of their packet now.
    pub waiting: u64,
    /// Copies given to stacks, or to the host, beside the original.
    pub copies: u64,
    /// Taken by the NIC.
    pub tx_packets: u64,
    /// Bytes taken by the NIC, without FCS.
    pub tx_bytes: u64,
    /// Passed, and waiting for the NIC to have room now.
    pub tx_waiting: u64,
    /// Passed, but the NIC had no room for too long.
    pub tx_full: u64,
    /// Received and given to no one.
    pub dropped: Drops,
}

impl NicCounters {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.to_vports += other.to_vports;
        self.to_host += other.to_host;
        for (mine, theirs) in self.host_reasons.iter_mut().zip(&other.host_reasons) {
            *mine += theirs;
        }
        self.waiting += other.waiting;
        self.copies += other.copies;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_waiting += other.tx_waiting;
        self.tx_full += other.tx_full;
        self.dropped.add(&other.dropped);
    }
}

/// A vport's packets on one worker. `tx_packets = tx_wire + tx_local + tx_waiting + tx_full +
/// tx_dropped`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub struct VportCounters {
    /// Put into the `rx` ring.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Copies put into the `rx` ring, beside `rx_packets`.
    pub rx_copies: u64,
    /// Taken from the `tx` ring.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Taken by a NIC.
    pub tx_wire: u64,
    /// Put into another vport's `rx` ring.
    pub tx_local: u64,
    /// Passed, and waiting for a NIC to have room now.
    pub tx_waiting: u64,
    /// Passed, but the NIC had no room for too long.
    pub tx_full: u64,
    /// Ring entries that made no sense.
    pub bad_entries: u64,
    /// Meant for this vport, and dropped.
    pub rx_dropped: Drops,
    /// Sent by this vport, and refused.
    pub tx_dropped: Drops,
}

impl VportCounters {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.rx_copies += other.rx_copies;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_wire += other.tx_wire;
        self.tx_local += other.tx_local;
        self.tx_waiting += other.tx_waiting;
        self.tx_full += other.tx_full;
        self.bad_entries += other.bad_entries;
        self.rx_dropped.add(&other.rx_dropped);
        self.tx_dropped.add(&other.tx_dropped);
    }
}

/// A copy of one worker's counters.
#[derive(Default)]
pub struct Snapshot {
    /// By NIC port, in their order.
    pub nics: Vec<NicCounters>,
    /// Every vport in service: slot, counters, buffers held.
    pub vports: Vec<(u16, VportCounters, u32)>,
    /// Rounds of the worker's loop.
    pub rounds: u64,
    /// Rounds with anything to do.
    pub busy_rounds: u64,
}

impl Snapshot {
    /// An empty one with room for everything, so that the worker need not allocate.
    pub fn with_room(nics: usize, vports: usize) -> Self {
        Self {
            nics: Vec::with_capacity(nics),
            vports: Vec::with_capacity(vports),
            ..Self::default()
        }
    }
}
