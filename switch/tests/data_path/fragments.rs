//! Fragments: with the first one of their packet, each byte once, or not at all.

use switch::fragments::{LIFETIME_MS, WAITING};
use switch::verdict::{DropReason, HostReason};
use wire::Malformed;
use wire::emit::Eth;

use crate::common::frames::*;
use crate::common::{Bench, CLIENT_MAC, HOST, MAC1};

const ENDS: [[&str; 2]; 2] = [[CLIENT, "192.0.2.1:7"], [CLIENT6, "[2001:db8::1]:7"]];

fn bench() -> Bench {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp [2001:db8::1]:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    bench
}

#[test]
fn they_go_to_the_owner_of_the_first_in_whatever_order() {
    for [from, to] in ENDS {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
            let mut bench = bench();
            let parts = udp_fragments(IN, from, to, 77);
            let sent = order.map(|at| parts[at].clone());
            bench.receive(&sent);
            let mut received = bench.drain(3);
            assert!(bench.drain(HOST).is_empty() && bench.drain(4).is_empty());
            received.sort();
            let mut parts = parts;
            parts.sort();
            assert_eq!(received, parts, "{order:?}");
            assert_eq!(bench.nic().waiting, 0);
            bench.assert_conserved();
        }
    }
}

#[test]
fn those_of_unclaimed_packets_go_to_the_host() {
    for (to, reason) in [
        // No one has anything at the address, or not at the port.
        ("192.0.2.5:7", HostReason::Fragment),
        ("192.0.2.1:9", HostReason::Fragment),
    ] {
        let mut bench = bench();
        let parts = udp_fragments(IN, CLIENT, to, 5);
        bench.receive(&parts);
        assert_eq!(bench.drain(HOST), parts);
        assert_eq!(bench.nic().host_reasons[reason as usize], 4);
        bench.assert_conserved();
    }
}

#[test]
fn first_fragments_wait_for_no_one_and_others_for_the_first() {
    let mut bench = bench();
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 5);
    bench.receive(&parts[1..3]);
    assert!(bench.drain(3).is_empty());
    assert_eq!(bench.nic().waiting, 2);
    bench.assert_conserved();
    bench.receive(&parts[..1]);
    assert_eq!(
        bench.drain(3),
        parts[..1]
            .iter()
            .chain(&parts[1..3])
            .cloned()
            .collect::<Vec<_>>()
    );
    assert_eq!(bench.nic().waiting, 0);
    bench.receive(&parts[3..]);
    assert_eq!(bench.drain(3), parts[3..]);
    bench.assert_conserved();
}

#[test]
fn packets_are_told_apart() {
    let mut bench = bench();
    bench.claim("udp 192.0.2.1:7%100", 4);
    let to = |eth, from, id| udp_fragments(eth, from, "192.0.2.1:7", id);
    let first = to(IN, CLIENT, 5);
    bench.receive(&first[..1]);
    assert_eq!(bench.drain(3).len(), 1);
    // Another identification, source, VLAN, or port of the switch: another packet.
    bench.receive(&[
        to(IN, CLIENT, 6)[1].clone(),
        to(IN, "192.0.2.8:5000", 5)[1].clone(),
        tagged(first[1].clone(), "100"),
    ]);
    let there = Eth { dst: MAC1, ..IN };
    bench.receive_at(1, &to(there, CLIENT, 5)[1..2]);
    assert!(bench.drain(3).is_empty() && bench.drain(4).is_empty());
    let counts = bench.count();
    assert_eq!((counts.nics[0].waiting, counts.nics[1].waiting), (3, 1));
    bench.receive(&[tagged(first[0].clone(), "100")]);
    let in_vlan = [0, 1].map(|at| tagged(first[at].clone(), "100"));
    assert_eq!(bench.drain(4), in_vlan);
    // To another machine's MAC.
    let elsewhere = Eth {
        dst: CLIENT_MAC,
        ..IN
    };
    let parts = to(elsewhere, CLIENT, 7);
    bench.receive(&parts);
    assert_eq!(bench.drain(HOST), parts);
    bench.assert_conserved();
}

