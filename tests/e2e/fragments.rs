//! Fragments: to the owner of the first one, each byte once, and floods hurt only themselves.

use std::thread;
use std::time::Duration;

use wire::emit::Eth;

use crate::frames::{fragment, fragments, icmp, refitted, tagged, udp};
use crate::process::eventually;
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6};

/// How long a fragment waits for the first one of its packet, and some more.
const LONGER_THAN_THEY_WAIT: Duration = Duration::from_millis(2300);

/// A datagram of 108 bytes with the UDP header, to this port of the host's.
fn datagram(eth: Eth, is_v6: bool, port: u16) -> Vec<u8> {
    let (from, to) = if is_v6 {
        (format!("[{CLIENT_V6}]:1000"), format!("[{HOST_V6}]:{port}"))
    } else {
        (format!("{CLIENT_V4}:1000"), format!("{HOST_V4}:{port}"))
    };
    let payload: Vec<u8> = (0..100).collect();
    udp(eth, &from, &to, &payload)
}

/// Probe a has UDP port 5000 of the host's addresses, b port 5001.
#[track_caller]
fn scene() -> Scene {
    let claims = |port| {
        [
            format!("udp:{HOST_V4}:{port}"),
            format!("udp:[{HOST_V6}]:{port}"),
        ]
    };
    let (a, b) = (claims(5000), claims(5001));
    Scene::start(&[&[&a[0], &a[1]], &[&b[0], &b[1]]])
}

#[test]
fn in_order_and_out_of_order_they_follow_the_first() {
    let mut scene = scene();
    let mut id = 0;
    for is_v6 in [false, true] {
        for (port, owner) in [(5000, Some(0)), (5001, Some(1)), (5002, None)] {
            let whole = datagram(scene.inward, is_v6, port);
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
                id += 1;
                let parts = fragments(&whole, id, 48);
                assert_eq!(parts.len(), 3);
                let sent = order.map(|at| parts[at].clone());
                let outcome = scene.receive(&sent);
                // Those that had to wait come behind the first one, in the order of their coming.
                let (waited, at_once): (Vec<_>, Vec<_>) = {
                    let first = order.iter().position(|at| *at == 0).expect("one");
                    (sent[..first].to_vec(), sent[first..].to_vec())
                };
                let got = [&at_once[..1], &waited, &at_once[1..]].concat();
                let none = Outcome::none(&scene);
                let expected = match owner {
                    Some(probe) => none.for_probe(probe, &got),
                    None => none.for_host("fragment", &got),
                };
                assert_eq!(outcome, expected, "{order:?} to {port}");
            }
        }
    }
    scene.finish();
}

#[test]
fn on_a_vlan_they_are_of_another_packet() {
    let mut scene = Scene::start(&[&["udp:10.77.0.50:5000%100"], &["udp:10.77.0.50:5000"]]);
    let from = format!("{CLIENT_V4}:1000");
    let whole = udp(scene.inward, &from, "10.77.0.50:5000", &[7; 100]);
    let untagged = fragments(&whole, 1, 56);
    let on_100: Vec<_> = untagged.iter().map(|part| tagged(part, "100")).collect();
    let sent = [&on_100[..1], &untagged, &on_100[1..]].concat();
    let expected = Outcome::none(&scene)
        .for_probe(0, &on_100)
        .for_probe(1, &untagged);
    assert_eq!(scene.receive(&sent), expected);
    scene.finish();
}

#[test]
fn without_a_first_one_they_wait_and_go() {
    let mut scene = scene();
    for is_v6 in [false, true] {
        let parts = fragments(&datagram(scene.inward, is_v6, 5000), 1, 48);
        let waiting = Outcome::none(&scene).waiting(2);
        assert_eq!(scene.receive(&parts[1..]), waiting);
        thread::sleep(LONGER_THAN_THEY_WAIT);
        let dropped = Outcome::none(&scene).dropped("fragment-timeout", 2);
        assert_eq!(scene.receive(&[]), dropped);
        // The first one alone is delivered, and the others are late no more than it is.
        let to_a = Outcome::none(&scene).for_probe(0, &parts);
        assert_eq!(scene.receive(&parts), to_a);
    }
    scene.finish();
}

