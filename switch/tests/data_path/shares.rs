//! Who may receive and send how much: limits, and turns.

use std::time::Duration;

use switch::verdict::DropReason;

use crate::common::frames::*;
use crate::common::{Bench, GEOMETRY, HOST};

const RING: usize = GEOMETRY.ring_size as usize;

fn set(bench: &mut Bench, slot: u16, rx: &str, tx: &str) {
    let meters = &bench.meters[usize::from(slot)];
    let burst = Duration::from_millis(10);
    meters.rx.set(rx.parse().unwrap(), burst);
    meters.tx.set(tx.parse().unwrap(), burst);
    // The worker notices when it next looks after the vport.
    bench.ring(slot);
    bench.worker.step();
}

/// A frame from port `port` with so many bytes of payload.
fn from(port: u16, payload: usize) -> Vec<u8> {
    udp_with(OUT, &format!("192.0.2.1:{port}"), CLIENT, &vec![7; payload])
}

/// Fills a vport's tx ring as far as its buffers go; tells how many packets went in.
fn fill(bench: &mut Bench, slot: u16, frame: &[u8]) -> usize {
    let mut count = 0;
    while count < RING && bench.try_stage(slot, frame) {
        count += 1;
    }
    bench.ring(slot);
    count
}

#[test]
fn what_is_beyond_a_limit_is_not_received() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    set(&mut bench, 3, "1kpps", "none");
    // 20 each ms: 3 ms of it are a burst and three, and the other stack does not notice.
    let mut received = 0;
    for ms in 0..50 {
        bench.set_time(ms);
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 20]);
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:8"); 20]);
        received += bench.drain(3).len();
        assert_eq!(bench.drain(4).len(), 20);
    }
    assert!((59..=61).contains(&received), "{received}");
    let dropped = bench.vport(3).rx_dropped.0[DropReason::RateLimit.index()];
    assert_eq!(received as u64 + dropped, 50 * 20);
    bench.assert_conserved();
    // And without a limit all of it comes again.
    set(&mut bench, 3, "none", "none");
    bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 20]);
    assert_eq!(bench.drain(3).len(), 20);
}

#[test]
fn a_limit_counts_bits_too() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let frame = udp_with(IN, CLIENT, "192.0.2.1:7", &[0; 958]);
    assert_eq!(frame.len(), 1000);
    set(&mut bench, 3, "8Mbps", "none");
    let mut received = 0;
    for ms in 0..50 {
        bench.set_time(ms);
        bench.receive(&vec![frame.clone(); 10]);
        received += bench.drain(3).len();
    }
    assert!((59..=61).contains(&received), "{received}");
    bench.assert_conserved();
}

#[test]
fn the_host_may_be_limited_and_stacks_do_not_notice() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    set(&mut bench, HOST, "1kpps", "none");
    for ms in 0..10 {
        bench.set_time(ms);
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:9"); 20]);
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 20]);
        bench.drain(HOST);
        assert_eq!(bench.drain(3).len(), 20);
    }
    let host = bench.vport(HOST);
    assert!((19..=21).contains(&host.rx_packets), "{}", host.rx_packets);
    bench.assert_conserved();
}

#[test]
fn what_is_beyond_a_limit_waits_to_be_sent() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    set(&mut bench, 3, "none", "1kpps");
    let mut offered = 0;
    for ms in 0..50 {
        bench.set_time(ms);
        offered += fill(&mut bench, 3, &from(7, 10));
        bench.worker.step();
    }
    let sent = bench.wire().len();
    assert!((59..=61).contains(&sent), "{sent}");
    assert!(offered > sent);
    assert_eq!(bench.vport(3).tx_dropped.sum(), 0);
    // None of it is lost.
    for ms in 50..200 {
        bench.set_time(ms);
        bench.worker.step();
    }
    assert_eq!(bench.wire().len(), offered - sent);
    bench.assert_conserved();
}

#[test]
fn a_slow_nic_is_shared_by_bytes() {
    let mut bench = Bench::with_stacks([2, 3, 4]);
    let sizes = [(2u16, 658usize), (3, 958), (4, 1400)];
    for (slot, _) in sizes {
        bench.claim(&format!("udp 192.0.2.1:{slot}"), slot);
    }
    bench.world.borrow_mut().tx_room = 0;
    let mut on_wire = [0usize; 3];
    for _ in 0..9000 {
        for (slot, payload) in sizes {
            fill(&mut bench, slot, &from(slot, payload));
        }
        // Fewer than a turn is for, so that all have something to send all the time.
        bench.world.borrow_mut().tx_room = 3;
        bench.worker.step();
        for frame in bench.wire() {
            let port = usize::from(u16::from_be_bytes([frame[34], frame[35]]));
            // As QUANTUM has it: preamble, FCS and gap included.
            on_wire[port - 2] += frame.len() + 24;
        }
    }
    let [least, .., most] = {
        let mut sorted = on_wire;
        sorted.sort_unstable();
        sorted
    };
    assert!(most * 100 <= least * 105, "{on_wire:?}");
    bench.assert_conserved();
}

