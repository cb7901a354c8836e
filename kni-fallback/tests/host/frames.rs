//! Frames that a kernel answers, and what it answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Arp, Body, MacAddr, NdKind, Origin, Other, checksum, emit, ethertype, parse, proto};

use crate::common::{MAC, PEER_MAC};

pub const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const PEER_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const HOST_IP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
pub const PEER_IP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);

/// Who has the host's address?
pub fn arp_request() -> Vec<u8> {
    let mut frame = vec![0; 60];
    emit::arp_request(PEER_MAC, PEER_IP, HOST_IP, &mut frame).unwrap();
    frame
}

/// What is in a frame that has no ports.
fn carried(frame: &[u8]) -> Option<Other> {
    match parse(frame, Origin::Wire).ok()?.body {
        Body::Other(other) => Some(other),
        _ => None,
    }
}

pub fn is_arp_reply(frame: &[u8]) -> bool {
    let reply = Arp {
        op: wire::ARP_REPLY,
        sender_mac: MAC,
        sender_ip: HOST_IP,
        target_mac: PEER_MAC,
        target_ip: PEER_IP,
    };
    carried(frame) == Some(Other::Arp(reply))
}

/// An ICMP echo request (RFC 792) to the host, with `payload` bytes.
pub fn ping(payload: usize) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    icmp.resize(8 + payload, 0xa5);
    let sum = checksum::internet(&icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    let len = u16::try_from(20 + icmp.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, proto::ICMP, 0, 0];
    ip.extend(PEER_IP.octets());
    ip.extend(HOST_IP.octets());
    let sum = checksum::internet(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    [ethernet(MAC, ethertype::IPV4), ip, icmp].concat()
}

/// Whether `frame` is the answer to [`ping`]`(payload)`.
pub fn is_pong(frame: &[u8], payload: usize) -> bool {
    let Some(Other::Icmp(icmp)) = carried(frame) else {
        return false;
    };
    let message = &frame[icmp.l4_offset.into()..icmp.end.into()];
    (icmp.src, icmp.dst, icmp.kind) == (HOST_IP.into(), PEER_IP.into(), 0)
        && checksum::internet(message) == 0
        && message[4..8] == [0x12, 0x34, 0, 1]
        && message[8..] == vec![0xa5; payload]
}

/// A neighbour solicitation (RFC 4861 section 4.3) for the host's address.
pub fn solicitation() -> Vec<u8> {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let mut icmp = vec![135, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend(HOST_IP6.octets());
    icmp.extend([1, 1]);
    icmp.extend(PEER_MAC.0);
    let sum = checksum::l4_v6(PEER_IP6, group, proto::ICMPV6, &icmp).to_be_bytes();
    icmp[2..4].copy_from_slice(&sum);
    let len = u16::try_from(icmp.len()).unwrap().to_be_bytes();
    let mut ip = vec![0x60, 0, 0, 0, len[0], len[1], proto::ICMPV6, 255];
    ip.extend(PEER_IP6.octets());
    ip.extend(group.octets());
    let multicast = MacAddr([0x33, 0x33, 0xff, 0, 0, 1]);
    [ethernet(multicast, ethertype::IPV6), ip, icmp].concat()
}

pub fn is_advertisement(frame: &[u8]) -> bool {
    let Some(Other::Neighbor(nd)) = carried(frame) else {
        return false;
    };
    nd.kind == NdKind::Advertisement && nd.src == HOST_IP6 && nd.dst == PEER_IP6
}

fn ethernet(dst: MacAddr, ethertype: u16) -> Vec<u8> {
    let mut header = [dst.0, PEER_MAC.0].concat();
    header.extend(ethertype.to_be_bytes());
    header
}