#[test]
fn bytes_pass_once() {
    let mut scene = scene();
    for (is_v6, base) in [(false, 10), (true, 20)] {
        let whole = datagram(scene.inward, is_v6, 5000);
        let part = |id, at| fragment(&whole, base + id, at);
        let first = part(0, 0..48);
        // The same again, and a part of what has come.
        let sent = [
            first.clone(),
            first.clone(),
            part(0, 16..32),
            part(0, 48..108),
        ];
        let expected = Outcome::none(&scene)
            .for_probe(0, &[first, sent[3].clone()])
            .dropped("fragment-duplicate", 2);
        assert_eq!(scene.receive(&sent), expected);

        // Teardrop: one that covers some of it ends the packet.
        let sent = [
            part(1, 0..48),
            part(1, 40..64),
            part(1, 64..108),
            part(1, 48..64),
        ];
        let expected = Outcome::none(&scene)
            .for_probe(0, &sent[..1])
            .dropped("fragment-overlap", 3);
        assert_eq!(scene.receive(&sent), expected);

        // Nor may a second first one say that the packet is another's.
        let others = datagram(scene.inward, is_v6, 5001);
        let sent = [part(2, 0..48), fragment(&others, base + 2, 0..56)];
        let expected = Outcome::none(&scene)
            .for_probe(0, &sent[..1])
            .dropped("fragment-overlap", 1);
        assert_eq!(scene.receive(&sent), expected);
    }
    scene.finish();
}

#[test]
fn a_flood_without_first_ones_hurts_only_itself() {
    const FLOOD: u32 = 1000;
    const WAIT: u64 = 256;
    let mut scene = scene();
    let whole = datagram(scene.inward, false, 5000);
    let mut sent = Vec::new();
    let mut legitimate = Vec::new();
    for number in 0..FLOOD {
        sent.push(fragment(&whole, 1000 + number, 48..96));
        if number % 10 == 0 {
            let parts = fragments(&whole, 10_000 + number, 48);
            sent.extend_from_slice(&parts);
            legitimate.extend(parts);
        }
    }
    let outcome = scene.receive(&sent);
    // Of a slow machine's flood some have waited long enough already.
    let pushed_out = outcome.dropped["fragment-flood"];
    let late = outcome
        .dropped
        .get("fragment-timeout")
        .copied()
        .unwrap_or(0);
    assert_eq!(pushed_out + late + outcome.waiting, u64::from(FLOOD));
    assert!(pushed_out > 0 && outcome.waiting <= WAIT, "{outcome:?}");
    let expected = Outcome {
        dropped: outcome.dropped.clone(),
        ..Outcome::none(&scene)
    };
    let expected = expected.for_probe(0, &legitimate).waiting(outcome.waiting);
    assert_eq!(outcome, expected);
    eventually("they have waited long enough", || {
        let dropped = &scene.bed.stats().ports[0].rx_dropped;
        dropped.values().sum::<u64>() == u64::from(FLOOD)
    });
    scene.finish();
}

#[test]
fn to_a_whole_address_they_need_no_first_one() {
    let mut scene = Scene::start(&[&["addr:10.77.0.50"], &["addr:fd77::50"]]);
    let eth = scene.inward;
    let from = [format!("{CLIENT_V4}:1000"), format!("[{CLIENT_V6}]:1000")];
    let v4 = fragments(&udp(eth, &from[0], "10.77.0.50:1", &[4; 200]), 1, 96);
    let v6 = fragments(&udp(eth, &from[1], "[fd77::50]:1", &[6; 200]), 1, 96);
    let to_each = Outcome::none(&scene).for_probe(0, &v4).for_probe(1, &v6);
    assert_eq!(scene.receive(&[v4, v6.clone()].concat()), to_each);
    let last_only = Outcome::none(&scene).for_probe(1, &v6[2..]);
    assert_eq!(scene.receive(&v6[2..]), last_only);
    scene.finish();
}

