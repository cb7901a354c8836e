//! The rules for fragments, of both IP versions.

use crate::support::{
    A4, A6, B4, B6, accepted, body, extension, fix_v4, fragment, local, refused, sctp, tcp, udp,
    v4, v4_options, v6,
};
use wire::{Body, Fragment, Malformed, Other};

const UDP: u8 = 17;
const TCP: u8 = 6;
const DSTOPTS: u8 = 60;
const FRAGMENT: u8 = 44;

/// `bytes` of the payload of a packet, as a fragment at `offset`.
fn part4(proto: u8, offset: u16, more: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = v4(A4, B4, proto, bytes);
    let word = (offset / 8) | if more { 0x2000 } else { 0 };
    frame[18..20].copy_from_slice(&[0xab, 0xcd]);
    frame[20..22].copy_from_slice(&word.to_be_bytes());
    fix_v4(&mut frame);
    frame
}

fn fragment_header(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    extension(next, [0, high, low, 0x89, 0xab, 0xcd, 0xef])
}

fn part6(proto: u8, offset: u16, more: bool, bytes: &[u8]) -> Vec<u8> {
    let payload = [&fragment_header(proto, offset, more)[..], bytes].concat();
    v6(A6, B6, FRAGMENT, &payload)
}

fn both(proto: u8, offset: u16, more: bool, bytes: &[u8]) -> [Vec<u8>; 2] {
    [
        part4(proto, offset, more, bytes),
        part6(proto, offset, more, bytes),
    ]
}

#[track_caller]
fn both_refused(proto: u8, offset: u16, more: bool, bytes: &[u8], reason: Malformed) {
    for frame in both(proto, offset, more, bytes) {
        refused(&frame, reason);
    }
}

#[test]
fn fields() {
    let expected = Fragment {
        src: A4.into(),
        dst: B4.into(),
        proto: UDP,
        id: 0xabcd,
        offset: 1480,
        len: 16,
        more: true,
        ports: None,
        l3_offset: 14,
    };
    assert_eq!(fragment(&part4(UDP, 1480, true, &[0; 16])), expected);
    let six = Fragment {
        src: A6.into(),
        dst: B6.into(),
        id: 0x89ab_cdef,
        more: false,
        len: 3,
        ..expected
    };
    assert_eq!(fragment(&part6(UDP, 1480, false, &[0; 3])), six);
    for frame in both(UDP, 0, true, &udp(1000, 53, &[0; 8])) {
        let Fragment {
            offset, len, ports, ..
        } = fragment(&frame);
        assert_eq!((offset, len, ports), (0, 16, Some((1000, 53))));
    }
}

#[test]
fn flags_that_make_no_fragment() {
    for flags in [[0, 0], [0x40, 0], [0x80, 0]] {
        let mut frame = v4(A4, B4, UDP, &udp(1, 2, b""));
        frame[20..22].copy_from_slice(&flags);
        fix_v4(&mut frame);
        accepted(&frame);
    }
}

#[test]
fn padding_is_not_payload() {
    for mut frame in both(UDP, 64, false, b"abc") {
        frame.extend([0; 20]);
        assert_eq!(fragment(&frame).len, 3);
    }
}

#[test]
fn ports_of_the_first() {
    for (proto, first) in [
        (UDP, udp(7, 8, &[0; 8])),
        (TCP, tcp(7, 8, &[1; 4], b"")),
        (132, sctp(7, 8, &[0; 4])),
    ] {
        for frame in both(proto, 0, true, &first) {
            assert_eq!(fragment(&frame).ports, Some((7, 8)), "{proto}");
        }
        let mut zero = first.clone();
        zero[2..4].fill(0);
        both_refused(proto, 0, true, &zero, Malformed::ZeroPort);
        let mut zero = first.clone();
        zero[0..2].fill(0);
        if proto == UDP {
            for frame in both(UDP, 0, true, &zero) {
                assert_eq!(fragment(&frame).ports, Some((0, 8)));
            }
        } else {
            both_refused(proto, 0, true, &zero, Malformed::ZeroPort);
        }
        // What follows has none, whatever it looks like.
        for frame in both(proto, 16, true, &zero) {
            assert_eq!(fragment(&frame).ports, None);
        }
    }
    for proto in [1, 47, 50, 58] {
        for frame in both(proto, 0, true, &[0; 8]) {
            assert_eq!(fragment(&frame).ports, None, "{proto}");
        }
    }
}

