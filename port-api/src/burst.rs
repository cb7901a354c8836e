//! Packets as a stack holds them.

use arrayvec::ArrayVec;

use crate::raw::Place;

/// Most packets in a [`Burst`].
pub const BURST: usize = 64;

/// Packets that are moved together, as DPDK's `rte_mbuf *pkts[]` are.
pub type Burst = ArrayVec<Packet, BURST>;

/// A packet in a buffer that the switch has lent to this stack.
///
/// It goes back by [`RingPort::tx_burst`](crate::RingPort::tx_burst) or
/// [`RingPort::release`](crate::RingPort::release). One that is merely dropped stays charged to
/// the vport's quota until the stack detaches, as an `rte_mbuf` that is not freed stays lost.
#[must_use = "send it or release it: dropped, its buffer stays charged to this vport's quota"]
pub struct Packet {
    pub(crate) index: u32,
    pub(crate) worker: u16,
    pub(crate) offset: u16,
    pub(crate) len: u16,
    pub(crate) room: u16,
    pub(crate) port: u8,
    pub(crate) checksum: bool,
    pub(crate) place: Place,
}

impl Packet {
    /// The frame, from the destination MAC on, without FCS.
    pub fn data(&self) -> &[u8] {
        self.place.slice(self.len)
    }

    /// The frame, to change in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        self.place.slice_mut(self.len)
    }

    /// Asks the CPU for the frame's first cache line, to be read and written, as DPDK's
    /// `rte_prefetch0_write`: the switch's core has it. For a stack that calls this for a whole burst
    /// before it works on the first packet, they all come at once.
    #[inline]
    pub fn prefetch(&self) {
        ring::prefetch_write(self.data().as_ptr());
    }

    /// Sets the frame's length in bytes; what was not part of it holds leftovers of earlier
    /// packets. False, and nothing changed, beyond [`capacity`](Self::capacity).
    #[must_use = "false means that the length was not set"]
    pub fn set_len(&mut self, len: usize) -> bool {
        match u16::try_from(len) {
            Ok(len) if len <= self.room => {
                self.len = len;
                true
            }
            _ => false,
        }
    }

    /// Longest frame in bytes that fits into the buffer from where this one starts.
    pub fn capacity(&self) -> usize {
        self.room.into()
    }

    /// Whether the layer 4 checksum of a received packet is known to be right: the NIC has verified
    /// it, or the switch, as the claim asked. False means unknown.
    pub const fn checksum_is_good(&self) -> bool {
        self.checksum
    }

    /// Has the switch fill in the layer 4 checksum when the packet is sent (a whole TCP, UDP, SCTP or
    /// ICMP packet, whose checksum field may hold anything); otherwise the stack has done so.
    pub const fn fill_checksum(&mut self, fill: bool) {
        self.checksum = fill;
    }

    /// DPDK port id of the NIC port where it came from or is to go.
    pub const fn port(&self) -> u8 {
        self.port
    }

    /// Chooses the NIC port to send to, by its DPDK port id.
    pub const fn set_port(&mut self, port: u8) {
        self.port = port;
    }

    /// The worker that lent the buffer: the RSS queue of a received packet's flow.
    pub const fn worker(&self) -> u16 {
        self.worker
    }
}
