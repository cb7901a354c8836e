//! The data path, on a mock NIC and pool: verdicts, conservation, and stacks that misbehave.

mod common;

use common::*;
use port_api::Desc;
use proptest::prelude::*;
use switch::command::{Command, Event};
use switch::verdict::{DropReason, HostReason};
use wire::MacAddr;

const CLIENT: &str = "192.0.2.9:5000";

#[test]
fn a_claimed_tuple_goes_to_its_stack_and_all_else_to_the_host() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    bench.claim("udp 192.0.2.1:7", 3);
    let claimed = udp(CLIENT, "192.0.2.1:7");
    bench.receive(&[
        claimed.clone(),
        udp(CLIENT, "192.0.2.1:8"),
        udp(CLIENT, "192.0.2.2:7"),
        udp("[2001:db8::9]:5000", "[2001:db8::1]:7"),
        frame(
            CLIENT_MAC,
            MacAddr([2, 0, 0, 0, 0, 2]),
            CLIENT,
            "192.0.2.1:7",
        ),
    ]);
    assert_eq!(bench.drain(&mut stack), [claimed]);
    let counts = bench.count();
    assert_eq!((counts.nics[0].to_vports, counts.nics[0].to_host), (1, 4));
    let reasons = counts.nics[0].host_reasons;
    assert_eq!(reasons[HostReason::Unclaimed as usize], 3);
    assert_eq!(reasons[HostReason::OtherMac as usize], 1);
    bench.assert_conserved();
}

#[test]
fn link_local_claims_are_of_one_port() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    bench.claim("udp [fe80::1]:7", 3);
    bench.receive(&[udp("[fe80::9]:5000", "[fe80::1]:7")]);
    assert_eq!(bench.drain(&mut stack).len(), 1);
}

#[test]
fn a_malformed_frame_is_dropped_by_name() {
    let mut bench = Bench::new();
    let mut frame = udp(CLIENT, "192.0.2.1:7");
    frame[24] ^= 1;
    bench.receive(&[frame, vec![0; 5]]);
    let dropped = bench.count().nics[0].dropped;
    assert_eq!(dropped.sum(), 2);
    let checksum = DropReason::from(wire::Malformed::Ipv4Checksum);
    assert_eq!(dropped.0[checksum.index()], 1);
    bench.assert_conserved();
}

#[test]
fn a_released_claim_ends_at_once() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    let local = bench.claim("udp 192.0.2.1:7", 3);
    bench.obey(Command::Release(local));
    bench.receive(&[udp(CLIENT, "192.0.2.1:7")]);
    assert!(bench.drain(&mut stack).is_empty());
    assert_eq!(bench.count().nics[0].to_host, 1);
}

#[test]
fn a_stack_sends_from_its_claims_only() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    bench.attach(4);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    let good = udp_out("192.0.2.1:7", CLIENT);
    bench.send(&mut stack, &good);
    assert_eq!(bench.world.borrow().wire, std::slice::from_ref(&good));
    for (frame, reason) in [
        (udp_out("192.0.2.1:8", CLIENT), DropReason::TxForeign),
        (udp_out("192.0.2.1:9", CLIENT), DropReason::TxNotClaimed),
        (udp_out("192.0.2.2:7", CLIENT), DropReason::TxNotClaimed),
        (
            frame(CLIENT_MAC, MAC, "192.0.2.1:7", CLIENT),
            DropReason::TxSourceMac,
        ),
        (
            udp_out("192.0.2.1:7", "224.0.0.1:5"),
            DropReason::TxMulticast,
        ),
        (good[..40].to_vec(), wire::Malformed::Ipv4TotalLength.into()),
    ] {
        let before = tx_dropped(&mut bench, 3, reason);
        bench.send(&mut stack, &frame);
        assert_eq!(tx_dropped(&mut bench, 3, reason), before + 1, "{reason:?}");
    }
    assert_eq!(
        bench.world.borrow().wire.len(),
        1,
        "nothing else on the wire"
    );
    bench.assert_conserved();
}

