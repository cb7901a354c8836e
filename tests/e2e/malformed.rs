//! What breaks a rule of its protocol: dropped under the rule's name, seen by no one.

use std::collections::BTreeSet;

use wire::emit::Eth;
use wire::{MacAddr, Malformed, NdKind};

use crate::frames::{
    L3, L4_OF_V4, L4_OF_V6, arp, edited, fragment, icmp, nd, packet, refitted, sctp, set_be16,
    set_length, tcp, udp, with_extension, with_options, with_tag,
};
use crate::raw::hex;
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6};

/// A rule, and a frame that breaks it and no other.
pub type Case = (Malformed, Vec<u8>);

/// What the frames are made of: each would be a stack's or the host's if nothing were wrong.
struct Right {
    udp4: Vec<u8>,
    udp6: Vec<u8>,
    tcp4: Vec<u8>,
    arp: Vec<u8>,
}

fn right(eth: Eth) -> Right {
    let (from4, to4) = (format!("{CLIENT_V4}:1000"), format!("{HOST_V4}:5000"));
    let (from6, to6) = (format!("[{CLIENT_V6}]:1000"), format!("[{HOST_V6}]:5000"));
    Right {
        udp4: udp(eth, &from4, &to4, b"twenty-four bytes of it."),
        udp6: udp(eth, &from6, &to6, b"twenty-four bytes of it."),
        tcp4: tcp(eth, &from4, &to4),
        arp: arp(eth, wire::ARP_REQUEST, eth.src, CLIENT_V4, HOST_V4),
    }
}

fn ethernet(right: &Right) -> Vec<Case> {
    let tag = |frame: &[u8], tci| with_tag(frame, 0x8100, tci);
    let three = tag(&tag(&tag(&right.udp4, 1), 2), 3);
    vec![
        (
            Malformed::SourceMac,
            edited(&right.udp4, |frame| frame[6] |= 1),
        ),
        (
            Malformed::VlanTruncated,
            tag(&right.udp4, 100)[..16].to_vec(),
        ),
        (Malformed::VlanDepth, three),
        (Malformed::VlanId, tag(&right.udp4, 4095)),
        (
            Malformed::ArpMalformed,
            edited(&right.arp, |frame| frame[L3 + 4] = 8),
        ),
    ]
}

fn ipv4(right: &Right) -> Vec<Case> {
    let frame = &right.udp4;
    vec![
        (Malformed::Ipv4Truncated, frame[..L4_OF_V4 - 1].to_vec()),
        (Malformed::Ipv4Version, refitted(frame, |f| f[L3] = 0x55)),
        (
            Malformed::Ipv4HeaderLength,
            refitted(frame, |f| f[L3] = 0x44),
        ),
        (
            Malformed::Ipv4TotalLength,
            refitted(frame, |f| set_length(f, L3 + 2, L3, 1)),
        ),
        (Malformed::Ipv4Checksum, edited(frame, |f| f[L3 + 8] -= 1)),
        (Malformed::Ipv4Options, with_options(frame, &[68, 5, 0, 0])),
        (
            Malformed::Ipv4SourceRoute,
            with_options(frame, &[131, 7, 4, 10, 77, 0, 9, 0]),
        ),
        (
            Malformed::FragmentLength,
            refitted(&fragment(frame, 1, 0..16), |f| {
                f.pop();
                set_length(f, L3 + 2, L3, 0);
            }),
        ),
        (
            Malformed::FragmentTooLong,
            refitted(&fragment(frame, 1, 8..16), |f| set_be16(f, L3 + 6, 0x1fff)),
        ),
        (Malformed::FragmentTiny, fragment(&right.tcp4, 1, 0..8)),
        (
            Malformed::MartianSource,
            refitted(frame, |f| f[L3 + 12] = 127),
        ),
        (
            Malformed::MartianDestination,
            refitted(frame, |f| f[L3 + 16] = 127),
        ),
        (
            Malformed::Land,
            refitted(frame, |f| f.copy_within(L3 + 16..L3 + 20, L3 + 12)),
        ),
    ]
}

