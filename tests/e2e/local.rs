//! Packets that stay on this machine: stack to stack, stack to host, host to stack.

use std::net::UdpSocket;

use crate::frames::{L4_OF_V4, arp, edited, fragments, set_be16, tagged, tcp, udp};
use crate::raw::hex;
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6};

const A: usize = 0;
const B: usize = 1;

/// a and b have a port each at the host's addresses, and an address each of their own; b verifies.
#[track_caller]
fn scene() -> Scene {
    let (a4, a6) = (
        format!("udp:{HOST_V4}:5000"),
        format!("tcp:[{HOST_V6}]:5000"),
    );
    let (b4, b6) = (
        format!("udp:{HOST_V4}:5001"),
        format!("tcp:[{HOST_V6}]:5001"),
    );
    Scene::start(&[
        &[
            &a4,
            &a6,
            "addr:10.77.0.50",
            "addr:fd77::50",
            "addr:10.77.0.50%100",
        ],
        &[
            &b4,
            &b6,
            "addr:10.77.0.51!",
            "addr:fd77::51",
            "addr:10.77.0.51%100",
        ],
    ])
}

#[test]
fn stack_to_stack_as_from_the_wire() {
    let mut scene = scene();
    let eth = scene.local();
    let (own4, others4) = (format!("{HOST_V4}:5000"), format!("{HOST_V4}:5001"));
    let (own6, others6) = (format!("[{HOST_V6}]:5000"), format!("[{HOST_V6}]:5001"));
    let to_own_address = udp(eth, &own4, "10.77.0.51:7", b"two addresses");
    let unchecked = [
        // At the same address: only from the wire is that an attack.
        udp(eth, &own4, &others4, b"one address"),
        tcp(eth, &own6, &others6),
        tcp(eth, "[fd77::50]:1", "[fd77::51]:2"),
        tagged(&udp(eth, "10.77.0.50:1", "10.77.0.51:2", b"tagged"), "100"),
    ];
    let before = scene.bed.vport("a");
    for frame in unchecked {
        let frames = [frame];
        let to_b = Outcome::none(&scene).for_probe(B, &frames);
        assert_eq!(scene.send(A, &frames), to_b);
    }
    let parts = fragments(&udp(eth, &own4, &others4, &[1; 100]), 1, 48);
    let to_b = Outcome::none(&scene).for_probe(B, &parts);
    assert_eq!(scene.send(A, &parts), to_b);
    // Claims that ask for it have checksums verified here, too, and a stack may leave them to the
    // switch.
    let frames = [to_own_address.clone()];
    let checked = Outcome::none(&scene).for_probe_checked(B, &frames, true);
    assert_eq!(scene.send(A, &frames), checked);
    let unfinished = edited(&to_own_address, |f| set_be16(f, L4_OF_V4 + 6, 0xbeef));
    scene.probes[A].tell(&format!("sendck {}", hex(&unfinished)));
    assert_eq!(scene.fence(&frames), checked);
    let wrong = Outcome::none(&scene).refused("a", "l4-checksum", 1);
    assert_eq!(scene.send(A, &[unfinished]), wrong);
    // It is counted as what it is: 4 + 3 + 2 of these, and a fence to b and to the host for each
    // of the 8 times.
    let after = scene.bed.vport("a");
    assert_eq!(after.tx_local - before.tx_local, 9 + 2 * 8, "{after:?}");
    // Land, and what is nobody's.
    let land = [udp(eth, &own4, &own4, b"to myself?")];
    let refused = Outcome::none(&scene).refused("a", "land", 1);
    assert_eq!(scene.send(A, &land), refused);
    let forged = [udp(eth, &others4, "10.77.0.51:7", b"not mine")];
    let refused = Outcome::none(&scene).refused("a", "tx-foreign", 1);
    assert_eq!(scene.send(A, &forged), refused);
    scene.finish();
}

#[test]
fn checksums_are_filled_in_for_the_wire() {
    let mut scene = scene();
    let (own4, to) = (format!("{HOST_V4}:5000"), format!("{CLIENT_V4}:1000"));
    let right = udp(scene.outward, &own4, &to, b"filled in");
    let unfinished = edited(&right, |f| set_be16(f, L4_OF_V4 + 6, 0xbeef));
    scene.probes[A].tell(&format!("sendck {}", hex(&unfinished)));
    let frames = [right];
    let passed = Outcome::none(&scene).for_client(&frames);
    assert_eq!(scene.fence(&frames), passed);
    // What is not the switch's to finish goes as it is.
    let part = [fragments(&udp(scene.outward, &own4, &to, &[1; 100]), 1, 48).remove(0)];
    scene.probes[A].tell(&format!("sendck {}", hex(&part[0])));
    let passed = Outcome::none(&scene).for_client(&part);
    assert_eq!(scene.fence(&part), passed);
    scene.finish();
}

