//! What `emit` builds, and `echo`.

use std::net::{IpAddr, SocketAddr};

use crate::support::{
    A4, A6, B4, B6, body, local, ones_complement, tagged, tcp, udp, v4, v4_options, v6,
};
use wire::emit::{
    Eth, Icmp, Sctp, Tcp, Udp, arp_request, fragment, insert_tag, quote, tag, tcp_flags,
};
use wire::{
    Arp, Body, MacAddr, NdKind, NeighborDiscovery, Origin, Other, Vlan, checksum, echo, parse,
};

pub const ETH: Eth = Eth {
    dst: MacAddr([2, 0, 0, 0, 0, 0xb]),
    src: MacAddr([2, 0, 0, 0, 0, 0xa]),
};

pub fn end(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

fn written(write: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buf = vec![0xa5; 2048];
    let len = write(&mut buf).unwrap();
    assert!(
        buf[len..].iter().all(|b| *b == 0xa5),
        "wrote past the frame"
    );
    for short in 0..len {
        assert_eq!(write(&mut vec![0; short]), None, "{short} of {len} bytes");
    }
    buf.truncate(len);
    buf
}

/// The L4 checksum by the book: over a pseudo-header written out.
fn l4_sum(frame: &[u8]) -> u16 {
    let (mut summed, segment, proto) = match frame[12] {
        0x08 => (frame[26..34].to_vec(), &frame[34..], frame[23]),
        _ => (frame[22..54].to_vec(), &frame[54..], frame[20]),
    };
    summed.extend(u32::try_from(segment.len()).unwrap().to_be_bytes());
    summed.extend([0, 0, 0, proto]);
    summed.extend(segment);
    ones_complement(&summed)
}

#[test]
fn frames_equal_those_made_by_hand() {
    for (src, dst) in [(end(A4, 1000), end(B4, 53)), (end(A6, 1000), end(B6, 53))] {
        let payload = b"odd bytes";
        let make = |proto, segment: &[u8]| match src {
            SocketAddr::V4(_) => v4(A4, B4, proto, segment),
            SocketAddr::V6(_) => v6(A6, B6, proto, segment),
        };
        let l4 = if src.is_ipv4() { 34 } else { 54 };
        let mask = |mut frame: Vec<u8>, sum_at: usize| {
            assert_eq!(l4_sum(&frame), 0);
            frame[sum_at..sum_at + 2].fill(0);
            if l4 == 34 {
                // By hand the identification is 1.
                frame[19] = 1;
                crate::support::fix_v4(&mut frame);
            }
            frame
        };
        let frame = written(|buf| {
            Udp {
                eth: ETH,
                src,
                dst,
                payload,
            }
            .write(buf)
        });
        assert_eq!(mask(frame, l4 + 6), make(17, &udp(1000, 53, payload)));

        let (seq, ack, flags, window) = (0x0102_0304, 0x0506_0708, tcp_flags::ACK, 0x090a);
        let segment = Tcp {
            eth: ETH,
            src,
            dst,
            seq,
            ack,
            flags,
            window,
            payload,
        };
        let frame = written(|buf| segment.write(buf));
        let mut expected = tcp(1000, 53, &[], payload);
        expected[4..12].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        expected[14..16].copy_from_slice(&[9, 10]);
        assert_eq!(mask(frame, l4 + 16), make(6, &expected));
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    let hit = (0..=u16::MAX).find_map(|word| {
        let payload = &word.to_be_bytes()[..];
        let mut buf = [0; 64];
        let frame = Udp {
            eth: ETH,
            src: end(A4, 1),
            dst: end(B4, 2),
            payload,
        };
        frame.write(&mut buf)?;
        assert_ne!(buf[40..42], [0, 0]);
        (buf[40..42] == [0xff, 0xff]).then_some(buf)
    });
    let frame = hit.expect("one payload in 65536 sums up to zero");
    assert_eq!(checksum::l4_v4(A4, B4, 17, &frame[34..44]), 0);
}

#[test]
fn l4_checksums_at_odd_and_even_lengths() {
    for len in 0..70u8 {
        let payload: Vec<u8> = (0..len).collect();
        for frame in [v4(A4, B4, 17, &payload), v6(A6, B6, 17, &payload)] {
            let expected = l4_sum(&frame);
            let sum = match frame[12] {
                0x08 => checksum::l4_v4(A4, B4, 17, &payload),
                _ => checksum::l4_v6(A6, B6, 17, &payload),
            };
            assert_eq!(sum, expected);
        }
    }
}

#[test]
fn refuses_what_cannot_be_built() {
    let mut buf = vec![0; 70000];
    let mixed = Udp {
        eth: ETH,
        src: end(A4, 1),
        dst: end(B6, 2),
        payload: b"",
    };
    assert_eq!(mixed.write(&mut buf), None);
    let big = vec![0; 65535];
    for (src, dst, most) in [
        (end(A4, 1), end(B4, 2), 65535 - 28),
        (end(A6, 1), end(B6, 2), 65535 - 8),
    ] {
        let mut write = |len: usize| {
            Udp {
                eth: ETH,
                src,
                dst,
                payload: &big[..len],
            }
            .write(&mut buf)
        };
        assert!(write(most).is_some());
        assert_eq!(write(most + 1), None);
    }
}

#[test]
fn arp() {
    let mac = ETH.src;
    let frame = written(|buf| arp_request(mac, A4, B4, buf));
    let eth = wire::ethernet(&frame).unwrap();
    assert_eq!(
        (eth.dst, eth.src, frame.len()),
        (MacAddr::BROADCAST, mac, 42)
    );
    let request = Arp {
        op: wire::ARP_REQUEST,
        sender_mac: mac,
        sender_ip: A4,
        target_mac: MacAddr::default(),
        target_ip: B4,
    };
    assert_eq!(body(&frame), Ok(Body::Other(Other::Arp(request))));
    let reply = Arp {
        op: wire::ARP_REPLY,
        target_mac: ETH.dst,
        ..request
    };
    let frame = written(|buf| reply.write(ETH, buf));
    assert_eq!(body(&frame), Ok(Body::Other(Other::Arp(reply))));
}

#[test]
fn turn_around_swaps_all_three_pairs() {
    for (src, dst) in [(end(A4, 1000), end(B4, 7)), (end(A6, 1000), end(B6, 7))] {
        let payload = b"hello";
        let mut frame = written(|buf| {
            Udp {
                eth: ETH,
                src,
                dst,
                payload,
            }
            .write(buf)
        });
        let back = Eth {
            dst: ETH.src,
            src: ETH.dst,
        };
        let answer = Udp {
            eth: back,
            src: dst,
            dst: src,
            payload,
        };
        assert!(echo::turn_around(&mut frame));
        assert_eq!(frame, written(|buf| answer.write(buf)));
    }
}

#[test]
fn turn_around_leaves_the_rest_alone() {
    let untouched = |frame: Vec<u8>| {
        let mut copy = frame.clone();
        assert!(!echo::turn_around(&mut copy));
        assert_eq!(copy, frame);
    };
    untouched(vec![]);
    untouched(v4(A4, B4, 6, &tcp(1, 2, &[], b"")));
    untouched(v6(A6, B6, 6, &tcp(1, 2, &[], b"")));
    untouched(v4(A4, B4, 17, &udp(0, 7, b"no one to answer")));
    untouched(v6(A6, B6, 17, &udp(0, 7, b"no one to answer")));
    untouched(v4(A4, B4, 17, &udp(1, 0, b"")));
    untouched(v4(A4, [224, 0, 0, 1].into(), 17, &udp(1, 7, b"")));
    for at in [0, 6] {
        let mut frame = v4(A4, B4, 17, &udp(1, 7, b"group address"));
        frame[at] = 0xff;
        untouched(frame);
    }
}

#[test]
fn turn_around_keeps_tags_and_takes_neighbours_on_this_machine() {
    for (src, dst) in [(end(A4, 1000), end(A4, 7)), (end(A6, 1000), end(A6, 7))] {
        let payload = b"hello";
        let eth = ETH;
        let udp = Udp {
            eth,
            src,
            dst,
            payload,
        };
        let mut buf = [0; 128];
        let len = udp.write(&mut buf).unwrap();
        let len = tag(&mut buf, len, Vlan::new(5, 6).unwrap()).unwrap();
        assert!(echo::turn_around(&mut buf[..len]));
        let parsed = parse(&buf[..len], Origin::Local).unwrap();
        let ports = match parsed.body {
            Body::V4(l4) => (l4.tuple.src_port, l4.tuple.dst_port),
            Body::V6(l4) => (l4.tuple.src_port, l4.tuple.dst_port),
            Body::Other(it) => panic!("{it:?}"),
        };
        assert_eq!((ports, parsed.vlan), ((7, 1000), Vlan::new(5, 6).unwrap()));
        // Its own answer for ever.
        let mut land = udp;
        land.src = dst;
        let len = land.write(&mut buf).unwrap();
        assert!(!echo::turn_around(&mut buf[..len]));
    }
}

#[test]
fn tags_go_in_front() {
    let frame = v4(A4, B4, 17, &udp(1, 2, b""));
    let mut buf = [0; 64];
    buf[..frame.len()].copy_from_slice(&frame);
    let len = insert_tag(&mut buf, frame.len(), 0x8100, 0x2005).unwrap();
    assert_eq!(buf[..len], tagged(&frame, 0x8100, 0x2005));
    let double = tag(&mut buf, len, Vlan::new(7, 0).unwrap()).unwrap();
    assert_eq!(
        buf[..double],
        tagged(&tagged(&frame, 0x8100, 0x2005), 0x8100, 7)
    );
    assert_eq!(tag(&mut buf, double, Vlan::NONE), Some(double));
    // No room, and no Ethernet header.
    assert_eq!(insert_tag(&mut buf[..double], double, 0x8100, 1), None);
    assert_eq!(insert_tag(&mut buf, 13, 0x8100, 1), None);
}

#[test]
fn sctp_icmp_and_neighbours_fit_their_buffers() {
    let (eth, tag, chunks) = (ETH, 9, &[1, 2, 3][..]);
    for (src, dst) in [(end(A4, 1), end(B4, 2)), (end(A6, 1), end(B6, 2))] {
        let sctp = Sctp {
            eth,
            src,
            dst,
            tag,
            chunks,
        };
        let frame = written(|buf| sctp.write(buf));
        let l4 = if src.is_ipv4() { 34 } else { 54 };
        assert_eq!(frame[l4..l4 + 8], [0, 1, 0, 2, 0, 0, 0, 9]);
        assert_eq!(frame[l4 + 12..], [1, 2, 3]);
        let icmp = Icmp {
            eth,
            src: src.ip(),
            dst: dst.ip(),
            kind: 200,
            code: 3,
            rest: 0x0102_0304,
            body: b"abc",
        };
        let frame = written(|buf| icmp.write(buf));
        assert_eq!(frame[l4..l4 + 2], [200, 3]);
        assert_eq!(frame[l4 + 4..], *b"\x01\x02\x03\x04abc");
    }
    let mut nd = NeighborDiscovery {
        kind: NdKind::Solicitation,
        src: A6,
        dst: B6,
        target: Some(B6),
        link_layer: Some(ETH.src),
        hop_limit: 255,
    };
    written(|buf| nd.write(ETH, buf));
    nd.kind = NdKind::Redirect;
    assert_eq!(nd.write(ETH, &mut [0; 200]), None);
    nd.kind = NdKind::Advertisement;
    nd.target = None;
    assert_eq!(nd.write(ETH, &mut [0; 200]), None);
}

#[test]
fn fragments() {
    let payload: Vec<u8> = (0..100).collect();
    for frame in [v4(A4, B4, 17, &payload), v6(A6, B6, 17, &payload)] {
        let frame = tagged(&frame, 0x8100, 5);
        let cut = |offset, len| {
            let mut buf = vec![0; 200];
            let len = fragment(&frame, 7, offset, len, &mut buf)?;
            buf.truncate(len);
            let Ok(Body::Other(Other::Fragment(it))) = local(&buf) else {
                panic!("{:?}", local(&buf))
            };
            Some((it.more, buf[len - usize::from(it.len)..].to_vec()))
        };
        assert_eq!(cut(8, 16), Some((true, payload[8..24].to_vec())));
        assert_eq!(cut(88, 16), Some((false, payload[88..].to_vec())));
        assert_eq!(cut(88, 12), Some((false, payload[88..].to_vec())));
        for (offset, len) in [(4, 16), (8, 12), (104, 8), (8, 0)] {
            assert_eq!(cut(offset, len), None, "{offset} {len}");
        }
        let one = written(|buf| fragment(&frame, 7, 8, 16, buf));
        assert_eq!(fragment(&one, 7, 0, 8, &mut [0; 200]), None);
    }
    let refused = |frame: Vec<u8>| assert_eq!(fragment(&frame, 7, 0, 8, &mut [0; 200]), None);
    refused(v4_options(A4, B4, 17, &[1; 4], &payload));
    refused(v6(A6, B6, 0, &payload));
    refused(crate::support::ethernet(0x88cc, &payload));
    refused(vec![]);
}

#[test]
fn quotes() {
    let big = vec![7; 1400];
    for (frame, most) in [(v4(A4, B4, 17, &big), 548), (v6(A6, B6, 17, &big), 1232)] {
        let tagged = tagged(&frame, 0x8100, 5);
        assert_eq!(quote(&frame), Some(&frame[14..14 + most]));
        assert_eq!(quote(&tagged), quote(&frame));
    }
    // Padding is not part of the packet.
    let mut frame = v4(A4, B4, 17, &udp(1, 2, b""));
    frame.extend([0; 18]);
    assert_eq!(quote(&frame), Some(&frame[14..42]));
    assert_eq!(quote(&frame[..33]), None);
    assert_eq!(quote(&crate::support::ethernet(0x0806, &[0; 28])), None);
}
