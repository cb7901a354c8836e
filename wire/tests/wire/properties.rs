//! What holds for every frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*};

use crate::{
    emit::{ETH, end},
    support::{fix_v4, ones_complement, v4_options},
};
use wire::emit::{Tcp, Udp};
use wire::{L4, Parsed, TupleV4, TupleV6, echo, parse};

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

/// A frame that parses to a tuple: UDP or TCP over either IP.
fn good() -> impl Strategy<Value = Vec<u8>> {
    (
        ends(),
        1u16..,
        1u16..,
        vec(any::<u8>(), 0..80),
        any::<bool>(),
    )
        .prop_map(|((a, b), src_port, dst_port, payload, udp)| {
            let (src, dst) = (end(a, src_port), end(b, dst_port));
            let mut buf = vec![0; 256];
            let len = if udp {
                Udp {
                    eth: ETH,
                    src,
                    dst,
                    payload: &payload,
                }
                .write(&mut buf)
            } else {
                let (seq, ack, flags, window) = (1, 2, 0x18, 3);
                Tcp {
                    eth: ETH,
                    src,
                    dst,
                    seq,
                    ack,
                    flags,
                    window,
                    payload: &payload,
                }
                .write(&mut buf)
            };
            buf.truncate(len.unwrap());
            buf
        })
}

/// The offsets that a parsed frame promises.
fn sound<T>(l4: &L4<T>, frame: &[u8], proto: u8) {
    let header_len = if proto == 17 { 8 } else { 20 };
    assert!(l4.l3_offset == 14 && l4.l3_offset < l4.l4_offset);
    assert!(l4.l4_offset + header_len <= l4.payload_offset);
    assert!(l4.payload_offset <= l4.end && usize::from(l4.end) <= frame.len());
}

fn check(frame: &[u8]) {
    match parse(frame) {
        Ok(Parsed::V4(l4)) => sound(&l4, frame, l4.tuple.proto),
        Ok(Parsed::V6(l4)) => sound(&l4, frame, l4.tuple.proto),
        Ok(Parsed::Other(_)) | Err(_) => {}
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
        frame[12..14].copy_from_slice(&ethertype);
        if let Some(byte) = frame.get_mut(14) {
            *byte = first;
        }
        fix_v4(&mut frame);
        check(&frame);
    }

    #[test]
    fn edited_frames(
        mut frame in good(),
        edits in vec((0usize..80, any::<u8>()), 0..6),
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
    fn what_is_emitted_is_parsed(
        (a, b) in ends(),
        src_port in 1u16..,
        dst_port in 1u16..,
        payload in vec(any::<u8>(), 0..1400),
        udp in any::<bool>(),
        padding in 0usize..20,
    ) {
        let (src, dst) = (end(a, src_port), end(b, dst_port));
        let mut buf = vec![0; 2048];
        let len = if udp {
            Udp { eth: ETH, src, dst, payload: &payload }.write(&mut buf)
        } else {
            let (seq, ack, flags, window) = (1, 2, 2, 3);
            Tcp { eth: ETH, src, dst, seq, ack, flags, window, payload: &payload }.write(&mut buf)
        }.unwrap();
        let proto = if udp { 17 } else { 6 };
        let l4_offset = if a.is_ipv4() { 34 } else { 54 };
        let payload_offset = l4_offset + if udp { 8 } else { 20 };
        let end = u16::try_from(len).unwrap();
        let expected = match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let tuple = TupleV4 { src: a.into(), dst: b.into(), src_port, dst_port, proto };
                Parsed::V4(L4 { tuple, l3_offset: 14, l4_offset, payload_offset, end })
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let tuple = TupleV6 { src: a.into(), dst: b.into(), src_port, dst_port, proto };
                Parsed::V6(L4 { tuple, l3_offset: 14, l4_offset, payload_offset, end })
            }
            _ => unreachable!("both ends are of one family"),
        };
        prop_assert_eq!(parse(&buf[..len + padding]), Ok(expected));
        prop_assert_eq!(&buf[usize::from(payload_offset)..len], &payload[..]);
    }

    #[test]
    fn a_frame_cut_short_is_refused(frame in good(), cut in any::<prop::sample::Index>()) {
        prop_assert!(parse(&frame).is_ok());
        prop_assert!(parse(&frame[..cut.index(frame.len())]).is_err());
    }

    #[test]
    fn a_flipped_ipv4_header_bit_does_not_pass(
        (src, dst) in (address_v4(), address_v4()).prop_filter("land", |(a, b)| a != b),
        words in 0usize..=10,
        payload in vec(any::<u8>(), 0..80),
        bit in 0usize..480,
    ) {
        let segment = crate::support::udp(1000, 53, &payload);
        let mut frame = v4_options(src, dst, 17, &vec![1; words * 4], &segment);
        let before = parse(&frame);
        prop_assert!(matches!(before, Ok(Parsed::V4(_))));
        let bit = bit % ((20 + words * 4) * 8);
        frame[14 + bit / 8] ^= 1 << (bit % 8);
        if parse(&frame).is_ok() {
            // Only a flip in the IHL leaves the sum a chance, as it then covers other bytes.
            let header_len = usize::from(frame[14] & 15) * 4;
            prop_assert!(bit < 4);
            prop_assert_eq!(ones_complement(&frame[14..14 + header_len]), 0);
        }
    }
}
