//! Layer 4 checksums.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    emit::{ETH, end},
    support::{A4, A6, B4, B6, extension, sctp, tagged, tcp, udp, v4, v6},
};
use wire::emit::{Icmp, Sctp, Tcp, Udp};
use wire::{Body, Checksum, Origin, Other, Unfinished, checksum, fill_l4, parse, verify_l4};

fn verify(frame: &[u8]) -> Option<Checksum> {
    verify_l4(frame, &parse(frame, Origin::Wire).unwrap())
}

fn ends() -> [(IpAddr, IpAddr); 2] {
    [(A4.into(), B4.into()), (A6.into(), B6.into())]
}

/// One good frame of each protocol, with the offset of its checksum.
fn good(payload: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut frames = Vec::new();
    for (a, b) in ends() {
        let l4 = if a.is_ipv4() { 34 } else { 54 };
        let (eth, src, dst) = (ETH, end(a, 1000), end(b, 53));
        let mut add = |sum_at: usize, write: &dyn Fn(&mut [u8]) -> Option<usize>| {
            let mut buf = vec![0; 2048];
            let len = write(&mut buf).unwrap();
            buf.truncate(len);
            frames.push((buf, l4 + sum_at));
        };
        let (seq, ack, flags, window, tag) = (1, 2, 0x18, 3, 4);
        #[rustfmt::skip]
        add(16, &|buf| Tcp { eth, src, dst, seq, ack, flags, window, payload }.write(buf));
        add(6, &|buf| {
            Udp {
                eth,
                src,
                dst,
                payload,
            }
            .write(buf)
        });
        let chunks = payload;
        #[rustfmt::skip]
        add(8, &|buf| Sctp { eth, src, dst, tag, chunks }.write(buf));
        let (kind, code, rest) = (if a.is_ipv4() { 8 } else { 128 }, 0, 5);
        #[rustfmt::skip]
        add(2, &|buf| Icmp { eth, src: a, dst: b, kind, code, rest, body: payload }.write(buf));
    }
    frames
}

#[test]
fn good_and_bad() {
    for len in [0, 1, 2, 3, 16, 33, 1400] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        for (frame, sum_at) in good(&payload) {
            assert_eq!(verify(&frame), Some(Checksum::Good), "{frame:02x?}");
            let mut padded = frame.clone();
            padded.extend([0xee; 7]);
            assert_eq!(verify(&padded), Some(Checksum::Good));
            let last = frame.len() - 1;
            for at in [sum_at, sum_at + 1, last] {
                let mut bad = frame.clone();
                bad[at] ^= 0x40;
                assert_eq!(verify(&bad), Some(Checksum::Bad), "{at} {frame:02x?}");
            }
        }
    }
}

#[test]
fn filled_is_good() {
    for (frame, sum_at) in good(b"some payload!") {
        for garbage in [0, 0xff, 0x5a] {
            let mut damaged = frame.clone();
            damaged[sum_at..sum_at + 2].fill(garbage);
            let parsed = parse(&damaged, Origin::Wire).unwrap();
            assert!(fill_l4(&mut damaged, &parsed));
            assert_eq!(damaged, frame);
        }
    }
}

fn unfinished(frame: &[u8]) -> Option<Unfinished> {
    Unfinished::of(frame, &parse(frame, Origin::Wire).unwrap())
}

/// What NICs do: they sum up from layer 4 to the end, with the field as it is.
fn finish_as_a_nic(frame: &mut [u8], of: Unfinished) {
    let l4 = usize::from(of.l2_len + of.l3_len);
    let sum = match checksum::internet(&frame[l4..]) {
        0 if !of.is_tcp => u16::MAX,
        sum => sum,
    };
    let at = l4 + usize::from(of.field());
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn begun_here_and_finished_by_a_nic_is_good() {
    for len in [0, 1, 2, 33, 1400] {
        let payload: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0]).collect();
        for (frame, sum_at) in good(&payload) {
            let mut sent = frame.clone();
            sent[sum_at] ^= 0x5a;
            let parsed = parse(&sent, Origin::Wire).unwrap();
            let is_one = match parsed.body {
                Body::V4(l4) => l4.tuple.proto != 132,
                Body::V6(l4) => l4.tuple.proto != 132,
                Body::Other(_) => false,
            };
            let Some(of) = unfinished(&sent).filter(|_| is_one) else {
                assert!(!is_one && unfinished(&sent).is_none(), "{frame:02x?}");
                continue;
            };
            assert_eq!(usize::from(of.l2_len + of.l3_len + of.field()), sum_at);
            of.begin(&mut sent);
            finish_as_a_nic(&mut sent, of);
            assert_eq!(sent, frame);
        }
    }
}

