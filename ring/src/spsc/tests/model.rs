//! Rings and doorbells under loom, which goes through all that two or three threads may do to each other:
//! `make model`.
//!
//! Covered: every interleaving, and every value that C11 lets a relaxed or acquiring load of a cursor or
//! of a doorbell return, save what comes later in the execution (load buffering, which loom does not
//! have; for slots, `sync::Slot` makes up for it). Full fences have one order, in which they also
//! synchronise: a little more than C11 says, and what CPUs do. `SeqCst` on anything but a fence counts
//! as `AcqRel`, so what passes here does not rest on it.
//!
//! No thread waits for another one: each tries so many times, and the main thread looks at what is left.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use loom::thread;

use super::*;
use crate::Doorbells;
use crate::sync::{AtomicU64, Slot32};

/// What came of the executions: what never comes of any has not been checked.
#[derive(Clone, Default)]
struct Outcomes(Arc<Mutex<BTreeSet<usize>>>);

impl Outcomes {
    fn add(&self, outcome: usize) {
        self.0.lock().unwrap().insert(outcome);
    }

    fn assert_are(&self, all: impl IntoIterator<Item = usize>) {
        assert_eq!(*self.0.lock().unwrap(), all.into_iter().collect());
    }
}

fn ring(capacity: u32, start: u32) -> Ring<u32> {
    Ring::new(capacity, start, || Slot32::new(0))
}

/// Appends what waits, `most` entries at most.
fn pop(consumer: &mut Consumer<u32>, most: usize, got: &mut Vec<u32>) {
    let mut out = vec![0; most];
    let count = consumer.pop(&mut out).expect("an honest producer");
    got.extend(&out[..count]);
}

#[test]
fn entries_come_once_and_in_order() {
    let seen_meanwhile = Outcomes::default();
    let outcomes = seen_meanwhile.clone();
    loom::model(move || {
        let Ring {
            mut producer,
            mut consumer,
            _memory,
        } = ring(2, u32::MAX);
        let pushing = thread::spawn(move || {
            let mut next = 1;
            for _ in 0..4 {
                producer.refresh().expect("an honest consumer");
                while next <= 6 && producer.stage(next) {
                    next += 1;
                }
                producer.publish();
            }
            next
        });
        let mut got = vec![];
        for most in [1, 2, 1, 2] {
            pop(&mut consumer, most, &mut got);
        }
        outcomes.add(got.len());
        let next = pushing.join().unwrap();
        pop(&mut consumer, 2, &mut got);
        assert!(got.iter().copied().eq(1..next), "{got:?}");
    });
    // The first two are published at once.
    seen_meanwhile.assert_are([0, 2, 3, 4, 5, 6]);
}

#[test]
fn slots_are_free_when_released_and_not_when_taken() {
    loom::model(|| {
        let Ring {
            mut producer,
            mut consumer,
            _memory,
        } = ring(2, u32::MAX - 1);
        assert_eq!(producer.push(&[1, 2]), Ok(2));
        let pushing = thread::spawn(move || {
            let more = producer.push(&[3, 4]).expect("an honest consumer");
            more + producer.push(&[5]).expect("an honest consumer")
        });
        assert_eq!(consumer.refresh(), Ok(2));
        assert_eq!(consumer.take(), Some(1));
        consumer.release();
        assert_eq!(consumer.take(), Some(2));
        let pushed = pushing.join().unwrap();
        assert!(pushed <= 1, "{pushed} in one slot");
        consumer.release();
        let mut got = vec![];
        pop(&mut consumer, 2, &mut got);
        assert_eq!(got.len(), pushed);
    });
}

