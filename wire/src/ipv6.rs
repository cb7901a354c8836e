//! IPv6 (RFC 8200): header checks, and on to the segment.

use core::net::{IpAddr, Ipv6Addr};

use crate::{
    About, Body, Fragment, L4, Malformed, Origin, Other, Parsed, TupleV6, Vlan,
    bytes::{be16, be32},
    ethernet,
    extensions::{Chain, FragmentHeader, walk},
    icmp::MIN_QUOTED,
    l4::{self, Ports},
    nd, proto, upper,
};

const HEADER_LEN: u16 = 40;

/// The checked fixed header.
pub(crate) struct Header {
    pub src: u128,
    pub dst: u128,
    pub next: u8,
    pub hop_limit: u8,
    pub l3_offset: u16,
    /// End of the packet in the frame.
    pub end: u16,
}

/// `packet` runs from the IPv6 header to the end of an untagged frame of at most 65535 bytes.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that `origin` is a constant")]
pub(crate) fn parse(packet: &[u8], origin: Origin) -> Result<Parsed, Malformed> {
    let (ip, segment) = Header::checked(packet, ethernet::HEADER_LEN, origin)?;
    let plain = ip.src != 0 && !is_multicast(ip.dst);
    let ports = match ip.next {
        proto::UDP if plain => l4::udp(segment)?,
        proto::TCP if plain => l4::tcp(segment)?,
        _ => return uncommon(packet, ethernet::HEADER_LEN, Vlan::NONE, origin),
    };
    Ok(Parsed {
        vlan: Vlan::NONE,
        body: Body::V6(whole(&ip, ip.next, segment, &ports, origin)?),
    })
}

