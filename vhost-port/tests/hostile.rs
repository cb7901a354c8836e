//! A peer that writes what it wants, when it wants: no panic, nothing outside its memory, and it ends.

mod mock;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mock::{BUFFERS, Driver, END, Guest, INDIRECT, NEXT, RINGS, WRITE, frame, pattern, try_pair};
use proptest::prelude::*;
use vhost_port::{Memory, Next, Pair, PairSetup, Violation, feature};

const SPLIT: u64 = feature::DATA_PATH & !feature::RING_PACKED;

fn use_it(pair: &mut Pair, rounds: usize) -> Result<(), Violation> {
    let frames = [pattern(1, 60), pattern(2, 1514), pattern(3, 9000)];
    let mut buffer = vec![0; 2048];
    let mut large = vec![0; vhost_port::MAX_FRAME];
    for _ in 0..rounds {
        pair.receive(frames.iter().cycle().take(12).map(|f| frame(f)))?;
        pair.begin_send()?;
        for _ in 0..12 {
            match pair.copy_next(&mut buffer)? {
                Next::End => break,
                Next::Copied(sent) => assert!(sent.len <= buffer.len()),
                Next::Larger(sent) => {
                    assert!(sent.len > buffer.len());
                    match pair.copy_next(&mut large)? {
                        Next::Copied(sent) => assert!(sent.len <= large.len()),
                        Next::Larger(_) => unreachable!("nothing is larger"),
                        Next::End => {}
                    }
                }
            }
        }
        pair.end_send()?;
    }
    Ok(())
}

/// Numbers that are nearly right more often than chance has it.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => BUFFERS..END,
        1 => RINGS..BUFFERS,
        1 => END - 64..END + 64,
        1 => Just(0u64),
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..3000u32, 2 => (0..20u32).prop_map(|n| n * 16), 1 => any::<u32>()]
}

type Garbage = (u64, u32, u16, u16);

fn descriptor() -> impl Strategy<Value = Garbage> {
    let flags = prop_oneof![
        6 => (any::<bool>(), any::<bool>(), 0..8u8).prop_map(|(next, write, indirect)| {
            (if next { NEXT } else { 0 })
                | if write { WRITE } else { 0 }
                | if indirect == 0 { INDIRECT } else { 0 }
                | 1 << 7
        }),
        1 => any::<u16>(),
    ];
    let tag = prop_oneof![6 => 0..16u16, 1 => any::<u16>()];
    (address(), length(), flags, tag)
}

fn write_all(guest: &Guest, driver: &Driver, table: u64, descriptors: &[Garbage]) {
    for (i, &(addr, len, flags, tag)) in descriptors.iter().enumerate() {
        let i = u16::try_from(i).unwrap();
        driver.write_desc(guest, table, i, (addr, len), (flags, tag));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn garbage_in_rings_and_tables(
        packed in any::<bool>(),
        rx in proptest::collection::vec(descriptor(), 16),
        tx in proptest::collection::vec(descriptor(), 16),
        table in proptest::collection::vec(descriptor(), 16),
        heads in proptest::collection::vec(0..20u16, 16),
        index in 0..20u16,
    ) {
        let features = if packed { feature::DATA_PATH } else { SPLIT };
        // Two regions, so that there is a border inside.
        let guest = Guest::in_pieces(&[BUFFERS + 0x1000, END]);
        let drivers = [0, 1].map(|i| Driver::new(&guest, i, 16, features, 0));
        let mut pair = try_pair(&guest, features, Some(&drivers[0]), Some(&drivers[1])).unwrap();
        for (driver, descriptors) in drivers.iter().zip([&rx, &tx]) {
            write_all(&guest, driver, driver.desc, descriptors);
            write_all(&guest, driver, BUFFERS, &table);
            if !packed {
                for (i, head) in heads.iter().enumerate() {
                    guest.set_u16(driver.avail + 4 + 2 * i as u64, *head);
                }
                guest.set_u16(driver.avail + 2, index);
            }
        }
        // Whatever it says; a region's bounds are asserted in debug builds, where this runs.
        let _ = use_it(&mut pair, 4);
    }
}

/// Ends the other thread, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `mutate` in another thread while the device works, setting up anew after each violation. Returns how often
/// there was one, and how many bursts there were.
fn race(features: u64, mutate: impl Fn(&Guest, &[Driver; 2], u64) + Sync) -> (usize, usize) {
    let guest = Guest::new();
    let drivers = [0, 1].map(|i| Driver::new(&guest, i, 16, features, 0));
    let stop = AtomicBool::new(false);
    let (mut violations, mut bursts) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                mutate(&guest, &drivers, round);
                round += 1;
            }
        });
        let until = Instant::now() + Duration::from_millis(700);
        let _stop = Stop(&stop);
        while Instant::now() < until {
            // The memory may vanish here already.
            let ended = Memory::map(guest.table()).is_ok_and(|memory| {
                let [rx, tx] = drivers.each_ref().map(|driver| Some(driver.setup()));
                let memory = Arc::new(memory);
                let setup = PairSetup {
                    memory,
                    features,
                    rx,
                    tx,
                };
                Pair::new(setup).is_ok_and(|mut pair| use_it(&mut pair, 50).is_ok())
            });
            violations += usize::from(!ended);
            bursts += 50;
        }
    });
    (violations, bursts)
}

