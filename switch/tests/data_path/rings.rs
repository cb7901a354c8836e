//! Rings, quotas and buffers: a stack that misbehaves harms itself.

use std::sync::atomic::Ordering;

use port_api::Desc;
use ring::ALIGN;
use switch::command::{Command, Event};
use switch::verdict::DropReason;

use crate::common::frames::*;
use crate::common::{Bench, GEOMETRY, LIMITS};

#[test]
fn a_full_ring_costs_its_own_stack_only() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    for _ in 0..8 {
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 8]);
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:8"); 8]);
        assert_eq!(bench.drain(4).len(), 8);
    }
    assert_eq!(bench.drain(3).len(), 32);
    assert_eq!(bench.rx_dropped(DropReason::RingFull), 32);
    let mut dropped = |slot| bench.vport(slot).rx_dropped.0[DropReason::RingFull.index()];
    assert_eq!((dropped(3), dropped(4)), (32, 0));
    bench.assert_conserved();
}

#[test]
fn a_hoarder_starves_only_itself() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    for _ in 0..20 {
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 8]);
        let rx = &mut bench.rings(3).rx;
        rx.refresh().unwrap();
        while rx.take().is_some() {}
        rx.release();
    }
    let counts = bench.count();
    let (_, vport, held) = counts.vports.iter().find(|(at, ..)| *at == 3).unwrap();
    assert_eq!(*held, LIMITS.quota);
    assert_eq!(
        vport.rx_packets + u64::from(LIMITS.fill_level),
        u64::from(LIMITS.quota)
    );
    assert!(vport.rx_dropped.0[DropReason::Quota.index()] > 0);
    bench.assert_conserved();
}

#[test]
fn foreign_doubled_and_absurd_entries_are_ignored() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:8", 4);
    bench.receive(&[udp(IN, CLIENT, "192.0.2.1:8")]);
    let rx = &mut bench.rings(4).rx;
    rx.refresh().unwrap();
    let foreign = Desc::unpack(rx.take().unwrap()).unwrap();
    let own = bench.take_empty(3);
    let indexes = [foreign.index, own, own, u32::MAX, 5_000];
    bench.rings(3).free.push(&indexes).unwrap();
    bench.doorbells.ring(3);
    bench.worker.step();
    bench.send_desc(3, foreign);
    // A reserved bit is set.
    let kept = bench.take_empty(3);
    let reserved = 1 << 31 | u64::from(kept);
    bench.rings(3).tx.push(&[reserved]).unwrap();
    bench.doorbells.ring(3);
    bench.worker.step();
    assert_eq!(bench.vport(3).bad_entries, 4 + 1 + 1);
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn a_frame_that_leaves_its_buffer_is_dropped() {
    let mut bench = Bench::with_stacks([3]);
    for (offset, len) in [(4000, 60), (2100, 200), (0, 2000)] {
        let desc = Desc {
            index: bench.take_empty(3),
            offset,
            len,
            port: 0,
            checksum: false,
        };
        bench.send_desc(3, desc);
    }
    assert_eq!(bench.tx_dropped(3, DropReason::TxBounds), 2);
    bench.assert_conserved();
}

#[test]
fn impossible_cursors_shut_the_vport_and_nothing_else() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    // Two that take themselves for the one stack: the second one's cursor is from the past.
    let mut liar = bench.region.stack_rings(3, 0);
    let mut older = bench.region.stack_rings(3, 0);
    bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 3]);
    older.rx.refresh().unwrap();
    older.rx.take();
    liar.rx.refresh().unwrap();
    liar.rx.take();
    liar.rx.take();
    liar.rx.release();
    // The switch looks at the cursor when the ring is full, as far as it knows.
    bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 30]);
    assert_eq!(bench.rx_dropped(DropReason::RingFull), 0);
    older.rx.release();
    bench.receive(&[
        udp(IN, CLIENT, "192.0.2.1:7"),
        udp(IN, CLIENT, "192.0.2.1:7"),
        udp(IN, CLIENT, "192.0.2.1:8"),
    ]);
    assert_eq!(bench.events.try_recv(), Ok(Event::Corrupt(3)));
    assert_eq!(bench.rx_dropped(DropReason::VportShut), 1);
    assert_eq!(bench.drain(4).len(), 1);
    bench.assert_conserved();
}

