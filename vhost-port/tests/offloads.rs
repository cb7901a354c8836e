//! What the virtio-net header says, each way.

mod mock;

use mock::{BUFFERS, Driver, Guest, Part, pair};
use vhost_port::{Frame, Gso, GsoKind, NeedsChecksum, Next, Sent, feature};

const MODERN: u64 = feature::VERSION_1 | feature::MRG_RXBUF;
const TSO: u64 = MODERN | feature::CSUM | feature::HOST_TSO4 | feature::HOST_TSO6;

/// What becomes of a packet with these flags, GSO type, and 1460, 34 and 16 for its numbers; in one descriptor and
/// in two.
fn sent(features: u64, flags: u8, kind: u8) -> Sent {
    let header = [flags, kind, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0];
    let [one, two] = [&[72u32][..], &[12, 60]].map(|lens| {
        let guest = Guest::new();
        let mut tx = Driver::new(&guest, 0, 16, features, 0);
        let mut pair = pair(&guest, features, None, Some(&tx));
        guest.write(BUFFERS, &header);
        let mut addr = BUFFERS;
        let mut parts = Vec::new();
        for &len in lens {
            parts.push(Part {
                addr,
                len,
                write: false,
            });
            addr += u64::from(len);
        }
        tx.add(&guest, &parts, None).unwrap();
        pair.begin_send().unwrap();
        let Next::Copied(sent) = pair.copy_next(&mut [0; 60]).unwrap() else {
            panic!("not copied");
        };
        sent
    });
    assert_eq!(one, two);
    one
}

#[test]
fn what_a_guest_asks_for() {
    let len = 60;
    let checksum = Some(NeedsChecksum {
        start: 34,
        offset: 16,
    });
    let gso = |kind| Some(Gso { kind, size: 1460 });
    let (csum, ecn) = (MODERN | feature::CSUM, TSO | feature::HOST_ECN);
    let none = Sent {
        len,
        checksum: None,
        gso: None,
    };
    // Nothing negotiated: whatever is there was not meant.
    assert_eq!(sent(MODERN, 1, 1), none);
    assert_eq!(sent(TSO, 0, 0), none);
    // DATA_VALID is for the other direction.
    assert_eq!(sent(TSO, 2, 0), none);
    assert_eq!(
        sent(csum, 1, 0),
        Sent {
            len,
            checksum,
            gso: None
        }
    );
    let cases = [
        (TSO, 1, GsoKind::TcpV4),
        (TSO, 4, GsoKind::TcpV6),
        (ecn, 0x81, GsoKind::TcpV4),
        (ecn, 0x84, GsoKind::TcpV6),
        // Not negotiated, or unknown.
        (csum, 1, GsoKind::NotOffered(1)),
        (TSO, 0x81, GsoKind::NotOffered(0x81)),
        (TSO & !feature::HOST_TSO6, 4, GsoKind::NotOffered(4)),
        (ecn, 3, GsoKind::NotOffered(3)),
        (ecn, 5, GsoKind::NotOffered(5)),
    ];
    for (features, kind, expected) in cases {
        let gso = gso(expected);
        assert_eq!(
            sent(features, 1, kind),
            Sent { len, checksum, gso },
            "{kind:#x}"
        );
    }
}

#[test]
fn what_a_guest_is_told() {
    for (features, good, expected) in [
        (MODERN | feature::GUEST_CSUM, true, 2),
        (MODERN | feature::GUEST_CSUM, false, 0),
        (MODERN, true, 0),
    ] {
        // In one descriptor, and in two.
        for lens in [&[2048u32][..], &[20, 2028]] {
            let guest = Guest::new();
            let mut rx = Driver::new(&guest, 0, 16, features, 0);
            let mut pair = pair(&guest, features, Some(&rx), None);
            let mut addr = BUFFERS;
            let mut parts = Vec::new();
            for &len in lens {
                parts.push(Part {
                    addr,
                    len,
                    write: true,
                });
                addr += u64::from(len);
            }
            rx.add(&guest, &parts, None).unwrap();
            let frame = Frame {
                bytes: &[7; 60],
                checksum_good: good,
            };
            assert_eq!(pair.receive([frame].into_iter()).unwrap().delivered, 1);
            assert_eq!(
                guest.read(BUFFERS, 12),
                [expected, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
            );
        }
    }
}
