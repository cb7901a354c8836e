//! IPv4 (RFC 791): header checks, and on to the segment.

use core::net::Ipv4Addr;

use crate::{
    Icmp, L4, Malformed, Other, Parsed, TupleV4,
    bytes::{be16, be32},
    checksum, l4, proto,
};

/// More Fragments and the fragment offset; the reserved and DF bits are left out.
const FRAGMENT_MASK: u16 = 0x3fff;

/// `packet` runs from the IPv4 header to the end of the frame, at most 65535 - `l3_offset` bytes.
#[inline]
pub(crate) fn parse(packet: &[u8], l3_offset: u16) -> Result<Parsed, Malformed> {
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
    if !checksum_ok(packet, header, header_len) {
        return Err(Malformed::Ipv4Checksum);
    }

    let (src, dst) = (be32(header, 12), be32(header, 16));
    let proto = header[9];
    check_addresses(src, dst)?;
    if be16(header, 6) & FRAGMENT_MASK != 0 {
        return Ok(Parsed::Other(Other::Fragment));
    }
    if src == 0 {
        return Ok(Parsed::Other(Other::UnspecifiedSource));
    }
    if is_group(dst) {
        return Ok(Parsed::Other(Other::Multicast));
    }

    let l4_offset = l3_offset + header_len;
    let end = l3_offset + total_len;
    let ports = match proto {
        proto::UDP => l4::udp(segment)?,
        proto::TCP => l4::tcp(segment)?,
        proto::ICMP => {
            let (kind, code) = l4::icmp(segment)?;
            let (src, dst) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst));
            return Ok(Parsed::Other(Other::Icmp(Icmp {
                src,
                dst,
                kind,
                code,
                l4_offset,
                end,
            })));
        }
        _ => return Ok(Parsed::Other(Other::OtherProto { proto })),
    };
    Ok(Parsed::V4(L4 {
        tuple: TupleV4 {
            src,
            dst,
            src_port: ports.src,
            dst_port: ports.dst,
            proto,
        },
        l3_offset,
        l4_offset,
        payload_offset: l4_offset + ports.header_len,
        end,
    }))
}

#[inline]
fn checksum_ok(packet: &[u8], header: &[u8; 20], header_len: u16) -> bool {
    if header_len == 20 {
        return checksum::ipv4_fixed_header_ok(header);
    }
    packet
        .get(..usize::from(header_len))
        .is_some_and(checksum::ipv4_header_ok)
}

#[inline]
fn check_addresses(src: u32, dst: u32) -> Result<(), Malformed> {
    if is_loopback(src) || is_multicast(src) || src == u32::MAX {
        return Err(Malformed::MartianSource);
    }
    if is_loopback(dst) {
        return Err(Malformed::MartianDestination);
    }
    if src == dst {
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