#[test]
fn stack_to_host_and_host_to_stack() {
    let mut scene = scene();
    let eth = scene.local();
    let server = scene.bed.host.enter(|| UdpSocket::bind((HOST_V4, 6000)));
    let server = server.unwrap();
    let question = [udp(
        eth,
        "10.77.0.50:1000",
        &format!("{HOST_V4}:6000"),
        b"a question",
    )];
    let mut to_host = Outcome::none(&scene);
    to_host.host.extend_from_slice(&question);
    assert_eq!(scene.send(A, &question), to_host);
    let mut text = [0; 100];
    let (len, from) = server.recv_from(&mut text).unwrap();
    assert_eq!(
        (&text[..len], from.to_string().as_str()),
        (&b"a question"[..], "10.77.0.50:1000")
    );
    // The kernel asks who has the address; the owner alone gets to know of that, and answers.
    server.send_to(b"an answer", from).unwrap();
    let port = scene.inward.dst;
    let broadcast = scene.outward_to("ff:ff:ff:ff:ff:ff");
    let who_has = arp(broadcast, wire::ARP_REQUEST, port, HOST_V4, "10.77.0.50");
    let asked = scene.fence_until(A, std::slice::from_ref(&who_has));
    assert_eq!(asked.probes[A], [(who_has.clone(), false)]);
    assert_eq!(asked.probes[B], []);
    assert_eq!(asked.client, [who_has], "and the wire");
    let reply = [arp(eth, wire::ARP_REPLY, port, "10.77.0.50", HOST_V4)];
    scene.probes[A].tell(&format!("send {}", hex(&reply[0])));
    let answered = scene.fence(&reply);
    assert_eq!(answered.host, reply);
    assert_eq!(answered.client, [] as [Vec<u8>; 0]);
    // Which the kernel had kept, and may have sent already.
    let mut answers = answered.probes[A].clone();
    if answers.is_empty() {
        answers = scene.fence_until(A, &[]).probes.swap_remove(A);
    }
    assert!(answers[0].0.ends_with(b"an answer"), "{answers:?}");
    // To the port's MAC, but to no one's address here: the host's, as from the wire.
    let stray = [udp(eth, "10.77.0.50:1", "10.77.0.77:1", b"whose?")];
    let mut to_host = Outcome::none(&scene);
    to_host.host.extend_from_slice(&stray);
    assert_eq!(scene.send(A, &stray), to_host);
    scene.finish();
}

#[test]
fn groups_reach_those_on_this_machine_too() {
    let (a, b) = (format!("udp:{HOST_V4}:5000"), format!("udp:{HOST_V4}:5001"));
    let group = "udp:239.1.1.1:6000";
    let mut scene = Scene::start(&[
        &[&a, group, "addr:10.77.0.50"],
        &[&b, group],
        &["udp:10.77.0.52:5000"],
    ]);
    let to_group = scene.outward_to("01:00:5e:01:01:01");
    let broadcast = scene.outward_to("ff:ff:ff:ff:ff:ff");
    // To the wire, to the other members, and not back to who sent it.
    let frames = [udp(
        to_group,
        &format!("{HOST_V4}:5000"),
        "239.1.1.1:6000",
        b"members",
    )];
    let expected = Outcome::none(&scene)
        .for_client(&frames)
        .copied_to(B, &frames);
    assert_eq!(scene.send(A, &frames), expected);
    // From its own address the host hears of it, too: from the host's own it would be forged.
    let frames = [udp(to_group, "10.77.0.50:1", "239.1.1.1:6000", b"members")];
    let mut expected = Outcome::none(&scene)
        .for_client(&frames)
        .copied_to(B, &frames);
    expected.host.extend_from_slice(&frames);
    expected.copies += 1;
    assert_eq!(scene.send(A, &frames), expected);
    let frames = [udp(
        broadcast,
        &format!("{HOST_V4}:5001"),
        "255.255.255.255:5000",
        b"all",
    )];
    let expected = Outcome::none(&scene)
        .for_client(&frames)
        .copied_to(A, &frames)
        .copied_to(2, &frames);
    assert_eq!(scene.send(B, &frames), expected);
    scene.finish();
}