/// The batch of October 2026: the entries of an indirect table were read twice, and changed in between. Each is read
/// once here, so an entry is one or the other, and never the address of the one with the length of the other unless
/// the copy itself was torn, in which case it is checked as such.
#[test]
fn indirect_entries_that_change_meanwhile() {
    for features in [SPLIT, feature::DATA_PATH] {
        let (violations, bursts) = race(features, |guest, drivers, round| {
            for (driver, write) in drivers.iter().zip([WRITE, 0]) {
                let bad = round % 3 == 0;
                let part = if bad {
                    (END - 16, 0xffff_ff00)
                } else {
                    (BUFFERS + 0x8000, 2000)
                };
                driver.write_desc(guest, BUFFERS, 0, part, (write, 0));
                for index in 0..16 {
                    let flags = INDIRECT | 1 << 7;
                    driver.write_desc(guest, driver.desc, index, (BUFFERS, 16), (flags, 0));
                }
                if !driver.packed {
                    let used = guest.u16(driver.used + 2);
                    guest.set_u16(driver.avail + 2, used.wrapping_add(8));
                }
            }
        });
        assert!(
            violations > 0 && violations < bursts,
            "{violations} of {bursts}"
        );
    }
}

/// Every word of the rings changes all the time.
#[test]
fn rings_that_change_meanwhile() {
    for features in [SPLIT, feature::DATA_PATH] {
        let (violations, _) = race(features, |guest, drivers, round| {
            let noise = round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let word = |shift: u32| u16::try_from((noise >> shift) & 0xffff).unwrap();
            let words = [0, 16, 32, 48].map(word);
            for driver in drivers {
                let index = words[0] >> 8 & 15;
                let inside = BUFFERS + noise % 4096;
                let addr = if noise & 64 == 0 { inside } else { noise };
                let part = (addr, u32::from(words[2] >> 2));
                driver.write_desc(guest, driver.desc, index, part, (words[1], index / 2));
                let at = driver.avail + 2 * u64::from(words[2] & 31);
                guest.set_u16(at, words[2] >> 8 & 31);
                guest.set_u16(driver.used + 2, words[3] & 31);
            }
        });
        assert!(violations > 0);
    }
}

/// The file shrinks and grows while the device works.
#[test]
fn memory_that_vanishes_meanwhile() {
    let (violations, _) = race(SPLIT, |guest, drivers, round| {
        for driver in drivers {
            driver.write_desc(guest, driver.desc, 0, (END - 4096, 2048), (WRITE, 0));
            let used = guest.u16(driver.used + 2);
            guest.set_u16(driver.avail + 2, used.wrapping_add(8));
        }
        guest.truncate(if round % 64 == 0 { END - 8192 } else { END });
    });
    assert!(violations > 0);
}
