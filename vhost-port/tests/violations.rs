//! What a driver must not do: each ends in its violation. Those that were a CVE of DPDK's lib/vhost have its
//! name; see the table in the crate's documentation.

mod mock;

use mock::{BUFFERS, Driver, END, Guest, INDIRECT, NEXT, Part, USER, WRITE, frame, pair, pattern};
use vhost_port::{Direction, Next, Pair, PairSetup, QueueSetup, Received, Violation, feature};

const MODERN: u64 = feature::VERSION_1 | feature::MRG_RXBUF | feature::INDIRECT_DESC;
const PACKED: u64 = MODERN | feature::RING_PACKED;
const BOTH: [u64; 2] = [MODERN, PACKED];

struct Rig {
    guest: Guest,
    rx: Driver,
    tx: Driver,
    pair: Pair,
}

fn rig(features: u64) -> Rig {
    let guest = Guest::new();
    let rx = Driver::new(&guest, 0, 16, features, 0);
    let tx = Driver::new(&guest, 1, 16, features, 0);
    let pair = pair(&guest, features, Some(&rx), Some(&tx));
    Rig {
        guest,
        rx,
        tx,
        pair,
    }
}

impl Rig {
    fn receive(&mut self, len: usize) -> Result<Received, Violation> {
        self.pair.receive([frame(&pattern(1, len))].into_iter())
    }

    fn send(&mut self) -> Result<Next, Violation> {
        self.pair.begin_send()?;
        let next = self.pair.copy_next(&mut [0; 2048])?;
        self.pair.end_send()?;
        Ok(next)
    }
}

fn setup(guest: &Guest, features: u64, rx: QueueSetup) -> Result<Pair, Violation> {
    Pair::new(PairSetup {
        memory: guest.map(),
        features,
        rx: Some(rx),
        tx: None,
    })
}

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

/// CVE-2020-10725: a descriptor whose address is not in the guest's memory crashed the back end.
#[test]
fn cve_2020_10725_addresses_outside() {
    for features in BOTH {
        for addr in [END, u64::MAX, u64::MAX - 11, 1 << 63, END - 11] {
            let mut rig = rig(features);
            rig.tx.add(
                &rig.guest,
                &[Part {
                    addr,
                    len: 100,
                    write: false,
                }],
                None,
            );
            let violation = rig.send().unwrap_err();
            let (queue, address, len) = (Direction::Send, addr, 100);
            assert_eq!(
                violation,
                Violation::BufferAddress {
                    queue,
                    address,
                    len
                }
            );
            rig.rx.add(
                &rig.guest,
                &[Part {
                    addr,
                    len: 100,
                    write: true,
                }],
                None,
            );
            let violation = rig.receive(60).unwrap_err();
            let queue = Direction::Receive;
            assert_eq!(
                violation,
                Violation::BufferAddress {
                    queue,
                    address,
                    len
                }
            );
            // The table, and what is behind its first page.
            let mut rig = self::rig(features);
            rig.tx.add_direct(&rig.guest, &[(addr, 32, INDIRECT)]);
            let violation = rig.send().unwrap_err();
            assert!(
                matches!(violation, Violation::BufferAddress { .. }),
                "{violation}"
            );
        }
    }
}

#[test]
fn loops_and_endless_chains() {
    let mut rig = rig(MODERN);
    let Rig { guest, tx, rx, .. } = &mut rig;
    for (driver, flags) in [(tx, NEXT), (rx, NEXT | WRITE)] {
        driver.write_desc(guest, driver.desc, 0, (BUFFERS, 1), (flags, 1));
        driver.write_desc(guest, driver.desc, 1, (BUFFERS, 0), (flags, 0));
        driver.offer(guest, 0);
    }
    let limit = 16;
    let queue = Direction::Send;
    assert_eq!(
        rig.send().unwrap_err(),
        Violation::ChainTooLong { queue, limit }
    );
    let queue = Direction::Receive;
    assert_eq!(
        rig.receive(60).unwrap_err(),
        Violation::ChainTooLong { queue, limit }
    );
    // All entries of a packed queue say that there is another.
    let mut rig = self::rig(PACKED);
    let Rig { guest, tx, .. } = &mut rig;
    for index in 0..16 {
        tx.write_desc(guest, tx.desc, index, (BUFFERS, 1), (NEXT | 1 << 7, 0));
    }
    let queue = Direction::Send;
    assert_eq!(
        rig.send().unwrap_err(),
        Violation::ChainTooLong { queue, limit }
    );
    // A table that leads back to its start.
    let mut rig = self::rig(MODERN);
    let Rig { guest, tx, .. } = &mut rig;
    tx.write_desc(guest, BUFFERS, 0, (BUFFERS, 1), (NEXT, 1));
    tx.write_desc(guest, BUFFERS, 1, (BUFFERS, 1), (NEXT, 0));
    tx.add_direct(guest, &[(BUFFERS, 32, INDIRECT)]);
    let limit = 2;
    assert_eq!(
        rig.send().unwrap_err(),
        Violation::ChainTooLong { queue, limit }
    );
}

