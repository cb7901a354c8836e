//! Layer 4 checksums, for claims that ask for them.

use super::reading::Flow;
use crate::{
    judge::etherparse::{header_sum, pseudo_sum},
    packet::be16,
};

/// Whether the checksum in `segment` is right; `None` if there is none.
pub fn is_right(flow: &Flow, segment: &[u8]) -> Option<bool> {
    let ends = (flow.src, flow.dst);
    match (flow.proto, flow.src.is_ipv4()) {
        (17, is_v4) => {
            let datagram = segment.get(..usize::from(be16(segment, 4)))?;
            match (be16(datagram, 6), is_v4) {
                // RFC 768; RFC 8200 section 8.1 for IPv6.
                (0, true) => None,
                (0, false) => Some(false),
                _ => Some(pseudo_sum(ends, 17, datagram) == 0),
            }
        }
        (1, true) => Some(header_sum(segment) == 0),
        (6, _) | (58, false) => Some(pseudo_sum(ends, flow.proto, segment) == 0),
        (132, _) => Some(segment.get(8..12)? == crc32c_of_sctp(segment).to_le_bytes()),
        _ => None,
    }
}

/// RFC 9260 appendix A: with the checksum's own field taken for zero.
fn crc32c_of_sctp(packet: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for (at, byte) in packet.iter().enumerate() {
        crc ^= u32::from(if (8..12).contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * carry);
        }
    }
    !crc
}