#[test]
fn bytes_pass_once() {
    let mut bench = bench();
    let whole = udp_with(IN, CLIENT, "192.0.2.1:7", &[0x55; 48]);
    let (small, large) = (fragments(&whole, 5, 16), fragments(&whole, 5, 24));
    bench.receive(&[
        small[0].clone(),
        small[1].clone(),
        small[1].clone(),
        small[0].clone(),
    ]);
    assert_eq!(bench.drain(3), small[..2]);
    assert_eq!(bench.rx_dropped(DropReason::FragmentDuplicate), 2);
    // 24..48 overlaps 16..32, which has come, in part: from here on nothing passes.
    bench.receive(&[
        large[1].clone(),
        small[2].clone(),
        small[3].clone(),
        small[0].clone(),
    ]);
    assert!(bench.drain(3).is_empty());
    assert_eq!(bench.rx_dropped(DropReason::FragmentOverlap), 4);
    bench.assert_conserved();
}

#[test]
fn waiting_ones_pass_once_too() {
    let mut bench = bench();
    let whole = udp_with(IN, CLIENT, "192.0.2.1:7", &[0x55; 48]);
    let (small, large) = (fragments(&whole, 5, 16), fragments(&whole, 5, 24));
    bench.receive(&[
        small[1].clone(),
        small[1].clone(),
        large[1].clone(),
        small[0].clone(),
    ]);
    assert_eq!(bench.drain(3), [small[0].clone(), small[1].clone()]);
    assert_eq!(bench.rx_dropped(DropReason::FragmentDuplicate), 1);
    assert_eq!(bench.rx_dropped(DropReason::FragmentOverlap), 1);
    // One that is left over when the packet is whole.
    let short = fragments(&udp(IN, CLIENT, "192.0.2.1:7"), 6, 16);
    bench.receive(&[short[1].clone(), short[1].clone(), short[0].clone()]);
    assert_eq!(bench.drain(3), short);
    assert_eq!(bench.rx_dropped(DropReason::FragmentDuplicate), 2);
    assert!(bench.drain(HOST).is_empty());
    bench.assert_conserved();
}

#[test]
fn a_second_end_spoils_the_packet() {
    let mut bench = bench();
    let long = udp_fragments(IN, CLIENT, "192.0.2.1:7", 5);
    let short = fragments(&udp(IN, CLIENT, "192.0.2.1:7"), 5, 16);
    assert_eq!(short.len(), 2);
    bench.receive(&[
        long[0].clone(),
        long[3].clone(),
        short[1].clone(),
        long[1].clone(),
    ]);
    assert_eq!(bench.drain(3), [long[0].clone(), long[3].clone()]);
    assert_eq!(bench.rx_dropped(DropReason::FragmentOverlap), 2);
    bench.assert_conserved();
}

#[test]
fn an_identification_can_be_used_again_when_the_packet_is_whole() {
    let mut bench = bench();
    let to = |port| udp_fragments(IN, CLIENT, &format!("192.0.2.1:{port}"), 5);
    bench.receive(&to(7));
    bench.receive(&to(8));
    assert_eq!((bench.drain(3), bench.drain(4)), (to(7), to(8)));
    // Not before.
    bench.receive(&to(7)[..2]);
    bench.receive(&to(8)[..1]);
    assert!(bench.drain(4).is_empty());
    assert_eq!(bench.rx_dropped(DropReason::FragmentDuplicate), 1);
    bench.assert_conserved();
}

#[test]
fn time_runs_out_for_packets_and_for_those_that_wait() {
    let mut bench = bench();
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 5);
    bench.receive(&parts[..1]);
    bench.set_time(LIFETIME_MS - 1);
    bench.receive(&parts[1..2]);
    assert_eq!(bench.drain(3).len(), 2);
    bench.set_time(LIFETIME_MS);
    bench.receive(&parts[2..3]);
    assert_eq!((bench.drain(3).len(), bench.nic().waiting), (0, 1));
    bench.set_time(2 * LIFETIME_MS - 1);
    bench.idle();
    assert_eq!(bench.nic().waiting, 1);
    bench.set_time(2 * LIFETIME_MS);
    bench.idle();
    assert_eq!(bench.nic().waiting, 0);
    assert_eq!(bench.rx_dropped(DropReason::FragmentTimeout), 1);
    bench.assert_conserved();
}

