//! etherparse as a second opinion: what it slices into TCP or UDP, we do too, alike, unless one
//! of our further rules says otherwise; and never the other way round.

use std::net::IpAddr;

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice, checksum::Sum16BitWords};
use proptest::{collection::vec, prelude::*};

use crate::support::{A4, A6, B4, B6, fix_v4, tcp, udp, v4_options, v6};
use wire::{MAX_EXTENSION_HEADERS, Malformed, Other, Parsed, parse};

/// An unfragmented TCP or UDP packet as etherparse sees it.
#[derive(Debug)]
struct Seen<'a> {
    src: IpAddr,
    dst: IpAddr,
    src_port: u16,
    dst_port: u16,
    proto: u8,
    /// Offset of the L4 payload in the frame.
    payload_offset: usize,
    net: NetSlice<'a>,
    udp_length: Option<u16>,
}

fn see(frame: &[u8]) -> Option<Seen<'_>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    if !packet.link_exts.is_empty() {
        return None;
    }
    let net = packet.net?;
    let (src, dst) = match &net {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (src_port, dst_port, proto, payload, udp_length) = match packet.transport? {
        TransportSlice::Udp(udp) => {
            let length = Some(udp.length());
            (
                udp.source_port(),
                udp.destination_port(),
                17,
                udp.payload(),
                length,
            )
        }
        TransportSlice::Tcp(tcp) => (
            tcp.source_port(),
            tcp.destination_port(),
            6,
            tcp.payload(),
            None,
        ),
        _ => return None,
    };
    let payload_offset = payload.as_ptr().addr() - frame.as_ptr().addr();
    Some(Seen {
        src,
        dst,
        src_port,
        dst_port,
        proto,
        payload_offset,
        net,
        udp_length,
    })
}

/// The protocol numbers of the IPv6 extension headers, and whether one is a routing header with
/// segments left.
fn chain(packet: &NetSlice) -> (Vec<u8>, bool) {
    let NetSlice::Ipv6(ip) = packet else {
        return (Vec::new(), false);
    };
    let mut next = ip.header().next_header();
    let mut left = false;
    let mut numbers = Vec::new();
    for header in ip.extensions().clone() {
        numbers.push(next.0);
        next = match header {
            etherparse::Ipv6ExtensionSlice::HopByHop(h)
            | etherparse::Ipv6ExtensionSlice::DestinationOptions(h) => h.next_header(),
            etherparse::Ipv6ExtensionSlice::Routing(h) => {
                left |= h.payload()[1] != 0;
                h.next_header()
            }
            etherparse::Ipv6ExtensionSlice::Fragment(h) => h.next_header(),
            etherparse::Ipv6ExtensionSlice::Authentication(h) => h.next_header(),
        };
    }
    (numbers, left)
}

fn martian_source(addr: IpAddr) -> bool {
    addr.is_loopback() || addr.is_multicast() || mapped(addr) || broadcast(addr)
}

fn mapped(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.to_ipv4_mapped().is_some())
}

fn broadcast(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.is_broadcast())
}

