//! The rules for IPv6 headers and the extension chain.

use std::net::Ipv6Addr;

use crate::support::{A6, B6, accepted, other, refused, udp, v6};
use wire::{Icmpv6, L4, MAX_EXTENSION_HEADERS, Malformed, Other, Parsed, TupleV6, parse};

const HOPOPTS: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DSTOPTS: u8 = 60;

/// A frame with these extension headers, 8 bytes each and zero but for the next header, in front
/// of a UDP segment.
fn chain(headers: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for next in headers.iter().skip(1).chain([&UDP]) {
        payload.extend([*next, 0, 0, 0, 0, 0, 0, 0]);
    }
    if headers.is_empty() {
        payload.clear();
    }
    payload.extend(udp(1000, 53, b"abc"));
    v6(A6, B6, *headers.first().unwrap_or(&UDP), &payload)
}

#[test]
fn plain() {
    let tuple = TupleV6 {
        src: A6.to_bits(),
        dst: B6.to_bits(),
        src_port: 1000,
        dst_port: 53,
        proto: 17,
    };
    let expected = L4 {
        tuple,
        l3_offset: 14,
        l4_offset: 54,
        payload_offset: 62,
        end: 65,
    };
    let mut frame = chain(&[]);
    frame.extend([0xee; 9]);
    assert_eq!(parse(&frame), Ok(Parsed::V6(expected)));
    // Traffic class and flow label do not matter.
    frame[14..18].copy_from_slice(&[0x6f, 0xff, 0xff, 0xff]);
    assert_eq!(parse(&frame), Ok(Parsed::V6(expected)));
}

#[test]
fn truncated_and_payload_length() {
    let frame = chain(&[]);
    for len in 14..54 {
        refused(&frame[..len], Malformed::Ipv6Truncated);
    }
    for len in 54..frame.len() {
        refused(&frame[..len], Malformed::Ipv6PayloadLength);
    }
}

#[test]
fn version() {
    for version in (0..16).filter(|v| *v != 6) {
        let mut frame = chain(&[]);
        frame[14] = version << 4;
        refused(&frame, Malformed::Ipv6Version);
    }
}

#[test]
fn jumbogram() {
    let mut frame = chain(&[HOPOPTS]);
    frame[18..20].fill(0);
    refused(&frame, Malformed::Ipv6PayloadLength);
    // Without hop-by-hop options a payload length of zero is an empty packet.
    other(&v6(A6, B6, 59, &[]), Other::OtherProto { proto: 59 });
    let mut frame = chain(&[]);
    frame[18..20].fill(0);
    refused(&frame, Malformed::L4Truncated);
}

#[test]
fn sources() {
    let with = |src: &str| v6(src.parse().unwrap(), B6, UDP, &udp(1, 2, b""));
    for src in ["::1", "ff02::1", "ff00::", "::ffff:192.0.2.1"] {
        refused(&with(src), Malformed::MartianSource);
    }
    for src in [
        "::2",
        "fe80::1",
        "feff::",
        "::fffe:192.0.2.1",
        "0:0:0:0:1:ffff:c000:201",
    ] {
        accepted(&with(src));
    }
    other(&with("::"), Other::UnspecifiedSource);
}

#[test]
fn destinations() {
    let with = |dst: &str| v6(A6, dst.parse().unwrap(), UDP, &udp(1, 2, b""));
    for dst in ["::", "::1", "::ffff:127.0.0.1"] {
        refused(&with(dst), Malformed::MartianDestination);
    }
    for dst in ["ff02::fb", "ff0e::1"] {
        other(&with(dst), Other::Multicast);
    }
    accepted(&with("::2"));
    // Behind an extension header as well.
    let group = "ff02::fb".parse().unwrap();
    let payload = [&[UDP, 0, 0, 0, 0, 0, 0, 0][..], &udp(1, 2, b"")].concat();
    other(&v6(A6, group, DSTOPTS, &payload), Other::Multicast);
    other(
        &v6(Ipv6Addr::UNSPECIFIED, B6, DSTOPTS, &payload),
        Other::UnspecifiedSource,
    );
}

#[test]
fn land() {
    refused(&v6(A6, A6, UDP, &udp(1, 2, b"")), Malformed::Land);
}

#[test]
fn chains_lead_to_the_segment() {
    for headers in [
        &[HOPOPTS][..],
        &[DSTOPTS],
        &[ROUTING],
        &[HOPOPTS, DSTOPTS, ROUTING, DSTOPTS],
        &[DSTOPTS; MAX_EXTENSION_HEADERS],
    ] {
        let frame = chain(headers);
        let Ok(Parsed::V6(l4)) = parse(&frame) else {
            panic!("{headers:?}: {:?}", parse(&frame))
        };
        assert_eq!(usize::from(l4.l4_offset), 54 + 8 * headers.len());
        assert_eq!((l4.tuple.src_port, l4.tuple.dst_port), (1000, 53));
        assert_eq!(usize::from(l4.end), frame.len());
    }
}