#[test]
fn a_stack_asks_for_neighbours_in_its_own_name_and_gets_one_answer() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    let mut other = bench.attach(4);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    let arp = |op, sender_ip: &str, target_ip: &str, to: MacAddr, from: MacAddr| {
        let arp = wire::Arp {
            op,
            sender_mac: from,
            sender_ip: sender_ip.parse().unwrap(),
            target_mac: to,
            target_ip: target_ip.parse().unwrap(),
        };
        let mut buf = [0; 64];
        let len = arp
            .write(wire::emit::Eth { dst: to, src: from }, &mut buf)
            .unwrap();
        buf[..len].to_vec()
    };
    let reply = arp(wire::ARP_REPLY, "192.0.2.9", "192.0.2.1", MAC, CLIENT_MAC);
    bench.receive(std::slice::from_ref(&reply));
    assert!(bench.drain(&mut stack).is_empty(), "it has not asked");

    bench.send(
        &mut stack,
        &arp(
            wire::ARP_REQUEST,
            "192.0.2.1",
            "192.0.2.9",
            MacAddr::BROADCAST,
            MAC,
        ),
    );
    assert_eq!(bench.world.borrow().wire.len(), 1);
    bench.receive(&[reply.clone(), reply.clone()]);
    assert_eq!(bench.drain(&mut stack), [reply]);
    assert!(
        bench.drain(&mut other).is_empty(),
        "the other has not asked"
    );
    let counts = bench.count();
    assert_eq!((counts.nics[0].to_host, counts.nics[0].copies), (3, 1));

    for (op, sender, target) in [
        (wire::ARP_REPLY, "192.0.2.1", "192.0.2.9"),
        (wire::ARP_REQUEST, "192.0.2.2", "192.0.2.9"),
        (wire::ARP_REQUEST, "192.0.2.1", "192.0.2.1"),
    ] {
        bench.send(&mut stack, &arp(op, sender, target, CLIENT_MAC, MAC));
    }
    assert_eq!(tx_dropped(&mut bench, 3, DropReason::TxArp), 3);
    assert_eq!(bench.world.borrow().wire.len(), 1);
    bench.assert_conserved();
}

#[test]
fn a_full_ring_costs_its_own_stack_only() {
    let mut bench = Bench::new();
    let mut slow = bench.attach(3);
    let mut quick = bench.attach(4);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    for _ in 0..8 {
        bench.receive(&vec![udp(CLIENT, "192.0.2.1:7"); 8]);
        bench.receive(&vec![udp(CLIENT, "192.0.2.1:8"); 8]);
        assert_eq!(bench.drain(&mut quick).len(), 8);
    }
    assert_eq!(bench.drain(&mut slow).len(), 32);
    let counts = bench.count();
    assert_eq!(counts.nics[0].dropped.0[DropReason::RingFull.index()], 32);
    let dropped = |slot| {
        let vport = counts.vports.iter().find(|(at, ..)| *at == slot).unwrap();
        vport.1.rx_dropped.0[DropReason::RingFull.index()]
    };
    assert_eq!((dropped(3), dropped(4)), (32, 0));
    bench.assert_conserved();
}

#[test]
fn a_hoarder_starves_only_itself() {
    let mut bench = Bench::new();
    let mut hoarder = bench.attach(3);
    bench.claim("udp 192.0.2.1:7", 3);
    for _ in 0..20 {
        bench.receive(&vec![udp(CLIENT, "192.0.2.1:7"); 8]);
        hoarder.rings.rx.refresh().unwrap();
        while hoarder.rings.rx.take().is_some() {}
        hoarder.rings.rx.release();
    }
    let counts = bench.count();
    let vport = counts.vports.iter().find(|(at, ..)| *at == 3).unwrap();
    assert_eq!(vport.2, LIMITS.quota);
    assert_eq!(
        vport.1.rx_packets + u64::from(LIMITS.fill_level),
        u64::from(LIMITS.quota)
    );
    assert!(vport.1.rx_dropped.0[DropReason::Quota.index()] > 0);
    bench.assert_conserved();
}

#[test]
fn foreign_doubled_and_absurd_indexes_are_ignored() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    let mut victim = bench.attach(4);
    bench.claim("udp 192.0.2.1:8", 4);
    bench.receive(&[udp(CLIENT, "192.0.2.1:8")]);
    victim.rings.rx.refresh().unwrap();
    let foreign = Desc::unpack(victim.rings.rx.take().unwrap()).unwrap();
    stack.rings.fill.refresh().unwrap();
    let own = stack.rings.fill.take().unwrap();
    let indexes = [foreign.index, own, own, u32::MAX, 5_000];
    stack.rings.free.push(&indexes).unwrap();
    bench.doorbells.ring(3);
    bench.worker.step();
    bench.send_desc(&mut stack, foreign);
    bench.send_desc(
        &mut stack,
        Desc {
            index: own,
            ..foreign
        },
    );
    let counts = bench.count();
    let vport = counts.vports.iter().find(|(at, ..)| *at == 3).unwrap();
    assert_eq!(vport.1.bad_entries, 4 + 2);
    assert!(bench.world.borrow().wire.is_empty());
    bench.assert_conserved();
}