#[test]
fn what_nics_may_sum_up_differently_is_not_left_to_them() {
    let whole = v4(A4, B4, 17, &udp(1, 2, b"abcdefgh"));
    let of = unfinished(&tagged(&whole, 0x8100, 5)).unwrap();
    assert_eq!((of.l2_len, of.l3_len, of.is_ipv4), (18, 20, true));
    assert!(unfinished(&[whole.clone(), vec![0; 3]].concat()).is_none());
    let mut covers_less = whole;
    covers_less[34 + 5] = 12;
    assert!(unfinished(&covers_less).is_none());
    let payload = [extension(17, [0; 7]), udp(1, 2, b"abc")].concat();
    assert!(unfinished(&v6(A6, B6, 60, &payload)).is_none());
    assert!(unfinished(&v6(A6, B6, 17, &udp(1, 2, b"abc"))).is_some());
    let group = [224, 0, 0, 251].into();
    assert!(unfinished(&v4(A4, group, 17, &udp(1, 2, b"x"))).is_none());
}

#[test]
fn an_absent_udp_checksum() {
    let frame = v4(A4, B4, 17, &udp(1, 2, b"abc"));
    assert_eq!(verify(&frame), Some(Checksum::Absent));
    let mut frame = v6(A6, B6, 17, &udp(1, 2, b"abc"));
    assert_eq!(verify(&frame), Some(Checksum::Bad));
    let parsed = parse(&frame, Origin::Wire).unwrap();
    assert!(fill_l4(&mut frame, &parsed));
    assert_eq!(verify(&frame), Some(Checksum::Good));
}

#[test]
fn a_sum_of_zero_is_filled_in_as_ones() {
    // Whatever word makes the rest sum up to 0xffff, put where the checksum does not reach it.
    let hit = (0..=u16::MAX).find_map(|word| {
        let mut frame = v4(A4, B4, 17, &udp(1, 2, &word.to_be_bytes()));
        let parsed = parse(&frame, Origin::Wire).unwrap();
        assert!(fill_l4(&mut frame, &parsed));
        assert_ne!(frame[40..42], [0, 0]);
        (frame[40..42] == [0xff, 0xff]).then_some(frame)
    });
    let frame = hit.expect("one payload in 65536 sums up to zero");
    assert_eq!(verify(&frame), Some(Checksum::Good));
}

#[test]
fn over_ipv6_none_is_bad_even_if_it_is_what_the_sum_gives() {
    let mut frame = v6(A6, B6, 17, &udp(1, 2, &[0; 2]));
    let parsed = parse(&frame, Origin::Wire).unwrap();
    assert!(fill_l4(&mut frame, &parsed));
    // What the checksum was goes into the payload: now zero makes the sum right.
    frame.copy_within(60..62, 62);
    frame[60..62].fill(0);
    assert_eq!(checksum::l4_v6(A6, B6, 17, &frame[54..]), 0);
    assert_eq!(verify(&frame), Some(Checksum::Bad));
}

#[test]
fn udp_covers_its_own_length() {
    // RFC 9868: what the UDP length leaves out is not summed.
    for mut frame in [
        v4(A4, B4, 17, &udp(1, 2, b"abcdefgh")),
        v6(A6, B6, 17, &udp(1, 2, b"abcdefgh")),
    ] {
        let l4 = frame.len() - 16;
        frame[l4 + 5] = 12;
        let parsed = parse(&frame, Origin::Wire).unwrap();
        assert!(fill_l4(&mut frame, &parsed));
        frame[l4 + 13] ^= 0xff;
        assert_eq!(verify(&frame), Some(Checksum::Good));
        frame[l4 + 11] ^= 0xff;
        assert_eq!(verify(&frame), Some(Checksum::Bad));
    }
}

