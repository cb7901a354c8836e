//! ICMP messages, and the packets that errors are about.

use std::net::IpAddr;

use crate::support::{
    A4, A6, B4, B6, extension, fix_v4, icmp, local, ones_complement, refused, sctp, tcp, udp, v4,
    v4_options, v6,
};
use wire::{About, Body, Icmp, Malformed, Other};

/// The error that `B` sends about a packet of `A`.
fn error4(kind: u8, packet: &[u8]) -> Vec<u8> {
    v4(
        B4,
        A4,
        1,
        &[&[kind, 0, 0, 0, 0, 0, 5, 0xdc][..], packet].concat(),
    )
}

fn error6(kind: u8, packet: &[u8]) -> Vec<u8> {
    v6(
        B6,
        A6,
        58,
        &[&[kind, 0, 0, 0, 0, 0, 5, 0xdc][..], packet].concat(),
    )
}

fn about4(packet: &[u8]) -> Option<About> {
    icmp(&error4(3, packet)).about
}

fn about6(packet: &[u8]) -> Option<About> {
    icmp(&error6(2, packet)).about
}

/// A frame without its Ethernet header.
fn packet(frame: &[u8]) -> Vec<u8> {
    frame[14..].to_vec()
}

/// `edit` on a quoted UDP packet of A, and its checksum made right again.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = v4(A4, B4, 17, &udp(1000, 53, b"12345678"));
    edit(&mut frame);
    fix_v4(&mut frame);
    packet(&frame)
}

fn flow(src: impl Into<IpAddr>, dst: impl Into<IpAddr>, proto: u8) -> About {
    About {
        src: src.into(),
        dst: dst.into(),
        proto,
        ports: Some((1000, 53)),
    }
}

#[test]
fn fields() {
    let frame = v4(A4, B4, 1, &[8, 7, 0, 0, 0, 0, 5, 0xdc, 1, 2, 3]);
    let expected = Icmp {
        src: A4.into(),
        dst: B4.into(),
        kind: 8,
        code: 7,
        l4_offset: 34,
        end: 45,
        about: None,
    };
    assert_eq!(icmp(&frame), expected);
    let frame = v6(A6, B6, 58, &[128, 7, 0, 0, 0, 0, 5, 0, 1, 2, 3]);
    let expected = Icmp {
        src: A6.into(),
        dst: B6.into(),
        kind: 128,
        code: 7,
        l4_offset: 54,
        end: 65,
        about: None,
    };
    assert_eq!(icmp(&frame), expected);
}

#[test]
fn truncated() {
    for len in 0..8 {
        refused(&v4(A4, B4, 1, &[8; 8][..len]), Malformed::L4Truncated);
        refused(&v6(A6, B6, 58, &[128; 8][..len]), Malformed::L4Truncated);
    }
}

#[test]
fn errors() {
    let of = |frames: &dyn Fn(u8) -> Vec<u8>| -> Vec<u8> {
        let not_nd = (0..=255).filter(|kind| !(133..138).contains(kind));
        not_nd
            .filter(|kind| icmp(&frames(*kind)).is_error())
            .collect()
    };
    assert_eq!(of(&|kind| error4(kind, &[])), [3, 4, 5, 11, 12]);
    assert_eq!(of(&|kind| error6(kind, &[])), (0..128).collect::<Vec<_>>());
}

#[test]
fn errors_that_are_about_a_flow() {
    let (four, six) = (
        edited(|_| {}),
        packet(&v6(A6, B6, 17, &udp(1000, 53, b"12345678"))),
    );
    for kind in (0..=255).filter(|kind| !(133..138).contains(kind)) {
        let about = icmp(&error4(kind, &four)).about;
        let expected = matches!(kind, 3 | 11 | 12).then_some(flow(A4, B4, 17));
        assert_eq!(about, expected, "{kind}");
        let about = icmp(&error6(kind, &six)).about;
        let expected = matches!(kind, 1..=4).then_some(flow(A6, B6, 17));
        assert_eq!(about, expected, "{kind}");
    }
    // One IP version's packet in the other's error.
    assert_eq!(about4(&six), None);
    assert_eq!(about6(&four), None);
}

#[test]
fn protocols() {
    for (proto, segment) in [
        (17, udp(1000, 53, b"")),
        (6, tcp(1000, 53, &[], b"")),
        (132, sctp(1000, 53, b"")),
    ] {
        // 8 bytes are enough, even of TCP and SCTP.
        for len in [segment.len(), 8] {
            let (four, six) = (
                packet(&v4(A4, B4, proto, &segment)),
                packet(&v6(A6, B6, proto, &segment)),
            );
            assert_eq!(about4(&four[..20 + len]), Some(flow(A4, B4, proto)));
            assert_eq!(about6(&six[..40 + len]), Some(flow(A6, B6, proto)));
        }
    }
    for proto in [1, 47, 50] {
        let about = about4(&packet(&v4(A4, B4, proto, &[9; 8]))).unwrap();
        assert_eq!((about.proto, about.ports), (proto, None));
        let about = about6(&packet(&v6(A6, B6, proto, &[9; 8]))).unwrap();
        assert_eq!((about.proto, about.ports), (proto, None));
    }
}

#[test]
fn at_least_8_bytes_are_quoted() {
    let four = packet(&v4_options(A4, B4, 17, &[1; 8], &udp(1000, 53, b"abc")));
    let six = packet(&v6(A6, B6, 17, &udp(1000, 53, b"abc")));
    for len in 0..28 + 8 {
        assert_eq!(about4(&four[..len]), None, "{len}");
    }
    for len in 0..40 + 8 {
        assert_eq!(about6(&six[..len]), None, "{len}");
    }
    assert_eq!(about4(&four[..28 + 8]), Some(flow(A4, B4, 17)));
    assert_eq!(about6(&six[..40 + 8]), Some(flow(A6, B6, 17)));
}

