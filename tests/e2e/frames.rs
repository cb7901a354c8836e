//! Frames made by hand: built right by `wire::emit`, then bent.

use std::net::{IpAddr, SocketAddr};

use port_api::Protocol;
use wire::emit::{self, Eth, Icmp, Sctp, Tcp, Udp, tcp_flags};
use wire::{Arp, MacAddr, NdKind, NeighborDiscovery, checksum};

/// Room for the longest frame that anyone makes here.
const ROOM: usize = 4096;

/// Where the IP header starts in an untagged frame.
pub const L3: usize = 14;
/// Where what is behind an IPv4 header without options starts, and behind a plain IPv6 one.
pub const L4_OF_V4: usize = L3 + 20;
pub const L4_OF_V6: usize = L3 + 40;

fn built(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut frame = vec![0; ROOM];
    let len = write(&mut frame).expect("it fits");
    frame.truncate(len);
    frame
}

fn ip(text: &str) -> IpAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address"))
}

fn end(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address with a port"))
}

pub fn udp(eth: Eth, src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (end(src), end(dst));
    let udp = Udp {
        eth,
        src,
        dst,
        payload,
    };
    built(|buf| udp.write(buf))
}

/// A SYN.
pub fn tcp(eth: Eth, src: &str, dst: &str) -> Vec<u8> {
    let tcp = Tcp {
        eth,
        src: end(src),
        dst: end(dst),
        seq: 1,
        ack: 0,
        flags: tcp_flags::SYN,
        window: 1000,
        payload: b"",
    };
    built(|buf| tcp.write(buf))
}

/// An INIT, as far as anyone looks.
pub fn sctp(eth: Eth, src: &str, dst: &str) -> Vec<u8> {
    let sctp = Sctp {
        eth,
        src: end(src),
        dst: end(dst),
        tag: 0,
        chunks: &[1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 1],
    };
    built(|buf| sctp.write(buf))
}

/// A packet of any protocol.
pub fn packet(protocol: Protocol, eth: Eth, src: &str, dst: &str) -> Vec<u8> {
    match protocol {
        Protocol::Tcp => tcp(eth, src, dst),
        Protocol::Udp => udp(eth, src, dst, b"payload"),
        Protocol::Sctp => sctp(eth, src, dst),
    }
}

/// An ICMP or `ICMPv6` message.
pub fn icmp(eth: Eth, (src, dst): (&str, &str), kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let icmp = Icmp {
        eth,
        src: ip(src),
        dst: ip(dst),
        kind,
        code,
        rest: 1280,
        body,
    };
    built(|buf| icmp.write(buf))
}

/// "Packet too big" about the packet in `frame`, from a router at `src` to `dst`.
pub fn too_big(eth: Eth, (src, dst): (&str, &str), frame: &[u8]) -> Vec<u8> {
    let (kind, code) = if ip(src).is_ipv4() { (3, 4) } else { (2, 0) };
    icmp(
        eth,
        (src, dst),
        kind,
        code,
        emit::quote(frame).expect("a packet"),
    )
}

/// An echo request.
pub fn echo(eth: Eth, src: &str, dst: &str) -> Vec<u8> {
    let kind = if ip(src).is_ipv4() { 8 } else { 128 };
    icmp(eth, (src, dst), kind, 0, b"ping")
}

/// ARP as `op` says, from the MAC `says` for `sender`.
pub fn arp(eth: Eth, op: u16, says: MacAddr, sender: &str, target: &str) -> Vec<u8> {
    let v4 = |text: &str| text.parse().expect("an IPv4 address");
    let target_mac = if op == wire::ARP_REQUEST {
        MacAddr::default()
    } else {
        eth.dst
    };
    let arp = Arp {
        op,
        sender_mac: says,
        sender_ip: v4(sender),
        target_mac,
        target_ip: v4(target),
    };
    built(|buf| arp.write(eth, buf))
}

