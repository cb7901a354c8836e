//! The common shape over IPv4, for several frames at once: the rules of [`common_v4`] as sums and
//! masks of words, one frame to a lane, so that the compiler can use vectors and no branch depends
//! on a packet.
//!
//! [`common_v4`]: crate::common_v4

use crate::{MacAddr, TupleV4, proto};

/// Frames in a [`GroupV4`].
pub const LANES: usize = 8;
/// Shortest frame that a [`GroupV4`] looks at: up to the data offset of a TCP header.
pub const SHORTEST_IN_GROUP: usize = 48;

const ETHERNET: u64 = 14;
const IPV4: u64 = 20;
const UDP: u64 = 8;
const TCP: u64 = 20;
const LONGEST: u64 = u16::MAX as u64;

/// The sign of a difference: set if it is negative.
const SIGN: u64 = 1 << 63;

/// The port's MAC, and the bit of the other that says that it is a group's.
const MACS_MASK: u64 = 1 << 48 | MAC;
/// The low bytes of a word.
const MAC: u64 = 0xffff_ffff_ffff;
/// From byte 12 on: `EtherType`; version and IHL. What must be as in [`TYPE`].
const TYPE_MASK: u64 = 0x00ff_ffff;
/// IPv4; version 4, five words of header.
const TYPE: u64 = 0x0045_0008;
/// From byte 20 on: More Fragments, and the offset.
const FRAGMENT_MASK: u64 = 0xff3f;

/// A tuple in two words, as a table's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleWords {
    /// Destination, source.
    pub addresses: u64,
    /// Destination port, source port; below them the protocol, in the lower half's upper byte.
    pub ports: u64,
}

impl From<TupleV4> for TupleWords {
    #[inline(always)]
    fn from(tuple: TupleV4) -> Self {
        Self {
            addresses: u64::from(tuple.dst) << 32 | u64::from(tuple.src),
            ports: u64::from(tuple.dst_port) << 48
                | u64::from(tuple.src_port) << 32
                | u64::from(tuple.proto) << 24,
        }
    }
}

impl TupleWords {
    /// The tuple of the way back.
    #[inline(always)]
    #[must_use]
    pub const fn reversed(self) -> Self {
        let (both, proto) = (self.ports >> 32, self.ports & 0xffff_ffff);
        Self {
            addresses: self.addresses.rotate_left(32),
            ports: (both & 0xffff) << 48 | both >> 16 << 32 | proto,
        }
    }
}

/// What decides, of one frame to a lane; words as a little-endian machine reads them. To be used for many
/// groups step by step, so that what one step writes the next one need not wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupV4 {
    /// The MAC that must be the port's; above it, the first byte of the one that must not be a group's.
    macs: [u64; LANES],
    /// Bytes 12 to 19: `EtherType`, version and IHL, TOS, total length, identification.
    start: [u64; LANES],
    /// Bytes 20 to 27: flags and offset, TTL, protocol, checksum, the first half of the source.
    middle: [u64; LANES],
    /// Bytes 28 to 35: the other half, destination, source port.
    ends: [u64; LANES],
    /// Bytes 36 to 43: destination port, length of UDP.
    ports: [u64; LANES],
    /// Byte 46, TCP's data offset; above it the frame's length.
    lengths: [u64; LANES],
    /// 0 if the frame is of the common shape.
    bad: [u64; LANES],
    /// Destination, source.
    addresses: [u64; LANES],
    /// Destination port, source port; below them the protocol, in the lower half's upper byte.
    tuple_ports: [u64; LANES],
}

impl GroupV4 {
    /// Has `lane` stand for a frame that was received: its destination is to be the port's MAC. A short
    /// one, of less than [`SHORTEST_IN_GROUP`] bytes, counts as none of the common shape.
    ///
    /// # Panics
    /// If there is no such lane.
    #[inline(always)]
    pub fn load(&mut self, lane: usize, frame: &[u8]) {
        self.load_with(lane, frame, |head| word(head, 0));
    }

