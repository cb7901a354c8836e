//! Frames by their addresses.

use std::net::{IpAddr, SocketAddr};

use wire::emit::{Eth, Icmp, Sctp, Tcp, Udp, fragment, quote, tag, tcp_flags};
use wire::{Arp, MacAddr, NdKind, NeighborDiscovery, Vlan};

use super::{CLIENT_MAC, MAC};

/// From another machine to the first port.
pub const IN: Eth = Eth {
    dst: MAC,
    src: CLIENT_MAC,
};
/// From the first port to another machine.
pub const OUT: Eth = Eth {
    dst: CLIENT_MAC,
    src: MAC,
};
/// From the first port to all.
pub const TO_ALL: Eth = Eth {
    dst: MacAddr::BROADCAST,
    src: MAC,
};
/// From another machine to all.
pub const FROM_ALL: Eth = Eth {
    dst: MacAddr::BROADCAST,
    src: CLIENT_MAC,
};
/// From one vport behind the first port to another.
pub const HERE: Eth = Eth { dst: MAC, src: MAC };

/// Another machine's end.
pub const CLIENT: &str = "192.0.2.9:5000";
pub const CLIENT6: &str = "[2001:db8::9]:5000";

pub const PAYLOAD: &[u8] = b"eighteen bytes....";

/// What `write` writes.
pub fn build(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buf = vec![0; 2000];
    let len = write(&mut buf).expect("a frame that fits");
    buf.truncate(len);
    buf
}

fn end(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn udp_with(eth: Eth, from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (end(from), end(to));
    let packet = Udp {
        eth,
        src,
        dst,
        payload,
    };
    build(|buf| packet.write(buf))
}

pub fn udp(eth: Eth, from: &str, to: &str) -> Vec<u8> {
    udp_with(eth, from, to, PAYLOAD)
}

pub fn tcp(eth: Eth, from: &str, to: &str) -> Vec<u8> {
    let segment = Tcp {
        eth,
        src: end(from),
        dst: end(to),
        seq: 1,
        ack: 0,
        flags: tcp_flags::SYN,
        window: 1024,
        payload: PAYLOAD,
    };
    build(|buf| segment.write(buf))
}

pub fn sctp(eth: Eth, from: &str, to: &str) -> Vec<u8> {
    let packet = Sctp {
        eth,
        src: end(from),
        dst: end(to),
        tag: 7,
        chunks: &[11, 0, 0, 4],
    };
    build(|buf| packet.write(buf))
}

pub fn icmp(eth: Eth, from: &str, to: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let message = Icmp {
        eth,
        src: ip(from),
        dst: ip(to),
        kind,
        code: 0,
        rest: 0,
        body,
    };
    build(|buf| message.write(buf))
}

/// "Destination unreachable", about the packet in `about`.
pub fn unreachable(eth: Eth, from: &str, to: &str, about: &[u8]) -> Vec<u8> {
    let kind = if ip(from).is_ipv4() { 3 } else { 1 };
    icmp(eth, from, to, kind, quote(about).expect("a packet"))
}

pub fn echo_request(eth: Eth, from: &str, to: &str) -> Vec<u8> {
    let kind = if ip(from).is_ipv4() { 8 } else { 128 };
    icmp(eth, from, to, kind, PAYLOAD)
}

/// A packet of a protocol that no one here reads.
pub fn proto(eth: Eth, proto: u8, from: &str, to: &str) -> Vec<u8> {
    let mut frame = udp(eth, &with_port(from), &with_port(to));
    if ip(from).is_ipv6() {
        frame[20] = proto;
        return frame;
    }
    frame[23] = proto;
    mend_ipv4(&mut frame, 14);
    frame
}

/// An address and any port.
fn with_port(addr: &str) -> String {
    SocketAddr::new(ip(addr), 4000).to_string()
}

/// Makes the checksum of the IPv4 header at `at`, without options, right.
pub fn mend_ipv4(frame: &mut [u8], at: usize) {
    frame[at + 10..at + 12].fill(0);
    let sum = wire::checksum::internet(&frame[at..at + 20]);
    frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
}

/// Makes the layer 4 checksum of a UDP packet over IPv4 wrong.
pub fn spoil_udp_checksum(frame: &mut [u8]) {
    frame[40] ^= 0x5a;
}

pub fn tagged(mut frame: Vec<u8>, vlan: &str) -> Vec<u8> {
    let len = frame.len();
    frame.resize(len + 8, 0);
    let vlan: Vlan = vlan.parse().unwrap();
    let len = tag(&mut frame, len, vlan).unwrap();
    frame.truncate(len);
    frame
}

/// The packet in pieces of `size` bytes.
pub fn fragments(frame: &[u8], id: u32, size: u16) -> Vec<Vec<u8>> {
    (0u16..)
        .step_by(size.into())
        .map_while(|offset| {
            let mut buf = vec![0; 2000];
            let len = fragment(frame, id, offset, size, &mut buf)?;
            buf.truncate(len);
            Some(buf)
        })
        .collect()
}

/// A UDP packet with 48 bytes of payload in four fragments of 16 bytes at most.
pub fn udp_fragments(eth: Eth, from: &str, to: &str, id: u32) -> Vec<Vec<u8>> {
    let parts = fragments(&udp_with(eth, from, to, &[0x55; 48]), id, 16);
    assert_eq!(parts.len(), 4);
    parts
}

/// `sender_ip` with the source MAC, `target_ip` with the destination MAC.
pub fn arp(eth: Eth, op: u16, sender_ip: &str, target_ip: &str) -> Vec<u8> {
    let arp = Arp {
        op,
        sender_mac: eth.src,
        sender_ip: sender_ip.parse().unwrap(),
        target_mac: eth.dst,
        target_ip: target_ip.parse().unwrap(),
    };
    build(|buf| arp.write(eth, buf))
}

pub fn neighbor(eth: Eth, kind: NdKind, src: &str, dst: &str, target: &str) -> Vec<u8> {
    let message = NeighborDiscovery {
        kind,
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        target: Some(target.parse().unwrap()),
        link_layer: (src != "::").then_some(eth.src),
        hop_limit: 255,
    };
    build(|buf| message.write(eth, buf))
}