#[test]
fn a_frame_that_leaves_its_buffer_is_dropped() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    for (offset, len) in [(4000, 60), (2100, 200), (0, 2000)] {
        stack.rings.fill.refresh().unwrap();
        let index = stack.rings.fill.take().unwrap();
        bench.send_desc(
            &mut stack,
            Desc {
                index,
                offset,
                len,
                port: 0,
            },
        );
    }
    assert_eq!(tx_dropped(&mut bench, 3, DropReason::TxBounds), 2);
    bench.assert_conserved();
}

#[test]
fn impossible_cursors_shut_the_vport_and_nothing_else() {
    let mut bench = Bench::new();
    bench.attach(3);
    let mut other = bench.attach(4);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    // A second "stack" on the same rings that starts over has a cursor from the past.
    let mut liar = bench.region.stack_rings(3, 0);
    bench.receive(&vec![udp(CLIENT, "192.0.2.1:7"); 3]);
    liar.rx.refresh().unwrap();
    liar.rx.take();
    liar.rx.take();
    liar.rx.release();
    bench.receive(&[udp(CLIENT, "192.0.2.1:7")]);
    let mut older = bench.region.stack_rings(3, 0);
    older.rx.refresh().unwrap();
    older.rx.take();
    older.rx.release();
    bench.receive(&[udp(CLIENT, "192.0.2.1:7"), udp(CLIENT, "192.0.2.1:8")]);
    assert_eq!(bench.events.try_recv(), Ok(Event::Corrupt(3)));
    let counts = bench.count();
    assert_eq!(counts.nics[0].dropped.0[DropReason::VportShut.index()], 1);
    assert_eq!(bench.drain(&mut other).len(), 1);
    bench.assert_conserved();
}

#[test]
fn a_dead_stacks_buffers_come_back_and_not_to_its_successor() {
    let mut bench = Bench::new();
    let before = bench.world.borrow().available();
    let mut stack = bench.attach(3);
    let local = bench.claim("udp 192.0.2.1:7", 3);
    bench.receive(&vec![udp(CLIENT, "192.0.2.1:7"); 20]);
    stack.rings.rx.refresh().unwrap();
    let stale = Desc::unpack(stack.rings.rx.take().unwrap()).unwrap();
    bench.obey(Command::Release(local));
    bench.obey(Command::Remove {
        slot: 3,
        reclaim: true,
    });
    assert_eq!(bench.world.borrow().available(), before);

    let mut successor = bench.attach_as(3, 2);
    assert!(bench.drain(&mut successor).is_empty());
    bench.claim("udp 192.0.2.1:7", 3);
    bench.send_desc(&mut successor, stale);
    assert!(bench.world.borrow().wire.is_empty());
    bench.assert_conserved();
}

#[test]
fn what_the_nic_does_not_take_is_counted_with_its_sender() {
    let mut bench = Bench::new();
    let mut stack = bench.attach(3);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.world.borrow_mut().tx_room = 1;
    bench.send(&mut stack, &udp_out("192.0.2.1:7", CLIENT));
    bench.send(&mut stack, &udp_out("192.0.2.1:7", CLIENT));
    let counts = bench.count();
    let vport = counts.vports.iter().find(|(at, ..)| *at == 3).unwrap();
    assert_eq!((vport.1.tx_wire, vport.1.tx_full), (1, 1));
    assert_eq!((counts.nics[0].tx_packets, counts.nics[0].tx_full), (1, 1));
    bench.assert_conserved();
}

proptest! {
    /// Whatever comes from the wire, and whatever a stack writes into its rings.
    #[test]
    fn anything_is_survived_and_conserved(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..30),
        descs in prop::collection::vec(any::<u64>(), 0..30),
        frees in prop::collection::vec(0u32..1100, 0..60),
    ) {
        let mut bench = Bench::new();
        let mut stack = bench.attach(3);
        bench.claim("udp 192.0.2.1:7", 3);
        bench.receive(&frames);
        for _ in 0..3 {
            bench.receive(&vec![udp(CLIENT, "192.0.2.1:7"); 5]);
            stack.rings.tx.push(&descs).unwrap();
            stack.rings.free.push(&frees).unwrap();
            bench.doorbells.ring(3);
            bench.worker.step();
        }
        prop_assert!(bench.world.borrow().wire.is_empty() || !descs.is_empty());
        bench.assert_conserved();
    }
}