fn ipv6(right: &Right) -> Vec<Case> {
    let frame = &right.udp6;
    let behind = |number, header: [u8; 8]| with_extension(frame, number, &header);
    let hop_by_hop = behind(0, [0, 0, 1, 4, 0, 0, 0, 0]);
    vec![
        (Malformed::Ipv6Truncated, frame[..L4_OF_V6 - 1].to_vec()),
        (Malformed::Ipv6Version, edited(frame, |f| f[L3] = 0x50)),
        (
            Malformed::Ipv6PayloadLength,
            edited(frame, |f| set_length(f, L3 + 4, L4_OF_V6, 1)),
        ),
        (
            Malformed::Ipv6ExtensionHeaders,
            behind(60, [0, 200, 1, 4, 0, 0, 0, 0]),
        ),
        (
            Malformed::Ipv6HopByHopNotFirst,
            with_extension(&hop_by_hop, 60, &[0, 0, 1, 4, 0, 0, 0, 0]),
        ),
        (
            Malformed::Ipv6RoutingType0,
            behind(43, [0, 0, 0, 1, 0, 0, 0, 0]),
        ),
        // A second one of what IPv4 can break as well.
        (
            Malformed::MartianSource,
            edited(frame, |f| f[L3 + 8..L3 + 24].copy_from_slice(&loopback())),
        ),
        (
            Malformed::MartianDestination,
            edited(frame, |f| f[L3 + 24..L3 + 40].copy_from_slice(&loopback())),
        ),
        (
            Malformed::Land,
            edited(frame, |f| f.copy_within(L3 + 24..L3 + 40, L3 + 8)),
        ),
    ]
}

fn loopback() -> [u8; 16] {
    std::net::Ipv6Addr::LOCALHOST.octets()
}

fn layer4(eth: Eth, right: &Right) -> Vec<Case> {
    let short = |frame: &[u8], by: usize| {
        refitted(frame, |f| {
            f.truncate(f.len() - by);
            set_length(f, L3 + 2, L3, 0);
        })
    };
    let to_group = Eth {
        dst: MacAddr([1, 0, 0x5e, 1, 1, 1]),
        src: eth.src,
    };
    let (from, zero) = (format!("{CLIENT_V4}:1000"), format!("{HOST_V4}:0"));
    let echo = icmp(eth, (CLIENT_V4, HOST_V4), 8, 0, b"");
    let ends = (CLIENT_V6, HOST_V6);
    let solicitation = nd(eth, NdKind::Solicitation, ends, HOST_V6, eth.src);
    let from6 = format!("[{CLIENT_V6}]:1000");
    vec![
        (Malformed::L4Truncated, short(&right.tcp4, 1)),
        (Malformed::L4Truncated, short(&echo, 1)),
        (
            Malformed::UdpLength,
            edited(&right.udp4, |f| set_be16(f, L4_OF_V4 + 4, 7)),
        ),
        (
            Malformed::UdpLength,
            edited(&right.udp6, |f| set_be16(f, L4_OF_V6 + 4, 2000)),
        ),
        (
            Malformed::TcpDataOffset,
            edited(&right.tcp4, |f| f[L4_OF_V4 + 12] = 0x60),
        ),
        (Malformed::TcpToGroup, tcp(to_group, &from, "239.1.1.1:80")),
        (
            Malformed::ZeroPort,
            packet(port_api::Protocol::Udp, eth, &from, &zero),
        ),
        (
            Malformed::ZeroPort,
            sctp(eth, &from6, &format!("[{HOST_V6}]:0")),
        ),
        (
            Malformed::NdMalformed,
            edited(&solicitation, |f| f[L3 + 7] = 64),
        ),
        (
            Malformed::NdMalformed,
            edited(&solicitation, |f| f[L4_OF_V6 + 2] ^= 1),
        ),
    ]
}

/// A frame for each rule that one can break on the way from `eth.src` to `eth.dst`, and for some rules two.
pub fn cases(eth: Eth) -> Vec<Case> {
    let right = right(eth);
    let mut cases = ethernet(&right);
    cases.extend(ipv4(&right));
    cases.extend(ipv6(&right));
    cases.extend(layer4(eth, &right));
    cases
}

