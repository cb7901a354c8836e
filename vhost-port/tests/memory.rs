//! Memory tables: what is refused before anything is mapped, and what happens when a file shrinks.

mod mock;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use mock::{BUFFERS, Driver, END, Guest, Part, frame, pair, pattern, try_pair};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost_port::{MAX_REGIONS, Memory, MemoryError, Next, Region, Violation, feature};

fn file(len: u64) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len).unwrap();
    fd
}

fn region(guest: u64, size: u64, user: u64, offset: u64) -> Region {
    let file = file(0x10_0000);
    Region {
        guest,
        size,
        user,
        offset,
        file,
    }
}

fn refused(regions: Vec<Region>) -> MemoryError {
    Memory::map(regions).unwrap_err()
}

#[test]
fn a_table_of_the_usual_shape_is_mapped() {
    let regions = vec![
        region(0, 0xa_0000, 0x7000_0000, 0),
        region(0x10_0000, 0xf_f000, 0x7010_0000, 0x1000),
        region(1 << 32, 0x10_0000, 0x7020_0000, 0),
    ];
    assert!(!Memory::map(regions).unwrap().is_lost());
}

#[test]
fn empty_region() {
    let error = refused(vec![region(0, 0x1000, 0, 0), region(0x1000, 0, 0x1000, 0)]);
    assert!(matches!(error, MemoryError::Empty(1)), "{error}");
}

/// CVE-2020-10722: `mmap_offset + size` wrapped around, and less was mapped than was used.
#[test]
fn cve_2020_10722_offset_plus_size_overflows() {
    let error = refused(vec![region(0, 0x2000, 0, u64::MAX - 0xfff)]);
    assert!(
        matches!(error, MemoryError::Overflow { index: 0, .. }),
        "{error}"
    );
}

#[test]
fn addresses_that_overflow() {
    for (guest, user) in [(u64::MAX - 0xfff, 0), (0, u64::MAX - 0xfff)] {
        let error = refused(vec![region(guest, 0x2000, user, 0)]);
        assert!(
            matches!(error, MemoryError::Overflow { index: 0, .. }),
            "{error}"
        );
    }
}

