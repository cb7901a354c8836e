//! The rules for IPv4 headers.

use std::net::Ipv4Addr;

use crate::support::{
    A4, B4, accepted, body, fix_v4, group, local, proto, refused, tcp, udp, v4, v4_options,
};
use wire::{Body, Group, L4, Malformed, Proto, TupleV4};

const GROUPS: [[u8; 4]; 4] = [[224, 0, 0, 1], [239, 255, 255, 255], [255; 4], [0; 4]];

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
    assert_eq!(body(&frame), Ok(Body::V4(expected)));
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
        let Ok(Body::V4(l4)) = body(&frame) else {
            panic!("{:?}", body(&frame))
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
    let Ok(Body::V4(l4)) = body(&padded) else {
        panic!("{:?}", body(&padded))
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
    assert_eq!(group(&with([0; 4])).src, Ipv4Addr::UNSPECIFIED);
    accepted(&with([0, 0, 0, 1]));
}

#[test]
fn destinations() {
    let with = |dst: [u8; 4]| v4(A4, dst.into(), 17, &udp(1, 2, b""));
    refused(&with([127, 0, 0, 1]), Malformed::MartianDestination);
    for dst in GROUPS {
        let expected = Group {
            src: A4.into(),
            dst: dst.into(),
            proto: 17,
            ports: Some((1, 2)),
            l4_offset: 34,
            end: 42,
        };
        assert_eq!(group(&with(dst)), expected);
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
    let Group { ports, proto, .. } = group(&frame);
    assert_eq!((ports, proto), (Some((68, 67)), 17));
}

#[test]
fn headers_of_group_packets_are_checked() {
    let unspecified = Ipv4Addr::UNSPECIFIED;
    for (src, dst) in [(A4, GROUPS[0].into()), (unspecified, B4)] {
        refused(&v4(src, dst, 17, &[0; 7]), Malformed::L4Truncated);
        refused(&v4(src, dst, 17, &udp(1, 0, b"")), Malformed::ZeroPort);
        refused(&v4(src, dst, 132, &[0; 11]), Malformed::L4Truncated);
        let Group { proto, ports, .. } = group(&v4(src, dst, 2, &[]));
        assert_eq!((proto, ports), (2, None));
        group(&v4(src, dst, 1, &[]));
    }
    refused(
        &v4(unspecified, B4, 6, &tcp(1, 0, &[], b"")),
        Malformed::ZeroPort,
    );
    let Group { ports, .. } = group(&v4(unspecified, B4, 6, &tcp(1, 2, &[], b"")));
    assert_eq!(ports, Some((1, 2)));
}

#[test]
fn tcp_to_a_group() {
    for dst in GROUPS {
        let frame = v4(A4, dst.into(), 6, &tcp(1, 2, &[], b""));
        refused(&frame, Malformed::TcpToGroup);
        assert_eq!(local(&frame), Err(Malformed::TcpToGroup));
    }
}

#[test]
fn land_on_the_wire_is_by_address() {
    for proto in [1, 6, 17, 132] {
        refused(&v4(A4, A4, proto, &udp(1, 2, &[0; 20])), Malformed::Land);
    }
}

#[test]
fn land_inside_the_machine_is_by_address_and_port() {
    let nobody = Ipv4Addr::UNSPECIFIED;
    for (number, segment) in [
        (6, tcp(1, 2, &[], b"")),
        (17, udp(1, 2, b"")),
        (132, vec![1; 12]),
    ] {
        for (src, dst) in [(A4, A4), (nobody, nobody)] {
            let mut frame = v4(src, dst, number, &segment);
            if number != 132 && (src, number) != (nobody, 6) {
                assert!(local(&frame).is_ok(), "{number} {:?}", local(&frame));
            }
            let ports = [frame[34], frame[35]];
            frame[36..38].copy_from_slice(&ports);
            let expected = match (src == nobody, number) {
                (true, 6) => Malformed::TcpToGroup,
                _ => Malformed::Land,
            };
            assert_eq!(local(&frame), Err(expected), "{number}");
        }
    }
    // Without ports there is nothing that would answer itself.
    for number in [1, 50] {
        assert!(local(&v4(A4, A4, number, &[0; 8])).is_ok());
    }
    assert_eq!(
        local(&v4(Ipv4Addr::LOCALHOST, A4, 17, &udp(1, 2, b""))),
        Err(Malformed::MartianSource)
    );
}

#[test]
fn other_protocols() {
    // 0, 43, 44, 58 and 60 mean something to IPv6 only.
    for number in [0, 2, 43, 44, 47, 50, 51, 58, 59, 60, 255] {
        let expected = Proto {
            src: A4.into(),
            dst: B4.into(),
            proto: number,
            l4_offset: 34,
            end: 37,
        };
        assert_eq!(proto(&v4(A4, B4, number, &[1, 2, 3])), expected);
    }
    let nothing = proto(&v4(A4, B4, 47, &[]));
    assert_eq!(nothing.l4_offset, nothing.end);
}

#[test]
fn option_structure() {
    let with = |options: &[u8]| v4_options(A4, B4, 17, options, &udp(1, 2, b"x"));
    for good in [
        &[1, 1, 1, 1][..],
        // Whatever follows the end of the list is padding.
        &[0, 0xff, 0xff, 0xff],
        &[1, 0, 131, 3],
        // Router alert; record route of two; an unknown one that fills the header.
        &[148, 4, 0, 0],
        &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[30, 4, 1, 2],
        &[30, 2, 30, 2],
    ] {
        accepted(&with(good));
    }
    for bad in [
        &[1, 1, 1, 7][..],
        &[7, 0, 0, 0],
        &[7, 1, 1, 1],
        &[7, 5, 4, 0],
        &[1, 148, 4, 0],
        &[7, 255, 4, 0],
        &[131, 1, 0, 0],
        &[148, 4, 0, 0, 7, 5, 0, 0],
    ] {
        refused(&with(bad), Malformed::Ipv4Options);
    }
}

#[test]
fn source_routes() {
    let with = |options: &[u8]| v4_options(A4, B4, 17, options, &udp(1, 2, b"x"));
    for kind in [131, 137] {
        refused(
            &with(&[kind, 7, 4, 192, 0, 2, 9, 0]),
            Malformed::Ipv4SourceRoute,
        );
        refused(
            &with(&[1, 148, 4, 0, 0, kind, 3, 4]),
            Malformed::Ipv4SourceRoute,
        );
    }
}
