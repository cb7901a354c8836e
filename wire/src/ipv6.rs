//! IPv6 (RFC 8200): header checks, the extension chain, and on to the segment.

use core::net::Ipv6Addr;

use crate::{
    Icmpv6, L4, Malformed, Other, Parsed, TupleV6,
    bytes::{be16, be32},
    l4::{self, Ports},
    nd, proto,
};

/// Extension headers walked before the packet is refused. Real traffic has at most two or three;
/// each further one costs a dependent load per packet.
pub const MAX_EXTENSION_HEADERS: usize = 8;

const HEADER_LEN: u16 = 40;

/// The checked fixed header.
pub(crate) struct Header {
    pub src: u128,
    pub dst: u128,
    pub hop_limit: u8,
    pub l3_offset: u16,
    /// End of the packet in the frame.
    pub end: u16,
}

/// Where the extension chain leads.
enum Chain<'a> {
    Segment { proto: u8, bytes: &'a [u8] },
    Fragment,
}

/// `packet` runs from the IPv6 header to the end of the frame, at most 65535 - `l3_offset` bytes.
#[inline]
pub(crate) fn parse(packet: &[u8], l3_offset: u16) -> Result<Parsed, Malformed> {
    let (fixed, rest) = packet
        .split_first_chunk::<40>()
        .ok_or(Malformed::Ipv6Truncated)?;
    if fixed[0] >> 4 != 6 {
        return Err(Malformed::Ipv6Version);
    }
    let (payload_len, next_header) = (be16(fixed, 4), fixed[6]);
    let payload = rest
        .get(..usize::from(payload_len))
        .ok_or(Malformed::Ipv6PayloadLength)?;
    if payload_len == 0 && next_header == proto::HOPOPTS {
        return Err(Malformed::Ipv6PayloadLength);
    }
    let header = Header {
        src: address(fixed, 8),
        dst: address(fixed, 24),
        hop_limit: fixed[7],
        l3_offset,
        end: l3_offset + HEADER_LEN + payload_len,
    };
    check_addresses(header.src, header.dst)?;

    let plain = header.src != 0 && !is_multicast(header.dst);
    match next_header {
        proto::UDP if plain => Ok(whole(&header, proto::UDP, payload, &l4::udp(payload)?)),
        proto::TCP if plain => Ok(whole(&header, proto::TCP, payload, &l4::tcp(payload)?)),
        _ => uncommon(&header, next_header, payload),
    }
}

/// A whole TCP or UDP packet.
#[inline]
fn whole(header: &Header, proto: u8, segment: &[u8], ports: &Ports) -> Parsed {
    let l4_offset = offset_of(header, segment);
    Parsed::V6(L4 {
        tuple: TupleV6 {
            src: header.src,
            dst: header.dst,
            src_port: ports.src,
            dst_port: ports.dst,
            proto,
        },
        l3_offset: header.l3_offset,
        l4_offset,
        payload_offset: l4_offset + ports.header_len,
        end: header.end,
    })
}

/// Everything but TCP and UDP right behind the fixed header. Not inlined: it would cost the
/// common packets registers.
#[cold]
fn uncommon(header: &Header, next_header: u8, payload: &[u8]) -> Result<Parsed, Malformed> {
    let (proto, segment) = match walk(next_header, payload)? {
        Chain::Segment { proto, bytes } => (proto, bytes),
        Chain::Fragment => return Ok(Parsed::Other(Other::Fragment)),
    };
    // Before the two shortcuts below: solicitations go to multicast groups, and those of
    // duplicate address detection come from the unspecified address.
    if proto == proto::ICMPV6
        && let Some(neighbor) = nd::parse(header, segment)?
    {
        return Ok(Parsed::Other(Other::Neighbor(neighbor)));
    }
    if header.src == 0 {
        return Ok(Parsed::Other(Other::UnspecifiedSource));
    }
    if is_multicast(header.dst) {
        return Ok(Parsed::Other(Other::Multicast));
    }
    match proto {
        proto::UDP => Ok(whole(header, proto, segment, &l4::udp(segment)?)),
        proto::TCP => Ok(whole(header, proto, segment, &l4::tcp(segment)?)),
        proto::ICMPV6 => {
            let (kind, code) = l4::icmp(segment)?;
            Ok(Parsed::Other(Other::Icmpv6(Icmpv6 {
                src: Ipv6Addr::from_bits(header.src),
                dst: Ipv6Addr::from_bits(header.dst),
                kind,
                code,
                l4_offset: offset_of(header, segment),
                end: header.end,
            })))
        }
        _ => Ok(Parsed::Other(Other::OtherProto { proto })),
    }
}

/// Where `segment`, the tail of the packet, starts in the frame.
#[inline]
fn offset_of(header: &Header, segment: &[u8]) -> u16 {
    // The segment is part of a frame of at most 65535 bytes: the fallback is never taken.
    header.end - u16::try_from(segment.len()).unwrap_or(0)
}

/// Walks the extension headers (RFC 8200 section 4, RFC 7045). Stops where the rest is not ours
/// to read: ESP hides it, AH has to be verified by the host first, and a routing header with
/// segments left says that the packet's destination is another one.
fn walk(first: u8, payload: &[u8]) -> Result<Chain<'_>, Malformed> {
    let mut proto = first;
    let mut bytes = payload;
    for position in 0..=MAX_EXTENSION_HEADERS {
        match proto {
            proto::HOPOPTS if position > 0 => return Err(Malformed::Ipv6HopByHopNotFirst),
            proto::HOPOPTS | proto::ROUTING | proto::DSTOPTS | proto::FRAGMENT => {}
            _ => return Ok(Chain::Segment { proto, bytes }),
        }
        // Every one of them has at least 8 bytes, and the first two mean the same.
        let head = bytes
            .first_chunk::<8>()
            .ok_or(Malformed::Ipv6ExtensionHeaders)?;
        if position == MAX_EXTENSION_HEADERS {
            break;
        }
        if proto == proto::FRAGMENT {
            return Ok(Chain::Fragment);
        }
        let rest = bytes
            .get((usize::from(head[1]) + 1) * 8..)
            .ok_or(Malformed::Ipv6ExtensionHeaders)?;
        if proto == proto::ROUTING && head[3] != 0 {
            return Ok(Chain::Segment { proto, bytes });
        }
        proto = head[0];
        bytes = rest;
    }
    Err(Malformed::Ipv6ExtensionHeaders)
}

#[inline]
fn check_addresses(src: u128, dst: u128) -> Result<(), Malformed> {
    const LOOPBACK: u128 = 1;
    if is_multicast(src) || src == LOOPBACK || is_v4_mapped(src) {
        return Err(Malformed::MartianSource);
    }
    if dst <= LOOPBACK || is_v4_mapped(dst) {
        return Err(Malformed::MartianDestination);
    }
    if src == dst {
        return Err(Malformed::Land);
    }
    Ok(())
}

/// `ff00::/8`.
#[inline]
pub(crate) const fn is_multicast(addr: u128) -> bool {
    addr >> 120 == 0xff
}

/// `::ffff:0:0/96`: a dual-stack application would take it for an IPv4 peer.
#[inline]
const fn is_v4_mapped(addr: u128) -> bool {
    addr >> 32 == 0xffff
}

#[inline]
fn address(fixed: &[u8; 40], at: usize) -> u128 {
    let word = |i: usize| u128::from(be32(fixed, at + i));
    word(0) << 96 | word(4) << 64 | word(8) << 32 | word(12)
}
