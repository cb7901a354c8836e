//! Every rule of [`Malformed`] once more, each on its own and read as the RFC states it, slowly:
//! whether a frame breaks it. Shares no code with `wire`. A rule counts only where the headers
//! in front of it are sound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use wire::Malformed;

use crate::packet::{Extension, Packet, be16};

/// Whether `frame`, from the wire, breaks `rule`.
pub fn breaks(rule: Malformed, frame: &[u8]) -> bool {
    let packet = Packet::of(frame);
    match rule {
        Malformed::Runt => frame.len() < 14,
        Malformed::Oversize => frame.len() > 65535,
        Malformed::SourceMac => frame.get(6).is_some_and(|byte| byte & 1 == 1),
        Malformed::VlanTruncated => packet.tags.contains(&None),
        Malformed::VlanDepth => packet.tags.len() > 2,
        Malformed::VlanId => packet.tags.iter().take(2).flatten().any(|id| *id == 4095),
        Malformed::ArpMalformed => packet.ethertype == Some(0x0806) && !arp_ok(packet.rest),
        _ => match packet.ethertype {
            Some(0x0800) => v4(rule, &packet) || above(rule, &packet),
            Some(0x86dd) => v6(rule, &packet) || above(rule, &packet),
            _ => false,
        },
    }
}

fn arp_ok(packet: &[u8]) -> bool {
    packet.len() >= 28 && packet.starts_with(&[0, 1, 8, 0, 6, 4])
}

fn v4(rule: Malformed, packet: &Packet) -> bool {
    let ip = packet.rest;
    let Some(&first) = ip.first().filter(|_| ip.len() >= 20) else {
        return rule == Malformed::Ipv4Truncated;
    };
    let header_len = usize::from(first & 15) * 4;
    let header = ip.get(..header_len).unwrap_or_default();
    let total_len = usize::from(be16(ip, 2));
    match rule {
        Malformed::Ipv4Version => first >> 4 != 4,
        Malformed::Ipv4HeaderLength => header_len < 20 || header_len > ip.len(),
        Malformed::Ipv4TotalLength => total_len < header_len || total_len > ip.len(),
        Malformed::Ipv4Checksum => sum(Sum16BitWords::new(), header) != 0,
        Malformed::Ipv4Options => !v4_options(header).1,
        Malformed::Ipv4SourceRoute => {
            let (kinds, _) = v4_options(header);
            kinds.contains(&131) || kinds.contains(&137)
        }
        _ => false,
    }
}

/// The kinds of the options, and whether each ends inside the header; the last may not.
fn v4_options(header: &[u8]) -> (Vec<u8>, bool) {
    let mut kinds = Vec::new();
    let mut at = 20;
    while at < header.len() && header[at] != 0 {
        let len = match (header[at], header.get(at + 1)) {
            (1, _) => 1,
            (_, Some(len)) if *len >= 2 => usize::from(*len),
            _ => return (kinds, false),
        };
        if at + len > header.len() {
            return (kinds, false);
        }
        kinds.push(header[at]);
        at += len;
    }
    (kinds, true)
}

fn v6(rule: Malformed, packet: &Packet) -> bool {
    let ip = packet.rest;
    if ip.len() < 40 {
        return rule == Malformed::Ipv6Truncated;
    }
    let payload_len = usize::from(be16(ip, 4));
    let options = |it: &&Extension| matches!(it.kind, 0 | 60);
    match rule {
        Malformed::Ipv6Version => ip[0] >> 4 != 6,
        Malformed::Ipv6PayloadLength => {
            payload_len > ip.len() - 40 || (payload_len == 0 && ip[6] == 0)
        }
        Malformed::Ipv6ExtensionHeaders => {
            packet.cut && packet.part.is_none_or(|part| part.offset > 0)
                || packet.chain.len() + usize::from(packet.cut) > wire::MAX_EXTENSION_HEADERS
                || packet
                    .chain
                    .iter()
                    .filter(options)
                    .any(|it| !it.options_ok())
        }
        Malformed::Ipv6HopByHopNotFirst => {
            packet.chain.iter().skip(1).any(|it| it.kind == 0)
                || packet.cut && packet.proto == 0 && !packet.chain.is_empty()
        }
        Malformed::Ipv6RoutingType0 => {
            let mut routing = packet.chain.iter().filter(|it| it.kind == 43);
            routing.any(|it| it.bytes[2] == 0 && it.bytes[3] != 0)
        }
        _ => false,
    }
}