/// A neighbour solicitation or advertisement that names `link_layer`.
pub fn nd(
    eth: Eth,
    kind: NdKind,
    (src, dst): (&str, &str),
    target: &str,
    link_layer: MacAddr,
) -> Vec<u8> {
    let v6 = |text: &str| text.parse().expect("an IPv6 address");
    let src = v6(src);
    let nd = NeighborDiscovery {
        kind,
        src,
        dst: v6(dst),
        target: Some(v6(target)),
        link_layer: (!src.is_unspecified()).then_some(link_layer),
        hop_limit: 255,
    };
    built(|buf| nd.write(eth, buf))
}

/// The solicited-node group of an address, and its MAC.
pub fn solicited_node(addr: &str) -> (String, String) {
    let IpAddr::V6(ip) = ip(addr) else {
        panic!("{addr} is not IPv6");
    };
    let [.., a, b, c] = ip.octets();
    let group = format!("ff02::1:ff{a:02x}:{b:02x}{c:02x}");
    (group, format!("33:33:ff:{a:02x}:{b:02x}:{c:02x}"))
}

/// Neither IP nor ARP: a local experimental ethertype (IEEE 802).
pub fn not_ip(eth: Eth, payload: &[u8]) -> Vec<u8> {
    [&eth.dst.0[..], &eth.src.0, &[0x88, 0xb5], payload].concat()
}

pub fn tagged(frame: &[u8], vlan: &str) -> Vec<u8> {
    let vlan = vlan.parse().expect("a VLAN");
    built(|buf| {
        buf[..frame.len()].copy_from_slice(frame);
        emit::tag(buf, frame.len(), vlan)
    })
}

/// With a tag of any type and content in front of all others.
pub fn with_tag(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    built(|buf| {
        buf[..frame.len()].copy_from_slice(frame);
        emit::insert_tag(buf, frame.len(), tpid, tci)
    })
}

/// The bytes `at` of the IP packet's payload as a fragment.
pub fn fragment(frame: &[u8], id: u32, at: std::ops::Range<u16>) -> Vec<u8> {
    built(|buf| emit::fragment(frame, id, at.start, at.end - at.start, buf))
}

/// All fragments with so much of the payload each, in order.
pub fn fragments(frame: &[u8], id: u32, each: u16) -> Vec<Vec<u8>> {
    let l4 = if frame[12] == 0x08 {
        L4_OF_V4
    } else {
        L4_OF_V6
    };
    let len = u16::try_from(frame.len() - l4).expect("a short packet");
    let starts = (0..len).step_by(each.into());
    starts
        .map(|start| fragment(frame, id, start..len.min(start + each)))
        .collect()
}

/// Changed by `edit`.
pub fn edited(frame: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    edit(&mut frame);
    frame
}

/// Changed by `edit`, and with the right checksum of its untagged IPv4 header again.
pub fn refitted(frame: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    edited(frame, |frame| {
        edit(frame);
        let end = frame.len().min(L3 + usize::from(frame[L3] & 0x0f) * 4);
        let header = &mut frame[L3..end];
        header[10..12].fill(0);
        let sum = checksum::internet(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    })
}

/// With IPv4 options, of which there are a multiple of 4 bytes.
pub fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    refitted(frame, |frame| {
        frame.splice(L4_OF_V4..L4_OF_V4, options.iter().copied());
        frame[L3] += u8::try_from(options.len() / 4).expect("a few");
        set_length(frame, L3 + 2, L3, 0);
    })
}

/// With an IPv6 extension header in front of what follows the fixed header, whose first byte is
/// set to what that is.
pub fn with_extension(frame: &[u8], number: u8, header: &[u8]) -> Vec<u8> {
    edited(frame, |frame| {
        frame.splice(L4_OF_V6..L4_OF_V6, header.iter().copied());
        frame[L4_OF_V6] = frame[L3 + 6];
        frame[L3 + 6] = number;
        set_length(frame, L3 + 4, L4_OF_V6, 0);
    })
}

pub fn set_be16(frame: &mut [u8], at: usize, value: usize) {
    let value = u16::try_from(value).expect("16 bits");
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Has the field at `at` say how many bytes there are from `from` on, and `more` that there are not.
pub fn set_length(frame: &mut [u8], at: usize, from: usize, more: usize) {
    let len = frame.len() - from + more;
    set_be16(frame, at, len);
}
