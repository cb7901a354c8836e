//! IPv4 (RFC 791): header checks, and on to the segment.

use core::net::{IpAddr, Ipv4Addr};

use crate::{
    About, Body, Fragment, L4, Malformed, Origin, Other, Parsed, TupleV4, Vlan,
    bytes::{be16, be32},
    checksum,
    ethernet::HEADER_LEN,
    icmp::MIN_QUOTED,
    l4::{self, Ports},
    proto, upper,
};

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The checked header.
struct Header {
    src: u32,
    dst: u32,
    proto: u8,
    /// More Fragments and the fragment offset, as in the header.
    part: u16,
    l3_offset: u16,
    l4_offset: u16,
    /// End of the packet in the frame.
    end: u16,
}

/// `packet` runs from the IPv4 header to the end of an untagged frame of at most 65535 bytes.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that `origin` is a constant")]
pub(crate) fn parse(packet: &[u8], origin: Origin) -> Result<Parsed, Malformed> {
    let (ip, segment) = Header::checked(packet, HEADER_LEN, origin)?;
    let plain = ip.part == 0 && ip.src != 0 && !is_group(ip.dst);
    let ports = match ip.proto {
        proto::UDP if plain => l4::udp(segment)?,
        proto::TCP if plain => l4::tcp(segment)?,
        _ => return uncommon(packet, HEADER_LEN, Vlan::NONE, origin),
    };
    Ok(Parsed {
        vlan: Vlan::NONE,
        body: Body::V4(whole(&ip, &ports, origin)?),
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
    let (ip, segment) = Header::checked(packet, l3_offset, origin)?;
    if ip.part != 0 {
        let id = packet.first_chunk::<6>().map_or(0, |start| be16(start, 4));
        return fragment(&ip, id, segment);
    }
    if ip.src == 0 || is_group(ip.dst) {
        return upper::group(&ip.upper(segment), is_group(ip.dst));
    }
    if ip.proto == proto::ICMP {
        return upper::icmp(&ip.upper(segment), origin);
    }
    match l4::ports(ip.proto, segment)? {
        Some(ports) => Ok(Body::V4(whole(&ip, &ports, origin)?)),
        None => Ok(upper::no_ports(&ip.upper(segment))),
    }
}

/// A whole TCP, UDP or SCTP packet.
#[inline]
fn whole(ip: &Header, ports: &Ports, origin: Origin) -> Result<L4<TupleV4>, Malformed> {
    // From the wire the address alone was enough, in `check_addresses`.
    if origin == Origin::Local && ip.src == ip.dst && ports.src == ports.dst {
        return Err(Malformed::Land);
    }
    Ok(L4 {
        tuple: TupleV4 {
            src: ip.src,
            dst: ip.dst,
            src_port: ports.src,
            dst_port: ports.dst,
            proto: ip.proto,
        },
        l3_offset: ip.l3_offset,
        l4_offset: ip.l4_offset,
        payload_offset: ip.l4_offset + ports.header_len,
        end: ip.end,
    })
}

fn fragment(ip: &Header, id: u16, segment: &[u8]) -> Result<Body, Malformed> {
    let fragment = Fragment {
        src: IpAddr::V4(Ipv4Addr::from_bits(ip.src)),
        dst: IpAddr::V4(Ipv4Addr::from_bits(ip.dst)),
        proto: ip.proto,
        id: u32::from(id),
        offset: (ip.part & FRAGMENT_OFFSET) * 8,
        len: ip.end - ip.l4_offset,
        more: ip.part & MORE_FRAGMENTS != 0,
        ports: None,
        l3_offset: ip.l3_offset,
    };
    fragment.check_length(ip.l4_offset - ip.l3_offset)?;
    let fragment = fragment.with_ports(segment, false)?;
    Ok(Body::Other(Other::Fragment(fragment)))
}

impl Header {
    /// The header and what it is in front of.
    #[inline]
    fn checked(packet: &[u8], l3_offset: u16, origin: Origin) -> Result<(Self, &[u8]), Malformed> {
        let header = packet.first_chunk::<20>().ok_or(Malformed::Ipv4Truncated)?;
        if header[0] >> 4 != 4 {
            return Err(Malformed::Ipv4Version);
        }
        let header_len = u16::from(header[0] & 0x0f) * 4;
        let total_len = be16(header, 2);
        if header_len < 20 || usize::from(header_len) > packet.len() {
            return Err(Malformed::Ipv4HeaderLength);
        }
        let segment = packet
            .get(usize::from(header_len)..usize::from(total_len))
            .ok_or(Malformed::Ipv4TotalLength)?;
        if header_len > 20 {
            check_options(packet, header_len)?;
        } else if !checksum::ipv4_fixed_header_ok(header) {
            return Err(Malformed::Ipv4Checksum);
        }
        let (src, dst) = (be32(header, 12), be32(header, 16));
        check_addresses(src, dst, origin)?;
        let ip = Self {
            src,
            dst,
            proto: header[9],
            part: be16(header, 6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET),
            l3_offset,
            l4_offset: l3_offset + header_len,
            end: l3_offset + total_len,
        };
        Ok((ip, segment))
    }

    /// What is left to know for a packet that is no [`Body::V4`].
    fn upper<'a>(&self, bytes: &'a [u8]) -> upper::Packet<'a> {
        upper::Packet {
            src: IpAddr::V4(Ipv4Addr::from_bits(self.src)),
            dst: IpAddr::V4(Ipv4Addr::from_bits(self.dst)),
            proto: self.proto,
            bytes,
            l4_offset: self.l4_offset,
            end: self.end,
        }
    }
}