/// Whether our further rule really applies, judged by etherparse's fields alone.
fn explained(result: Result<Parsed, Malformed>, seen: &Seen) -> bool {
    let (numbers, segments_left) = chain(&seen.net);
    // etherparse takes a payload length of zero for "up to the end of the frame".
    let no_length = matches!(&seen.net, NetSlice::Ipv6(ip) if ip.header().payload_length() == 0);
    match result {
        Err(Malformed::Ipv4Checksum) => match &seen.net {
            NetSlice::Ipv4(ip) => {
                // Not `to_header()`: that forgets the reserved flag bit.
                Sum16BitWords::new()
                    .add_slice(ip.header().slice())
                    .ones_complement()
                    != 0
            }
            _ => false,
        },
        Err(Malformed::MartianSource) => martian_source(seen.src),
        Err(Malformed::MartianDestination) => {
            let unspecified = seen.dst.is_ipv6() && seen.dst.is_unspecified();
            seen.dst.is_loopback() || mapped(seen.dst) || unspecified
        }
        Err(Malformed::Land) => seen.src == seen.dst,
        Err(Malformed::ZeroPort) => seen.dst_port == 0 || (seen.src_port == 0 && seen.proto == 6),
        Err(Malformed::UdpLength) => seen.udp_length == Some(0),
        Err(Malformed::Ipv6PayloadLength | Malformed::L4Truncated) => no_length,
        Err(Malformed::Ipv6ExtensionHeaders) => no_length || numbers.len() > MAX_EXTENSION_HEADERS,
        Ok(Parsed::Other(Other::UnspecifiedSource)) => seen.src.is_unspecified(),
        Ok(Parsed::Other(Other::Multicast)) => {
            seen.dst.is_multicast() || broadcast(seen.dst) || seen.dst.is_unspecified()
        }
        // Atomic: the other fragments are none to etherparse either.
        Ok(Parsed::Other(Other::Fragment)) => numbers.contains(&44),
        Ok(Parsed::Other(Other::OtherProto { proto: 51 })) => match &seen.net {
            NetSlice::Ipv4(ip) => ip.header().protocol() == IpNumber::AUTHENTICATION_HEADER,
            _ => numbers.contains(&51),
        },
        Ok(Parsed::Other(Other::OtherProto { proto: 43 })) => segments_left,
        _ => false,
    }
}

/// True if both took the frame for the same packet.
fn compare(frame: &[u8]) -> bool {
    let seen = see(frame);
    let ours = parse(frame);
    let (src, dst, src_port, dst_port, proto, payload_offset): (IpAddr, IpAddr, _, _, _, _) =
        match ours {
            Ok(Parsed::V4(l4)) => {
                let t = l4.tuple;
                let (src, dst) = (t.src.to_be_bytes().into(), t.dst.to_be_bytes().into());
                (src, dst, t.src_port, t.dst_port, t.proto, l4.payload_offset)
            }
            Ok(Parsed::V6(l4)) => {
                let t = l4.tuple;
                let (src, dst) = (t.src.to_be_bytes().into(), t.dst.to_be_bytes().into());
                (src, dst, t.src_port, t.dst_port, t.proto, l4.payload_offset)
            }
            _ => {
                if let Some(seen) = seen {
                    assert!(explained(ours, &seen), "{ours:?}\n{seen:?}\n{frame:02x?}");
                }
                return false;
            }
        };
    let Some(seen) = seen else {
        panic!("only we accept: {ours:?}\n{frame:02x?}")
    };
    assert_eq!(
        (src, dst, src_port),
        (seen.src, seen.dst, seen.src_port),
        "{frame:02x?}"
    );
    assert_eq!(
        (dst_port, proto),
        (seen.dst_port, seen.proto),
        "{frame:02x?}"
    );
    assert_eq!(
        usize::from(payload_offset),
        seen.payload_offset,
        "{frame:02x?}"
    );
    true
}

fn segment() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let payload = || vec(any::<u8>(), 0..40);
    let port = || prop_oneof![1 => Just(0), 20 => any::<u16>()];
    prop_oneof![
        (port(), port(), payload()).prop_map(|(src, dst, data)| (17, udp(src, dst, &data))),
        (port(), port(), 0usize..=10, payload())
            .prop_map(|(src, dst, words, data)| (6, tcp(src, dst, &vec![1; words * 4], &data))),
    ]
}

fn frame_v4() -> impl Strategy<Value = Vec<u8>> {
    (segment(), prop_oneof![3 => Just(0), 1 => 0usize..=10])
        .prop_map(|((proto, bytes), words)| v4_options(A4, B4, proto, &vec![1; words * 4], &bytes))
}

