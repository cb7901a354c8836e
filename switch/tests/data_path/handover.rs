//! Claims that begin, change hands and end while packets are under way.

use switch::command::Command;
use switch::tables::Holder;
use switch::verdict::DropReason;

use crate::common::frames::*;
use crate::common::{Bench, HOST};

/// What vport 4 has after it took over from vport 3.
const TAKEN: Holder = Holder {
    vport: 4,
    before: Some(3),
    verify: false,
};

#[test]
fn a_released_claim_ends_at_once() {
    let mut bench = Bench::with_stacks([3]);
    for (spec, inwards, outwards) in [
        (
            "udp 192.0.2.1:7",
            udp(IN, CLIENT, "192.0.2.1:7"),
            udp(OUT, "192.0.2.1:7", CLIENT),
        ),
        (
            "tcp [2001:db8::1]:7 [2001:db8::9]:5000",
            tcp(IN, CLIENT6, "[2001:db8::1]:7"),
            tcp(OUT, "[2001:db8::1]:7", CLIENT6),
        ),
        (
            "all 192.0.2.1",
            echo_request(IN, "192.0.2.9", "192.0.2.1"),
            echo_request(OUT, "192.0.2.1", "192.0.2.9"),
        ),
    ] {
        let subject = bench.claim(spec, 3);
        bench.receive(std::slice::from_ref(&inwards));
        bench.send(3, &outwards);
        assert_eq!((bench.drain(3).len(), bench.wire().len()), (1, 1));
        bench.release(subject, 3);
        bench.receive(std::slice::from_ref(&inwards));
        bench.send(3, &outwards);
        assert_eq!(bench.drain(HOST), [inwards]);
        assert!(bench.drain(3).is_empty() && bench.wire().is_empty());
    }
    bench.assert_conserved();
}