#[test]
fn indirect_tables() {
    for features in BOTH {
        // Empty, with a part of an entry, longer than the queue, as long as a number can be.
        for len in [0, 8, 24, 17 * 16, u32::MAX, u32::MAX - 15] {
            let mut rig = rig(features);
            rig.tx.add_direct(&rig.guest, &[(BUFFERS, len, INDIRECT)]);
            let queue = Direction::Send;
            assert_eq!(
                rig.send().unwrap_err(),
                Violation::IndirectTable { queue, len }
            );
        }
        let without = features & !feature::INDIRECT_DESC;
        let mut rig = rig(without);
        rig.tx.add_direct(&rig.guest, &[(BUFFERS, 16, INDIRECT)]);
        let violation = rig.send().unwrap_err();
        assert!(
            matches!(violation, Violation::IndirectFlags { .. }),
            "{violation}"
        );
        // With a next one.
        let mut rig = self::rig(features);
        rig.tx
            .add_direct(&rig.guest, &[(BUFFERS, 16, INDIRECT), (BUFFERS, 16, 0)]);
        let violation = rig.send().unwrap_err();
        assert!(
            matches!(violation, Violation::IndirectFlags { .. }),
            "{violation}"
        );
    }
    // One in another.
    let mut rig = rig(MODERN);
    let Rig { guest, tx, .. } = &mut rig;
    tx.write_desc(guest, BUFFERS, 0, (BUFFERS, 16), (INDIRECT, 0));
    tx.add_direct(guest, &[(BUFFERS, 16, INDIRECT)]);
    let violation = rig.send().unwrap_err();
    assert!(
        matches!(violation, Violation::IndirectFlags { .. }),
        "{violation}"
    );
    // An entry that the table does not have.
    let mut rig = self::rig(MODERN);
    let Rig { guest, tx, .. } = &mut rig;
    tx.write_desc(guest, BUFFERS, 0, (BUFFERS, 16), (NEXT, 1));
    tx.add_direct(guest, &[(BUFFERS, 16, INDIRECT)]);
    let (queue, index, size) = (Direction::Send, 1, 1);
    assert_eq!(
        rig.send().unwrap_err(),
        Violation::DescriptorIndex { queue, index, size }
    );
}

/// A split queue's chain may end in a table (virtio 1.2, section 2.7.5.3.2).
#[test]
fn chain_that_ends_in_a_table() {
    let mut rig = rig(MODERN);
    let Rig { guest, tx, .. } = &mut rig;
    let bytes = pattern(5, 100);
    guest.write(BUFFERS + 0x1000, &bytes);
    tx.write_desc(guest, BUFFERS, 0, (BUFFERS + 0x1000, 100), (0, 0));
    let id = tx.add_direct(guest, &[(BUFFERS + 0x2000, 12, 0), (BUFFERS, 16, INDIRECT)]);
    assert!(id.is_some());
    let mut to = [0; 100];
    rig.pair.begin_send().unwrap();
    assert!(matches!(rig.pair.copy_next(&mut to), Ok(Next::Copied(sent)) if sent.len == 100));
    assert_eq!(to[..], bytes);
}

#[test]
fn buffers_for_the_other_direction() {
    for features in BOTH {
        let mut rig = rig(features);
        rig.tx.add(
            &rig.guest,
            &[Part {
                addr: BUFFERS,
                len: 100,
                write: true,
            }],
            None,
        );
        rig.rx.add(
            &rig.guest,
            &[Part {
                addr: BUFFERS,
                len: 100,
                write: false,
            }],
            None,
        );
        let violation = rig.send().unwrap_err();
        assert!(matches!(
            violation,
            Violation::WrongWay {
                queue: Direction::Send,
                ..
            }
        ));
        let violation = rig.receive(60).unwrap_err();
        assert!(matches!(
            violation,
            Violation::WrongWay {
                queue: Direction::Receive,
                ..
            }
        ));
    }
}

/// CVE-2022-2132: a header over several descriptors made the back end read the wrong ones, and a chain of
/// nothing made it loop. Here the first is a packet like any other, and the second a runt.
#[test]
fn cve_2022_2132_header_in_pieces() {
    for features in BOTH {
        let mut rig = rig(features);
        let header = (0..12).map(|i| Part {
            addr: BUFFERS + i,
            len: 1,
            write: false,
        });
        let mut parts: Vec<_> = header.collect();
        parts.push(Part {
            addr: BUFFERS + 12,
            len: 60,
            write: false,
        });
        let bytes = pattern(9, 60);
        rig.guest.write(BUFFERS + 12, &bytes);
        rig.tx.add(&rig.guest, &parts, None);
        let mut to = [0; 60];
        rig.pair.begin_send().unwrap();
        assert!(matches!(rig.pair.copy_next(&mut to), Ok(Next::Copied(sent)) if sent.len == 60));
        assert_eq!(to[..], bytes);
        rig.pair.end_send().unwrap();
        // And to write to.
        for part in &mut parts {
            part.write = true;
            part.addr += 0x1000;
        }
        rig.rx.add(&rig.guest, &parts, None);
        assert_eq!(rig.receive(60).unwrap().delivered, 1);
        assert_eq!(rig.guest.read(BUFFERS + 0x100c, 60), pattern(1, 60));
        assert_eq!(
            rig.guest.read(BUFFERS + 0x1000, 12),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        );
    }
}

