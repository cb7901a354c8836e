//! The common shapes, in one go: untagged TCP or UDP over IPv4 without options or over IPv6
//! without extension headers, whole, from and to plain unicast addresses.
//!
//! What is not of such a shape, or breaks a rule, is for [`parse`](crate::parse), which names it. A
//! tuple comes back in registers, where `parse` has to build all that it says in memory.

use crate::{
    TupleV4, TupleV6,
    bytes::{be16, be32, be64},
    proto,
};

const ETHERNET: usize = 14;
/// As for [`parse`](crate::parse).
const LONGEST: usize = u16::MAX as usize;
/// Ethernet, IPv4 and UDP; or Ethernet, IPv6 and UDP.
const SHORTEST_V4: usize = ETHERNET + 20 + 8;
const SHORTEST_V6: usize = ETHERNET + 40 + 8;

/// From byte 6 on: source MAC, `EtherType`. What must be as in [`MAC_TYPE`].
const MAC_TYPE_MASK: u64 = 0x0100_0000_0000_ffff;
/// Not a group's MAC; IPv4.
const MAC_TYPE: u64 = 0x0800;
/// From byte 14 on: version and IHL, TOS, total length, identification, flags and offset. What must
/// be as in [`START`].
const START_MASK: u64 = 0xff00_0000_0000_3fff;
/// Version 4, five words of header; no More Fragments, offset 0.
const START: u64 = 0x4500_0000_0000_0000;

/// The tuple of a packet of the common shape over IPv4. `None` says nothing but that it is not
/// one; where there is a tuple, [`parse`](crate::parse) gives the same.
///
/// Whole words against masks, so that a packet of the common shape meets few branches.
#[inline(always)]
pub fn common_v4(frame: &[u8]) -> Option<TupleV4> {
    let head = frame.first_chunk::<SHORTEST_V4>()?;
    let (mac_type, start) = (be64(head, 6), be64(head, ETHERNET));
    let is_shape = ((mac_type & MAC_TYPE_MASK) ^ MAC_TYPE) | ((start & START_MASK) ^ START) == 0;
    let (src, dst) = (be32(head, 26), be32(head, 30));
    let ports = be32(head, 34);
    #[allow(clippy::cast_possible_truncation)] // its two halves
    let (src_port, dst_port) = ((ports >> 16) as u16, ports as u16);
    let proto = head[23];
    let total_len = usize::from(be16(head, 16));
    let is_whole = total_len >= SHORTEST_V4 - ETHERNET
        && total_len <= frame.len() - ETHERNET
        && frame.len() <= LONGEST;
    let ends = is_plain_v4(src) && is_plain_v4(dst) && src != dst && dst_port != 0;
    if !(is_shape && is_whole && ends && is_right_sum_v4(head)) {
        return None;
    }
    let udp_len = usize::from(be16(head, ETHERNET + 24));
    has_sound_segment(
        frame,
        ETHERNET + 20,
        total_len - 20,
        udp_len,
        proto,
        src_port,
    )
    .then_some(TupleV4 {
        src,
        dst,
        src_port,
        dst_port,
        proto,
    })
}

/// As [`common_v4`], over IPv6.
#[inline(always)]
pub fn common_v6(frame: &[u8]) -> Option<TupleV6> {
    let head = frame.first_chunk::<SHORTEST_V6>()?;
    let payload_len = usize::from(be16(head, 18));
    let (src, dst) = (address(head, 22), address(head, 38));
    let (src_port, dst_port) = (be16(head, 54), be16(head, 56));
    let proto = head[20];
    let shape = (be32(head, 12) & 0xffff_f000 == 0x86dd_6000) && (head[6] & 1 == 0);
    let whole = (payload_len <= frame.len() - ETHERNET - 40) && (frame.len() <= LONGEST);
    let ends = is_plain_v6(src) & is_plain_v6(dst) && (src != dst) && (dst_port != 0);
    if !(shape && whole && ends) {
        return None;
    }
    let udp_len = usize::from(be16(head, ETHERNET + 44));
    has_sound_segment(frame, ETHERNET + 40, payload_len, udp_len, proto, src_port).then_some(
        TupleV6 {
            src,
            dst,
            src_port,
            dst_port,
            proto,
        },
    )
}