/// A whole TCP, UDP or SCTP packet.
#[inline]
fn whole(
    header: &Header,
    proto: u8,
    segment: &[u8],
    ports: &Ports,
    origin: Origin,
) -> Result<L4<TupleV6>, Malformed> {
    // From the wire the address alone was enough, in `check_addresses`.
    if origin == Origin::Local && header.src == header.dst && ports.src == ports.dst {
        return Err(Malformed::Land);
    }
    let l4_offset = header.offset_of(segment);
    Ok(L4 {
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

/// Any packet, for those that [`parse`] does not keep. Not inlined, and reads the header again:
/// handing it over would cost the common packets registers and stores.
#[cold]
pub(crate) fn uncommon(
    packet: &[u8],
    l3_offset: u16,
    vlan: Vlan,
    origin: Origin,
) -> Result<Parsed, Malformed> {
    let body = any(packet, l3_offset, origin)?;
    Ok(Parsed { vlan, body })
}

fn any(packet: &[u8], l3_offset: u16, origin: Origin) -> Result<Body, Malformed> {
    let (header, payload) = &Header::checked(packet, l3_offset, origin)?;
    let cut = Malformed::Ipv6ExtensionHeaders;
    let chain = walk(header.next, payload, 0, cut)?;
    if let Some(fragment_header) = chain.fragment {
        return fragment(header, fragment_header, &chain);
    }
    let (proto, segment) = (chain.proto, chain.bytes);
    // Before groups: solicitations go to multicast groups, and those of duplicate address
    // detection come from the unspecified address.
    if proto == proto::ICMPV6
        && let Some(neighbor) = nd::parse(header, segment)?
    {
        if chain.atomic {
            return Err(Malformed::NdMalformed);
        }
        return Ok(Body::Other(Other::Neighbor(neighbor)));
    }
    let packet = upper::Packet {
        src: IpAddr::V6(Ipv6Addr::from_bits(header.src)),
        dst: IpAddr::V6(Ipv6Addr::from_bits(header.dst)),
        proto,
        bytes: segment,
        l4_offset: header.offset_of(segment),
        end: header.end,
    };
    if header.src == 0 || is_multicast(header.dst) {
        return upper::group(&packet, is_multicast(header.dst));
    }
    if proto == proto::ICMPV6 {
        return upper::icmp(&packet, origin);
    }
    match l4::ports(proto, segment)? {
        Some(ports) => Ok(Body::V6(whole(header, proto, segment, &ports, origin)?)),
        None => Ok(upper::no_ports(&packet)),
    }
}

/// `chain` ended behind the Fragment header `part`.
fn fragment(header: &Header, part: FragmentHeader, chain: &Chain) -> Result<Body, Malformed> {
    let start = header.offset_of(chain.bytes);
    let fragment = Fragment {
        src: IpAddr::V6(Ipv6Addr::from_bits(header.src)),
        dst: IpAddr::V6(Ipv6Addr::from_bits(header.dst)),
        proto: chain.proto,
        id: part.id,
        offset: part.offset,
        len: header.end - start,
        more: part.more,
        ports: None,
        l3_offset: header.l3_offset,
    };
    // The Fragment header itself is gone from the whole packet.
    fragment.check_length(start - header.l3_offset - HEADER_LEN - 8)?;
    if part.offset > 0 {
        let fragment = fragment.with_ports(chain.bytes, true)?;
        return Ok(Body::Other(Other::Fragment(fragment)));
    }
    let cut = Malformed::FragmentTiny;
    let first = walk(chain.proto, chain.bytes, chain.headers, cut)?;
    // What a fragment inside a fragment starts with is known when the outer one is whole.
    let (proto, segment) = match first.fragment {
        Some(_) => (proto::FRAGMENT, chain.bytes),
        None => (first.proto, first.bytes),
    };
    let fragment = Fragment { proto, ..fragment }.with_ports(segment, true)?;
    Ok(Body::Other(Other::Fragment(fragment)))
}

/// The packet that an `ICMPv6` error quotes the start of. `None` unless it is sound as far as
/// that goes.
pub(crate) fn quoted(packet: &[u8], origin: Origin) -> Option<About> {
    let (fixed, rest) = packet.split_first_chunk::<40>()?;
    let (src, dst) = (address(fixed, 8), address(fixed, 24));
    if fixed[0] >> 4 != 6 || src == 0 {
        return None;
    }
    check_addresses(src, dst, origin).ok()?;
    let quoted_len = rest.len().min(usize::from(be16(fixed, 4)));
    let cut = Malformed::Ipv6ExtensionHeaders;
    let mut chain = walk(fixed[6], &rest[..quoted_len], 0, cut).ok()?;
    if let Some(FragmentHeader { offset: 0, .. }) = chain.fragment {
        let first = walk(chain.proto, chain.bytes, chain.headers, cut).ok()?;
        // As in `fragment`.
        chain = match first.fragment {
            Some(_) => Chain {
                proto: proto::FRAGMENT,
                ..chain
            },
            None => first,
        };
    }
    if chain.bytes.len() < MIN_QUOTED {
        return None;
    }
    let ports = match chain.fragment {
        Some(_) => None,
        None => l4::leading_ports(chain.proto, chain.bytes).ok()?,
    };
    Some(About {
        src: IpAddr::V6(Ipv6Addr::from_bits(src)),
        dst: IpAddr::V6(Ipv6Addr::from_bits(dst)),
        proto: chain.proto,
        ports,
    })
}

impl Header {
    /// The header and the payload.
    #[inline]
    fn checked(packet: &[u8], l3_offset: u16, origin: Origin) -> Result<(Self, &[u8]), Malformed> {
        let (fixed, rest) = packet
            .split_first_chunk::<40>()
            .ok_or(Malformed::Ipv6Truncated)?;
        if fixed[0] >> 4 != 6 {
            return Err(Malformed::Ipv6Version);
        }
        let (payload_len, next) = (be16(fixed, 4), fixed[6]);
        let payload = rest
            .get(..usize::from(payload_len))
            .ok_or(Malformed::Ipv6PayloadLength)?;
        if payload_len == 0 && next == proto::HOPOPTS {
            return Err(Malformed::Ipv6PayloadLength);
        }
        let header = Self {
            src: address(fixed, 8),
            dst: address(fixed, 24),
            next,
            hop_limit: fixed[7],
            l3_offset,
            end: l3_offset + HEADER_LEN + payload_len,
        };
        check_addresses(header.src, header.dst, origin)?;
        Ok((header, payload))
    }

    /// Where `segment`, the tail of the packet, starts in the frame.
    #[inline]
    fn offset_of(&self, segment: &[u8]) -> u16 {
        // The segment is part of a frame of at most 65535 bytes: the fallback is never taken.
        self.end - u16::try_from(segment.len()).unwrap_or(0)
    }
}

#[inline]
fn check_addresses(src: u128, dst: u128, origin: Origin) -> Result<(), Malformed> {
    const LOOPBACK: u128 = 1;
    if is_multicast(src) || src == LOOPBACK || is_v4_mapped(src) {
        return Err(Malformed::MartianSource);
    }
    if dst <= LOOPBACK || is_v4_mapped(dst) {
        return Err(Malformed::MartianDestination);
    }
    if origin == Origin::Wire && src == dst {
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
