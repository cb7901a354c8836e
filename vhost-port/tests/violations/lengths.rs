//! Packets and buffers that are too short or too long, or in too many pieces.

use vhost_port::{Direction, Next, Received, Violation};

use crate::mock::{BUFFERS, Driver, Guest, Part, pair, pattern};
use crate::{BOTH, rig};

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