/// The checksum and the options of a header that has some. `header_len` is inside `packet`.
#[cold]
fn check_options(packet: &[u8], header_len: u16) -> Result<(), Malformed> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;

    let (header, _) =
        (packet.split_at_checked(usize::from(header_len))).ok_or(Malformed::Ipv4HeaderLength)?;
    if !checksum::ipv4_header_ok(header) {
        return Err(Malformed::Ipv4Checksum);
    }
    let mut options = header.get(20..).unwrap_or_default();
    // At most 40 bytes, and every round takes one.
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            END => break,
            NO_OPERATION => rest,
            _ => {
                let len = rest.first().map_or(0, |len| usize::from(*len));
                if len < 2 {
                    return Err(Malformed::Ipv4Options);
                }
                options.get(len..).ok_or(Malformed::Ipv4Options)?
            }
        };
        if matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
            return Err(Malformed::Ipv4SourceRoute);
        }
    }
    Ok(())
}

/// The packet that an ICMP error quotes the start of. `None` unless it is sound as far as that
/// goes.
pub(crate) fn quoted(packet: &[u8], origin: Origin) -> Option<About> {
    let header = packet.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(be16(header, 2));
    // Behind the end of the packet RFC 4884 extensions may follow.
    let packet = &packet[..total_len.min(packet.len())];
    let bytes = packet.get(header_len..)?;
    let sound = header[0] >> 4 == 4
        && header_len >= 20
        && bytes.len() >= MIN_QUOTED
        && checksum::ipv4_header_ok(packet.get(..header_len)?);
    let (src, dst, proto) = (be32(header, 12), be32(header, 16), header[9]);
    if !sound || src == 0 {
        return None;
    }
    check_addresses(src, dst, origin).ok()?;
    let first = be16(header, 6) & FRAGMENT_OFFSET == 0;
    let ports = if first {
        l4::leading_ports(proto, bytes).ok()?
    } else {
        None
    };
    Some(About {
        src: IpAddr::V4(Ipv4Addr::from_bits(src)),
        dst: IpAddr::V4(Ipv4Addr::from_bits(dst)),
        proto,
        ports,
    })
}

#[inline]
fn check_addresses(src: u32, dst: u32, origin: Origin) -> Result<(), Malformed> {
    if is_loopback(src) || is_multicast(src) || src == u32::MAX {
        return Err(Malformed::MartianSource);
    }
    if is_loopback(dst) {
        return Err(Malformed::MartianDestination);
    }
    if origin == Origin::Wire && src == dst {
        return Err(Malformed::Land);
    }
    Ok(())
}

/// 127.0.0.0/8.
#[inline]
const fn is_loopback(addr: u32) -> bool {
    addr >> 24 == 127
}

/// 224.0.0.0/4.
#[inline]
const fn is_multicast(addr: u32) -> bool {
    addr >> 28 == 0xe
}

/// Multicast, 255.255.255.255, or 0.0.0.0: RFC 1122 section 3.3.6 wants the latter, 4.2BSD's
/// broadcast, recognised as such.
#[inline]
const fn is_group(addr: u32) -> bool {
    is_multicast(addr) || addr == u32::MAX || addr == 0
}