#[test]
fn a_flood_without_firsts_pushes_out_what_waits_and_nothing_else() {
    let mut bench = bench();
    let whole = udp_fragments(IN, CLIENT, "192.0.2.1:7", 1);
    bench.receive(&whole[..1]);
    let others = u64::try_from(WAITING).unwrap() + 44;
    for id in 0..u32::try_from(others).unwrap() {
        let parts = udp_fragments(IN, "192.0.2.8:1", "192.0.2.1:7", id);
        bench.receive(&parts[1..2]);
    }
    assert_eq!(bench.nic().waiting, u64::try_from(WAITING).unwrap());
    assert_eq!(bench.rx_dropped(DropReason::FragmentFlood), 44);
    bench.receive(&whole[1..]);
    bench.receive(&[udp(IN, CLIENT, "192.0.2.1:8")]);
    assert_eq!((bench.drain(3), bench.drain(4).len()), (whole, 1));
    bench.assert_conserved();
}

#[test]
fn a_flood_of_firsts_takes_bounded_memory() {
    let mut bench = bench();
    for id in 0..5_000 {
        let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", id);
        bench.receive(&parts[..1]);
        assert_eq!(bench.drain(3).len(), 1);
    }
    // The newest ones are still known.
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 4_999);
    bench.receive(&parts[1..]);
    assert_eq!(bench.drain(3), parts[1..]);
    bench.assert_conserved();
}

#[test]
fn the_sole_owner_of_an_address_gets_all_without_a_table() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.1", 3);
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:9", 5);
    bench.receive(&parts[2..]);
    assert_eq!(bench.drain(3), parts[2..]);
    // With a tuple there in another's hands it takes the first one to tell.
    bench.claim("udp 192.0.2.1:7", 4);
    let [sevens, nines] = [7, 9].map(|p| udp_fragments(IN, CLIENT, &format!("192.0.2.1:{p}"), p));
    bench.receive(&sevens);
    bench.receive(&nines);
    assert_eq!((bench.drain(4), bench.drain(3)), (sevens, nines));
    // So it is with a tuple at any address.
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("udp 0.0.0.0:7", 4);
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 5);
    bench.receive(&parts);
    assert_eq!((bench.drain(4), bench.drain(3).len()), (parts, 0));
    bench.assert_conserved();
}

#[test]
fn protocols_without_ports_need_no_first() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("47 192.0.2.1", 3);
    let parts = fragments(&proto(IN, 47, "192.0.2.9", "192.0.2.1"), 5, 16);
    bench.receive(&parts[1..]);
    assert_eq!(bench.drain(3), parts[1..]);
    let icmp = fragments(&echo_request(IN, "192.0.2.9", "192.0.2.1"), 5, 16);
    bench.receive(&icmp);
    assert_eq!(bench.drain(HOST), icmp);
    bench.assert_conserved();
}

#[test]
fn those_to_all_are_the_hosts() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 0.0.0.0:7", 3);
    for to in ["255.255.255.255:7", "239.1.1.1:7", "0.0.0.0:7"] {
        for eth in [IN, FROM_ALL] {
            let parts = udp_fragments(eth, CLIENT, to, 5);
            bench.receive(&parts);
            assert_eq!(bench.drain(HOST), parts, "{to}");
        }
    }
    assert!(bench.drain(3).is_empty());
    bench.assert_conserved();
}

#[test]
fn tiny_ones_are_dropped() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("tcp 192.0.2.1:7", 3);
    let parts = fragments(&tcp(IN, CLIENT, "192.0.2.1:7"), 5, 8);
    bench.receive(&parts);
    assert!(bench.drain(3).is_empty());
    assert_eq!(bench.rx_dropped(Malformed::FragmentTiny), 2);
    bench.assert_conserved();
}

