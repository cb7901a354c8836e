//! Queues that are not what they should be, and indexes into them.

use vhost_port::{Direction, QueueSetup, Violation, feature};

use crate::mock::{BUFFERS, Driver, END, Guest, NEXT, USER};
use crate::{BOTH, MODERN, PACKED, Rig, rig, setup};

#[test]
fn queue_sizes() {
    let guest = Guest::new();
    let with = |features, size| {
        let driver = Driver::new(&guest, 0, 16, features, 0);
        setup(
            &guest,
            features,
            QueueSetup {
                size,
                ..driver.setup()
            },
        )
    };
    for size in [1, 2, 256, 1024, 32768] {
        assert!(with(MODERN, size).is_ok(), "{size}");
    }
    for size in [1, 3, 257, 32768] {
        assert!(with(PACKED, size).is_ok(), "{size}");
    }
    for (features, size) in [
        (MODERN, 0),
        (MODERN, 3),
        (MODERN, 65536),
        (PACKED, 0),
        (PACKED, 32769),
    ] {
        let violation = with(features, size).unwrap_err();
        assert!(
            matches!(violation, Violation::QueueSize { .. }),
            "{size}: {violation}"
        );
    }
}

#[test]
fn rings_outside_the_memory_or_misaligned() {
    let guest = Guest::new();
    for features in BOTH {
        let features = features | feature::EVENT_IDX;
        let driver = Driver::new(&guest, 0, 16, features, 0);
        let end = USER + END;
        let mut outside = vec![
            QueueSetup {
                desc: end - 240,
                ..driver.setup()
            },
            QueueSetup {
                desc: 0,
                ..driver.setup()
            },
            QueueSetup {
                desc: u64::MAX - 15,
                ..driver.setup()
            },
            QueueSetup {
                avail: end,
                ..driver.setup()
            },
            QueueSetup {
                used: end,
                ..driver.setup()
            },
        ];
        if features & feature::RING_PACKED == 0 {
            // One event index too long.
            outside.push(QueueSetup {
                avail: end - 36,
                ..driver.setup()
            });
            outside.push(QueueSetup {
                used: end - 132,
                ..driver.setup()
            });
        }
        for queue in outside {
            let violation = setup(&guest, features, queue).unwrap_err();
            assert!(
                matches!(violation, Violation::RingAddress { .. }),
                "{violation}"
            );
        }
        let misaligned = [
            QueueSetup {
                desc: USER + BUFFERS + 8,
                ..driver.setup()
            },
            QueueSetup {
                avail: USER + BUFFERS + 1,
                ..driver.setup()
            },
            QueueSetup {
                used: USER + BUFFERS + 2,
                ..driver.setup()
            },
        ];
        for queue in misaligned {
            let violation = setup(&guest, features, queue).unwrap_err();
            assert!(
                matches!(violation, Violation::RingAlignment { .. }),
                "{violation}"
            );
        }
    }
}

#[test]
fn notifications_go_to_eventfds_only() {
    let guest = Guest::new();
    let driver = Driver::new(&guest, 0, 16, MODERN, 0);
    let (_read, write) = rustix::pipe::pipe().unwrap();
    let queue = QueueSetup {
        call: Some(write),
        ..driver.setup()
    };
    let violation = setup(&guest, MODERN, queue).unwrap_err();
    let queue = Direction::Receive;
    assert_eq!(violation, Violation::NotEventfd { queue });
}

#[test]
fn available_index_too_far_ahead() {
    let mut rig = rig(MODERN);
    rig.guest.set_u16(rig.tx.avail + 2, 17);
    let violation = rig.send().unwrap_err();
    let (queue, index, seen, size) = (Direction::Send, 17, 0, 16);
    assert_eq!(
        violation,
        Violation::AvailableIndex {
            queue,
            index,
            seen,
            size
        }
    );
}

/// CVE-2020-10723: an index was cut to 16 bits before it was checked. Here: packed queues' starting index, and
/// indexes of descriptors.
#[test]
fn cve_2020_10723_index_out_of_the_ring() {
    let guest = Guest::new();
    let driver = Driver::new(&guest, 0, 16, PACKED, 0);
    for base in [16, 0x7fff, 0x8010] {
        let violation = setup(
            &guest,
            PACKED,
            QueueSetup {
                base,
                ..driver.setup()
            },
        )
        .unwrap_err();
        assert!(
            matches!(violation, Violation::DescriptorIndex { .. }),
            "{violation}"
        );
    }
    for head in [16, 0x8000, 0xffff] {
        let mut rig = rig(MODERN);
        rig.tx.offer(&rig.guest, head);
        let violation = rig.send().unwrap_err();
        let (queue, index, size) = (Direction::Send, head, 16);
        assert_eq!(violation, Violation::DescriptorIndex { queue, index, size });
    }
}

#[test]
fn next_descriptor_out_of_the_table() {
    let mut rig = rig(MODERN);
    let Rig { guest, tx, .. } = &mut rig;
    tx.write_desc(guest, tx.desc, 0, (BUFFERS, 12), (NEXT, 16));
    tx.offer(guest, 0);
    let violation = rig.send().unwrap_err();
    let (queue, index, size) = (Direction::Send, 16, 16);
    assert_eq!(violation, Violation::DescriptorIndex { queue, index, size });
}