/// Whether the lengths in the segment's header fit `len`, the length of the segment. `udp_len` is what
/// stands where UDP has it.
#[inline(always)]
fn has_sound_segment(
    frame: &[u8],
    at: usize,
    len: usize,
    udp_len: usize,
    proto: u8,
    src_port: u16,
) -> bool {
    match proto {
        proto::UDP => udp_len >= 8 && udp_len <= len,
        proto::TCP => {
            let data_offset = frame
                .get(at + 12)
                .map_or(0, |byte| usize::from(byte >> 4) * 4);
            data_offset >= 20 && data_offset <= len && src_port != 0
        }
        _ => false,
    }
}

/// Neither 0.0.0.0 nor 127.0.0.0/8 nor from 224.0.0.0 on.
#[inline(always)]
const fn is_plain_v4(addr: u32) -> bool {
    (addr.wrapping_sub(1) < 0x7f00_0000 - 1) | (addr.wrapping_sub(0x8000_0000) < 0x6000_0000)
}

/// Outside `::/64`, where the unspecified, the loopback and IPv4-mapped addresses lie, and not
/// multicast.
#[inline(always)]
const fn is_plain_v6(addr: u128) -> bool {
    (addr >> 64 != 0) && (addr >> 120 != 0xff)
}

/// Whether the IPv4 header's checksum is right: its sum is a multiple of 0xffff, in whatever byte
/// order it is taken (RFC 1071 section 2). It is never 0, as the version is a part of it.
#[inline(always)]
fn is_right_sum_v4(head: &[u8; SHORTEST_V4]) -> bool {
    let word = |at: usize| {
        let bytes = head[ETHERNET + at..].first_chunk::<4>();
        u64::from(bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes)))
    };
    (word(0) + word(4) + word(8) + word(12) + word(16)).is_multiple_of(0xffff)
}