#[test]
fn what_is_staged_is_not_seen_and_what_is_published_is_seen_at_once() {
    loom::model(|| {
        let Ring {
            mut producer,
            mut consumer,
            _memory,
        } = ring(4, u32::MAX - 1);
        let pushing = thread::spawn(move || {
            assert!(producer.stage(1) && producer.stage(2));
            producer.publish();
            assert!(producer.stage(3));
        });
        let mut got = vec![];
        pop(&mut consumer, 4, &mut got);
        assert!([0, 2].contains(&got.len()));
        pushing.join().unwrap();
        pop(&mut consumer, 4, &mut got);
        assert_eq!(got, [1, 2]);
    });
}

/// A worker's side of a stack.
struct Served {
    slot: u16,
    consumer: Consumer<u32>,
    got: Vec<u32>,
    _memory: Memory,
}

/// A stack with one entry in its ring.
fn stack(slot: u16) -> (Producer<u32>, Served) {
    let Ring {
        mut producer,
        consumer,
        _memory: memory,
    } = ring(4, u32::MAX);
    assert_eq!(producer.push(&[1]), Ok(1));
    let served = Served {
        slot,
        consumer,
        got: vec![],
        _memory: memory,
    };
    (producer, served)
}

/// Looks at the rings of those that rang, and at no others.
fn serve(bells: &Doorbells, stacks: &mut [Served]) {
    let rang = bells.answer(0);
    for stack in stacks {
        if rang & 1 << stack.slot != 0 {
            pop(&mut stack.consumer, 4, &mut stack.got);
        }
    }
}

/// Of each stack all has been seen, or it still rings.
fn assert_nothing_is_lost(bells: &Doorbells, stacks: &[Served], sent: &[u32]) {
    let rings = bells.answer(0);
    for stack in stacks {
        let heard = stack.got == sent || rings & 1 << stack.slot != 0;
        assert!(heard, "stack {}: {:?}", stack.slot, stack.got);
    }
}

fn doorbells() -> (Memory, impl Fn() -> Doorbells) {
    let memory = Memory::new(Doorbells::bytes(64));
    // SAFETY: there is room for a word.
    unsafe { memory.start.cast().write(AtomicU64::new(0)) };
    let start = memory.start;
    // SAFETY: that memory, which the tests keep.
    (memory, move || unsafe { Doorbells::new(start, 64) })
}

#[test]
fn no_ring_is_lost() {
    let seen_meanwhile = Outcomes::default();
    let outcomes = seen_meanwhile.clone();
    loom::model(move || {
        let (_memory, doorbells) = doorbells();
        let (bells, worker) = (doorbells(), doorbells());
        let (mut producer, served) = stack(3);
        bells.ring(3);
        let ringing = thread::spawn(move || {
            for entry in [2, 3] {
                assert_eq!(producer.push(&[entry]), Ok(1));
                bells.ring(3);
            }
        });
        let mut stacks = [served];
        serve(&worker, &mut stacks);
        serve(&worker, &mut stacks);
        outcomes.add(stacks[0].got.len());
        ringing.join().unwrap();
        assert_nothing_is_lost(&worker, &stacks, &[1, 2, 3]);
    });
    seen_meanwhile.assert_are(1..=3);
}

#[test]
fn no_ring_is_lost_in_a_word_that_others_ring_in() {
    loom::model(|| among_others([true, true]));
    loom::model(|| among_others([true, false]));
}

/// Two stacks, either of which may have rung already.
fn among_others(rung: [bool; 2]) {
    let (_memory, doorbells) = doorbells();
    let worker = doorbells();
    let mut stacks = vec![];
    let mut ringing = vec![];
    for (slot, rung) in [3, 40].into_iter().zip(rung) {
        let bells = doorbells();
        let (mut producer, served) = stack(slot);
        if rung {
            bells.ring(slot);
        }
        stacks.push(served);
        ringing.push(thread::spawn(move || {
            assert_eq!(producer.push(&[2]), Ok(1));
            bells.ring(slot);
        }));
    }
    serve(&worker, &mut stacks);
    for stack in ringing {
        stack.join().unwrap();
    }
    assert_nothing_is_lost(&worker, &stacks, &[1, 2]);
}