#[test]
fn a_stack_sends_fragments_of_its_own_packets_only() {
    for [to, ours] in ENDS {
        let mut bench = bench();
        let parts = udp_fragments(OUT, ours, to, 5);
        bench.send(3, &parts[1]);
        assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 1);
        bench.send(3, &parts[0]);
        // Not another's, neither one that follows nor a first one of the same packet.
        bench.send(4, &parts[1]);
        assert_eq!(bench.tx_dropped(4, DropReason::TxForeign), 1);
        bench.send(4, &udp_fragments(OUT, "192.0.2.1:8", CLIENT, 5)[0]);
        let is_same_packet = ours == "192.0.2.1:7";
        let refused = if is_same_packet { 2 } else { 1 };
        assert_eq!(bench.tx_dropped(4, DropReason::TxForeign), refused);
        bench.wire();
        // Once each, and no overlap.
        for part in [&parts[1], &parts[3], &parts[1], &parts[2]] {
            bench.send(3, part);
        }
        assert_eq!(bench.tx_dropped(3, DropReason::FragmentDuplicate), 1);
        assert_eq!(bench.wire().len(), 3);
        // The packet is whole, and its identification free.
        bench.send(3, &parts[1]);
        assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 2);
        bench.assert_conserved();
    }
}

#[test]
fn a_stack_sends_no_fragment_in_anothers_name() {
    let mut bench = bench();
    let unspecified = udp_fragments(OUT, "0.0.0.0:7", CLIENT, 1);
    let not_its_port = udp_fragments(OUT, "192.0.2.1:8", CLIENT, 2);
    let no_ones = udp_fragments(OUT, "192.0.2.5:7", CLIENT, 3);
    let no_ports = fragments(&proto(OUT, 47, "192.0.2.1", "192.0.2.9"), 4, 16);
    let in_vlan = tagged(
        udp_fragments(OUT, "192.0.2.1:7", CLIENT, 5)[0].clone(),
        "100",
    );
    let to_all = udp_fragments(TO_ALL, "192.0.2.1:7", CLIENT, 6);
    for (frame, reason) in [
        (&unspecified[0], DropReason::TxUnspecifiedSource),
        (&unspecified[1], DropReason::TxUnspecifiedSource),
        (&not_its_port[0], DropReason::TxForeign),
        (&not_its_port[1], DropReason::TxFragment),
        (&no_ones[0], DropReason::TxNotClaimed),
        (&no_ones[1], DropReason::TxFragment),
        (&no_ports[0], DropReason::TxNotClaimed),
        (&no_ports[1], DropReason::TxNotClaimed),
        (&in_vlan, DropReason::TxNotClaimed),
        (&to_all[0], DropReason::TxGroupMac),
    ] {
        let before = bench.tx_dropped(3, reason);
        bench.send(3, frame);
        assert_eq!(bench.tx_dropped(3, reason), before + 1, "{reason:?}");
    }
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn the_owner_of_an_address_sends_no_fragment_of_a_tuple_that_another_has() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.1", 3);
    let [sevens, nines] = [7, 9].map(|p| udp_fragments(OUT, &format!("192.0.2.1:{p}"), CLIENT, p));
    bench.send(3, &nines[2]);
    assert_eq!(
        bench.wire(),
        [nines[2].clone()],
        "alone there, in any order"
    );
    bench.claim("udp 192.0.2.1:7", 4);
    bench.send(3, &sevens[0]);
    bench.send(3, &sevens[1]);
    assert_eq!(bench.tx_dropped(3, DropReason::TxForeign), 1);
    assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 1);
    assert!(bench.wire().is_empty());
    bench.send(3, &nines[0]);
    bench.send(3, &nines[1]);
    assert_eq!(bench.wire(), nines[..2]);
}

#[test]
fn no_stack_adds_to_the_hosts_packets() {
    let mut bench = bench();
    let hosts = udp_fragments(OUT, "192.0.2.1:53", CLIENT, 9);
    bench.send(HOST, &hosts[0]);
    bench.send(HOST, &hosts[1]);
    let mine = udp_fragments(OUT, "192.0.2.1:7", CLIENT, 9);
    for fragment in [&mine[0], &mine[3], &hosts[3]] {
        bench.send(3, fragment);
    }
    assert_eq!(bench.tx_dropped(3, DropReason::TxForeign), 3);
    bench.send(HOST, &hosts[2]);
    bench.send(HOST, &hosts[3]);
    assert_eq!(bench.wire(), hosts);
    // That packet is whole: its identification is free again.
    bench.send(3, &mine[0]);
    assert_eq!(bench.wire(), [mine[0].clone()]);
    bench.assert_conserved();
}