#[inline(always)]
fn address(head: &[u8; SHORTEST_V6], at: usize) -> u128 {
    let word = |i: usize| u128::from(be32(head, at + i));
    word(0) << 96 | word(4) << 64 | word(8) << 32 | word(12)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{
        Body, GroupV4, LANES, MacAddr, Origin, SHORTEST_IN_GROUP, TupleWords, Vlan,
        emit::{Eth, Tcp, Udp, tcp_flags},
        parse,
    };
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::vec::Vec;

    const ETH: Eth = Eth {
        dst: MacAddr([2, 0, 0, 0, 0, 1]),
        src: MacAddr([2, 0, 0, 0, 0, 9]),
    };

    fn frame(is_tcp: bool, src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut buf = [0; 200];
        let len = if is_tcp {
            let (eth, flags) = (ETH, tcp_flags::ACK);
            Tcp {
                eth,
                src,
                dst,
                seq: 1,
                ack: 1,
                flags,
                window: 1,
                payload,
            }
            .write(&mut buf)
        } else {
            Udp {
                eth: ETH,
                src,
                dst,
                payload,
            }
            .write(&mut buf)
        };
        buf[..len.unwrap()].to_vec()
    }

    /// That `parse` says the same, if there is a tuple.
    fn agrees(frame: &[u8]) -> bool {
        [Origin::Wire, Origin::Local].into_iter().all(|origin| {
            let parsed = parse(frame, origin);
            let v4 = common_v4(frame).is_none_or(|tuple| {
                parsed.is_ok_and(|parsed| {
                    let same = matches!(parsed.body, Body::V4(l4) if l4.tuple == tuple);
                    same && parsed.vlan == Vlan::NONE
                })
            });
            let v6 = common_v6(frame).is_none_or(|tuple| {
                parsed.is_ok_and(|parsed| {
                    let same = matches!(parsed.body, Body::V6(l4) if l4.tuple == tuple);
                    same && parsed.vlan == Vlan::NONE
                })
            });
            v4 && v6
        }) && group_agrees(frame)
    }

    /// That a group says the same, in whatever lane, of a frame that is long enough for it.
    fn group_agrees(frame: &[u8]) -> bool {
        let words = common_v4(frame).map(TupleWords::from);
        let expected = words.filter(|_| frame.len() >= SHORTEST_IN_GROUP);
        let mac = frame.first_chunk().map_or(ETH.dst, |mac| MacAddr(*mac));
        let mut group = GroupV4::default();
        (0..LANES).all(|lane| {
            group.load(lane, frame);
            group.judge(mac);
            let here = group.tuple(lane);
            group.judge(MacAddr([2, 0, 0, 0, 0, 77]));
            here == expected && group.tuple(lane).is_none()
        })
    }

    fn ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let v4 = prop::sample::select(std::vec![
            "192.0.2.1",
            "10.0.0.1",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.1",
            "240.0.0.1",
        ]);
        let v6 = prop::sample::select(std::vec![
            "2001:db8::1",
            "fe80::1",
            "::",
            "::1",
            "::ffff:192.0.2.1",
            "ff02::1",
            "2001:db8::2",
            "0:0:0:1::",
        ]);
        let port = || prop_oneof![Just(0u16), any::<u16>()];
        let pair = prop_oneof![(v4.clone(), v4), (v6.clone(), v6)];
        (pair, port(), port()).prop_map(|((src, dst), from, to)| {
            (
                SocketAddr::new(src.parse().unwrap(), from),
                SocketAddr::new(dst.parse().unwrap(), to),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn never_differs_from_parse(
            is_tcp: bool,
            ends in ends(),
            payload in prop::collection::vec(any::<u8>(), 0..30),
            edits in prop::collection::vec((0usize..60, any::<u8>()), 0..3),
            cut in prop::option::of(0usize..90),
        ) {
            let mut frame = frame(is_tcp, ends.0, ends.1, &payload);
            for (at, to) in edits {
                if let Some(byte) = frame.get_mut(at) {
                    *byte = to;
                }
            }
            frame.truncate(cut.unwrap_or(usize::MAX));
            prop_assert!(agrees(&frame), "{frame:02x?}");
        }
    }

    #[test]
    fn knows_the_common_shapes() {
        for is_tcp in [false, true] {
            let v4 = frame(
                is_tcp,
                "192.0.2.9:5".parse().unwrap(),
                "192.0.2.1:7".parse().unwrap(),
                b"",
            );
            assert_eq!(
                common_v4(&v4).map(|t| (t.src_port, t.dst_port)),
                Some((5, 7))
            );
            assert!(common_v6(&v4).is_none());
            let ends = ("[2001:db8::9]:5", "[2001:db8::1]:7");
            let v6 = frame(
                is_tcp,
                ends.0.parse().unwrap(),
                ends.1.parse().unwrap(),
                b"x",
            );
            assert_eq!(
                common_v6(&v6).map(|t| (t.src_port, t.dst_port)),
                Some((5, 7))
            );
            assert!(common_v4(&v6).is_none());
        }
    }

    /// A right checksum may also add up to 0x1fffe and the like.
    #[test]
    fn knows_all_right_checksums() {
        for id in 0..=u16::MAX {
            let mut frame = frame(
                false,
                "192.0.2.9:5".parse().unwrap(),
                "192.0.2.1:7".parse().unwrap(),
                b"",
            );
            frame[18..20].copy_from_slice(&id.to_be_bytes());
            frame[24..26].fill(0);
            let sum = crate::checksum::internet(&frame[14..34]);
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            assert!(common_v4(&frame).is_some(), "{id:#x}");
            assert!(group_agrees(&frame), "{id:#x}");
        }
    }
}
