//! Descriptors, chains of them, and indirect tables.

use vhost_port::{Direction, Next, Violation, feature};

use crate::mock::{BUFFERS, END, INDIRECT, NEXT, Part, WRITE, pattern};
use crate::{BOTH, MODERN, PACKED, Rig, rig};

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