#[test]
fn every_rule_that_a_frame_can_break() {
    let claims = [
        format!("udp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
        format!("tcp:{HOST_V4}:5000"),
        format!("proto:132@{HOST_V6}"),
    ];
    let claims: Vec<_> = claims.iter().map(String::as_str).collect();
    let mut scene = Scene::start(&[&claims]);
    let right = right(scene.inward);
    // They are right before they are bent.
    for frame in [&right.udp4, &right.udp6, &right.tcp4] {
        let frames = [frame.clone()];
        let to_a = Outcome::none(&scene).for_probe(0, &frames);
        assert_eq!(scene.receive(&frames), to_a);
    }
    let frames = [right.arp.clone()];
    let to_host = Outcome::none(&scene).for_host("neighbour", &frames);
    assert_eq!(scene.receive(&frames), to_host);

    let cases = cases(scene.inward);
    for (rule, frame) in &cases {
        let name = rule.name();
        let dropped = Outcome::none(&scene).dropped(name, 1);
        assert_eq!(
            scene.receive(std::slice::from_ref(frame)),
            dropped,
            "{name}"
        );
        let verdict = scene.bed.trace(&[&hex(frame)]).verdict;
        assert_eq!(verdict, format!("drop: {name}"));
    }
    // The client's kernel sends nothing shorter than an Ethernet header, a stack may try.
    let runt = &right.udp4[..13];
    let refused = Outcome::none(&scene).refused("a", "runt", 1);
    assert_eq!(scene.send(0, &[runt.to_vec()]), refused);
    assert_eq!(scene.bed.trace(&[&hex(runt)]).verdict, "drop: runt");

    let mut broken: BTreeSet<_> = cases.iter().map(|(rule, _)| *rule).collect();
    // No buffer holds a frame of more than 65535 bytes.
    broken.extend([Malformed::Runt, Malformed::Oversize]);
    assert_eq!(broken, BTreeSet::from(Malformed::ALL));
    scene.finish();
}

#[test]
fn a_stack_sends_nothing_that_breaks_a_rule() {
    let claims = [format!("udp:{HOST_V4}:5000"), format!("tcp:{HOST_V4}:5000")];
    let claims: Vec<_> = claims.iter().map(String::as_str).collect();
    let mut scene = Scene::start(&[&claims]);
    let eth = scene.outward;
    let (from, to) = (format!("{HOST_V4}:5000"), format!("{CLIENT_V4}:1000"));
    let (udp4, tcp4) = (udp(eth, &from, &to, b"right"), tcp(eth, &from, &to));
    let cases = [
        (Malformed::Ipv4Checksum, edited(&udp4, |f| f[L3 + 8] -= 1)),
        (
            Malformed::Ipv4TotalLength,
            refitted(&udp4, |f| set_be16(f, L3 + 2, 1000)),
        ),
        (
            Malformed::UdpLength,
            edited(&udp4, |f| set_be16(f, L4_OF_V4 + 4, 100)),
        ),
        (
            Malformed::TcpDataOffset,
            edited(&tcp4, |f| f[L4_OF_V4 + 12] = 0x40),
        ),
        (
            Malformed::MartianDestination,
            refitted(&udp4, |f| f[L3 + 16] = 127),
        ),
        (
            Malformed::VlanDepth,
            with_tag(&with_tag(&with_tag(&udp4, 0x8100, 1), 0x8100, 2), 0x8100, 3),
        ),
        (
            Malformed::SourceMac,
            edited(&udp4, |f| f[6..12].copy_from_slice(&MacAddr::BROADCAST.0)),
        ),
    ];
    for (rule, frame) in cases {
        let refused = Outcome::none(&scene).refused("a", rule.name(), 1);
        assert_eq!(scene.send(0, &[frame]), refused, "{}", rule.name());
    }
    for frame in [udp4, tcp4] {
        let frames = [frame];
        let passed = Outcome::none(&scene).for_client(&frames);
        assert_eq!(scene.send(0, &frames), passed);
    }
    scene.finish();
}