#[test]
fn each_cursor_of_the_stacks_is_checked_and_none_of_the_switchs_is_read() {
    let at = GEOMETRY.rings(3, 0);
    let stacks = [at.tx, at.free, at.fill + ALIGN, at.rx + ALIGN];
    let switchs = [at.tx + ALIGN, at.free + ALIGN, at.fill, at.rx];
    let cursors = stacks.map(|at| (at, true)).into_iter();
    for (cursor, shuts) in cursors.chain(switchs.map(|at| (at, false))) {
        let mut bench = Bench::with_stacks([3, 4]);
        bench.claim("udp 192.0.2.1:7", 3);
        bench.claim("udp 192.0.2.1:8", 4);
        let word = bench.region.word(cursor);
        word.store(1 << 31, Ordering::Relaxed);
        bench.doorbells.ring(3);
        bench.worker.step();
        // The switch looks at that of `rx` when the ring is full, as far as it knows.
        bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 33]);
        bench.receive(&[udp(IN, CLIENT, "192.0.2.1:8")]);
        let said: Vec<_> = bench.events.try_iter().collect();
        let expected = shuts.then_some(Event::Corrupt(3));
        assert!(said.into_iter().eq(expected), "at {cursor}");
        assert_eq!(bench.drain(4).len(), 1);
        bench.assert_conserved();
    }
}

#[test]
fn a_dead_stacks_buffers_come_back_and_not_to_its_successor() {
    let mut bench = Bench::new();
    let before = bench.world.borrow().available();
    bench.attach(3, 1);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    bench.receive(&vec![udp(IN, CLIENT, "192.0.2.1:7"); 20]);
    let rx = &mut bench.rings(3).rx;
    rx.refresh().unwrap();
    let stale = Desc::unpack(rx.take().unwrap()).unwrap();
    bench.release(subject, 3);
    bench.detach(3);
    assert_eq!(bench.world.borrow().available(), before);

    bench.attach(3, 2);
    assert!(bench.drain(3).is_empty());
    bench.claim("udp 192.0.2.1:7", 3);
    bench.send_desc(3, stale);
    assert!(bench.wire().is_empty());
    assert_eq!(bench.vport(3).bad_entries, 1);
    bench.assert_conserved();
}

#[test]
fn an_evicted_stack_keeps_its_buffers_until_it_lets_go() {
    let mut bench = Bench::with_stacks([3]);
    let subject = bench.claim("udp 192.0.2.1:7", 3);
    let frame = udp(IN, CLIENT, "192.0.2.1:7");
    bench.receive(&vec![frame.clone(); 5]);
    bench.release(subject, 3);
    let held = 5 + LIMITS.fill_level as usize;
    let available = bench.world.borrow().available();
    let reclaim = false;
    bench.obey(Command::Remove { slot: 3, reclaim });
    // What it rings for is not heard any more.
    let desc = Desc {
        index: bench.take_empty(3),
        offset: 128,
        len: 60,
        port: 0,
        checksum: false,
    };
    bench.send_desc(3, desc);
    assert_eq!(bench.world.borrow().available(), available);
    bench.obey(Command::Reclaim(3));
    assert_eq!(bench.world.borrow().available(), available + held);
}

#[test]
fn what_the_nic_does_not_take_is_counted_with_its_sender() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.world.borrow_mut().tx_room = 1;
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    let vport = bench.vport(3);
    assert_eq!((vport.tx_wire, vport.tx_waiting, vport.tx_full), (1, 1, 0));
    bench.assert_conserved();
    // For so long nothing is given up.
    bench.set_time(1);
    bench.worker.step();
    assert_eq!(bench.vport(3).tx_waiting, 1);
    bench.set_time(2);
    bench.worker.step();
    let vport = bench.vport(3);
    assert_eq!((vport.tx_wire, vport.tx_waiting, vport.tx_full), (1, 0, 1));
    let nic = bench.nic();
    assert_eq!((nic.tx_packets, nic.tx_full), (1, 1));
    bench.assert_conserved();
    // A NIC that has been given up gets no patience until it takes something.
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    assert_eq!(bench.vport(3).tx_full, 2);
    bench.world.borrow_mut().tx_room = 1;
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    bench.send(3, &udp(OUT, "192.0.2.1:7", CLIENT));
    let vport = bench.vport(3);
    assert_eq!((vport.tx_wire, vport.tx_waiting, vport.tx_full), (2, 1, 2));
    // What waits goes once there is room.
    bench.world.borrow_mut().tx_room = 9;
    bench.worker.step();
    assert_eq!(bench.vport(3).tx_wire, 3);
    bench.assert_conserved();
}