/// The rules that both IP versions have.
fn above(rule: Malformed, packet: &Packet) -> bool {
    let Some((src, dst)) = packet.ends() else {
        return false;
    };
    let whole = packet.part.is_none();
    let bytes = packet.payload;
    match rule {
        Malformed::MartianSource => martian(src) || src.is_multicast() || is_broadcast(src),
        Malformed::MartianDestination => martian(dst) || dst == Ipv6Addr::UNSPECIFIED,
        Malformed::Land => src == dst,
        Malformed::TcpToGroup => whole && packet.proto == 6 && is_group(dst),
        Malformed::NdMalformed => whole && nd_broken(packet),
        Malformed::L4Truncated => {
            let special = is_group(dst) || src.is_unspecified();
            let icmp = packet.is_icmp() && !special;
            whole && (bytes.len() < least(packet.proto) || icmp && bytes.len() < 8)
        }
        Malformed::UdpLength => {
            let seen = packet.shows_header(8) && packet.proto == 17;
            seen && (be16(bytes, 4) < 8 || whole && usize::from(be16(bytes, 4)) > bytes.len())
        }
        Malformed::TcpDataOffset => {
            let seen = packet.shows_header(20) && packet.proto == 6;
            seen && (tcp_len(bytes) < 20 || whole && tcp_len(bytes) > bytes.len())
        }
        Malformed::ZeroPort => {
            let ports = matches!(packet.proto, 6 | 17 | 132);
            let seen = ports && packet.shows_header(least(packet.proto));
            seen && (be16(bytes, 2) == 0 || packet.proto != 17 && be16(bytes, 0) == 0)
        }
        Malformed::FragmentLength => packet
            .part
            .is_some_and(|part| part.len == 0 || part.more && part.len % 8 != 0),
        Malformed::FragmentTooLong => packet
            .part
            .is_some_and(|part| part.overhead + usize::from(part.offset) + part.len > 65535),
        Malformed::FragmentTiny => tiny(packet, src),
        _ => false,
    }
}

fn tiny(packet: &Packet, src: IpAddr) -> bool {
    let Some(part) = packet.part else {
        return false;
    };
    let bytes = packet.payload;
    if part.offset > 0 {
        return part.offset == 8 && packet.proto == 6;
    }
    if src.is_ipv4() {
        return bytes.len() < least(packet.proto);
    }
    let upper = match packet.proto {
        59 => 0,
        58 => 4,
        6 if bytes.len() >= 20 => tcp_len(bytes),
        6 | 17 | 132 => least(packet.proto),
        _ => 1,
    };
    packet.cut || bytes.len() < upper
}

/// Bytes of the fixed header.
fn least(proto: u8) -> usize {
    match proto {
        6 => 20,
        17 => 8,
        132 => 12,
        _ => 0,
    }
}

fn tcp_len(header: &[u8]) -> usize {
    usize::from(header[12] >> 4) * 4
}

fn martian(addr: IpAddr) -> bool {
    let mapped = matches!(addr, IpAddr::V6(it) if it.to_ipv4_mapped().is_some());
    addr.is_loopback() || mapped
}

fn is_broadcast(addr: IpAddr) -> bool {
    addr == Ipv4Addr::BROADCAST
}

fn is_group(addr: IpAddr) -> bool {
    addr.is_multicast() || is_broadcast(addr) || addr == Ipv4Addr::UNSPECIFIED
}

fn sum(start: Sum16BitWords, bytes: &[u8]) -> u16 {
    start.add_slice(bytes).ones_complement()
}

/// RFC 4861 sections 6.1, 7.1 and 8.1, and RFC 6980.
fn nd_broken(packet: &Packet) -> bool {
    let message = packet.payload;
    let Some((IpAddr::V6(src), IpAddr::V6(dst))) = packet.ends() else {
        return false;
    };
    let (kind, options_at) = match message.first() {
        Some(133) => (133, 8),
        Some(134) => (134, 16),
        Some(kind @ (135 | 136)) => (*kind, 24),
        Some(137) => (137, 40),
        _ => return false,
    };
    if packet.proto != 58 {
        return false;
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let pseudo = Sum16BitWords::new()
        .add_16bytes(src.octets())
        .add_16bytes(dst.octets())
        .add_2bytes([0, 58])
        .add_slice(&len.to_be_bytes());
    let atomic = packet.chain.iter().any(|it| it.kind == 44);
    if packet.rest[7] != 255
        || atomic
        || message.len() < options_at
        || message[1] != 0
        || sum(pseudo, message) != 0
    {
        return true;
    }
    let wanted = if kind < 136 { 1 } else { 2 };
    let Some(link_layer) = nd_options(&message[options_at..], wanted) else {
        return true;
    };
    let address = |at: usize| {
        let octets: [u8; 16] = message[at..at + 16].try_into().unwrap_or_default();
        Ipv6Addr::from(octets)
    };
    let solicited_node = dst
        .octets()
        .starts_with(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]);
    match kind {
        133 => src.is_unspecified() && link_layer,
        134 => !src.is_unicast_link_local(),
        135 => address(8).is_multicast() || src.is_unspecified() && (link_layer || !solicited_node),
        136 => address(8).is_multicast() || message[4] & 0x40 != 0 && dst.is_multicast(),
        _ => {
            !src.is_unicast_link_local()
                || address(24).is_multicast()
                || !address(8).is_unicast_link_local() && address(8) != address(24)
        }
    }
}

/// Whether the link-layer address is among them; `None` if they are not sound.
fn nd_options(mut options: &[u8], wanted: u8) -> Option<bool> {
    let (mut found, mut count) = (0, 0);
    while !options.is_empty() {
        let units = usize::from(*options.get(1)?);
        if units == 0 || units * 8 > options.len() || options[0] == wanted && units != 1 {
            return None;
        }
        found += u8::from(options[0] == wanted);
        count += 1;
        options = &options[units * 8..];
    }
    (found < 2 && count <= wire::MAX_ND_OPTIONS).then_some(found == 1)
}