#[test]
fn long_extension_header() {
    let mut payload = vec![0; 2048];
    payload[0..2].copy_from_slice(&[UDP, 255]);
    payload.extend(udp(7, 8, b""));
    let frame = v6(A6, B6, DSTOPTS, &payload);
    let Ok(Parsed::V6(l4)) = parse(&frame) else {
        panic!("{:?}", parse(&frame))
    };
    assert_eq!((l4.l4_offset, l4.tuple.src_port), (54 + 2048, 7));
}

#[test]
fn chain_is_bounded() {
    assert_eq!(MAX_EXTENSION_HEADERS, 8);
    accepted(&chain(&[DSTOPTS; 8]));
    refused(&chain(&[DSTOPTS; 9]), Malformed::Ipv6ExtensionHeaders);
    refused(&chain(&[DSTOPTS; 100]), Malformed::Ipv6ExtensionHeaders);
    // The ninth is refused whatever it is.
    for last in [ROUTING, FRAGMENT] {
        let mut headers = [DSTOPTS; 9];
        headers[8] = last;
        let mut frame = chain(&headers);
        frame[54 + 64 + 3] = 1;
        refused(&frame, Malformed::Ipv6ExtensionHeaders);
    }
}

#[test]
fn chain_stays_inside_the_payload() {
    for next in [HOPOPTS, ROUTING, DSTOPTS, FRAGMENT] {
        for len in usize::from(next == HOPOPTS)..8 {
            let frame = v6(A6, B6, next, &[UDP, 0, 0, 0, 0, 0, 0, 0][..len]);
            refused(&frame, Malformed::Ipv6ExtensionHeaders);
        }
    }
    // The header says 16 bytes; 8 are payload, the rest is padding.
    let mut frame = v6(A6, B6, DSTOPTS, &[UDP, 1, 0, 0, 0, 0, 0, 0]);
    frame.extend([0; 32]);
    refused(&frame, Malformed::Ipv6ExtensionHeaders);
}

#[test]
fn hop_by_hop_only_first() {
    refused(&chain(&[DSTOPTS, HOPOPTS]), Malformed::Ipv6HopByHopNotFirst);
    refused(&chain(&[HOPOPTS, HOPOPTS]), Malformed::Ipv6HopByHopNotFirst);
}

#[test]
fn fragments() {
    other(&chain(&[FRAGMENT]), Other::Fragment);
    other(&chain(&[HOPOPTS, DSTOPTS, FRAGMENT]), Other::Fragment);
    // Nothing behind the fragment header is read.
    let frame = v6(A6, B6, FRAGMENT, &[HOPOPTS, 0, 0x05, 0xa9, 0, 0, 0, 1]);
    other(&frame, Other::Fragment);
}

#[test]
fn routing_with_segments_left_is_not_for_a_port() {
    let mut frame = chain(&[ROUTING]);
    frame[54 + 3] = 1;
    other(&frame, Other::OtherProto { proto: ROUTING });
}

#[test]
fn protocols_where_the_walk_stops() {
    for proto in [50, 51, 59, 132, 135, 255] {
        other(
            &v6(A6, B6, proto, &[UDP, 0, 0, 0, 0, 0, 0, 0]),
            Other::OtherProto { proto },
        );
    }
    // ICMP and ARP's IPv4 numbers mean nothing here.
    other(&v6(A6, B6, 1, &[]), Other::OtherProto { proto: 1 });
}

#[test]
fn icmpv6() {
    let frame = v6(A6, B6, 58, &[2, 0, 0, 0, 0, 0, 5, 0]);
    let expected = Icmpv6 {
        src: A6,
        dst: B6,
        kind: 2,
        code: 0,
        l4_offset: 54,
        end: 62,
    };
    other(&frame, Other::Icmpv6(expected));
    refused(
        &v6(A6, B6, 58, &[128, 0, 0, 0, 0, 0, 0]),
        Malformed::L4Truncated,
    );
    refused(&v6(A6, B6, 58, &[]), Malformed::L4Truncated);
    // MLD: a router alert in hop-by-hop options, from :: and to a group.
    let report = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &[143, 0, 0, 0, 0, 0, 0, 0]].concat();
    let group = "ff02::16".parse().unwrap();
    other(&v6(A6, group, HOPOPTS, &report), Other::Multicast);
    other(
        &v6(Ipv6Addr::UNSPECIFIED, group, HOPOPTS, &report),
        Other::UnspecifiedSource,
    );
}
