//! From one vport to another on this machine, by the same rules as over the wire.

use switch::verdict::DropReason;
use wire::emit::Eth;
use wire::{ARP_REPLY, ARP_REQUEST, Malformed, NdKind};

use crate::common::frames::*;
use crate::common::{Bench, HOST, MAC};

#[test]
fn stacks_and_host_reach_each_other() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    bench.claim("tcp [2001:db8::1]:7", 4);
    for (from, frame, to) in [
        (3, udp(HERE, "192.0.2.1:7", "192.0.2.1:8"), 4),
        (4, udp(HERE, "192.0.2.1:8", "192.0.2.1:7"), 3),
        (3, udp(HERE, "192.0.2.1:7", "192.0.2.1:53"), HOST),
        (HOST, udp(HERE, "192.0.2.1:53", "192.0.2.1:7"), 3),
        (HOST, tcp(HERE, "[2001:db8::2]:53", "[2001:db8::1]:7"), 4),
        // To itself.
        (3, udp(HERE, "192.0.2.1:7", "192.0.2.2:7"), HOST),
    ] {
        bench.send(from, &frame);
        for slot in [HOST, 3, 4] {
            let expected = if slot == to {
                vec![frame.clone()]
            } else {
                vec![]
            };
            assert_eq!(bench.drain(slot), expected, "{from} to {to}, at {slot}");
        }
    }
    assert!(bench.wire().is_empty());
    let vport = bench.vport(3);
    assert_eq!((vport.tx_local, vport.tx_wire, vport.rx_packets), (3, 0, 2));
    assert_eq!(bench.nic().rx_packets, 0);
    bench.assert_conserved();
}

#[test]
fn the_rules_are_those_of_the_wire() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8!", 4);
    let mut bad_sum = udp(HERE, "192.0.2.1:7", "192.0.2.1:8");
    spoil_udp_checksum(&mut bad_sum);
    for (frame, reason) in [
        (
            udp(HERE, "192.0.2.1:9", "192.0.2.1:8"),
            DropReason::TxNotClaimed,
        ),
        (
            udp(HERE, "192.0.2.1:8", "192.0.2.1:8"),
            Malformed::Land.into(),
        ),
        (
            udp(HERE, "192.0.2.1:8", "192.0.2.1:7"),
            DropReason::TxForeign,
        ),
        (
            tagged(udp(HERE, "192.0.2.1:7", "192.0.2.1:8"), "100"),
            DropReason::TxNotClaimed,
        ),
        (bad_sum.clone(), DropReason::L4Checksum),
        (
            arp(HERE, ARP_REPLY, "192.0.2.1", "192.0.2.1"),
            DropReason::TxArp,
        ),
    ] {
        let before = bench.tx_dropped(3, reason);
        bench.send(3, &frame);
        assert_eq!(bench.tx_dropped(3, reason), before + 1, "{reason:?}");
    }
    assert!(bench.drain(4).is_empty() && bench.drain(HOST).is_empty());
    // With the checksum left to the switch it arrives, and is known to be right.
    bench.send_with(3, 0, true, &bad_sum);
    let received = bench.drain_descs(4);
    assert!(received[0].0.checksum);
    assert_eq!(received[0].1, udp(HERE, "192.0.2.1:7", "192.0.2.1:8"));
    bench.assert_conserved();
}

#[test]
fn what_only_its_sender_wants_is_dropped() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 239.1.1.1:7", 3);
    bench.send(HOST, &udp(HERE, "192.0.2.1:7", "192.0.2.1:8"));
    assert_eq!(bench.tx_dropped(HOST, DropReason::TxLocal), 1);
    bench.send(HOST, &[MAC.0.to_vec(), vec![2; 4]].concat());
    assert_eq!(bench.tx_dropped(HOST, Malformed::Runt), 1);
    assert!(bench.drain(HOST).is_empty());
    bench.assert_conserved();
}

#[test]
fn a_slow_receiver_costs_the_sender_its_packet() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    for _ in 0..40 {
        bench.send(3, &udp(HERE, "192.0.2.1:7", "192.0.2.1:8"));
    }
    assert_eq!(bench.tx_dropped(3, DropReason::RingFull), 8);
    let dropped = bench.vport(4).rx_dropped;
    assert_eq!(dropped.0[DropReason::RingFull.index()], 8);
    assert_eq!(bench.drain(4).len(), 32);
    bench.assert_conserved();
}

#[test]
fn to_a_vport_that_is_gone() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    bench.detach(4);
    bench.send(3, &udp(HERE, "192.0.2.1:7", "192.0.2.1:8"));
    assert_eq!(bench.tx_dropped(3, DropReason::VportShut), 1);
    bench.receive(&[udp(IN, CLIENT, "192.0.2.1:8")]);
    assert_eq!(bench.rx_dropped(DropReason::VportShut), 1);
    bench.assert_conserved();
}