#[test]
fn cve_2022_2132_nothing_but_empty_descriptors() {
    for features in BOTH {
        let mut rig = rig(features);
        let empty = |write| {
            [Part {
                addr: BUFFERS,
                len: 0,
                write,
            }; 4]
        };
        rig.tx.add(&rig.guest, &empty(false), None);
        let (queue, len, header) = (Direction::Send, 0, 12);
        assert_eq!(
            rig.send().unwrap_err(),
            Violation::Runt { queue, len, header }
        );
        for _ in 0..4 {
            rig.rx.add(&rig.guest, &empty(true), None);
        }
        let queue = Direction::Receive;
        assert_eq!(
            rig.receive(60).unwrap_err(),
            Violation::Runt { queue, len, header }
        );
    }
}

/// The batch of October 2026: receive buffers shorter than the header.
#[test]
fn runts() {
    for features in BOTH {
        for len in [1, 11] {
            let mut rig = rig(features);
            let header = 12;
            rig.rx.add(
                &rig.guest,
                &[Part {
                    addr: BUFFERS,
                    len,
                    write: true,
                }],
                None,
            );
            rig.rx.add(
                &rig.guest,
                &[Part {
                    addr: BUFFERS,
                    len: 2048,
                    write: true,
                }],
                None,
            );
            let queue = Direction::Receive;
            assert_eq!(
                rig.receive(60).unwrap_err(),
                Violation::Runt { queue, len, header }
            );
            rig.tx.add(
                &rig.guest,
                &[Part {
                    addr: BUFFERS,
                    len,
                    write: false,
                }],
                None,
            );
            let queue = Direction::Send;
            assert_eq!(
                rig.send().unwrap_err(),
                Violation::Runt { queue, len, header }
            );
        }
        // Just the header is a packet of nothing, which the switch drops as it drops other runts.
        let mut rig = rig(features);
        rig.tx.add(
            &rig.guest,
            &[Part {
                addr: BUFFERS,
                len: 12,
                write: false,
            }],
            None,
        );
        assert!(matches!(rig.send(), Ok(Next::Copied(sent)) if sent.len == 0));
        rig.rx.add(
            &rig.guest,
            &[Part {
                addr: BUFFERS,
                len: 12,
                write: true,
            }],
            None,
        );
        assert_eq!(rig.receive(60).unwrap(), Received::default());
    }
}

/// Also where the sum of the lengths is more than 32 bits.
#[test]
fn packets_longer_than_any() {
    for features in BOTH {
        for parts in [1, 3] {
            let mut rig = rig(features);
            let len = if parts == 1 { 12 + 65536 } else { 0xffff_fff0 };
            let parts = vec![
                Part {
                    addr: BUFFERS,
                    len,
                    write: false
                };
                parts
            ];
            rig.tx.add(&rig.guest, &parts, None);
            let violation = rig.send().unwrap_err();
            if len < 1 << 20 {
                let len = u64::from(len);
                assert_eq!(violation, Violation::PacketTooLong { len });
            } else {
                let len = 3 * u64::from(len);
                assert_eq!(violation, Violation::PacketTooLong { len });
            }
        }
    }
}

/// The longest is taken, and needs a buffer of its length.
#[test]
fn longest_packet() {
    for features in BOTH {
        let mut rig = rig(features);
        rig.tx.add(
            &rig.guest,
            &[Part {
                addr: BUFFERS,
                len: 12 + 65535,
                write: false,
            }],
            None,
        );
        rig.pair.begin_send().unwrap();
        let mut to = vec![0; vhost_port::MAX_FRAME];
        let larger = rig.pair.copy_next(&mut to[..2048]).unwrap();
        assert!(matches!(larger, Next::Larger(sent) if sent.len == 65535));
        assert!(matches!(rig.pair.copy_next(&mut to), Ok(Next::Copied(sent)) if sent.len == 65535));
        assert_eq!(rig.pair.copy_next(&mut to), Ok(Next::End));
    }
}

/// More pieces than anyone needs, in a queue that is large enough for them.
#[test]
fn too_many_segments() {
    let guest = Guest::new();
    for features in BOTH {
        let mut tx = Driver::new(&guest, 0, 2048, features, 0);
        let mut pair = pair(&guest, features, None, Some(&tx));
        tx.add(
            &guest,
            &vec![
                Part {
                    addr: BUFFERS,
                    len: 1,
                    write: false
                };
                1025
            ],
            None,
        );
        pair.begin_send().unwrap();
        let violation = pair.copy_next(&mut [0; 2048]).unwrap_err();
        let (queue, limit) = (Direction::Send, 1024);
        assert_eq!(violation, Violation::ChainTooLong { queue, limit });
    }
}