    /// As [`load`](Self::load), for a frame that is to be sent: its source is to be the port's MAC, and its
    /// destination no group's.
    ///
    /// # Panics
    /// If there is no such lane.
    #[inline(always)]
    pub fn load_sent(&mut self, lane: usize, frame: &[u8]) {
        self.load_with(lane, frame, |head| {
            word(head, 6) & MAC | u64::from(head[0]) << 48
        });
    }

    #[inline(always)]
    fn load_with(
        &mut self,
        lane: usize,
        frame: &[u8],
        macs: impl FnOnce(&[u8; SHORTEST_IN_GROUP]) -> u64,
    ) {
        let Some(head) = frame.first_chunk::<SHORTEST_IN_GROUP>() else {
            // No EtherType.
            self.start[lane] = 0;
            return;
        };
        self.macs[lane] = macs(head);
        self.start[lane] = word(head, 12);
        self.middle[lane] = word(head, 20);
        self.ends[lane] = word(head, 28);
        self.ports[lane] = word(head, 36);
        self.lengths[lane] = u64::from(head[46]) | (frame.len() as u64) << 8;
    }

    /// Judges all lanes: which frames are to `mac`, the port's, or from it, and of the common shape.
    #[inline(always)]
    pub fn judge(&mut self, mac: MacAddr) {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&mac.0);
        let mac = u64::from_le_bytes(bytes);
        for lane in 0..LANES {
            self.bad[lane] = bad(
                self.macs[lane] ^ mac,
                self.start[lane],
                self.middle[lane],
                self.ends[lane],
                self.ports[lane],
                self.lengths[lane],
            );
            let (middle, ends, ports) = (self.middle[lane], self.ends[lane], self.ports[lane]);
            self.addresses[lane] = (middle >> 48 | ends << 16).swap_bytes().rotate_left(32);
            // Destination port, source port, protocol: each byte from its place in the frame.
            self.tuple_ports[lane] = (ports & 0xff) << 56
                | (ports & 0xff00) << 40
                | (ends >> 48 & 0xff) << 40
                | (ends >> 56) << 32
                | (middle >> 24 & 0xff) << 24;
        }
    }

    /// The tuple of `lane`, once it is [`judge`](Self::judge)d; None if its frame is not of the common
    /// shape. Where [`common_v4`](crate::common_v4) has one, this has the same, and none where it has
    /// none.
    ///
    /// # Panics
    /// If there is no such lane.
    #[inline(always)]
    pub fn tuple(&self, lane: usize) -> Option<TupleWords> {
        (self.bad[lane] == 0).then_some(TupleWords {
            addresses: self.addresses[lane],
            ports: self.tuple_ports[lane],
        })
    }
}