/// IPv6 with up to 10 extension headers, any of those with this shape, in any order.
fn frame_v6() -> impl Strategy<Value = Vec<u8>> {
    let header = prop::sample::select(vec![0u8, 43, 44, 51, 60, 60, 60]);
    let count = prop_oneof![3 => 0usize..3, 1 => 0usize..=10];
    let headers = count.prop_flat_map(move |n| vec((header.clone(), 0u8..3), n));
    (segment(), headers).prop_map(|((proto, bytes), headers)| {
        let mut payload = Vec::new();
        let following = headers
            .iter()
            .skip(1)
            .map(|(number, _)| *number)
            .chain([proto]);
        for ((number, units), next) in headers.iter().zip(following) {
            let (field, len) = match number {
                44 => (0, 8),
                // AH counts in words of 4, less 2.
                51 => (units * 2 + 1, 12 + usize::from(*units) * 8),
                _ => (*units, 8 + usize::from(*units) * 8),
            };
            let start = payload.len();
            payload.extend([next, field]);
            payload.resize(start + len, 0);
        }
        payload.extend(bytes);
        v6(
            A6,
            B6,
            headers.first().map_or(proto, |(number, _)| *number),
            &payload,
        )
    })
}

/// Edits near the start, where the headers are, with the values that rules care about.
fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    let at = prop_oneof![1 => 0usize..14, 8 => 14usize..64, 2 => 64usize..160];
    let telling = vec![
        0u8, 1, 4, 5, 6, 8, 17, 20, 0x20, 40, 43, 44, 51, 60, 127, 224, 255,
    ];
    let value = prop_oneof![any::<u8>(), prop::sample::select(telling)];
    prop_oneof![Just(Vec::new()), vec((at, value), 1..4)]
}

fn special_addresses() -> impl Strategy<Value = Option<(bool, u8)>> {
    prop::option::weighted(0.2, (any::<bool>(), 0u8..6))
}

/// Overwrites the source or the destination by an address that some rule is about.
fn put_address(frame: &mut [u8], source: bool, which: u8) {
    let four: [[u8; 4]; 6] = [
        [0; 4],
        [255; 4],
        [127, 0, 0, 1],
        [224, 0, 0, 251],
        A4.octets(),
        B4.octets(),
    ];
    let six = [
        "::",
        "::ffff:192.0.2.1",
        "::1",
        "ff02::fb",
        "2001:db8::1",
        "2001:db8:0:1::7",
    ];
    let which = usize::from(which);
    if frame[12] == 8 {
        let at = if source { 26 } else { 30 };
        frame[at..at + 4].copy_from_slice(&four[which]);
    } else {
        let at = if source { 22 } else { 38 };
        let address: std::net::Ipv6Addr = six[which].parse().unwrap();
        frame[at..at + 16].copy_from_slice(&address.octets());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20000) })]

    #[test]
    fn agrees_with_etherparse(
        mut frame in prop_oneof![frame_v4(), frame_v6()],
        address in special_addresses(),
        edits in edits(),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        padding in 0usize..12,
        fix in prop::bool::weighted(0.9),
    ) {
        if let Some((source, which)) = address {
            put_address(&mut frame, source, which);
        }
        for (at, value) in edits {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.resize(frame.len() + padding, 0);
        if fix {
            fix_v4(&mut frame);
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        compare(&frame);
    }
}

#[test]
fn the_comparison_compares() {
    assert!(compare(&v4_options(A4, B4, 17, &[], &udp(1, 2, b"x"))));
    assert!(compare(&v4_options(
        A4,
        B4,
        6,
        &[1; 8],
        &tcp(1, 2, &[1; 4], b"x")
    )));
    assert!(compare(&v6(A6, B6, 17, &udp(1, 2, b"x"))));
    let options = [&[17, 1][..], &[0; 14], &udp(1, 2, b"x")].concat();
    assert!(compare(&v6(A6, B6, 60, &options)));
    assert!(!compare(&v4_options(A4, A4, 17, &[], &udp(1, 2, b"x"))));
}
