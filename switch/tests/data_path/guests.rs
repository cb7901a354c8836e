//! Vports whose packets are copied: a guest with real virtqueues, in memory of its own.

use std::time::Duration;

use switch::verdict::DropReason;
use wire::emit::Eth;

use crate::common::frames::*;
use crate::common::{BUFFERS, Bench, HOST, MAC1};
use crate::vm::{DATA_VALID, VM, Vm};

fn to_vm() -> Vec<u8> {
    udp(IN, CLIENT, "192.0.2.1:7")
}

fn from_vm() -> Vec<u8> {
    udp(OUT, "192.0.2.1:7", CLIENT)
}

#[test]
fn what_is_claimed_for_a_guest_is_copied_to_it() {
    let mut bench = Bench::with_stacks([3]);
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("udp 192.0.2.1:8", 3);
    vm.give(100);
    let many: Vec<_> = (0..100)
        .map(|n| udp(IN, &format!("192.0.2.9:{}", 1000 + n), "192.0.2.1:7"))
        .collect();
    bench.receive(&many[..90]);
    bench.receive(&[
        udp(IN, CLIENT, "192.0.2.1:8"),
        udp(IN, CLIENT, "192.0.2.1:9"),
    ]);
    bench.receive(&many[90..]);
    assert_eq!(vm.frames(), many);
    assert_eq!(bench.drain(3).len(), 1);
    assert_eq!(bench.drain(HOST).len(), 1);
    let vport = bench.vport(VM);
    let bytes: usize = many.iter().map(Vec::len).sum();
    assert_eq!((vport.rx_packets, vport.rx_bytes), (100, bytes as u64));
    bench.assert_conserved();
}

#[test]
fn what_a_guest_sends_is_checked() {
    let mut bench = Bench::with_stacks([3]);
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("udp 192.0.2.1:8", 3);
    let other_mac = Eth { src: IN.src, ..OUT };
    for frame in [
        from_vm(),
        udp(OUT, "192.0.2.1:8", CLIENT),
        udp(OUT, "192.0.2.1:9", CLIENT),
        udp(other_mac, "192.0.2.1:7", CLIENT),
        vec![1, 2, 3],
        vec![],
        from_vm(),
    ] {
        vm.send(&frame);
    }
    bench.worker.step();
    assert_eq!(bench.wire(), [from_vm(), from_vm()]);
    assert_eq!(bench.tx_dropped(VM, DropReason::TxForeign), 1);
    assert_eq!(bench.tx_dropped(VM, DropReason::TxNotClaimed), 1);
    assert_eq!(bench.tx_dropped(VM, DropReason::TxSourceMac), 1);
    assert_eq!(bench.tx_dropped(VM, wire::Malformed::Runt), 2);
    let vport = bench.vport(VM);
    assert_eq!((vport.tx_packets, vport.tx_wire), (7, 2));
    bench.assert_conserved();
}

#[test]
fn what_is_left_to_the_switch_is_done_or_refused() {
    let mut bench = Bench::new();
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("tcp 192.0.2.1:80", VM);
    // As good as from scratch.
    let whole = from_vm();
    let unfinished = unfinished(&whole);
    vm.send_with(1, 0, [0, 0, 34, 6], &unfinished);
    bench.worker.step();
    assert_eq!(bench.wire(), [whole]);
    // Nowhere in the frame.
    vm.send_with(1, 0, [0, 0, 34, 60_000], &unfinished);
    bench.worker.step();
    assert_eq!(bench.tx_dropped(VM, DropReason::TxOffload), 1);
    // 40,000 bytes of TCP in segments of 1,000.
    let mut small = tcp(OUT, "192.0.2.1:80", CLIENT);
    // ACK: of a SYN there can be only one.
    small[47] = 0x10;
    // Ethernet, IPv4, TCP, and no payload.
    small.truncate(54);
    let mut large = small.clone();
    large.extend((0..40_000u32).map(|n| u8::try_from(n % 251).unwrap()));
    let len = u16::try_from(large.len() - 14).unwrap();
    large[16..18].copy_from_slice(&len.to_be_bytes());
    mend_ipv4(&mut large, 14);
    let headers = u16::try_from(small.len()).unwrap();
    vm.send_with(1, 1, [headers, 1000, 34, 16], &large);
    for _ in 0..4 {
        bench.worker.step();
    }
    let sent = bench.wire();
    let payload: Vec<u8> = sent
        .iter()
        .flat_map(|frame| &frame[small.len()..])
        .copied()
        .collect();
    assert_eq!(sent.len(), 40);
    assert_eq!(payload, large[small.len()..]);
    // Segments beyond the MTU, and longer than a buffer without any.
    vm.send_with(1, 1, [headers, 1600, 34, 16], &large);
    vm.send(&large);
    bench.worker.step();
    assert_eq!(bench.tx_dropped(VM, DropReason::TxOffload), 2);
    assert_eq!(bench.tx_dropped(VM, DropReason::TxBounds), 1);
    bench.assert_conserved();
}

