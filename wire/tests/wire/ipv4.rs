//! The rules for IPv4 headers.

use std::net::Ipv4Addr;

use crate::support::{A4, B4, accepted, fix_v4, other, refused, udp, v4, v4_options};
use wire::{Icmp, L4, Malformed, Other, Parsed, TupleV4, parse};

/// `edit` on a good UDP frame, and the checksum made right again.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = v4(A4, B4, 17, &udp(1000, 53, b"12345678"));
    edit(&mut frame);
    fix_v4(&mut frame);
    frame
}

#[test]
fn literal_frame() {
    // A DNS query header from 192.168.0.1:49152 to 192.168.0.199:53, 4 bytes of padding.
    let frame = [
        0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x52, 0x54, 0x00, 0x65, 0x43, 0x21, 0x08, 0x00, //
        0x45, 0x00, 0x00, 0x28, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0xac, 0xc0, 0xa8, 0x00,
        0x01, 0xc0, 0xa8, 0x00, 0xc7, //
        0xc0, 0x00, 0x00, 0x35, 0x00, 0x14, 0x00, 0x00, //
        0x12, 0x34, 0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
        0xde, 0xad, 0xbe, 0xef,
    ];
    let tuple = TupleV4 {
        src: 0xc0a8_0001,
        dst: 0xc0a8_00c7,
        src_port: 49152,
        dst_port: 53,
        proto: 17,
    };
    let expected = L4 {
        tuple,
        l3_offset: 14,
        l4_offset: 34,
        payload_offset: 42,
        end: 54,
    };
    assert_eq!(parse(&frame), Ok(Parsed::V4(expected)));
}

#[test]
fn truncated() {
    let frame = edited(|_| {});
    accepted(&frame);
    for len in 14..34 {
        refused(&frame[..len], Malformed::Ipv4Truncated);
    }
    for len in 34..frame.len() {
        refused(&frame[..len], Malformed::Ipv4TotalLength);
    }
}

#[test]
fn version() {
    for version in (0..16).filter(|v| *v != 4) {
        refused(
            &edited(|f| f[14] = version << 4 | 5),
            Malformed::Ipv4Version,
        );
    }
}

#[test]
fn header_length() {
    for ihl in 0..5 {
        refused(&edited(|f| f[14] = 0x40 | ihl), Malformed::Ipv4HeaderLength);
    }
    // 60 bytes of header in a frame that has 36 of packet.
    refused(&edited(|f| f[14] = 0x4f), Malformed::Ipv4HeaderLength);
}

#[test]
fn options_move_the_segment() {
    for words in 1..=10 {
        let frame = v4_options(A4, B4, 17, &vec![1; words * 4], &udp(1, 2, b"x"));
        let Ok(Parsed::V4(l4)) = parse(&frame) else {
            panic!("{:?}", parse(&frame))
        };
        assert_eq!(usize::from(l4.l4_offset), 34 + words * 4);
        assert_eq!(l4.payload_offset, l4.l4_offset + 8);
        assert_eq!((l4.tuple.src_port, l4.tuple.dst_port), (1, 2));

        let mut bad = frame;
        bad[34] ^= 1;
        refused(&bad, Malformed::Ipv4Checksum);
    }
}

#[test]
fn total_length() {
    // 36 bytes of packet: larger is a lie, smaller leaves padding, below the header is a lie.
    refused(&edited(|f| f[17] = 37), Malformed::Ipv4TotalLength);
    refused(&edited(|f| f[16] = 0xff), Malformed::Ipv4TotalLength);
    for len in 0..20 {
        refused(&edited(|f| f[17] = len), Malformed::Ipv4TotalLength);
    }
    let padded = edited(|f| f.extend([0xaa; 10]));
    let Ok(Parsed::V4(l4)) = parse(&padded) else {
        panic!("{:?}", parse(&padded))
    };
    assert_eq!(l4.end, 50);
}

