//! The packet that an ICMP error is about.

use wire::Malformed;

use super::reading::{Flow, has_ports};
use crate::{
    packet::{Packet, be16},
    rules,
};

/// What a quote must keep to even if it is cut off.
const ALWAYS: [Malformed; 9] = [
    Malformed::Ipv4Truncated,
    Malformed::Ipv4Version,
    Malformed::Ipv4HeaderLength,
    Malformed::Ipv4Checksum,
    Malformed::Ipv6Truncated,
    Malformed::Ipv6Version,
    Malformed::MartianSource,
    Malformed::MartianDestination,
    Malformed::Land,
];

/// What its extension headers must keep to, which are all there.
const CHAIN: [Malformed; 3] = [
    Malformed::Ipv6ExtensionHeaders,
    Malformed::Ipv6HopByHopNotFirst,
    Malformed::Ipv6RoutingType0,
];

/// Least that is quoted behind the headers (RFC 792).
const MIN_PAYLOAD_LEN: usize = 8;

/// `None` if what is quoted is not sound, or too little.
pub fn quoted(ethertype: u16, bytes: &[u8]) -> Option<Flow> {
    let mut frame = vec![0; 12];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(bytes);
    if ALWAYS.into_iter().any(|rule| rules::breaks(rule, &frame)) {
        return None;
    }
    // Shown as a packet of its own that ends with the quote.
    let (len_at, before) = if ethertype == 0x0800 { (2, 0) } else { (4, 40) };
    let quoted_len = u16::try_from(bytes.len() - before).unwrap_or(u16::MAX);
    let len = be16(bytes, len_at).min(quoted_len);
    frame[14 + len_at..16 + len_at].copy_from_slice(&len.to_be_bytes());
    let packet = Packet::of(&frame);
    let (src, dst) = packet.ends()?;
    let broken = packet.cut || CHAIN.into_iter().any(|rule| rules::breaks(rule, &frame));
    if broken || src.is_unspecified() || packet.payload.len() < MIN_PAYLOAD_LEN {
        return None;
    }
    let proto = packet.proto;
    let first = packet.part.is_none_or(|part| part.offset == 0);
    let ports = match (be16(packet.payload, 0), be16(packet.payload, 2)) {
        _ if !first || !has_ports(proto) => None,
        (_, 0) => return None,
        (0, _) if proto != 17 => return None,
        ports => Some(ports),
    };
    #[rustfmt::skip]
    return Some(Flow { src, dst, proto, ports });
}
