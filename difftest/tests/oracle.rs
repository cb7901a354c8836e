//! Frames that no capture holds: what the rules, etherparse and the verdict judge say of well-formed
//! ones with a few bytes changed.

mod frames;

use std::net::{Ipv4Addr, Ipv6Addr};

use difftest::{
    by_rules, compare,
    judge::{Judge, etherparse},
    verdict::{Ends, Worlds},
};
use proptest::{collection::vec, prelude::*};
use wire::{Origin, parse};

use frames::{
    A4, A6, B4, B6, extension, fix_v4, fragment, icmp, segment, tagged,
    traffic::{self, error_about},
    with_extensions, with_options,
};

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![1 => Just(0), 20 => any::<u16>()]
}

fn address_v4() -> impl Strategy<Value = Ipv4Addr> {
    let special = [[0; 4], [255; 4], [127, 0, 0, 1], [224, 0, 0, 251]];
    let special = prop::sample::select(special.to_vec()).prop_map(Ipv4Addr::from);
    prop_oneof![8 => Just(A4), 8 => Just(B4), 1 => special]
}

fn address_v6() -> impl Strategy<Value = Ipv6Addr> {
    let special = ["::", "::1", "::ffff:192.0.2.1", "ff02::fb", "fe80::1"];
    let special = prop::sample::select(special.to_vec());
    let special = special.prop_map(|text| text.parse().unwrap());
    prop_oneof![8 => Just(A6), 8 => Just(B6), 1 => special]
}

fn proto() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![6, 17, 132, 1])
}

fn frame_v4() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![3 => Just(0), 1 => 1usize..=10];
    let ends = (address_v4(), address_v4());
    let payload = vec(any::<u8>(), 0..60);
    (proto(), ends, (port(), port()), payload, options).prop_map(
        |(proto, (src, dst), ports, payload, words)| {
            let ends = (src.into(), dst.into());
            let frame = match proto {
                1 => icmp(ends, 8, &payload),
                _ => segment(proto, ends, ports, &payload),
            };
            with_options(&frame, &vec![1; words * 4])
        },
    )
}

/// With up to 10 extension headers in any order.
fn frame_v6() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![0u8, 43, 44, 51, 60, 60, 60]);
    let count = prop_oneof![3 => 0usize..3, 1 => 0usize..=10];
    let headers = count.prop_flat_map(move |count| vec(kind.clone(), count));
    let ends = (address_v6(), address_v6());
    let payload = vec(any::<u8>(), 0..60);
    (proto(), ends, (port(), port()), payload, headers).prop_map(
        |(proto, (src, dst), ports, payload, kinds)| {
            let ends = (src.into(), dst.into());
            let frame = match proto {
                1 => icmp(ends, 128, &payload),
                _ => segment(proto, ends, ports, &payload),
            };
            let header = |kind: &u8| match *kind {
                // AH counts in words of 4, less 2.
                51 => (51, [&[0, 2][..], &[0; 14]].concat()),
                kind => extension(kind, [0; 7]),
            };
            let headers: Vec<_> = kinds.iter().map(header).collect();
            with_extensions(&frame, &headers)
        },
    )
}

/// Edits near the start, where the headers are, with the values that rules care about.
fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    let at = prop_oneof![1 => 0usize..14, 8 => 14usize..64, 2 => 64usize..160];
    let telling = vec![
        0u8, 1, 4, 5, 6, 8, 17, 20, 0x20, 40, 43, 44, 51, 59, 60, 127, 131, 132, 135, 224, 255,
    ];
    let value = prop_oneof![any::<u8>(), prop::sample::select(telling)];
    prop_oneof![Just(Vec::new()), vec((at, value), 1..4)]
}

#[track_caller]
fn agree(frame: &[u8]) {
    let ours = parse(frame, Origin::Wire);
    let outcome = by_rules(frame, ours);
    assert!(
        outcome.unexplained.is_empty(),
        "{outcome:?} {ours:?}\n{frame:02x?}"
    );
    let verdict = etherparse::judge(frame);
    let outcome = compare(Judge::Etherparse, frame, ours, &verdict);
    assert!(
        outcome.unexplained.is_empty(),
        "{outcome:?} {ours:?} {verdict:?}\n{frame:02x?}"
    );
    WORLDS.with(|worlds| {
        for compared in worlds.compare(frame) {
            assert!(
                compared.difference().is_none(),
                "{compared:?}\n{frame:02x?}"
            );
        }
    });
}

