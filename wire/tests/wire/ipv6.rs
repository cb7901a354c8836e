//! The rules for IPv6 headers and the extension chain.

use std::net::Ipv6Addr;

use crate::support::{A6, B6, accepted, body, group, local, proto, refused, sctp, tcp, udp, v6};
use wire::{Body, Group, L4, MAX_EXTENSION_HEADERS, Malformed, Proto, TupleV6};

const HOPOPTS: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DSTOPTS: u8 = 60;
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

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
    assert_eq!(body(&frame), Ok(Body::V6(expected)));
    // Traffic class and flow label do not matter.
    frame[14..18].copy_from_slice(&[0x6f, 0xff, 0xff, 0xff]);
    assert_eq!(body(&frame), Ok(Body::V6(expected)));
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
    assert_eq!(proto(&v6(A6, B6, 59, &[])).proto, 59);
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
    assert_eq!(group(&with("::")).src, Ipv6Addr::UNSPECIFIED);
}

#[test]
fn destinations() {
    let with = |dst: &str| v6(A6, dst.parse().unwrap(), UDP, &udp(1, 2, b""));
    for dst in ["::", "::1", "::ffff:127.0.0.1"] {
        refused(&with(dst), Malformed::MartianDestination);
    }
    for dst in ["ff02::fb", "ff0e::1"] {
        let expected = Group {
            src: A6.into(),
            dst: dst.parse().unwrap(),
            proto: 17,
            ports: Some((1, 2)),
            l4_offset: 54,
            end: 62,
        };
        assert_eq!(group(&with(dst)), expected);
    }
    accepted(&with("::2"));
    // Behind an extension header as well.
    let payload = [&[UDP, 0, 0, 0, 0, 0, 0, 0][..], &udp(1, 2, b"")].concat();
    for (src, dst) in [(A6, GROUP), (Ipv6Addr::UNSPECIFIED, B6)] {
        let Group {
            ports, l4_offset, ..
        } = group(&v6(src, dst, DSTOPTS, &payload));
        assert_eq!((ports, l4_offset), (Some((1, 2)), 62));
    }
}

#[test]
fn land() {
    refused(&v6(A6, A6, UDP, &udp(1, 2, b"")), Malformed::Land);
    for (number, apart, same) in [
        (UDP, udp(1, 2, b""), udp(2, 2, b"")),
        (6, tcp(1, 2, &[], b""), tcp(2, 2, &[], b"")),
        (132, sctp(1, 2, b""), sctp(2, 2, b"")),
    ] {
        assert!(matches!(
            local(&v6(A6, A6, number, &apart)),
            Ok(Body::V6(_))
        ));
        assert_eq!(local(&v6(A6, A6, number, &same)), Err(Malformed::Land));
    }
    assert!(local(&v6(A6, A6, 58, &[128, 0, 0, 0, 0, 0, 0, 0])).is_ok());
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
        let Ok(Body::V6(l4)) = body(&frame) else {
            panic!("{headers:?}: {:?}", body(&frame))
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
    let Ok(Body::V6(l4)) = body(&frame) else {
        panic!("{:?}", body(&frame))
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
fn routing_with_segments_left_is_not_for_a_port() {
    let mut frame = chain(&[DSTOPTS, ROUTING]);
    for kind in [2, 3, 4, 253] {
        frame[64] = kind;
        frame[65] = 1;
        let expected = Proto {
            src: A6.into(),
            dst: B6.into(),
            proto: ROUTING,
            l4_offset: 62,
            end: u16::try_from(frame.len()).unwrap(),
        };
        assert_eq!(proto(&frame), expected);
        frame[65] = 0;
        accepted(&frame);
    }
}

#[test]
fn routing_type_0() {
    let mut frame = chain(&[HOPOPTS, ROUTING]);
    accepted(&frame);
    for left in [1, 255] {
        frame[65] = left;
        refused(&frame, Malformed::Ipv6RoutingType0);
    }
}

#[test]
fn protocols_where_the_walk_stops() {
    // ICMP's IPv4 number means nothing here.
    for number in [1, 47, 50, 51, 59, 135, 255] {
        let Proto {
            proto, l4_offset, ..
        } = proto(&v6(A6, B6, number, &[UDP, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!((proto, l4_offset), (number, 54));
    }
}

#[test]
fn multicast_listener_reports() {
    // A router alert in hop-by-hop options, to a group, and from :: while there is no address.
    let report = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &[143, 0, 0, 0, 0, 0, 0, 0]].concat();
    for src in [A6, Ipv6Addr::UNSPECIFIED] {
        let frame = v6(src, GROUP, HOPOPTS, &report);
        let expected = Group {
            src: src.into(),
            dst: GROUP.into(),
            proto: 58,
            ports: None,
            l4_offset: 62,
            end: 70,
        };
        assert_eq!(group(&frame), expected);
    }
}

#[test]
fn headers_of_group_packets_are_checked() {
    for (src, dst) in [(A6, GROUP), (Ipv6Addr::UNSPECIFIED, B6)] {
        refused(&v6(src, dst, 17, &[0; 7]), Malformed::L4Truncated);
        refused(&v6(src, dst, 17, &udp(1, 0, b"")), Malformed::ZeroPort);
        refused(&v6(src, dst, 132, &[0; 12]), Malformed::ZeroPort);
        assert_eq!(
            group(&v6(src, dst, 132, &sctp(1, 2, b""))).ports,
            Some((1, 2))
        );
    }
    refused(
        &v6(A6, GROUP, 6, &tcp(1, 2, &[], b"")),
        Malformed::TcpToGroup,
    );
    let frame = v6(Ipv6Addr::UNSPECIFIED, B6, 6, &tcp(1, 2, &[], b""));
    assert_eq!(group(&frame).ports, Some((1, 2)));
}

#[test]
fn option_structure() {
    let with = |next, options: [u8; 6]| {
        let payload = [&[UDP, 0][..], &options, &udp(1, 2, b"x")].concat();
        v6(A6, B6, next, &payload)
    };
    for next in [HOPOPTS, DSTOPTS] {
        for good in [
            [0; 6],
            [1, 4, 0, 0, 0, 0],
            [5, 2, 0, 0, 1, 0],
            [0, 0, 0, 0, 1, 0],
            // Unknown, and to be discarded by the receiver.
            [0xc7, 4, 1, 2, 3, 4],
        ] {
            accepted(&with(next, good));
        }
        for bad in [
            [1, 5, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 1],
            [5, 2, 0, 0, 1, 1],
            [0xc7, 255, 0, 0, 0, 0],
        ] {
            refused(&with(next, bad), Malformed::Ipv6ExtensionHeaders);
        }
    }
}