/// The batch of October 2026: a size that the file does not have was mapped, and its use raised SIGBUS.
#[test]
fn size_beyond_the_file_is_refused_before_mmap() {
    for (size, offset) in [
        (0x10_0001, 0),
        (0x1000, 0x10_0000),
        (0x10_0000, 1),
        (1 << 40, 0),
    ] {
        let error = refused(vec![region(0, size, 0, offset)]);
        assert!(
            matches!(error, MemoryError::FileTooShort { index: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    let null = File::open("/dev/null").unwrap().into();
    for file in [pipe, null] {
        let regions = vec![Region {
            guest: 0,
            size: 1,
            user: 0,
            offset: 0,
            file,
        }];
        let error = refused(regions);
        assert!(matches!(error, MemoryError::FileTooShort { .. }), "{error}");
    }
    let read_only = File::open(std::env::current_exe().unwrap()).unwrap().into();
    let regions = vec![Region {
        guest: 0,
        size: 4096,
        user: 0,
        offset: 0,
        file: read_only,
    }];
    assert!(matches!(refused(regions), MemoryError::Map(0, _)));
}

#[test]
fn overlapping_regions() {
    for (guest, user) in [(0xfff, 0x10_0000), (0x10_0000, 0xfff)] {
        let error = refused(vec![
            region(0, 0x1000, 0, 0),
            region(guest, 0x1000, user, 0),
        ]);
        assert!(matches!(error, MemoryError::Overlap(0, 1)), "{error}");
    }
}

#[test]
fn too_much() {
    let many = (0..=MAX_REGIONS as u64).map(|i| region(i << 20, 0x1000, i << 20, 0));
    assert!(matches!(refused(many.collect()), MemoryError::TooMany(_)));
    let error = refused(vec![region(0, 1 << 45, 0, 0)]);
    assert!(matches!(error, MemoryError::TooLarge(_)), "{error}");
}

#[test]
fn tables_come_and_go_without_a_trace() {
    let guest = Guest::new();
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .filter(|line| line.contains("memfd:guest"))
            .count()
    };
    // vm-memory's own, of this and other tests.
    for _ in 0..10_000 {
        let memory = guest.map();
        assert!(!memory.is_lost());
    }
    assert!(mappings() < 100, "{}", mappings());
}

const FEATURES: u64 = feature::VERSION_1 | feature::MRG_RXBUF;

#[test]
fn truncated_while_the_guest_receives() {
    let guest = Guest::new();
    let mut driver = Driver::new(&guest, 0, 16, FEATURES, 0);
    let mut pair = pair(&guest, FEATURES, Some(&driver), None);
    let buffer = |addr| Part {
        addr,
        len: 2048,
        write: true,
    };
    driver.add(&guest, &[buffer(BUFFERS)], None).unwrap();
    driver.add(&guest, &[buffer(END - 2048)], None).unwrap();
    let bytes = pattern(1, 1500);
    assert_eq!(
        pair.receive([frame(&bytes)].into_iter()).unwrap().delivered,
        1
    );
    // The rings stay, the buffer does not.
    guest.truncate(BUFFERS + 4096);
    let violation = pair.receive([frame(&bytes)].into_iter()).unwrap_err();
    assert_eq!(violation, Violation::MemoryGone);
    // Nothing was shown to the driver.
    assert_eq!(driver.used(&guest).unwrap().1, 1512);
    assert_eq!(driver.used(&guest), None);
    assert_eq!(
        pair.receive([frame(&bytes)].into_iter()),
        Err(Violation::MemoryGone)
    );
}

#[test]
fn truncated_while_the_guest_sends() {
    let guest = Guest::new();
    let mut driver = Driver::new(&guest, 0, 16, FEATURES, 0);
    let mut pair = pair(&guest, FEATURES, None, Some(&driver));
    let at = |addr| Part {
        addr,
        len: 1512,
        write: false,
    };
    driver.add(&guest, &[at(END - 4096)], None).unwrap();
    assert_eq!(pair.begin_send().unwrap(), 1);
    guest.truncate(BUFFERS);
    let mut buffer = vec![1; 2048];
    assert!(matches!(pair.copy_next(&mut buffer), Ok(Next::Copied(_))));
    assert_eq!(pair.end_send(), Err(Violation::MemoryGone));
}

/// All of it, rings included; the switch goes on, also in another thread and with another guest.
#[test]
fn truncated_to_nothing() {
    let (guest, other) = (Guest::new(), Guest::new());
    let mut driver = Driver::new(&guest, 0, 16, FEATURES, 0);
    let driver2 = Driver::new(&other, 0, 16, FEATURES, 0);
    let mut doomed = pair(&guest, FEATURES, None, Some(&driver));
    let mut fine = pair(&other, FEATURES, None, Some(&driver2));
    driver
        .add(
            &guest,
            &[Part {
                addr: BUFFERS,
                len: 100,
                write: false,
            }],
            None,
        )
        .unwrap();
    guest.truncate(0);
    let result = std::thread::spawn(move || doomed.begin_send().and_then(|_| doomed.end_send()));
    assert_eq!(result.join().unwrap(), Err(Violation::MemoryGone));
    assert_eq!(fine.begin_send(), Ok(0));
    assert_eq!(fine.end_send(), Ok(()));
}

#[test]
fn truncated_between_the_table_and_the_rings() {
    let guest = Guest::new();
    let driver = Driver::new(&guest, 0, 16, FEATURES, 0);
    let memory = guest.map();
    guest.truncate(0);
    let setup = vhost_port::PairSetup {
        memory,
        features: FEATURES,
        rx: Some(driver.setup()),
        tx: None,
    };
    assert_eq!(
        vhost_port::Pair::new(setup).unwrap_err(),
        Violation::MemoryGone
    );
}

/// A SIGBUS that is none of ours still ends the process.
#[test]
fn other_bus_errors_are_not_swallowed() {
    const CHILD: &str = "VHOST_PORT_BUS_ERROR";
    if std::env::var_os(CHILD).is_some() {
        let guest = Guest::new();
        let _memory = guest.map();
        guest.truncate(0);
        // Not through our mapping, but through the mock's.
        guest.u32(0);
        std::process::exit(0);
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_bus_errors_are_not_swallowed"])
        .env(CHILD, "1")
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(7), "{status}");
}

/// A buffer may reach from one region into an adjoining one; it is one buffer to the guest.
#[test]
fn buffers_across_adjoining_regions() {
    for features in [FEATURES, FEATURES | feature::RING_PACKED] {
        let border = BUFFERS + 0x1000;
        let guest = Guest::in_pieces(&[border, border + 0x1000, END]);
        let mut rx = Driver::new(&guest, 0, 16, features, 0);
        let mut tx = Driver::new(&guest, 1, 16, features, 0);
        let mut pair = pair(&guest, features, Some(&rx), Some(&tx));
        let bytes = pattern(3, 6000);
        let part = |write| Part {
            addr: border - 700,
            len: 6012,
            write,
        };
        rx.add(&guest, &[part(true)], None).unwrap();
        assert_eq!(
            pair.receive([frame(&bytes)].into_iter()).unwrap().delivered,
            1
        );
        assert_eq!(rx.used(&guest).unwrap().1, 6012);
        assert_eq!(guest.read(border - 700 + 12, 6000), bytes);
        tx.add(&guest, &[part(false)], None).unwrap();
        let mut copy = vec![0; 6000];
        pair.begin_send().unwrap();
        assert!(matches!(pair.copy_next(&mut copy), Ok(Next::Copied(sent)) if sent.len == 6000));
        assert_eq!(copy, bytes);
        pair.end_send().unwrap();
        assert!(tx.used(&guest).is_some());
    }
}

/// CVE-2018-1059: the start of a buffer was checked, not its length.
#[test]
fn cve_2018_1059_length_across_the_border_of_a_region() {
    for features in [FEATURES, FEATURES | feature::RING_PACKED] {
        let guest = Guest::new();
        let mut rx = Driver::new(&guest, 0, 16, features, 0);
        let mut tx = Driver::new(&guest, 1, 16, features, 0);
        let mut pair = try_pair(&guest, features, Some(&rx), Some(&tx)).unwrap();
        let part = |write| Part {
            addr: END - 1000,
            len: 1512,
            write,
        };
        rx.add(&guest, &[part(true)], None).unwrap();
        let bytes = pattern(3, 1500);
        let violation = pair.receive([frame(&bytes)].into_iter()).unwrap_err();
        assert!(
            matches!(violation, Violation::BufferAddress { .. }),
            "{violation}"
        );
        tx.add(&guest, &[part(false)], None).unwrap();
        pair.begin_send().unwrap();
        let violation = pair.copy_next(&mut [0; 2048]).unwrap_err();
        assert!(
            matches!(violation, Violation::BufferAddress { .. }),
            "{violation}"
        );
    }
}