#[test]
fn what_lies_in_the_first_is_checked() {
    let mut first = udp(7, 8, &[0; 8]);
    // More than this fragment has is what a first fragment is like.
    first[4..6].copy_from_slice(&1400u16.to_be_bytes());
    for frame in both(UDP, 0, true, &first) {
        fragment(&frame);
    }
    first[4..6].copy_from_slice(&7u16.to_be_bytes());
    both_refused(UDP, 0, true, &first, Malformed::UdpLength);
    let mut first = tcp(7, 8, &[1; 4], b"");
    first[12] = 4 << 4;
    both_refused(TCP, 0, true, &first, Malformed::TcpDataOffset);
}

#[test]
fn lengths() {
    for proto in [UDP, 47] {
        for len in (1..40).filter(|len| len % 8 != 0) {
            let bytes = &vec![1; len];
            both_refused(proto, 64, true, bytes, Malformed::FragmentLength);
            for frame in both(proto, 64, false, bytes) {
                fragment(&frame);
            }
        }
        for (offset, more) in [(0, true), (64, true), (64, false)] {
            both_refused(proto, offset, more, &[], Malformed::FragmentLength);
        }
    }
}

#[test]
fn too_long() {
    // With its header an IPv4 packet has at most 65535 bytes, so 65515 behind 20 of them.
    fragment(&part4(UDP, 65512, false, &[0; 3]));
    refused(
        &part4(UDP, 65512, false, &[0; 4]),
        Malformed::FragmentTooLong,
    );
    refused(
        &part4(UDP, 65528, false, &[0; 1]),
        Malformed::FragmentTooLong,
    );
    // Options count.
    let mut frame = v4_options(A4, B4, UDP, &[1; 4], &[0; 3]);
    frame[20..22].copy_from_slice(&(65512u16 / 8).to_be_bytes());
    fix_v4(&mut frame);
    refused(&frame, Malformed::FragmentTooLong);
    // IPv6 counts its payload alone, and the extension headers in it.
    fragment(&part6(UDP, 65528, false, &[0; 7]));
    refused(
        &part6(UDP, 65528, false, &[0; 8]),
        Malformed::FragmentTooLong,
    );
    let payload = [
        extension(FRAGMENT, [0; 7]),
        fragment_header(UDP, 65520, false),
        vec![0; 8],
    ];
    refused(
        &v6(A6, B6, DSTOPTS, &payload.concat()),
        Malformed::FragmentTooLong,
    );
}

#[test]
fn tiny() {
    let tcp = tcp(7, 8, &[], &[0; 12]);
    for len in [8, 16] {
        both_refused(TCP, 0, true, &tcp[..len], Malformed::FragmentTiny);
    }
    both_refused(
        132,
        0,
        true,
        &sctp(7, 8, &[0; 4])[..8],
        Malformed::FragmentTiny,
    );
    for frame in both(UDP, 0, true, &udp(7, 8, b"")) {
        fragment(&frame);
    }
    // TCP's flags would come in a second fragment.
    for more in [false, true] {
        both_refused(TCP, 8, more, &[0; 16], Malformed::FragmentTiny);
    }
    for frame in both(TCP, 16, true, &[0; 16]) {
        fragment(&frame);
    }
    for frame in both(UDP, 8, true, &[0; 16]) {
        fragment(&frame);
    }
}

#[test]
fn ipv6_wants_the_whole_chain_in_the_first() {
    let options = tcp(7, 8, &[1; 12], b"");
    fragment(&part6(TCP, 0, true, &options));
    refused(
        &part6(TCP, 0, true, &options[..24]),
        Malformed::FragmentTiny,
    );
    // IPv4 does not.
    fragment(&part4(TCP, 0, true, &options[..24]));

    let long = [&[UDP, 1][..], &[0; 14], &udp(7, 8, b"")].concat();
    assert_eq!(
        fragment(&part6(DSTOPTS, 0, true, &long)).ports,
        Some((7, 8))
    );
    for len in [8, 16] {
        refused(
            &part6(DSTOPTS, 0, true, &long[..len]),
            Malformed::FragmentTiny,
        );
    }
    for next in [58, 47] {
        let nothing = extension(next, [0; 7]);
        refused(&part6(DSTOPTS, 0, true, &nothing), Malformed::FragmentTiny);
    }
    let none = fragment(&part6(DSTOPTS, 0, true, &extension(59, [0; 7])));
    assert_eq!((none.proto, none.ports), (59, None));
}