#[test]
fn those_of_ping_are_the_hosts_beside_claims() {
    let mut scene = scene();
    let v4 = icmp(scene.inward, (CLIENT_V4, HOST_V4), 8, 0, &[1; 200]);
    let v6 = icmp(scene.inward, (CLIENT_V6, HOST_V6), 128, 0, &[1; 200]);
    for whole in [v4, v6] {
        let parts = fragments(&whole, 77, 96);
        let to_host = Outcome::none(&scene).for_host("fragment", &parts);
        assert_eq!(scene.receive(&parts), to_host);
    }
    // To no address with a claim: no table is asked, not even for the last one alone.
    let from = format!("{CLIENT_V4}:1000");
    let elsewhere = udp(scene.inward, &from, "10.77.0.77:1", &[1; 100]);
    let last = [refitted(&fragment(&elsewhere, 1, 96..108), |_| {})];
    let to_host = Outcome::none(&scene).for_host("fragment", &last);
    assert_eq!(scene.receive(&last), to_host);
    scene.finish();
}

#[test]
fn a_stack_sends_none_but_its_own() {
    let mut scene = scene();
    let eth = scene.outward;
    let to = format!("{CLIENT_V4}:1000");
    let whole = |from: &str| udp(eth, from, &to, &[7; 100]);
    let own = fragments(&whole(&format!("{HOST_V4}:5000")), 1, 48);
    let of_b = fragments(&whole(&format!("{HOST_V4}:5001")), 2, 48);
    let passed = Outcome::none(&scene).for_client(&own);
    assert_eq!(scene.send(0, &own), passed);
    // First ones in another's name, and others without a first one.
    let cases = [
        ("tx-foreign", of_b[0].clone()),
        (
            "tx-not-claimed",
            fragments(&whole(&format!("{HOST_V4}:22")), 3, 48).remove(0),
        ),
        ("tx-fragment", of_b[1].clone()),
        (
            "tx-fragment",
            fragment(&whole(&format!("{HOST_V4}:5000")), 4, 48..96),
        ),
        // What has come to its end is over.
        ("tx-fragment", own[2].clone()),
    ];
    for (reason, frame) in cases {
        let expected = Outcome::none(&scene).refused("a", reason, 1);
        assert_eq!(scene.send(0, &[frame]), expected, "{reason}");
    }
    // Nor can it join a packet that b has begun, or spoil it.
    let begun = Outcome::none(&scene).for_client(&of_b[..1]);
    assert_eq!(scene.send(1, &of_b[..1]), begun);
    let mine = fragment(&whole(&format!("{HOST_V4}:5000")), 2, 0..56);
    for frame in [of_b[1].clone(), mine] {
        let expected = Outcome::none(&scene).refused("a", "tx-foreign", 1);
        assert_eq!(scene.send(0, &[frame]), expected);
    }
    let rest = Outcome::none(&scene).for_client(&of_b[1..]);
    assert_eq!(scene.send(1, &of_b[1..]), rest);
    // Over its own bytes it may not write twice either.
    let twice = fragments(&whole(&format!("{HOST_V4}:5000")), 5, 48);
    let overlap = fragment(&whole(&format!("{HOST_V4}:5000")), 5, 40..64);
    let expected = Outcome::none(&scene)
        .for_client(&twice[..1])
        .refused("a", "fragment-duplicate", 1)
        .refused("a", "fragment-overlap", 1);
    let sent = [twice[0].clone(), twice[0].clone(), overlap];
    assert_eq!(scene.send(0, &sent), expected);
    // From a whole address of its own, in any order.
    scene.probes[0].tell("claim addr:10.77.0.50");
    let own = fragments(&whole("10.77.0.50:1"), 6, 48);
    let last_first = [own[2].clone(), own[0].clone(), own[1].clone()];
    let passed = Outcome::none(&scene).for_client(&last_first);
    assert_eq!(scene.send(0, &last_first), passed);
    scene.finish();
}
