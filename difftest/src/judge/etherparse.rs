//! etherparse's reading, in process.

use std::net::IpAddr;

use etherparse::{
    IpPayloadSlice, Ipv6ExtensionSlice, Ipv6Slice, LinkExtSlice, NetSlice, SlicedPacket,
    TransportSlice, checksum::Sum16BitWords, err::packet::SliceError,
};

use super::Verdict;
use crate::seen::{Ip, Part, Seen};

/// Judges a frame.
pub fn judge(frame: &[u8]) -> Verdict {
    let packet = match SlicedPacket::from_ethernet(frame) {
        Ok(packet) => packet,
        Err(error) => return Verdict::Refuses(place(&error)),
    };
    let vlans = packet.link_exts.iter().filter_map(|it| match it {
        LinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
        LinkExtSlice::Macsec(_) => None,
    });
    let vlans = vlans.filter(|id| *id != 0).collect();
    let ip = match &packet.net {
        Some(NetSlice::Ipv4(it)) => {
            let header = it.header();
            if header_sum(header.slice()) != 0 {
                return Verdict::Refuses("IPv4 header checksum".to_owned());
            }
            let part = it.is_payload_fragmented().then(|| Part {
                id: u32::from(header.identification()),
                offset: header.fragments_offset().value() * 8,
                more: header.more_fragments(),
            });
            let ends = (
                header.source_addr().into(),
                header.destination_addr().into(),
            );
            Some(ip(
                frame,
                ends,
                it.payload(),
                part,
                packet.transport.as_ref(),
            ))
        }
        Some(NetSlice::Ipv6(it)) => {
            let header = it.header();
            let ends = (
                header.source_addr().into(),
                header.destination_addr().into(),
            );
            let transport = packet.transport.as_ref();
            Some(ip(frame, ends, it.payload(), part(it), transport))
        }
        Some(NetSlice::Arp(_)) | None => None,
    };
    Verdict::Reads(Seen { vlans, ip })
}

/// The part of an error that does not change from frame to frame.
fn place(error: &SliceError) -> String {
    match error {
        SliceError::Len(error) => format!("{} length", error.layer),
        error => error.to_string(),
    }
}

/// The first Fragment header that makes a fragment.
fn part(packet: &Ipv6Slice) -> Option<Part> {
    packet
        .extensions()
        .clone()
        .into_iter()
        .find_map(|it| match it {
            Ipv6ExtensionSlice::Fragment(it) if it.is_fragmenting_payload() => Some(Part {
                id: it.identification(),
                offset: it.fragment_offset().value() * 8,
                more: it.more_fragments(),
            }),
            _ => None,
        })
}

fn ip(
    frame: &[u8],
    (src, dst): (IpAddr, IpAddr),
    payload: &IpPayloadSlice,
    part: Option<Part>,
    transport: Option<&TransportSlice>,
) -> Ip {
    let offset = |slice: &[u8]| slice.as_ptr().addr() - frame.as_ptr().addr();
    let number = payload.ip_number.0;
    let ends = (src, dst);
    let (ports, payload_start, sum_ok) = match transport {
        Some(TransportSlice::Udp(it)) => {
            let sum = pseudo_sum(ends, number, it.slice());
            let ports = (it.source_port(), it.destination_port());
            let absent = it.checksum() == 0;
            let sum_ok = match (absent, src.is_ipv4()) {
                (true, true) => None,
                (absent, _) => Some(sum == 0 && !absent),
            };
            (Some(ports), Some(offset(it.payload())), sum_ok)
        }
        Some(TransportSlice::Tcp(it)) => {
            let sum = pseudo_sum(ends, number, it.slice());
            let ports = (it.source_port(), it.destination_port());
            (Some(ports), Some(offset(it.payload())), Some(sum == 0))
        }
        Some(TransportSlice::Icmpv4(it)) if src.is_ipv4() => {
            (None, None, Some(header_sum(it.slice()) == 0))
        }
        Some(TransportSlice::Icmpv6(it)) if src.is_ipv6() => {
            let sum = pseudo_sum(ends, number, it.slice());
            (None, None, Some(sum == 0))
        }
        // SCTP and fragments it leaves alone: the ports are where it says that they are.
        _ => (first_ports(number, part, payload.payload), None, None),
    };
    Ip {
        src,
        dst,
        proto: Some(number),
        ports,
        part,
        start: part.is_none().then(|| offset(payload.payload)),
        payload: payload_start,
        sum_ok,
    }
}

fn first_ports(number: u8, part: Option<Part>, bytes: &[u8]) -> Option<(u16, u16)> {
    if !matches!(number, 6 | 17 | 132) || part.is_some_and(|part| part.offset != 0) {
        return None;
    }
    let [a, b, c, d] = *bytes.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

/// 0 if the Internet checksum of `bytes` is right.
pub(crate) fn header_sum(bytes: &[u8]) -> u16 {
    Sum16BitWords::new().add_slice(bytes).ones_complement()
}

/// As [`header_sum`], of a segment with its pseudo-header.
pub(crate) fn pseudo_sum((src, dst): (IpAddr, IpAddr), number: u8, segment: &[u8]) -> u16 {
    let sum = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Sum16BitWords::new()
            .add_4bytes(src.octets())
            .add_4bytes(dst.octets()),
        (src, dst) => {
            let octets = |it| match it {
                IpAddr::V4(it) => it.to_ipv6_mapped().octets(),
                IpAddr::V6(it) => it.octets(),
            };
            Sum16BitWords::new()
                .add_16bytes(octets(src))
                .add_16bytes(octets(dst))
        }
    };
    let len = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    sum.add_2bytes([0, number])
        .add_slice(&len.to_be_bytes())
        .add_slice(segment)
        .ones_complement()
}