#[test]
fn ipv6_chain_around_the_fragment_header() {
    let before = extension(FRAGMENT, [0; 7]);
    let after = extension(TCP, [0; 7]);
    let payload = [
        before,
        fragment_header(DSTOPTS, 0, true),
        after,
        tcp(7, 8, &[], &[0; 4]),
    ]
    .concat();
    let first = fragment(&v6(A6, B6, DSTOPTS, &payload));
    assert_eq!(
        (first.proto, first.ports, first.len),
        (TCP, Some((7, 8)), 32)
    );
    // The others have the Fragment header's word for it only.
    assert_eq!(fragment(&part6(DSTOPTS, 8, true, &[0; 8])).proto, DSTOPTS);
    // Behind a Fragment header there are no hop-by-hop options.
    refused(
        &part6(
            0,
            0,
            true,
            &[extension(UDP, [0; 7]), udp(1, 2, b"")].concat(),
        ),
        Malformed::Ipv6HopByHopNotFirst,
    );
    // Rules for extension headers hold in the first.
    let route = extension(UDP, [0, 0, 1, 0, 0, 0, 0]);
    refused(
        &part6(43, 0, true, &[route, udp(1, 2, b"")].concat()),
        Malformed::Ipv6RoutingType0,
    );
    let route = extension(UDP, [0, 4, 1, 0, 0, 0, 0]);
    let first = fragment(&part6(43, 0, true, &[route, udp(1, 2, b"")].concat()));
    assert_eq!((first.proto, first.ports), (43, None));
    // Headers on both sides count together.
    let headers = extension(DSTOPTS, [0; 7]).repeat(8);
    refused(
        &part6(DSTOPTS, 0, true, &headers),
        Malformed::Ipv6ExtensionHeaders,
    );
}

#[test]
fn a_fragment_inside_a_fragment_shows_no_ports() {
    for (offset, more) in [(0, true), (64, false)] {
        let inner = [fragment_header(UDP, offset, more), udp(7, 8, b"")].concat();
        let outer = fragment(&part6(FRAGMENT, 0, true, &inner));
        assert_eq!((outer.proto, outer.ports), (FRAGMENT, None));
    }
}

#[test]
fn atomic_fragments_are_whole_packets() {
    let frame = part6(UDP, 0, false, &udp(7, 8, b"abc"));
    let Ok(Body::V6(l4)) = body(&frame) else {
        panic!("{:?}", body(&frame))
    };
    assert_eq!((l4.l4_offset, l4.payload_offset), (62, 70));
    assert_eq!((l4.tuple.src_port, l4.tuple.dst_port), (7, 8));
    // Then with the rules of whole packets.
    refused(&part6(UDP, 0, false, &[]), Malformed::L4Truncated);
    // A real one inside counts.
    let inner = [fragment_header(UDP, 0, true), udp(7, 8, b"")].concat();
    assert_eq!(fragment(&part6(FRAGMENT, 0, false, &inner)).id, 0x89ab_cdef);
}

#[test]
fn special_addresses() {
    for (src, dst) in [([0; 4], B4.octets()), (A4.octets(), [224, 0, 0, 1])] {
        let mut frame = part4(UDP, 64, false, &[0; 8]);
        frame[26..30].copy_from_slice(&src);
        frame[30..34].copy_from_slice(&dst);
        fix_v4(&mut frame);
        let it = fragment(&frame);
        assert_eq!((it.src, it.dst), (src.into(), dst.into()));
    }
    let mut frame = part4(UDP, 64, false, &[0; 8]);
    frame[26] = 127;
    fix_v4(&mut frame);
    refused(&frame, Malformed::MartianSource);
}

#[test]
fn land() {
    for ports in [(1, 2), (2, 2)] {
        for mut frame in both(UDP, 0, true, &udp(ports.0, ports.1, b"")) {
            if frame[12] == 8 {
                frame.copy_within(26..30, 30);
                fix_v4(&mut frame);
            } else {
                frame.copy_within(22..38, 38);
            }
            refused(&frame, Malformed::Land);
            match local(&frame) {
                Ok(Body::Other(Other::Fragment(it))) => assert_eq!(it.ports, Some((1, 2))),
                it => assert_eq!((ports, it), ((2, 2), Err(Malformed::Land))),
            }
        }
    }
}