#[test]
fn crc32c_by_its_definition() {
    // Bit by bit, reflected: polynomial 0x1edc6f41 (RFC 9260 appendix A).
    let crc = |bytes: &[u8]| {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
        !crc
    };
    assert_eq!(crc(b"123456789"), 0xe306_9283);
    let packet = sctp(1000, 2000, &[7; 37]);
    assert_eq!(checksum::sctp(&packet), Some(crc(&packet)));
    let mut other = packet.clone();
    other[8..12].fill(9);
    assert_eq!(checksum::sctp(&other), Some(crc(&packet)));
    assert_eq!(checksum::sctp(&packet[..11]), None);
}

#[test]
fn behind_tags_and_extension_headers() {
    let payload = [extension(17, [0; 7]), udp(1, 2, b"abc")].concat();
    let frame = tagged(&tagged(&v6(A6, B6, 60, &payload), 0x8100, 5), 0x88a8, 6);
    let mut filled = frame.clone();
    let parsed = parse(&frame, Origin::Wire).unwrap();
    assert!(fill_l4(&mut filled, &parsed));
    let sum = checksum::l4_v6(A6, B6, 17, &udp(1, 2, b"abc")).to_be_bytes();
    let at = 22 + 40 + 8 + 6;
    assert_eq!(filled[at..at + 2], sum);
    assert_eq!(verify(&filled), Some(Checksum::Good));
}

#[test]
fn to_groups() {
    let group = [224, 0, 0, 251].into();
    assert_eq!(
        verify(&v4(A4, group, 17, &udp(1, 2, b""))),
        Some(Checksum::Absent)
    );
    for (number, segment) in [
        (17, udp(1, 2, b"x")),
        (132, sctp(1, 2, b"x")),
        (1, vec![9; 8]),
    ] {
        let mut frame = v4(A4, group, number, &segment);
        let parsed = parse(&frame, Origin::Wire).unwrap();
        assert!(fill_l4(&mut frame, &parsed), "{number}");
        assert_eq!(verify(&frame), Some(Checksum::Good), "{number}");
        frame[34] ^= 1;
        assert_eq!(verify(&frame), Some(Checksum::Bad), "{number}");
    }
}

#[test]
fn nothing_to_verify() {
    let mut fragment = v4(A4, B4, 17, &[0; 8]);
    fragment[21] = 8;
    crate::support::fix_v4(&mut fragment);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    for mut frame in [
        fragment,
        v4(A4, B4, 47, &[0; 8]),
        // The other version's ICMP, and too little of one's own.
        v4(A4, [224, 0, 0, 1].into(), 58, &[0; 8]),
        v6(A6, group, 1, &[0; 8]),
        v4(A4, [224, 0, 0, 1].into(), 1, &[0; 7]),
        v6(A6, group, 59, &[]),
        crate::support::ethernet(0x88cc, &[0; 40]),
    ] {
        let copy = frame.clone();
        let parsed = parse(&frame, Origin::Wire).unwrap();
        assert_eq!(verify_l4(&frame, &parsed), None, "{parsed:?}");
        assert!(!fill_l4(&mut frame, &parsed));
        assert_eq!(frame, copy);
    }
}

#[test]
fn neighbour_discovery_was_verified_by_parsing() {
    let nd = wire::NeighborDiscovery {
        kind: wire::NdKind::Advertisement,
        src: A6,
        dst: B6,
        target: Some(A6),
        link_layer: None,
        hop_limit: 255,
    };
    let mut buf = vec![0; 100];
    let len = nd.write(ETH, &mut buf).unwrap();
    let parsed = parse(&buf[..len], Origin::Wire).unwrap();
    assert_eq!(parsed.body, Body::Other(Other::Neighbor(nd)));
    assert_eq!(verify_l4(&buf[..len], &parsed), Some(Checksum::Good));
    assert!(fill_l4(&mut buf[..len], &parsed));
}

#[test]
fn another_frame_is_not_read_past_its_end() {
    let frame = v4(A4, B4, 6, &tcp(1, 2, &[], b"abc"));
    let parsed = parse(&frame, Origin::Wire).unwrap();
    for len in 0..frame.len() {
        assert_eq!(verify_l4(&frame[..len], &parsed), None);
        assert!(!fill_l4(&mut frame[..len].to_vec(), &parsed));
    }
    let frame = v4(A4, B4, 17, &udp(1, 2, b"abc"));
    let parsed = parse(&frame, Origin::Wire).unwrap();
    assert_eq!(verify_l4(&vec![0xff; frame.len()], &parsed), None);
    assert_eq!(verify_l4(&vec![0; frame.len()], &parsed), None);
}