/// With the pseudo-header's sum in the field of UDP over IPv4, to which the rest is to be added.
fn unfinished(whole: &[u8]) -> Vec<u8> {
    let len = u16::try_from(whole.len() - 34).unwrap().to_be_bytes();
    let pseudo = wire::checksum::internet(&[&whole[26..34], &[0, 17], &len].concat());
    let mut unfinished = whole.to_vec();
    unfinished[40..42].copy_from_slice(&(!pseudo).to_be_bytes());
    unfinished
}

#[test]
fn a_nic_that_can_finishes_a_packets_own_checksum() {
    let mut bench = Bench::new();
    let mut vm = Vm::attach_behind(&mut bench, 1);
    bench.claim("udp 192.0.2.1:7", VM);
    let mut whole = from_vm();
    whole[6..12].copy_from_slice(&MAC1.0);
    let unfinished = unfinished(&whole);
    let mut sent = |bench: &mut Bench, fields, frame: &[u8]| {
        vm.send_with(1, 0, fields, frame);
        bench.worker.step();
        std::mem::take(&mut bench.world.borrow_mut().sent[1])
    };
    assert_eq!(sent(&mut bench, [0, 0, 34, 6], &unfinished), [whole]);
    assert_eq!(bench.world.borrow().finished, 1);
    // What a tunnel's packet has inside is the worker's to finish, as here two bytes of the payload.
    let mut inside = unfinished.clone();
    let payload = &mut inside[42..];
    payload[2..4].fill(0);
    let sum = wire::checksum::internet(payload);
    payload[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut asked = inside.clone();
    asked[44..46].fill(0);
    assert_eq!(sent(&mut bench, [0, 0, 42, 2], &asked), [inside]);
    assert_eq!(bench.world.borrow().finished, 1);
    // Nowhere in the frame.
    assert!(sent(&mut bench, [0, 0, 34, 60_000], &unfinished).is_empty());
    assert_eq!(bench.tx_dropped(VM, DropReason::TxOffload), 1);
    bench.assert_conserved();
}

#[test]
fn a_checksum_that_is_known_to_be_right_is_passed_on() {
    let mut bench = Bench::new();
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7!", VM);
    vm.give(4);
    bench.receive(&[to_vm()]);
    assert_eq!(vm.received(), [(DATA_VALID, to_vm())]);
}

#[test]
fn without_buffers_a_burst_waits_and_the_rest_is_dropped() {
    let mut bench = Bench::new();
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    vm.give(10);
    bench.receive(&vec![to_vm(); 200]);
    assert_eq!(vm.frames().len(), 10);
    let dropped = bench.rx_dropped(DropReason::RingFull);
    assert!((126..=180).contains(&dropped), "{dropped}");
    vm.give(100);
    bench.worker.step();
    assert_eq!(vm.frames().len() as u64, 190 - dropped);
    bench.assert_conserved();
    // And it goes on.
    bench.receive(&[to_vm()]);
    assert_eq!(vm.frames().len(), 1);
}

#[test]
fn it_may_come_late_go_and_come_back() {
    let mut bench = Bench::with_stacks([3]);
    let mut vm = Vm::absent(&mut bench, 0);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("udp 192.0.2.1:8", 3);
    bench.receive(&vec![to_vm(); 5]);
    assert_eq!(bench.rx_dropped(DropReason::NotConnected), 5);
    vm.give(20);
    vm.connect();
    bench.receive(&vec![to_vm(); 5]);
    assert_eq!(vm.frames().len(), 5);
    let pair = vm.port.take(0).expect("connected");
    bench.receive(&[to_vm(), udp(IN, CLIENT, "192.0.2.1:8")]);
    assert_eq!(bench.rx_dropped(DropReason::NotConnected), 6);
    assert_eq!(bench.drain(3).len(), 1);
    vm.port.put(0, pair);
    bench.receive(&[to_vm()]);
    assert_eq!(vm.frames().len(), 1);
    bench.assert_conserved();
}

#[test]
fn it_may_go_with_packets_staged_for_it() {
    let mut bench = Bench::new();
    let vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.receive(&vec![to_vm(); 20]);
    drop(vm.port.take(0));
    bench.worker.step();
    let vport = bench.vport(VM);
    let dropped = vport.rx_dropped.0[DropReason::NotConnected.index()];
    assert_eq!((vport.rx_packets, dropped), (0, 20));
    bench.assert_conserved();
    // Or be taken out of service.
    let mut bench = Bench::new();
    let _vm = Vm::attach(&mut bench);
    let claim = bench.claim("udp 192.0.2.1:7", VM);
    bench.receive(&vec![to_vm(); 20]);
    bench.release(claim, VM);
    bench.detach(VM);
    bench.idle();
    // But for the host's.
    let held: u32 = bench.count().vports.iter().map(|(.., held)| held).sum();
    assert_eq!(bench.world.borrow().available() + held as usize, BUFFERS);
}

#[test]
fn a_guest_that_breaks_a_rule_is_cut_off_and_no_one_else() {
    let mut bench = Bench::with_stacks([3]);
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("udp 192.0.2.1:8", 3);
    vm.send(&from_vm());
    // An index far ahead of what there is.
    vm.memory.set_u16(vm.tx.avail + 2, 30_000);
    bench.receive(&[to_vm(), udp(IN, CLIENT, "192.0.2.1:8")]);
    assert!(!vm.port.is_up(0));
    let failure = vm.port.failure().expect("it is named").to_string();
    assert!(failure.contains("30000"), "{failure}");
    assert_eq!(bench.drain(3).len(), 1);
    bench.receive(&[to_vm()]);
    assert!(bench.rx_dropped(DropReason::NotConnected) > 0);
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn guests_stacks_and_host_reach_each_other() {
    let mut bench = Bench::with_stacks([3]);
    let mut vm = Vm::attach(&mut bench);
    bench.claim("all 192.0.2.50", VM);
    bench.claim("udp 192.0.2.1:8", 3);
    vm.give(20);
    let there = udp(HERE, "192.0.2.1:8", "192.0.2.50:7");
    let back = udp(HERE, "192.0.2.50:7", "192.0.2.1:8");
    bench.send(3, &there);
    assert_eq!(vm.frames(), [there]);
    vm.send(&back);
    vm.send(&udp(HERE, "192.0.2.50:7", "192.0.2.1:53"));
    bench.worker.step();
    assert_eq!(bench.drain(3), [back]);
    assert_eq!(bench.drain(HOST).len(), 1);
    assert_eq!(bench.vport(VM).tx_local, 2);
    // ARP for its address is its own, and a broadcast comes as a copy.
    let who_has = arp(TO_ALL, wire::ARP_REQUEST, "192.0.2.9", "192.0.2.50");
    bench.receive(std::slice::from_ref(&who_has));
    assert_eq!(vm.frames(), [who_has]);
    bench.assert_conserved();
}

#[test]
fn limits_hold_for_guests_too() {
    let mut bench = Bench::new();
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    let meters = &bench.meters[usize::from(VM)];
    meters
        .rx
        .set("1kpps".parse().unwrap(), Duration::from_millis(10));
    meters
        .tx
        .set("1kpps".parse().unwrap(), Duration::from_millis(10));
    vm.give(100);
    let (mut received, mut sent) = (0, 0);
    for ms in 0..50 {
        bench.set_time(ms);
        vm.send(&from_vm());
        vm.send(&from_vm());
        bench.receive(&vec![to_vm(); 5]);
        received += vm.frames().len();
        sent += bench.wire().len();
    }
    assert!((59..=61).contains(&received), "{received}");
    assert!((59..=61).contains(&sent), "{sent}");
    bench.assert_conserved();
}

#[test]
fn what_is_copied_in_vain_takes_its_senders_turn() {
    // Whose turn comes after the guest's.
    const NEXT: u16 = VM + 1;
    let mut bench = Bench::with_stacks([NEXT]);
    let mut vm = Vm::attach(&mut bench);
    bench.claim("udp 192.0.2.1:7", VM);
    bench.claim("udp 192.0.2.1:8", NEXT);
    for _ in 0..40 {
        vm.send(&vec![0; 20_000]);
    }
    vm.send(&from_vm());
    let other = udp(OUT, "192.0.2.1:8", CLIENT);
    assert!(bench.try_stage(NEXT, &other));
    bench.ring(NEXT);
    while bench.vport(VM).tx_packets < 41 {
        bench.worker.step();
    }
    assert_eq!(bench.wire(), [other, from_vm()]);
    assert_eq!(bench.tx_dropped(VM, DropReason::TxBounds), 40);
    bench.assert_conserved();
}