#[test]
fn checksum() {
    let good = edited(|_| {});
    for bit in 0..16 {
        let mut frame = good.clone();
        frame[24 + bit / 8] ^= 1 << (bit % 8);
        refused(&frame, Malformed::Ipv4Checksum);
    }
}

#[test]
fn sources() {
    let with = |src: [u8; 4]| v4(src.into(), B4, 17, &udp(1, 2, b""));
    for src in [
        [127, 0, 0, 1],
        [127, 255, 255, 255],
        [224, 0, 0, 1],
        [239, 255, 255, 255],
    ] {
        refused(&with(src), Malformed::MartianSource);
    }
    refused(&with([255; 4]), Malformed::MartianSource);
    for src in [
        [126, 255, 255, 255],
        [128, 0, 0, 0],
        [223, 255, 255, 255],
        [240, 0, 0, 1],
    ] {
        accepted(&with(src));
    }
    other(&with([0; 4]), Other::UnspecifiedSource);
    accepted(&with([0, 0, 0, 1]));
}

#[test]
fn destinations() {
    let with = |dst: [u8; 4]| v4(A4, dst.into(), 17, &udp(1, 2, b""));
    refused(&with([127, 0, 0, 1]), Malformed::MartianDestination);
    for dst in [[224, 0, 0, 1], [239, 255, 255, 255], [255; 4], [0; 4]] {
        other(&with(dst), Other::Multicast);
    }
    for dst in [[223, 255, 255, 255], [240, 0, 0, 0], [255, 255, 255, 254]] {
        accepted(&with(dst));
    }
}

#[test]
fn dhcp_discover_is_not_refused() {
    let frame = v4(
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        17,
        &udp(68, 67, &[0; 240]),
    );
    other(&frame, Other::UnspecifiedSource);
}

#[test]
fn land() {
    for proto in [1, 6, 17, 132] {
        refused(&v4(A4, A4, proto, &udp(1, 2, &[0; 20])), Malformed::Land);
    }
}

#[test]
fn fragments() {
    // MF, the first fragment; an offset; both. The reserved bit and DF alone are no fragment.
    for flags in [[0x20, 0], [0, 1], [0x1f, 0xff], [0x20, 0xb9], [0x60, 0]] {
        other(
            &edited(|f| f[20..22].copy_from_slice(&flags)),
            Other::Fragment,
        );
    }
    for flags in [[0, 0], [0x40, 0], [0x80, 0]] {
        accepted(&edited(|f| f[20..22].copy_from_slice(&flags)));
    }
    // A fragment's payload is not read as ports, nor refused for what it looks like.
    let mut frame = v4(A4, B4, 17, &[]);
    frame[21] = 1;
    fix_v4(&mut frame);
    other(&frame, Other::Fragment);
}

#[test]
fn fragment_rule_comes_after_the_addresses() {
    let mut frame = v4(Ipv4Addr::LOCALHOST, B4, 17, &[]);
    frame[21] = 1;
    fix_v4(&mut frame);
    refused(&frame, Malformed::MartianSource);
}

#[test]
fn icmp() {
    let frame = v4(A4, B4, 1, &[3, 4, 0, 0, 0, 0, 5, 0xdc, 1, 2, 3]);
    let expected = Icmp {
        src: A4,
        dst: B4,
        kind: 3,
        code: 4,
        l4_offset: 34,
        end: 45,
    };
    other(&frame, Other::Icmp(expected));
    refused(
        &v4(A4, B4, 1, &[8, 0, 0, 0, 0, 0, 0]),
        Malformed::L4Truncated,
    );
    other(
        &v4(A4, Ipv4Addr::new(224, 0, 0, 1), 1, &[]),
        Other::Multicast,
    );
}

#[test]
fn other_protocols() {
    // 0 and 44 mean something to IPv6 only.
    for proto in [0, 2, 43, 44, 50, 51, 58, 60, 132, 255] {
        other(&v4(A4, B4, proto, &[]), Other::OtherProto { proto });
    }
}
