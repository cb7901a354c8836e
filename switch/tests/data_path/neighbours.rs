//! ARP and neighbour discovery: the host's business, but for addresses that are wholly a stack's.

use switch::verdict::DropReason;
use wire::emit::Eth;
use wire::{ARP_REPLY, ARP_REQUEST, Malformed, NdKind};

use crate::common::frames::*;
use crate::common::{Bench, CLIENT_MAC, HOST, MAC1};

const SOLICIT: NdKind = NdKind::Solicitation;
const ADVERTISE: NdKind = NdKind::Advertisement;
const NODE_GROUP: &str = "ff02::1:ff00:1";

#[test]
fn a_stack_asks_in_its_own_name_and_gets_one_answer() {
    for (spec, question, answer) in [
        (
            "udp 192.0.2.1:7",
            arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.9"),
            arp(IN, ARP_REPLY, "192.0.2.9", "192.0.2.1"),
        ),
        (
            "udp [2001:db8::1]:7",
            neighbor(TO_ALL, SOLICIT, "2001:db8::1", NODE_GROUP, "2001:db8::9"),
            neighbor(IN, ADVERTISE, "2001:db8::9", "2001:db8::1", "2001:db8::9"),
        ),
        (
            "udp 192.0.2.1:7%100",
            tagged(arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.9"), "100"),
            tagged(arp(IN, ARP_REPLY, "192.0.2.9", "192.0.2.1"), "100"),
        ),
    ] {
        let mut bench = Bench::with_stacks([3, 4]);
        bench.claim(spec, 3);
        bench.claim(&spec.replacen(":7", ":8", 1), 4);
        let answer = std::slice::from_ref(&answer);
        bench.receive(answer);
        assert!(bench.drain(3).is_empty(), "it has not asked");
        bench.send(3, &question);
        assert_eq!(bench.wire(), [question]);
        // A question to the host is no answer.
        let (request, request6) = (
            arp(FROM_ALL, ARP_REQUEST, "192.0.2.9", "192.0.2.1"),
            neighbor(FROM_ALL, SOLICIT, "2001:db8::9", NODE_GROUP, "2001:db8::1"),
        );
        bench.receive(&[tagged(request.clone(), "100"), request, request6]);
        assert!(bench.drain(3).is_empty());
        bench.receive(answer);
        bench.receive(answer);
        assert_eq!(bench.drain(3), answer);
        assert!(bench.drain(4).is_empty(), "the other has not asked");
        let nic = bench.nic();
        assert_eq!((nic.to_host, nic.copies), (6, 1));
        bench.assert_conserved();
    }
}

#[test]
fn a_stack_speaks_for_no_address_that_is_not_wholly_its_own() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp [2001:db8::1]:7", 3);
    bench.claim("all 192.0.2.4", 4);
    bench.claim("all 2001:db8::4", 4);
    let lying_arp = {
        let mut frame = arp(OUT, ARP_REQUEST, "192.0.2.1", "192.0.2.9");
        frame[22..28].copy_from_slice(&CLIENT_MAC.0);
        frame
    };
    for frame in [
        arp(OUT, ARP_REPLY, "192.0.2.1", "192.0.2.9"),
        arp(OUT, ARP_REPLY, "192.0.2.4", "192.0.2.9"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.2", "192.0.2.9"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.4", "192.0.2.9"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.1"),
        arp(TO_ALL, ARP_REQUEST, "0.0.0.0", "192.0.2.1"),
        tagged(arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.9"), "100"),
        arp(OUT, 3, "192.0.2.1", "192.0.2.9"),
        lying_arp,
    ] {
        let before = bench.tx_dropped(3, DropReason::TxArp);
        bench.send(3, &frame);
        assert_eq!(bench.tx_dropped(3, DropReason::TxArp), before + 1);
    }
    // The link-layer option names another machine.
    let elsewhere = Eth {
        src: CLIENT_MAC,
        ..TO_ALL
    };
    let lying = {
        let asks = neighbor(elsewhere, SOLICIT, "2001:db8::1", NODE_GROUP, "2001:db8::9");
        [&asks[..6], &TO_ALL.src.0, &asks[12..]].concat()
    };
    for frame in [
        neighbor(OUT, ADVERTISE, "2001:db8::1", "2001:db8::9", "2001:db8::1"),
        neighbor(OUT, ADVERTISE, "2001:db8::1", "2001:db8::9", "2001:db8::4"),
        neighbor(TO_ALL, SOLICIT, "2001:db8::2", NODE_GROUP, "2001:db8::9"),
        neighbor(TO_ALL, SOLICIT, "2001:db8::1", NODE_GROUP, "2001:db8::1"),
        neighbor(TO_ALL, SOLICIT, "::", NODE_GROUP, "2001:db8::1"),
        lying,
    ] {
        let before = bench.tx_dropped(3, DropReason::TxNeighbour);
        bench.send(3, &frame);
        assert_eq!(bench.tx_dropped(3, DropReason::TxNeighbour), before + 1);
    }
    assert!(bench.wire().is_empty());
    assert!(bench.drain(4).is_empty() && bench.drain(HOST).is_empty());
    bench.assert_conserved();
}

#[test]
fn the_owner_of_an_address_answers_for_it() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    for frame in [
        arp(FROM_ALL, ARP_REQUEST, "192.0.2.9", "192.0.2.1"),
        arp(IN, ARP_REPLY, "192.0.2.9", "192.0.2.1"),
        // Someone else probes for the address, or announces it.
        arp(FROM_ALL, ARP_REQUEST, "0.0.0.0", "192.0.2.1"),
        arp(FROM_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.1"),
        neighbor(FROM_ALL, SOLICIT, "2001:db8::9", NODE_GROUP, "2001:db8::1"),
        neighbor(FROM_ALL, SOLICIT, "::", NODE_GROUP, "2001:db8::1"),
        neighbor(IN, ADVERTISE, "2001:db8::9", "2001:db8::1", "2001:db8::9"),
    ] {
        bench.receive(std::slice::from_ref(&frame));
        assert_eq!(bench.drain(3), [frame]);
    }
    assert!(bench.drain(HOST).is_empty());
    for frame in [
        arp(OUT, ARP_REPLY, "192.0.2.1", "192.0.2.9"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.1"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.9"),
        arp(TO_ALL, ARP_REQUEST, "0.0.0.0", "192.0.2.1"),
        neighbor(OUT, ADVERTISE, "2001:db8::1", "2001:db8::9", "2001:db8::1"),
        neighbor(TO_ALL, SOLICIT, "::", NODE_GROUP, "2001:db8::1"),
    ] {
        bench.send(3, &frame);
        assert_eq!(bench.wire(), [frame]);
    }
    assert_eq!(bench.vport(3).tx_dropped.sum(), 0);
    bench.assert_conserved();
}

#[test]
fn even_the_owner_names_no_other_machines_mac() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    // Inside it says CLIENT_MAC; the Ethernet header says the port's.
    let elsewhere = Eth {
        dst: CLIENT_MAC,
        src: CLIENT_MAC,
    };
    for (frame, reason) in [
        (
            arp(elsewhere, ARP_REPLY, "192.0.2.1", "192.0.2.9"),
            DropReason::TxArp,
        ),
        (
            arp(elsewhere, ARP_REQUEST, "192.0.2.1", "192.0.2.9"),
            DropReason::TxArp,
        ),
        (
            neighbor(
                elsewhere,
                ADVERTISE,
                "2001:db8::1",
                "2001:db8::9",
                "2001:db8::1",
            ),
            DropReason::TxNeighbour,
        ),
        (
            neighbor(elsewhere, SOLICIT, "2001:db8::1", NODE_GROUP, "2001:db8::9"),
            DropReason::TxNeighbour,
        ),
    ] {
        let before = bench.tx_dropped(3, reason);
        bench.send(3, &[&frame[..6], &OUT.src.0, &frame[12..]].concat());
        assert_eq!(bench.tx_dropped(3, reason), before + 1);
    }
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn who_probes_for_an_address_hears_of_a_conflict() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    // The one that has the address already says so to a prober who has none, and to all.
    let conflict = arp(IN, ARP_REPLY, "192.0.2.1", "0.0.0.0");
    let conflict6 = neighbor(FROM_ALL, ADVERTISE, "2001:db8::1", "ff02::1", "2001:db8::1");
    bench.receive(&[conflict.clone(), conflict6.clone()]);
    assert_eq!(bench.drain(3), [conflict, conflict6]);
    // About others it is the host's.
    let others = neighbor(FROM_ALL, ADVERTISE, "2001:db8::8", "ff02::1", "2001:db8::8");
    bench.receive(std::slice::from_ref(&others));
    assert_eq!(bench.drain(HOST), [others]);
    assert!(bench.drain(3).is_empty());
}

#[test]
fn the_hosts_own_discovery_goes_on() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp [2001:db8::1]:7", 3);
    let mut advertisement = icmp(FROM_ALL, "fe80::9", "ff02::1", 134, &[0; 8]);
    advertisement[21] = 255;
    let frames = [
        advertisement,
        arp(FROM_ALL, ARP_REQUEST, "192.0.2.9", "192.0.2.1"),
        neighbor(FROM_ALL, SOLICIT, "2001:db8::9", NODE_GROUP, "2001:db8::1"),
        neighbor(FROM_ALL, SOLICIT, "::", NODE_GROUP, "2001:db8::1"),
        neighbor(FROM_ALL, ADVERTISE, "2001:db8::9", "ff02::1", "2001:db8::1"),
    ];
    bench.receive(&frames);
    assert_eq!(bench.drain(HOST), frames);
    assert!(bench.drain(3).is_empty());
    let probe = neighbor(TO_ALL, SOLICIT, "::", NODE_GROUP, "2001:db8::1");
    bench.send(HOST, &probe);
    assert_eq!(bench.wire(), [probe]);
    bench.assert_conserved();
}

#[test]
fn frames_to_another_machine_are_not_answered() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    let elsewhere = Eth {
        dst: MAC1,
        src: CLIENT_MAC,
    };
    let frames = [
        arp(elsewhere, ARP_REQUEST, "192.0.2.9", "192.0.2.1"),
        neighbor(
            elsewhere,
            SOLICIT,
            "2001:db8::9",
            "2001:db8::1",
            "2001:db8::1",
        ),
    ];
    bench.receive(&frames);
    assert_eq!(bench.drain(HOST), frames);
    assert!(bench.drain(3).is_empty());
}

#[test]
fn malformed_ones_are_dropped() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    let mut short = arp(FROM_ALL, ARP_REQUEST, "192.0.2.9", "192.0.2.1");
    short.truncate(41);
    let mut hops = neighbor(FROM_ALL, SOLICIT, "2001:db8::9", NODE_GROUP, "2001:db8::1");
    hops[21] = 254;
    bench.receive(&[short, hops]);
    assert_eq!(bench.rx_dropped(Malformed::ArpMalformed), 1);
    assert_eq!(bench.rx_dropped(Malformed::NdMalformed), 1);
    assert!(bench.drain(HOST).is_empty());
    bench.assert_conserved();
}