#[test]
fn a_flood_takes_no_more_than_its_share_of_a_slow_nic() {
    let mut bench = Bench::with_stacks([2, 3, 4, 5]);
    for slot in 2..6 {
        bench.claim(&format!("udp 192.0.2.1:{slot}"), slot);
    }
    let mut sent = [0u64; 6];
    bench.world.borrow_mut().tx_room = 0;
    for _ in 0..1000 {
        // Three send two packets each, of twelve that the NIC takes; one sends all it can.
        fill(&mut bench, 2, &from(2, 18));
        for slot in 3..6 {
            for _ in 0..2 {
                sent[usize::from(slot)] += u64::from(bench.try_stage(slot, &from(slot, 18)));
            }
            bench.ring(slot);
        }
        bench.world.borrow_mut().tx_room = 12;
        bench.worker.step();
    }
    for slot in 3..6 {
        let vport = bench.vport(slot);
        let behind = sent[usize::from(slot)] - vport.tx_wire;
        assert_eq!(sent[usize::from(slot)], 2000);
        assert!(behind < 64, "vport {slot} is {behind} behind");
        assert_eq!(vport.tx_full, 0);
    }
    bench.assert_conserved();
}

#[test]
fn who_sends_little_need_not_wait_for_who_waits_already() {
    let mut bench = Bench::with_stacks([2, 3]);
    for slot in [2, 3] {
        bench.claim(&format!("udp 192.0.2.1:{slot}"), slot);
    }
    set(&mut bench, 2, "none", "1kpps");
    // More than its burst of ten.
    for _ in 0..2 {
        fill(&mut bench, 2, &from(2, 18));
        bench.worker.step();
    }
    assert!((8..16).contains(&bench.wire().len()));
    // Now it may send two of those that wait since.
    bench.set_time(2);
    fill(&mut bench, 3, &from(3, 18));
    bench.worker.step();
    let wire = bench.wire();
    let (new, old) = wire.split_at(wire.len() - 2);
    assert_eq!(old, [from(2, 18), from(2, 18)]);
    assert!(!new.is_empty() && new.iter().all(|frame| *frame == from(3, 18)));
    bench.assert_conserved();
}

#[test]
fn who_waits_has_a_turn_however_many_come_new() {
    let mut bench = Bench::with_stacks([2, 3, 4, 5]);
    for slot in 2..6 {
        bench.claim(&format!("udp 192.0.2.1:{slot}"), slot);
    }
    // It has more than the NIC takes at once, and the others come anew each time.
    for _ in 0..1000 {
        fill(&mut bench, 2, &from(2, 18));
        for slot in 3..6 {
            bench.try_stage(slot, &from(slot, 18));
            bench.ring(slot);
        }
        bench.world.borrow_mut().tx_room = 3;
        bench.worker.step();
    }
    for slot in 2..6 {
        let sent = bench.vport(slot).tx_wire;
        assert!(sent > 500, "vport {slot} has sent {sent}");
    }
    bench.assert_conserved();
}

#[test]
fn what_waits_for_a_nic_is_not_the_next_stacks() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.world.borrow_mut().tx_room = 0;
    fill(&mut bench, 3, &from(7, 18));
    bench.worker.step();
    assert!(bench.vport(3).tx_waiting > 0);
    bench.detach(3);
    bench.attach(3, 2);
    bench.world.borrow_mut().tx_room = usize::MAX / 2;
    bench.worker.step();
    assert!(!bench.wire().is_empty());
    let vport = bench.vport(3);
    assert_eq!(
        (vport.tx_packets, vport.tx_wire, vport.tx_waiting),
        (0, 0, 0)
    );
    bench.assert_conserved();
}

#[test]
fn garbage_in_a_free_ring_takes_no_longer_than_what_is_held() {
    let mut bench = Bench::with_stacks([3]);
    let garbage = vec![5000; GEOMETRY.free_size as usize];
    let held = bench
        .count()
        .vports
        .iter()
        .find(|(at, ..)| *at == 3)
        .unwrap()
        .2;
    let most = u64::from(held.max(64));
    bench.rings(3).free.push(&garbage).unwrap();
    bench.ring(3);
    bench.worker.step();
    let bad = bench.vport(3).bad_entries;
    assert!((1..=most).contains(&bad), "{bad} of at most {most}");
    bench.assert_conserved();
}
