//! When the driver is notified, and that it is asked not to notify us.

mod mock;

use mock::{BUFFERS, Driver, Guest, Part, frame, pair, pattern};
use rustix::fs::{OFlags, fcntl_setfl};
use vhost_port::{Pair, feature};

const MODERN: u64 = feature::VERSION_1 | feature::MRG_RXBUF;
const PACKED: u64 = MODERN | feature::RING_PACKED;

fn offer(guest: &Guest, rx: &mut Driver, count: u64) {
    for i in 0..count {
        let part = Part {
            addr: BUFFERS + 4096 * i,
            len: 2048,
            write: true,
        };
        rx.add(guest, &[part], None).unwrap();
    }
}

fn receive(pair: &mut Pair, count: usize) {
    let bytes = pattern(0, 60);
    let frames = std::iter::repeat_n(frame(&bytes), count);
    assert_eq!(pair.receive(frames).unwrap().delivered, count);
}

#[test]
fn once_for_a_burst_unless_the_driver_says_no() {
    for features in [MODERN, PACKED] {
        let guest = Guest::new();
        let mut rx = Driver::new(&guest, 0, 64, features, 0);
        let mut pair = pair(&guest, features, Some(&rx), None);
        // Once at the start.
        assert_eq!(rx.calls(), 1);
        offer(&guest, &mut rx, 60);
        receive(&mut pair, 10);
        assert_eq!(rx.calls(), 1);
        receive(&mut pair, 0);
        assert_eq!(rx.calls(), 0);
        rx.mute(&guest);
        receive(&mut pair, 10);
        assert_eq!(rx.calls(), 0);
    }
}

/// A burst that passes the place that the driver named, and only that one, wherever in the ring.
#[test]
fn event_index() {
    for features in [MODERN | feature::EVENT_IDX, PACKED | feature::EVENT_IDX] {
        for start in [0u16, 65530, 30] {
            for size in [32, 64] {
                let guest = Guest::new();
                let mut rx = Driver::new(&guest, 0, size, features, start);
                let mut pair = pair(&guest, features, Some(&rx), None);
                rx.calls();
                for _ in 0..50 {
                    offer(&guest, &mut rx, 12);
                    // The fifth from now.
                    rx.wake_at(&guest, 4);
                    receive(&mut pair, 4);
                    assert_eq!(rx.calls(), 0);
                    receive(&mut pair, 1);
                    assert_eq!(rx.calls(), 1);
                    receive(&mut pair, 3);
                    assert_eq!(rx.calls(), 0);
                    while rx.used(&guest).is_some() {}
                    // The last of a burst.
                    rx.wake_at(&guest, 3);
                    receive(&mut pair, 4);
                    assert_eq!(rx.calls(), 1);
                    while rx.used(&guest).is_some() {}
                }
            }
        }
    }
}

#[test]
fn the_driver_need_not_kick() {
    let guest = Guest::new();
    let rx = Driver::new(&guest, 0, 16, MODERN, 7);
    let _pair = pair(&guest, MODERN, Some(&rx), None);
    assert_eq!(guest.u16(rx.used), 1);
    let features = MODERN | feature::EVENT_IDX;
    let rx = Driver::new(&guest, 0, 16, features, 7);
    let _pair = pair(&guest, features, Some(&rx), None);
    // Section 2.7.10: flags 0, and the event that is farthest.
    assert_eq!(
        (guest.u16(rx.used), guest.u16(rx.used + 4 + 8 * 16)),
        (0, 6)
    );
    let rx = Driver::new(&guest, 0, 16, PACKED, 0);
    let _pair = pair(&guest, PACKED, Some(&rx), None);
    assert_eq!(guest.u16(rx.used + 2), 1);
}

#[test]
fn without_an_eventfd_nobody_is_notified() {
    let guest = Guest::new();
    let mut rx = Driver::new(&guest, 0, 16, MODERN, 0);
    let mut pair = vhost_port::Pair::new(vhost_port::PairSetup {
        memory: guest.map(),
        features: MODERN,
        rx: Some(vhost_port::QueueSetup {
            call: None,
            ..rx.setup()
        }),
        tx: None,
    })
    .unwrap();
    offer(&guest, &mut rx, 1);
    receive(&mut pair, 1);
    assert!(rx.used(&guest).is_some());
}

/// A counter that is full must not make us wait, whatever the peer does with the file's flags.
#[test]
fn full_eventfd() {
    let guest = Guest::new();
    let mut rx = Driver::new(&guest, 0, 16, MODERN, 0);
    let mut pair = pair(&guest, MODERN, Some(&rx), None);
    rx.calls();
    rustix::io::write(&rx.call, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    fcntl_setfl(&rx.call, OFlags::empty()).unwrap();
    for _ in 0..3 {
        offer(&guest, &mut rx, 1);
        receive(&mut pair, 1);
    }
    assert_eq!(rx.calls(), u64::MAX);
}

/// More often than the kernel keeps count of.
#[test]
fn many_notifications() {
    let guest = Guest::new();
    let mut rx = Driver::new(&guest, 0, 16, MODERN, 0);
    let mut pair = pair(&guest, MODERN, Some(&rx), None);
    rx.calls();
    for _ in 0..10_000 {
        offer(&guest, &mut rx, 1);
        receive(&mut pair, 1);
        assert_eq!(rx.calls(), 1);
        rx.used(&guest).unwrap();
    }
}

#[test]
fn bases_and_going_on_from_them() {
    for features in [MODERN, PACKED] {
        let guest = Guest::new();
        let mut rx = Driver::new(&guest, 0, 20u16.next_power_of_two(), features, 0);
        let mut first = pair(&guest, features, Some(&rx), None);
        for _ in 0..4 {
            offer(&guest, &mut rx, 20);
            receive(&mut first, 10);
            let base = first.bases().rx.unwrap();
            let next = vhost_port::PairSetup {
                memory: guest.map(),
                features,
                rx: Some(vhost_port::QueueSetup { base, ..rx.setup() }),
                tx: None,
            };
            first = vhost_port::Pair::new(next).unwrap();
            assert_eq!((first.bases().rx, first.bases().tx), (Some(base), None));
            receive(&mut first, 10);
            for _ in 0..20 {
                assert!(rx.used(&guest).is_some());
            }
            rx.calls();
        }
        // 80 buffers: two rounds and a half.
        let expected = if features == MODERN { 80 } else { 0x8010_8010 };
        assert_eq!(first.bases().rx, Some(expected));
    }
}

#[test]
fn disabled_queues() {
    for features in [MODERN, PACKED] {
        let guest = Guest::new();
        let mut rx = Driver::new(&guest, 0, 16, features, 0);
        let mut tx = Driver::new(&guest, 1, 16, features, 0);
        let mut pair = pair(&guest, features, Some(&rx), Some(&tx));
        offer(&guest, &mut rx, 2);
        tx.add(
            &guest,
            &[Part {
                addr: BUFFERS,
                len: 72,
                write: false,
            }],
            None,
        );
        pair.set_enabled(false, false);
        receive(&mut pair, 0);
        let bytes = pattern(0, 60);
        assert_eq!(
            pair.receive([frame(&bytes)].into_iter()).unwrap().taken(),
            0
        );
        // Processed and discarded.
        assert_eq!(pair.begin_send(), Ok(0));
        assert!(tx.used(&guest).is_some());
        pair.set_enabled(true, true);
        receive(&mut pair, 1);
        tx.add(
            &guest,
            &[Part {
                addr: BUFFERS,
                len: 72,
                write: false,
            }],
            None,
        );
        assert!(pair.begin_send().unwrap() > 0);
    }
}