thread_local! {
    /// Of the frames that all others here are made from.
    static WORLDS: Worlds = {
        let mut ends = Ends::default();
        for frame in traffic::all() {
            ends.see(&frame);
        }
        Worlds::new(&ends)
    };
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20000) })]

    #[test]
    fn whole_and_in_parts(
        mut frame in prop_oneof![frame_v4(), frame_v6()],
        part in prop::option::weighted(0.2, (0u16..6, 1u16..6)),
        edits in edits(),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        padding in 0usize..12,
        fix in prop::bool::weighted(0.9),
        vlan in prop::option::weighted(0.2, (1u16..=4094, 0u16..=4094)),
    ) {
        if let Some((offset, units)) = part {
            let mut buf = [0; 512];
            let len = wire::emit::fragment(&frame, 9, offset * 8, units * 8, &mut buf);
            frame = len.map_or(frame, |len| buf[..len].to_vec());
        }
        for (at, value) in edits {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.resize(frame.len() + padding, 0);
        if fix && frame[12..14] == [8, 0] {
            fix_v4(&mut frame);
        }
        if let Some((outer, inner)) = vlan {
            frame = tagged(&frame, outer, inner);
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        agree(&frame);
    }

    #[test]
    fn any_bytes(
        mut frame in vec(any::<u8>(), 14..200),
        ethertype in prop::sample::select(vec![[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0], [0x88, 0xa8]]),
        first in prop::sample::select(vec![0x45, 0x46, 0x4f, 0x60]),
    ) {
        frame[6] &= !1;
        frame[12..14].copy_from_slice(&ethertype);
        if let Some(byte) = frame.get_mut(14) {
            *byte = first;
        }
        if ethertype == [8, 0] {
            fix_v4(&mut frame);
        }
        agree(&frame);
    }
}

/// About packets of every shape.
fn errors() -> Vec<Vec<u8>> {
    let four = segment(6, (B4.into(), A4.into()), (2000, 1000), &[0; 40]);
    let six = segment(6, (B6.into(), A6.into()), (2000, 1000), &[0; 40]);
    let options = with_options(&four, &[148, 4, 0, 0]);
    let headers = [extension(0, [0; 7]), extension(60, [0; 7])];
    let parts = |frame: &[u8]| [fragment(frame, 0, 32), fragment(frame, 32, 16)];
    let nested = [
        extension(44, [0, 0, 1, 0, 0, 0, 1]),
        extension(44, [0, 0, 1, 0, 0, 0, 2]),
    ];
    let causes4 = parts(&four).into_iter().chain([four, options]);
    let causes6 = parts(&six).into_iter().chain([
        with_extensions(&six, &headers),
        with_extensions(&six, &nested),
        with_extensions(&six, &[extension(43, [0, 4, 1, 0, 0, 0, 0])]),
        six,
    ]);
    let about4 = causes4.map(|cause| error_about(&cause, B4.into()));
    let about6 = causes6.map(|cause| error_about(&cause, B6.into()));
    about4.chain(about6).collect()
}

#[test]
fn every_byte_of_good_frames() {
    for frame in frames::good().into_iter().chain(errors()).chain([
        fragment(&segment(6, (A4.into(), B4.into()), (1, 2), &[0; 40]), 0, 24),
        fragment(&segment(6, (A6.into(), B6.into()), (1, 2), &[0; 40]), 8, 24),
    ]) {
        for at in 0..frame.len() {
            for value in [0, 1, 5, 6, 43, 44, 60, 0x80, 0xff] {
                let mut frame = frame.clone();
                frame[at] = value;
                agree(&frame);
                if frame[12..14] == [8, 0] {
                    fix_v4(&mut frame);
                    agree(&frame);
                }
            }
        }
    }
}
