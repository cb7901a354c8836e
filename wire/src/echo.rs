//! Sending a UDP packet back where it came from.

use crate::{Body, L4, Origin, ethernet, parse, proto};

/// Turns a UDP frame into its own answer, in place: swaps the Ethernet addresses, the IP
/// addresses and the ports; VLAN tags stay. All checksums stay valid, since a sum does not mind its
/// order; the TTL or hop limit stays as it arrived. The other end may be on this machine
/// ([`Origin::Local`]).
///
/// False, and the frame is untouched, if it is not a whole UDP packet to a unicast address, or
/// cannot be answered: source port 0 (RFC 768: none to reply to), or an Ethernet source or
/// destination that is a group address (RFC 1122 section 3.3.6 wants unicast IP in a link-layer
/// broadcast discarded).
#[inline]
pub fn turn_around(frame: &mut [u8]) -> bool {
    let (addresses, address_len, ports) =
        match parse(frame, Origin::Local).map(|parsed| parsed.body) {
            Ok(Body::V4(L4 {
                tuple,
                l3_offset,
                l4_offset,
                ..
            })) if tuple.proto == proto::UDP => {
                if tuple.src_port == 0 {
                    return false;
                }
                (usize::from(l3_offset) + 12, 4, usize::from(l4_offset))
            }
            Ok(Body::V6(L4 {
                tuple,
                l3_offset,
                l4_offset,
                ..
            })) if tuple.proto == proto::UDP => {
                if tuple.src_port == 0 {
                    return false;
                }
                (usize::from(l3_offset) + 8, 16, usize::from(l4_offset))
            }
            _ => return false,
        };
    if ethernet(frame).is_none_or(|eth| eth.src.is_multicast() || eth.dst.is_multicast()) {
        return false;
    }
    swap(frame, 0, 6);
    swap(frame, addresses, address_len);
    swap(frame, ports, 2);
    true
}

/// Swaps the `len` bytes at `at` with the `len` bytes behind them.
#[inline]
fn swap(frame: &mut [u8], at: usize, len: usize) {
    if let Some((first, second)) = frame
        .get_mut(at..at + 2 * len)
        .and_then(|both| both.split_at_mut_checked(len))
    {
        first.swap_with_slice(second);
    }
}
