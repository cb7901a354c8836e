//! The rules for TCP and UDP headers, over both IP versions.

use crate::support::{A4, A6, B4, B6, body, refused, tcp, udp, v4, v6};
use wire::{Body, L4, Malformed, TupleV4, TupleV6};

fn both(proto: u8, segment: &[u8]) -> [Vec<u8>; 2] {
    [v4(A4, B4, proto, segment), v6(A6, B6, proto, segment)]
}

#[track_caller]
fn both_refused(proto: u8, segment: &[u8], reason: Malformed) {
    for frame in both(proto, segment) {
        refused(&frame, reason);
    }
}

/// Ports, header length and total length of the segment, which must be the same for both.
#[track_caller]
fn both_accepted(proto: u8, segment: &[u8]) -> (u16, u16, u16, u16) {
    let [four, six] = both(proto, segment).map(|frame| body(&frame));
    let Ok(Body::V4(four)) = four else {
        panic!("{four:?}")
    };
    let Ok(Body::V6(six)) = six else {
        panic!("{six:?}")
    };
    let TupleV4 {
        src,
        dst,
        src_port,
        dst_port,
        ..
    } = four.tuple;
    let expected = TupleV6 {
        src: A6.to_bits(),
        dst: B6.to_bits(),
        src_port,
        dst_port,
        proto,
    };
    assert_eq!(
        (src, dst, four.tuple.proto),
        (A4.to_bits(), B4.to_bits(), proto)
    );
    let L4 {
        l3_offset,
        l4_offset,
        payload_offset,
        end,
        ..
    } = four;
    assert_eq!((l3_offset, l4_offset), (14, 34));
    let expected = L4 {
        tuple: expected,
        l3_offset,
        l4_offset: l4_offset + 20,
        payload_offset: payload_offset + 20,
        end: end + 20,
    };
    assert_eq!(six, expected);
    (
        src_port,
        dst_port,
        payload_offset - l4_offset,
        end - l4_offset,
    )
}

#[test]
fn truncated() {
    for len in 0..8 {
        both_refused(17, &udp(1, 2, b"")[..len], Malformed::L4Truncated);
    }
    for len in 0..20 {
        both_refused(6, &tcp(1, 2, &[], b"")[..len], Malformed::L4Truncated);
    }
}

#[test]
fn padding_is_not_segment() {
    // The bytes of the header are in the frame, but behind the end of the IP packet.
    for mut frame in both(17, &udp(1, 2, b"")[..4]) {
        frame.extend([0, 8, 0, 0, 0, 0, 0, 0]);
        refused(&frame, Malformed::L4Truncated);
    }
}

#[test]
fn udp_length() {
    let mut segment = udp(1, 2, b"abcd");
    assert_eq!(both_accepted(17, &segment), (1, 2, 8, 12));
    for length in [8, 11] {
        segment[5] = length;
        assert_eq!(both_accepted(17, &segment), (1, 2, 8, 12));
    }
    for length in [0, 1, 7, 13, 255] {
        segment[5] = length;
        both_refused(17, &segment, Malformed::UdpLength);
    }
    segment[4..6].copy_from_slice(&[1, 12]);
    both_refused(17, &segment, Malformed::UdpLength);
}

#[test]
fn udp_ports() {
    assert_eq!(both_accepted(17, &udp(0, 65535, b"")), (0, 65535, 8, 8));
    both_refused(17, &udp(1, 0, b""), Malformed::ZeroPort);
}

#[test]
fn tcp_data_offset() {
    assert_eq!(
        both_accepted(6, &tcp(80, 1024, &[], b"")),
        (80, 1024, 20, 20)
    );
    assert_eq!(
        both_accepted(6, &tcp(80, 1024, &[1; 40], b"x")),
        (80, 1024, 60, 61)
    );
    let mut segment = tcp(80, 1024, &[], b"abc");
    for words in 0..5 {
        segment[12] = words << 4;
        both_refused(6, &segment, Malformed::TcpDataOffset);
    }
    segment[12] = 6 << 4;
    both_refused(6, &segment, Malformed::TcpDataOffset);
    segment.push(0);
    assert_eq!(both_accepted(6, &segment), (80, 1024, 24, 24));
    // The low bits are not part of the offset.
    segment[12] = 0x5f;
    assert_eq!(both_accepted(6, &segment), (80, 1024, 20, 24));
}

#[test]
fn tcp_ports() {
    both_refused(6, &tcp(0, 1, &[], b""), Malformed::ZeroPort);
    both_refused(6, &tcp(1, 0, &[], b""), Malformed::ZeroPort);
}
