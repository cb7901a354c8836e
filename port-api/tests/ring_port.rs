//! A stack's bursts against the switch's side of the rings, with no DPDK.

use port_api::geometry::Geometry;
use port_api::{BURST, Buffers, Burst, Desc, Packet, Region, RingPort, SwitchSide};

const GEOMETRY: Geometry = Geometry {
    workers: 2,
    slots: 4,
    ring_size: 16,
    free_size: 64,
};
const SLOT: u16 = 2;

struct Pair {
    port: RingPort,
    sides: Vec<SwitchSide>,
    region: Region,
}

fn pair() -> Pair {
    let region = Region::on_heap(GEOMETRY).unwrap();
    let sides = (0..2)
        .map(|worker| SwitchSide::new(&region, SLOT, worker))
        .collect();
    let buffers = Buffers::on_heap(64, 256, 256);
    let port = RingPort::new(&region, buffers, SLOT, 0);
    Pair {
        port,
        sides,
        region,
    }
}

fn desc(index: u32, len: u16) -> u64 {
    Desc {
        index,
        offset: 128,
        len,
        port: 1,
        checksum: false,
    }
    .pack()
}

#[test]
fn packets_come_from_all_workers_and_go_back_to_theirs() {
    let Pair {
        mut port,
        mut sides,
        region,
    } = pair();
    sides[0].rx.push(&[desc(1, 60), desc(2, 61)]).unwrap();
    sides[1].rx.push(&[desc(3, 62)]).unwrap();
    let mut burst = Burst::new();
    assert!(port.poll());
    assert_eq!(port.rx_burst(&mut burst), 3);
    assert!(!port.poll());
    let lens: Vec<_> = burst
        .iter()
        .map(|packet| (packet.worker(), packet.data().len()))
        .collect();
    assert_eq!(lens, [(0, 60), (0, 61), (1, 62)]);
    assert!(burst.iter().all(|packet| packet.port() == 1));

    assert_eq!(port.in_hand(), 3);
    let mut third = Burst::new();
    third.push(burst.pop().unwrap());
    third[0].data_mut()[0] = 7;
    assert_eq!(port.tx_burst(&mut third), 1);
    assert_eq!(port.in_hand(), 2);
    port.release(&mut burst);
    assert_eq!(port.in_hand(), 0);
    let mut indexes = [0; 4];
    assert_eq!(sides[0].free.pop(&mut indexes), Ok(2));
    assert_eq!(indexes[..2], [1, 2]);
    let mut sent = [0; 4];
    assert_eq!(sides[1].tx.pop(&mut sent), Ok(1));
    assert_eq!(sent[0], desc(3, 62));
    // What is given up can wait until the switch comes by; what is to be sent can't.
    assert_eq!(region.doorbells(0).answer(0), 0);
    assert_eq!(region.doorbells(1).answer(0), 1 << SLOT);
    assert!(port.alloc().is_none());
    for worker in 0..2 {
        let rang = region.doorbells(worker).answer(0);
        assert_eq!(rang, 1 << SLOT, "no empty buffer of worker {worker}");
    }
}

#[test]
fn an_empty_buffer_can_be_filled_up_to_its_end() {
    let Pair {
        mut port,
        mut sides,
        ..
    } = pair();
    assert!(port.alloc().is_none());
    sides[1].fill.push(&[9]).unwrap();
    let mut packet = port.alloc().unwrap();
    assert_eq!((packet.capacity(), packet.data().len()), (128, 0));
    assert!(!packet.set_len(129));
    assert!(packet.set_len(128));
    packet.data_mut().fill(0xaa);
    let mut burst = Burst::new();
    burst.push(packet);
    assert_eq!(port.tx_burst(&mut burst), 1);
    let mut sent = [0];
    sides[1].tx.pop(&mut sent).unwrap();
    assert_eq!(
        Desc::unpack(sent[0]),
        Some(Desc {
            index: 9,
            offset: 128,
            len: 128,
            port: 0,
            checksum: false
        })
    );
}

#[test]
fn a_burst_takes_what_it_has_room_for_and_a_full_ring_leaves_the_rest() {
    let Pair {
        mut port,
        mut sides,
        ..
    } = pair();
    let mut burst = Burst::new();
    for round in 0..2 {
        let descs: Vec<_> = (0..16).map(|n| desc(round * 16 + n, 60)).collect();
        sides[0].rx.push(&descs).unwrap();
        assert_eq!(port.rx_burst(&mut burst), 16);
    }
    assert!(burst.len() < BURST);
    assert_eq!(port.tx_burst(&mut burst), 16);
    assert_eq!(burst.len(), 16);
    let mut sent = [0; 16];
    sides[0].tx.pop(&mut sent).unwrap();
    assert_eq!(sent[0], desc(0, 60));
    assert_eq!(port.tx_burst(&mut burst), 16);
    sides[0].tx.pop(&mut sent).unwrap();
    assert_eq!(sent[0], desc(16, 60));
}

#[test]
fn descriptors_that_leave_the_pool_are_skipped() {
    let Pair {
        mut port,
        mut sides,
        ..
    } = pair();
    let outside = Desc {
        index: 64,
        offset: 0,
        len: 60,
        port: 0,
        checksum: false,
    }
    .pack();
    let beyond = Desc {
        index: 1,
        offset: 200,
        len: 60,
        port: 0,
        checksum: false,
    }
    .pack();
    sides[0]
        .rx
        .push(&[outside, beyond, u64::MAX, desc(5, 60)])
        .unwrap();
    let mut burst = Burst::new();
    assert_eq!(port.rx_burst(&mut burst), 1);
    assert_eq!(burst[0].data().len(), 60);
}

#[test]
fn a_vport_is_open_until_the_switch_closes_it() {
    let Pair { port, region, .. } = pair();
    assert!(!port.is_open());
    region.status(SLOT).open();
    assert!(port.is_open());
    region.status(SLOT).close();
    assert!(!port.is_open());
}

#[test]
fn what_is_known_and_asked_of_checksums_passes_both_ways() {
    let Pair {
        mut port,
        mut sides,
        ..
    } = pair();
    let good = Desc {
        checksum: true,
        ..Desc::unpack(desc(3, 60)).unwrap()
    };
    sides[0].rx.push(&[desc(2, 60), good.pack()]).unwrap();
    let mut burst = Burst::new();
    assert_eq!(port.rx_burst(&mut burst), 2);
    let known: Vec<_> = burst.iter().map(Packet::checksum_is_good).collect();
    assert_eq!(known, [false, true]);
    // The switch knows nothing of what the stack has written since.
    burst[0].fill_checksum(true);
    burst[1].fill_checksum(false);
    assert_eq!(port.tx_burst(&mut burst), 2);
    let mut sent = [0; 2];
    sides[0].tx.pop(&mut sent).unwrap();
    let asked = sent.map(|raw| Desc::unpack(raw).unwrap().checksum);
    assert_eq!(asked, [true, false]);
}