#[inline(always)]
fn word(head: &[u8; SHORTEST_IN_GROUP], at: usize) -> u64 {
    let bytes = head[at..].first_chunk::<8>();
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// 0 for the common shape. Each rule either is a word that must be 0, or a difference that must not be
/// negative; neither needs a comparison.
#[inline(always)]
fn bad(macs: u64, start: u64, middle: u64, ends: u64, ports: u64, lengths: u64) -> u64 {
    let shape = (macs & MACS_MASK) | ((start ^ TYPE) & TYPE_MASK) | (middle & FRAGMENT_MASK);
    let proto = middle >> 24 & 0xff;
    let is_udp = mask_of_zero(proto ^ u64::from(proto::UDP));
    let is_tcp = mask_of_zero(proto ^ u64::from(proto::TCP));
    let protocol = !(is_udp | is_tcp);
    if cfg!(feature = "unvalidated") {
        return shape | protocol;
    }
    let total_len = (start >> 32 & 0xff) << 8 | (start >> 40 & 0xff);
    let frame_len = lengths >> 8;
    let segment = total_len.wrapping_sub(IPV4);
    let whole = total_len.wrapping_sub(IPV4 + UDP)
        | frame_len.wrapping_sub(ETHERNET + total_len)
        | LONGEST.wrapping_sub(frame_len);

    let src = middle >> 48 | (ends & 0xffff) << 16;
    let dst = ends >> 16 & 0xffff_ffff;
    let (src_port, dst_port) = (ends >> 48, ports & 0xffff);
    let plain = not_plain(src) | not_plain(dst);
    let distinct = (src ^ dst).wrapping_sub(1) | dst_port.wrapping_sub(1);

    let udp_len = (ports >> 16 & 0xff) << 8 | (ports >> 24 & 0xff);
    let udp = udp_len.wrapping_sub(UDP) | segment.wrapping_sub(udp_len);
    let data_offset = (lengths >> 4 & 0xf) << 2;
    let tcp = data_offset.wrapping_sub(TCP)
        | segment.wrapping_sub(data_offset)
        | src_port.wrapping_sub(1);

    let order = whole | plain | distinct | (udp & is_udp) | (tcp & is_tcp);
    shape | protocol | (order & SIGN) | wrong_sum(start, middle, ends)
}

/// All ones for 0, of a number below 2^63.
#[inline(always)]
const fn mask_of_zero(number: u64) -> u64 {
    0u64.wrapping_sub(number.wrapping_sub(1) >> 63)
}

/// Negative for 0.0.0.0, 127.0.0.0/8 and from 224.0.0.0 on. The address's first byte is its lowest.
#[inline(always)]
const fn not_plain(addr: u64) -> u64 {
    let first = addr & 0xff;
    addr.wrapping_sub(1) | (first ^ 127).wrapping_sub(1) | 223u64.wrapping_sub(first)
}

/// 0 if the IPv4 header's checksum is right (RFC 1071; its sum may be taken in any byte order).
#[inline(always)]
const fn wrong_sum(start: u64, middle: u64, ends: u64) -> u64 {
    const LOW: u64 = 0xffff_ffff;
    // Where the EtherType is another, all this means nothing and is not needed.
    let words = (start & LOW) + (start >> 32) + (middle & LOW) + (middle >> 32);
    let sum = (words + (ends & LOW) + (ends >> 32 & 0xffff)).wrapping_sub(TYPE & 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16 & LOW);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) ^ 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reversed_tuple_is_that_of_the_way_back() {
        let tuple = TupleV4 {
            src: 0x0102_0304,
            dst: 0x0506_0708,
            src_port: 0x090a,
            dst_port: 0x0b0c,
            proto: 17,
        };
        let back = TupleV4 {
            src: tuple.dst,
            dst: tuple.src,
            src_port: tuple.dst_port,
            dst_port: tuple.src_port,
            proto: 17,
        };
        let (tuple, back) = (TupleWords::from(tuple), TupleWords::from(back));
        assert_eq!(tuple.reversed(), back);
    }

    #[test]
    fn a_zero_is_told_from_all_else() {
        for (number, mask) in [(0, u64::MAX), (1, 0), (2, 0), (0xff, 0), (SIGN - 1, 0)] {
            assert_eq!(mask_of_zero(number), mask, "{number}");
        }
    }

    #[test]
    fn the_edges_of_plain_addresses() {
        let is_plain = |addr: [u8; 4]| not_plain(u32::from_le_bytes(addr).into()) & SIGN == 0;
        for plain in [
            [0, 0, 0, 1],
            [126, 255, 255, 255],
            [128, 0, 0, 0],
            [223, 255, 255, 255],
        ] {
            assert!(is_plain(plain), "{plain:?}");
        }
        for other in [
            [0; 4],
            [127, 0, 0, 0],
            [127, 255, 255, 255],
            [224, 0, 0, 0],
            [255; 4],
        ] {
            assert!(!is_plain(other), "{other:?}");
        }
    }
}