#[test]
fn a_claim_changes_hands_from_one_packet_to_the_next() {
    let mut bench = Bench::with_stacks([3, 4]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let frame = |n: u16| udp(IN, &format!("192.0.2.9:{}", 5000 + n), "192.0.2.1:7");
    let frames: Vec<_> = (0..20).map(frame).collect();
    bench.receive(&frames[..10]);
    bench.give(subject, TAKEN);
    bench.receive(&frames[10..]);
    assert_eq!(bench.drain(3), frames[..10]);
    assert_eq!(bench.drain(4), frames[10..]);
    assert_eq!(bench.nic().to_vports, 20);
    bench.assert_conserved();
}

#[test]
fn the_former_owner_may_send_until_it_lets_go() {
    let mut bench = Bench::with_stacks([3, 4, 5]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let frame = udp(OUT, "192.0.2.1:7", CLIENT);
    bench.give(subject, TAKEN);
    for slot in [3, 4] {
        bench.send(slot, &frame);
        assert_eq!(bench.wire().len(), 1, "{slot}");
    }
    bench.send(5, &frame);
    bench.give(subject, Holder::new(4, false));
    bench.send(3, &frame);
    for slot in [3, 5] {
        assert_eq!(bench.tx_dropped(slot, DropReason::TxForeign), 1);
    }
    // It has no part in the address any more: no questions, no copies.
    let asks = arp(TO_ALL, wire::ARP_REQUEST, "192.0.2.1", "192.0.2.9");
    bench.send(3, &asks);
    assert_eq!(bench.tx_dropped(3, DropReason::TxArp), 1);
    bench.send(4, &asks);
    assert_eq!(bench.wire(), [asks]);
    bench.assert_conserved();
}

#[test]
fn a_whole_address_changes_hands() {
    let mut bench = Bench::with_stacks([3, 4]);
    let subject = bench.claim("all 192.0.2.1", 3);
    bench.give(subject, TAKEN);
    let question = arp(FROM_ALL, wire::ARP_REQUEST, "192.0.2.9", "192.0.2.1");
    bench.receive(std::slice::from_ref(&question));
    assert_eq!((bench.drain(3).len(), bench.drain(4)), (0, vec![question]));
    // Only one speaks for it.
    let answer = arp(OUT, wire::ARP_REPLY, "192.0.2.1", "192.0.2.9");
    bench.send(3, &answer);
    bench.send(4, &answer);
    assert_eq!(bench.wire(), [answer]);
    assert_eq!(bench.tx_dropped(3, DropReason::TxArp), 1);
}

#[test]
fn fragments_under_way_follow_the_first_to_the_former_owner() {
    let mut bench = Bench::with_stacks([3, 4]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let [old, new] = [1, 2].map(|id| udp_fragments(IN, CLIENT, "192.0.2.1:7", id));
    bench.receive(&old[..2]);
    bench.give(subject, TAKEN);
    bench.receive(&new[..2]);
    bench.receive(&old[2..]);
    bench.receive(&new[2..]);
    assert_eq!((bench.drain(3), bench.drain(4)), (old, new));
    // On the way out too.
    let parts = udp_fragments(OUT, "192.0.2.1:7", CLIENT, 3);
    bench.send(3, &parts[0]);
    bench.send(4, &parts[1]);
    bench.send(3, &parts[1]);
    assert_eq!(bench.wire(), parts[..2]);
    assert_eq!(bench.tx_dropped(4, DropReason::TxForeign), 1);
    bench.assert_conserved();
}

#[test]
fn the_end_of_a_claim_is_the_end_of_its_fragments() {
    let mut bench = Bench::with_stacks([3, 4]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let [parts, sent] = [
        udp_fragments(IN, CLIENT, "192.0.2.1:7", 1),
        udp_fragments(OUT, "192.0.2.1:7", CLIENT, 1),
    ];
    bench.receive(&parts[..2]);
    bench.send(3, &sent[0]);
    bench.release(subject, 3);
    bench.give(subject, Holder::new(4, false));
    bench.receive(&parts[2..3]);
    bench.send(3, &sent[1]);
    assert_eq!(bench.drain(3), parts[..2]);
    assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 1);
    assert!(bench.drain(4).is_empty());
    assert_eq!(bench.nic().waiting, 1);
    bench.assert_conserved();
}

#[test]
fn a_successor_gets_nothing_that_was_its_predecessors() {
    let mut bench = Bench::with_stacks([3]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let [parts, sent] = [
        udp_fragments(IN, CLIENT, "192.0.2.1:7", 1),
        udp_fragments(OUT, "192.0.2.1:7", CLIENT, 1),
    ];
    let asks = arp(TO_ALL, wire::ARP_REQUEST, "192.0.2.1", "192.0.2.9");
    bench.receive(&parts[..1]);
    bench.send(3, &sent[0]);
    bench.send(3, &asks);
    // It dies with a packet that the switch has not looked at yet.
    let rings = bench.rings(3);
    rings.fill.refresh().unwrap();
    let index = rings.fill.take().unwrap();
    rings.tx.push(&[u64::from(index)]).unwrap();
    bench.doorbells.ring(3);
    bench.release(subject, 3);
    bench.detach(3);
    bench.attach(3, 2);
    bench.wire();
    bench.receive(&parts[1..]);
    bench.receive(&[
        udp(IN, CLIENT, "192.0.2.1:7"),
        arp(IN, wire::ARP_REPLY, "192.0.2.9", "192.0.2.1"),
    ]);
    bench.send(3, &sent[1]);
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    assert!(bench.drain(3).is_empty() && bench.wire().is_empty());
    // With a claim on the address it still has not asked.
    bench.claim("udp 192.0.2.1:7", 3);
    bench.receive(&[arp(IN, wire::ARP_REPLY, "192.0.2.9", "192.0.2.1")]);
    assert!(bench.drain(3).is_empty());
    bench.assert_conserved();
}

#[test]
fn what_follows_a_former_owner_does_not_go_to_its_successor() {
    let mut bench = Bench::with_stacks([3, 4]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 1);
    bench.receive(&parts[..2]);
    bench.give(subject, TAKEN);
    // The former owner goes: it has no claim to release any more.
    bench.give(subject, Holder::new(4, false));
    bench.detach(3);
    bench.attach(3, 2);
    bench.receive(&parts[2..]);
    assert!(bench.drain(3).is_empty() && bench.drain(4).is_empty());
    assert_eq!(bench.nic().waiting, 2);
    bench.assert_conserved();
}

#[test]
fn a_claim_counts_as_often_as_it_was_made() {
    let mut bench = Bench::with_stacks([3]);
    let asks = arp(TO_ALL, wire::ARP_REQUEST, "192.0.2.1", "192.0.2.9");
    let seven = bench.claim("udp 192.0.2.1:7", 3);
    let eight = bench.claim("udp 192.0.2.1:8", 3);
    bench.release(seven, 3);
    bench.send(3, &asks);
    assert_eq!(bench.wire().len(), 1);
    bench.release(eight, 3);
    bench.send(3, &asks);
    assert!(bench.wire().is_empty());
    let group = bench.claim("udp 239.1.1.1:7", 3);
    bench.claim("udp 239.1.1.1:7", 3);
    bench.release(group, 3);
    bench.receive(&[udp(FROM_ALL, CLIENT, "239.1.1.1:7")]);
    assert_eq!(bench.drain(3).len(), 1, "once, though claimed twice");
    bench.release(group, 3);
    bench.receive(&[udp(FROM_ALL, CLIENT, "239.1.1.1:7")]);
    assert!(bench.drain(3).is_empty());
    bench.assert_conserved();
}

#[test]
fn many_claims_change_at_one_command() {
    let mut bench = Bench::with_stacks([3]);
    let subjects: Vec<_> = (1..=40u16)
        .map(|port| {
            let spec = crate::common::spec_of(&format!("udp 192.0.2.1:{port}"));
            let subject = switch::key::Subject { spec, nic: 0 };
            (subject, Holder::new(3, false))
        })
        .collect();
    let frames: Vec<_> = (1..=40u16)
        .map(|port| udp(IN, CLIENT, &format!("192.0.2.1:{port}")))
        .collect();
    bench.obey(Command::Claim(subjects.clone()));
    bench.receive(&frames[..20]);
    assert_eq!(bench.drain(3), frames[..20]);
    bench.receive(&frames[20..]);
    assert_eq!(bench.drain(3), frames[20..]);
    bench.obey(Command::Release(subjects));
    bench.receive(&frames);
    assert!(bench.drain(3).is_empty());
    bench.assert_conserved();
}