#[test]
fn groups_go_to_the_wire_and_in_copies_to_the_members_but_not_to_the_sender() {
    let mut bench = Bench::with_stacks([3, 4, 5]);
    bench.claim("udp 192.0.2.1:7", 3);
    for slot in [3, 4] {
        bench.claim("udp 239.1.1.1:7", slot);
    }
    bench.claim("udp 239.1.1.1:7%100", 5);
    let from_stack = udp(TO_ALL, "192.0.2.1:7", "239.1.1.1:7");
    bench.send(3, &from_stack);
    assert_eq!(bench.wire(), std::slice::from_ref(&from_stack));
    assert_eq!(bench.drain(4), [from_stack]);
    for slot in [HOST, 3, 5] {
        // The source is the host's own address: its kernel would not believe it.
        assert!(bench.drain(slot).is_empty(), "{slot}");
    }
    let from_host = udp(TO_ALL, "192.0.2.1:53", "239.1.1.1:7");
    bench.send(HOST, &from_host);
    assert_eq!(bench.wire(), std::slice::from_ref(&from_host));
    for slot in [3, 4] {
        assert_eq!(bench.drain(slot), std::slice::from_ref(&from_host));
    }
    assert!(bench.drain(HOST).is_empty() && bench.drain(5).is_empty());
    assert_eq!(bench.vport(4).rx_copies, 2);
    assert_eq!(bench.nic().copies, 3);
    bench.assert_conserved();
}

#[test]
fn what_comes_from_an_address_of_the_stacks_own_reaches_the_host() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.3", 3);
    bench.claim("udp 192.0.2.1:7", 4);
    for frame in [
        udp(TO_ALL, "192.0.2.3:7", "239.1.1.1:7"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.3", "192.0.2.1"),
        arp(TO_ALL, ARP_REQUEST, "192.0.2.3", "192.0.2.3"),
    ] {
        bench.send(3, &frame);
        assert_eq!(bench.wire(), std::slice::from_ref(&frame));
        let is_own = frame[12..14] == [8, 6] && frame[38..42] == [192, 0, 2, 3];
        let expected = if is_own { vec![] } else { vec![frame] };
        assert_eq!(bench.drain(HOST), expected);
    }
    let broadcast = udp(TO_ALL, "192.0.2.3:9", "255.255.255.255:7");
    bench.send(3, &broadcast);
    assert_eq!(bench.drain(HOST), std::slice::from_ref(&broadcast));
    assert_eq!(bench.drain(4), [broadcast]);
    assert!(bench.drain(3).is_empty());
    bench.assert_conserved();
}

#[test]
fn neighbours_on_one_machine_find_each_other() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.3", 3);
    bench.claim("all 2001:db8::3", 3);
    bench.claim("udp 192.0.2.1:7", 4);
    bench.claim("udp [2001:db8::1]:7", 4);
    let group = "ff02::1:ff00:3";
    let (asks, answers) = (NdKind::Solicitation, NdKind::Advertisement);
    for (question, answer) in [
        (
            arp(TO_ALL, ARP_REQUEST, "192.0.2.1", "192.0.2.3"),
            arp(HERE, ARP_REPLY, "192.0.2.3", "192.0.2.1"),
        ),
        (
            neighbor(TO_ALL, asks, "2001:db8::1", group, "2001:db8::3"),
            neighbor(HERE, answers, "2001:db8::3", "2001:db8::1", "2001:db8::3"),
        ),
    ] {
        for asker in [HOST, 4] {
            bench.send(asker, &question);
            assert_eq!(bench.wire(), std::slice::from_ref(&question));
            assert_eq!(bench.drain(3), std::slice::from_ref(&question));
            bench.send(3, &answer);
            assert!(bench.wire().is_empty());
            // The host gets it in any case: it is to its address.
            assert_eq!(bench.drain(HOST), std::slice::from_ref(&answer));
            let expected = if asker == 4 {
                vec![answer.clone()]
            } else {
                vec![]
            };
            assert_eq!(bench.drain(4), expected);
        }
    }
    bench.assert_conserved();
}

#[test]
fn icmp_errors_stay_on_the_machine() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.2:8", 4);
    let packet = udp(HERE, "192.0.2.1:7", "192.0.2.2:8");
    let error = unreachable(HERE, "192.0.2.2", "192.0.2.1", &packet);
    bench.send(4, &error);
    assert_eq!(bench.drain(3), std::slice::from_ref(&error));
    bench.send(3, &error);
    assert_eq!(bench.tx_dropped(3, DropReason::TxIcmp), 1);
    bench.send(HOST, &error);
    assert_eq!(bench.drain(3), [error]);
    bench.assert_conserved();
}

#[test]
fn fragments_follow_their_first_one_here_too() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    let parts = udp_fragments(HERE, "192.0.2.1:7", "192.0.2.1:8", 1);
    bench.send(3, &parts[1]);
    assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 1);
    for part in &parts {
        bench.send(3, part);
    }
    assert_eq!(bench.drain(4), parts);
    let parts = udp_fragments(HERE, "192.0.2.1:53", "192.0.2.1:8", 2);
    for part in &parts {
        bench.send(HOST, part);
    }
    assert_eq!(bench.drain(4), parts);
    bench.send(HOST, &parts[2]);
    assert_eq!(bench.tx_dropped(HOST, DropReason::FragmentTimeout), 1);
    let to_host = udp_fragments(HERE, "192.0.2.1:7", "192.0.2.5:53", 3);
    for part in &to_host {
        bench.send(3, part);
    }
    assert_eq!(bench.drain(HOST), to_host);
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn unicast_to_another_machine_stays_off_this_one() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    // The destination MAC decides, not the address.
    let frame = udp(OUT, "192.0.2.1:7", "192.0.2.2:8");
    bench.send(3, &frame);
    assert_eq!(bench.wire(), [frame]);
    let via = Eth { dst: MAC, ..OUT };
    bench.send(3, &udp(via, "192.0.2.1:7", "192.0.2.1:8"));
    assert_eq!(bench.drain(4).len(), 1);
}
