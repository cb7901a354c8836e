//! What holds for every frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    emitted::{Kind, Packet, shifted},
    support::{fix_v4, ones_complement, udp, v4_options},
};
use wire::{
    Body, Checksum, L4, Origin, Other, Vlan, common_v4, common_v6, echo, emit, fill_l4, parse,
    proto, verify_l4,
};

/// Unicast and public enough for every rule.
fn address_v4() -> impl Strategy<Value = Ipv4Addr> {
    (1u32 << 24..223 << 24)
        .prop_filter("loopback", |bits| bits >> 24 != 127)
        .prop_map(Ipv4Addr::from_bits)
}

fn address_v6() -> impl Strategy<Value = Ipv6Addr> {
    (1u128 << 124..0xfe << 120).prop_map(Ipv6Addr::from_bits)
}

fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        (address_v4(), address_v4()).prop_map(|(a, b)| (a.into(), b.into())),
        (address_v6(), address_v6()).prop_map(|(a, b)| (a.into(), b.into())),
    ]
    .prop_filter("land", |(a, b): &(IpAddr, IpAddr)| a != b)
}

fn packet() -> impl Strategy<Value = Packet> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    (kind, ends(), 1u16.., 1u16.., vec(any::<u8>(), 0..200)).prop_map(
        |(kind, (src, dst), src_port, dst_port, payload)| Packet {
            kind,
            src,
            dst,
            src_port,
            dst_port,
            payload,
        },
    )
}

fn vlan() -> impl Strategy<Value = Vlan> {
    prop_oneof![
        Just((0, 0)),
        (1u16..=4094, Just(0)),
        (1u16..=4094, 1u16..=4094)
    ]
    .prop_map(|(outer, inner)| Vlan::new(outer, inner).unwrap_or(Vlan::NONE))
}

/// A well-formed frame, and what it must parse to.
fn good() -> impl Strategy<Value = (Vec<u8>, Vlan, Body)> {
    (packet(), vlan()).prop_map(|(packet, vlan)| {
        let (mut frame, body) = packet.build();
        let len = frame.len();
        frame.resize(len + 8, 0);
        let tagged = emit::tag(&mut frame, len, vlan).unwrap();
        frame.truncate(tagged);
        (frame, vlan, shifted(body, tagged - len))
    })
}

/// The offsets that a parsed frame promises.
fn sound<T>(l4: &L4<T>, frame: &[u8], proto: u8) {
    let header_len = match proto {
        proto::UDP => 8,
        proto::TCP => 20,
        proto::SCTP => 12,
        _ => panic!("protocol {proto} has no ports"),
    };
    assert!(matches!(l4.l3_offset, 14 | 18 | 22) && l4.l3_offset < l4.l4_offset);
    assert!(l4.l4_offset + header_len <= l4.payload_offset);
    assert!(l4.payload_offset <= l4.end && usize::from(l4.end) <= frame.len());
}

