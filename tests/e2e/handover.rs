//! A claim changes hands under load.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::frames::udp;
use crate::net_tools::udp as udp_socket;
use crate::process::eventually;
use crate::raw::Probe;
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, HOST_V4, Testbed};

/// How often a claim goes from one to the other and back.
const ROUNDS: u32 = 20;

/// What the datagrams' payloads start with, before their number.
const MARK: &[u8; 8] = b"datagram";

/// Numbered datagrams until told to stop; how many there were.
fn flood(socket: &UdpSocket, stop: &AtomicBool) -> u32 {
    let mut sent = 0u32;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..10 {
            let payload = [&MARK[..], &sent.to_be_bytes()].concat();
            socket.send(&payload).expect("room, and someone to take it");
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// Counts the datagrams that a probe has got, by number, and in whose hands they were.
fn count(probe: &mut Probe, seen: &mut BTreeMap<u32, u32>) -> usize {
    let before: u32 = seen.values().sum();
    for (frame, _) in probe.take_seen() {
        let at = frame.windows(MARK.len()).position(|part| part == MARK);
        let number = &frame[at.expect("a datagram of ours") + MARK.len()..][..4];
        let number = u32::from_be_bytes(number.try_into().expect("4 bytes"));
        *seen.entry(number).or_default() += 1;
    }
    (seen.values().sum::<u32>() - before) as usize
}

#[test]
fn no_datagram_is_lost_or_comes_twice() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:5000");
    let mut probes = [
        Probe::start(&bed, "a", &[&format!("udp:{addr}")]),
        Probe::start(&bed, "b", &[]),
    ];
    let id = bed.claims()[0].id;
    let socket = udp_socket(&bed.client, &addr);
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let sender = thread::spawn(move || flood(&socket, &asked));
    let mut seen = BTreeMap::new();
    let mut turns = [0, 0];
    for round in 0..2 * ROUNDS {
        let (from, to) = ((round % 2) as usize, ((round + 1) % 2) as usize);
        let slot = probes[to].slot;
        probes[from].tell(&format!("offer {id} {slot}"));
        probes[to].tell(&format!("take {id}"));
        assert_eq!(bed.claims()[0].stack, probes[to].name);
        thread::sleep(Duration::from_millis(10));
        for (probe, got) in probes.iter_mut().zip(&mut turns) {
            *got += count(probe, &mut seen);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sender.join().unwrap();
    eventually("all datagrams have come", || {
        for (probe, got) in probes.iter_mut().zip(&mut turns) {
            *got += count(probe, &mut seen);
        }
        seen.len() == sent as usize
    });
    assert!(seen.values().all(|times| *times == 1), "some came twice");
    assert!(
        turns.iter().all(|got| *got > 500),
        "both had their turns: {turns:?}"
    );
    let port = &bed.stats().ports[0];
    assert_eq!(port.to_vports, u64::from(sent), "{port:?}");
    assert_eq!(port.host_reasons.get("unclaimed"), None, "{port:?}");
    assert!(port.rx_dropped.is_empty(), "{port:?}");
    for probe in probes {
        probe.quit();
    }
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn the_former_owner_may_answer_until_it_lets_go() {
    let claim = format!("udp:{HOST_V4}:5000");
    let mut scene = Scene::start(&[&[&claim], &[]]);
    let (local, remote) = (format!("{HOST_V4}:5000"), format!("{CLIENT_V4}:1000"));
    let answer = [udp(scene.outward, &local, &remote, b"answer")];
    let question = [udp(scene.inward, &remote, &local, b"question")];
    let id = scene.bed.claims()[0].id;
    let slot = scene.probes[1].slot;
    let passed = Outcome::none(&scene).for_client(&answer);
    let foreign = |name: &str| Outcome::none(&scene).refused(name, "tx-foreign", 1);
    let (of_a, of_b) = (foreign("a"), foreign("b"));
    assert_eq!(scene.send(1, &answer), of_b);
    // No one takes what was not offered, or was offered to another.
    assert!(
        scene.probes[1]
            .ask(&format!("take {id}"))
            .starts_with("error ")
    );
    assert!(
        scene.probes[1]
            .ask(&format!("offer {id} {slot}"))
            .starts_with("error ")
    );
    assert!(
        scene.probes[0]
            .ask(&format!("offer {id} 99"))
            .starts_with("error ")
    );
    scene.probes[0].tell(&format!("offer {id} {slot}"));
    let to_a = Outcome::none(&scene).for_probe(0, &question);
    assert_eq!(scene.receive(&question), to_a, "an offer changes nothing");
    assert_eq!(scene.send(1, &answer), of_b, "nor for the other side");
    scene.probes[1].tell(&format!("take {id}"));
    let to_b = Outcome::none(&scene).for_probe(1, &question);
    assert_eq!(scene.receive(&question), to_b);
    assert_eq!(
        scene.send(0, &answer),
        passed,
        "it has questions to answer still"
    );
    assert_eq!(scene.send(1, &answer), passed);
    scene.probes[0].tell(&format!("release {id}"));
    assert_eq!(scene.send(0, &answer), of_a);
    assert_eq!(scene.send(1, &answer), passed);
    assert_eq!(scene.receive(&question), to_b);
    // The end of the new owner is the end of the claim, and the kernel has the port again.
    scene.probes.remove(1).quit();
    assert!(scene.bed.host.enter(|| UdpSocket::bind(&local)).is_ok());
    scene.finish();
}