#[test]
fn the_quoted_length_may_exceed_the_quote_but_not_be_below() {
    assert!(
        about4(&edited(
            |f| f[16..18].copy_from_slice(&1500u16.to_be_bytes())
        ))
        .is_some()
    );
    // 7 bytes of packet, and then something else.
    assert_eq!(about4(&edited(|f| f[17] = 27)), None);
    assert_eq!(about4(&edited(|f| f[17] = 0)), None);
    let mut six = packet(&v6(A6, B6, 17, &udp(1000, 53, b"12345678")));
    six[4..6].copy_from_slice(&1400u16.to_be_bytes());
    assert!(about6(&six).is_some());
    six[4..6].copy_from_slice(&7u16.to_be_bytes());
    assert_eq!(about6(&six), None);
}

#[test]
fn quoted_headers_are_checked() {
    assert!(about4(&edited(|_| {})).is_some());
    for first in [0x55, 0x65, 0x44, 0x40, 0x4f] {
        assert_eq!(about4(&edited(|f| f[14] = first)), None, "{first:x}");
    }
    let mut bad = edited(|_| {});
    bad[8] ^= 1;
    assert_eq!(about4(&bad), None);
    let mut six = packet(&v6(A6, B6, 17, &udp(1000, 53, b"12345678")));
    six[0] = 0x40;
    assert_eq!(about6(&six), None);
}

#[test]
fn quoted_addresses_and_ports_are_checked() {
    let v4 = |src: [u8; 4], dst: [u8; 4]| v4(src.into(), dst.into(), 17, &udp(1, 2, b""));
    let (a, b) = (A4.octets(), B4.octets());
    for src in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], b] {
        assert_eq!(about4(&packet(&v4(src, b))), None, "{src:?}");
    }
    assert_eq!(about4(&packet(&v4(a, [127, 0, 0, 1]))), None);
    // Not to be sent (RFC 1122 section 3.2.2), but it is the sender's own packet.
    assert!(about4(&packet(&v4(a, [224, 0, 0, 1]))).is_some());
    for src in ["::", "::1", "ff02::1", "::ffff:1.2.3.4"] {
        let packet = packet(&v6(src.parse().unwrap(), B6, 17, &udp(1, 2, b"")));
        assert_eq!(about6(&packet), None, "{src}");
    }
    assert_eq!(about4(&edited(|f| f[36..38].fill(0))), None);
    assert_eq!(
        about4(&edited(|f| f[34..36].fill(0))).unwrap().ports,
        Some((0, 53))
    );
    let six = packet(&v6(A6, B6, 6, &tcp(0, 2, &[], b"")));
    assert_eq!(about6(&six), None);
}

#[test]
fn quoted_addresses_may_be_the_same_inside_the_machine() {
    let frame = error4(3, &packet(&v4(A4, A4, 17, &udp(1000, 53, b""))));
    assert_eq!(icmp(&frame).about, None);
    let Ok(Body::Other(Other::Icmp(inside))) = local(&frame) else {
        panic!("{:?}", local(&frame))
    };
    assert_eq!(inside.about, Some(flow(A4, A4, 17)));
}

#[test]
fn quoted_fragments() {
    let first = edited(|f| f[20] = 0x20);
    assert_eq!(about4(&first), Some(flow(A4, B4, 17)));
    let later = edited(|f| f[21] = 8);
    let expected = About {
        ports: None,
        ..flow(A4, B4, 17)
    };
    assert_eq!(about4(&later), Some(expected));

    let six = |word: u8| {
        let header = extension(17, [0, 0, word, 0, 0, 0, 1]);
        packet(&v6(A6, B6, 44, &[header, udp(1000, 53, b"")].concat()))
    };
    for (word, ports) in [(0, Some((1000, 53))), (1, Some((1000, 53))), (0x11, None)] {
        let expected = About {
            ports,
            ..flow(A6, B6, 17)
        };
        assert_eq!(about6(&six(word)), Some(expected), "{word}");
    }
}

#[test]
fn quoted_extension_headers() {
    let udp = udp(1000, 53, b"");
    let chain = |count: usize| {
        let mut payload = Vec::new();
        for left in (0..count).rev() {
            payload.extend(extension(if left == 0 { 17 } else { 60 }, [0; 7]));
        }
        payload.extend(&udp);
        packet(&v6(A6, B6, if count == 0 { 17 } else { 60 }, &payload))
    };
    for count in 0..=8 {
        assert_eq!(about6(&chain(count)), Some(flow(A6, B6, 17)), "{count}");
    }
    assert_eq!(about6(&chain(9)), None);
    // Cut inside a header.
    assert_eq!(about6(&chain(2)[..40 + 12]), None);
    // On its way to another address.
    let route = extension(17, [0, 4, 1, 0, 0, 0, 0]);
    let six = packet(&v6(A6, B6, 43, &[&route[..], &udp].concat()));
    let expected = About {
        proto: 43,
        ports: None,
        ..flow(A6, B6, 17)
    };
    assert_eq!(about6(&six), Some(expected));
}

#[test]
fn an_unsound_quote_is_no_malformed_frame() {
    let mut noise = vec![0x5a; 200];
    for len in 0..noise.len() {
        assert_eq!(about4(&noise[..len]), None);
        assert_eq!(about6(&noise[..len]), None);
    }
    // A sum alone does not make a header.
    noise[10..12].fill(0);
    let sum = ones_complement(&noise[..40]);
    noise[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(about4(&noise), None);
}