fn check(frame: &[u8]) {
    for origin in [Origin::Wire, Origin::Local] {
        let Ok(parsed) = parse(frame, origin) else {
            continue;
        };
        let inside = |from: u16, to: u16| assert!(from <= to && usize::from(to) <= frame.len());
        match parsed.body {
            Body::V4(l4) => sound(&l4, frame, l4.tuple.proto),
            Body::V6(l4) => sound(&l4, frame, l4.tuple.proto),
            Body::Other(Other::Icmp(icmp)) => inside(icmp.l4_offset + 8, icmp.end),
            Body::Other(Other::Group(group)) => inside(group.l4_offset, group.end),
            Body::Other(Other::Proto(proto)) => inside(proto.l4_offset, proto.end),
            Body::Other(Other::Fragment(it)) => {
                assert!(it.len > 0 && it.offset % 8 == 0);
                inside(it.l3_offset + 20, it.l3_offset + 20 + it.len);
            }
            Body::Other(_) => {}
        }
        let mut filled = frame.to_vec();
        let before = verify_l4(frame, &parsed);
        assert_eq!(fill_l4(&mut filled, &parsed), before.is_some());
        if before.is_some() {
            assert_eq!(verify_l4(&filled, &parsed), Some(Checksum::Good));
        }
        if before.is_none_or(|it| it == Checksum::Good) {
            assert_eq!(filled, frame);
        }
    }
    // What the wire may bring, the machine may too, and it means the same.
    if let Ok(parsed) = parse(frame, Origin::Wire) {
        match (parsed.body, parse(frame, Origin::Local).unwrap().body) {
            // But for the same address at both ends of what an error is about.
            (Body::Other(Other::Icmp(_)), Body::Other(Other::Icmp(_))) => {}
            (wire, local) => assert_eq!(wire, local),
        }
    }
    // The short way never says anything else than the long one.
    let body = parse(frame, Origin::Wire)
        .ok()
        .filter(|parsed| parsed.vlan.is_none())
        .map(|parsed| parsed.body);
    if let Some(tuple) = common_v4(frame) {
        assert!(matches!(body, Some(Body::V4(l4)) if l4.tuple == tuple));
    }
    if let Some(tuple) = common_v6(frame) {
        assert!(matches!(body, Some(Body::V6(l4)) if l4.tuple == tuple));
    }
    let mut turned = frame.to_vec();
    if echo::turn_around(&mut turned) {
        assert!(
            echo::turn_around(&mut turned),
            "an answer must be answerable"
        );
    }
    assert_eq!(turned, frame);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn any_bytes(frame in vec(any::<u8>(), 0..200)) {
        check(&frame);
    }

    #[test]
    fn any_bytes_behind_an_ip_ethertype(
        mut frame in vec(any::<u8>(), 14..300),
        ethertype in prop::sample::select(vec![[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]]),
        first in prop::sample::select(vec![0x45, 0x46, 0x4f, 0x60]),
    ) {
        frame[6] &= !1;
        frame[12..14].copy_from_slice(&ethertype);
        if let Some(byte) = frame.get_mut(14) {
            *byte = first;
        }
        fix_v4(&mut frame);
        check(&frame);
    }

    #[test]
    fn edited_frames(
        (mut frame, ..) in good(),
        edits in vec((0usize..100, any::<u8>()), 0..6),
        fix in any::<bool>(),
    ) {
        for (at, byte) in edits {
            if let Some(to) = frame.get_mut(at) {
                *to = byte;
            }
        }
        if fix {
            fix_v4(&mut frame);
        }
        check(&frame);
    }

    #[test]
    fn what_is_emitted_is_parsed((mut frame, vlan, body) in good(), padding in 0usize..20) {
        frame.resize(frame.len() + padding, 0xee);
        for origin in [Origin::Wire, Origin::Local] {
            let parsed = parse(&frame, origin).unwrap();
            prop_assert_eq!(parsed.vlan, vlan);
            prop_assert_eq!(parsed.body, body);
            let sum = verify_l4(&frame, &parsed);
            let whole = match body {
                Body::V4(_) | Body::V6(_) => true,
                Body::Other(other) => matches!(
                    other,
                    Other::Icmp(_) | Other::Neighbor(_) | Other::Group(_)
                ),
            };
            prop_assert_eq!(sum, whole.then_some(Checksum::Good));
        }
        check(&frame);
    }

    #[test]
    fn a_frame_cut_short_is_refused((frame, ..) in good(), cut in any::<Index>()) {
        prop_assert!(parse(&frame, Origin::Wire).is_ok());
        prop_assert!(parse(&frame[..cut.index(frame.len())], Origin::Wire).is_err());
    }

    #[test]
    fn fragments_hold_the_whole_packet(
        mut packet in packet(),
        unit in 4u16..12,
        id in any::<u32>(),
    ) {
        packet.kind = Kind::Udp;
        let (frame, _) = packet.build();
        let mut payload: Vec<u8> = Vec::new();
        let mut buf = [0; 400];
        let mut more = true;
        while more {
            let offset = u16::try_from(payload.len()).unwrap();
            let Some(len) = emit::fragment(&frame, id, offset, unit * 8, &mut buf) else {
                panic!("{offset} of {}", frame.len())
            };
            let parsed = parse(&buf[..len], Origin::Wire).unwrap();
            match parsed.body {
                Body::Other(Other::Fragment(it)) => {
                    prop_assert_eq!(it.offset, offset);
                    payload.extend(&buf[len - usize::from(it.len)..len]);
                    more = it.more;
                    let ports = (packet.src_port, packet.dst_port);
                    prop_assert_eq!(it.ports, (offset == 0).then_some(ports));
                }
                // All in one: the packet itself, for IPv6 with an atomic Fragment header.
                Body::V4(l4) => {
                    payload.extend(&buf[usize::from(l4.l4_offset)..len]);
                    more = false;
                }
                Body::V6(l4) => {
                    payload.extend(&buf[usize::from(l4.l4_offset)..len]);
                    more = false;
                }
                it @ Body::Other(_) => panic!("{it:?}"),
            }
        }
        let l4_offset = if packet.src.is_ipv4() { 34 } else { 54 };
        prop_assert_eq!(&payload, &frame[l4_offset..]);
    }

    #[test]
    fn a_flipped_ipv4_header_bit_does_not_pass(
        (src, dst) in (address_v4(), address_v4()).prop_filter("land", |(a, b)| a != b),
        words in 0usize..=10,
        payload in vec(any::<u8>(), 0..80),
        bit in 0usize..480,
    ) {
        let segment = udp(1000, 53, &payload);
        let mut frame = v4_options(src, dst, 17, &vec![1; words * 4], &segment);
        let before = parse(&frame, Origin::Wire).map(|parsed| parsed.body);
        prop_assert!(matches!(before, Ok(Body::V4(_))));
        let bit = bit % ((20 + words * 4) * 8);
        frame[14 + bit / 8] ^= 1 << (bit % 8);
        if parse(&frame, Origin::Wire).is_ok() {
            // Only a flip in the IHL leaves the sum a chance, as it then covers other bytes.
            let header_len = usize::from(frame[14] & 15) * 4;
            prop_assert!(bit < 4);
            prop_assert_eq!(ones_complement(&frame[14..14 + header_len]), 0);
        }
    }
}
