//! Any sequence of calls on both sides; what each side knows and shows after every one of them, and what it
//! believes.

use core::fmt::Debug;
use core::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;
use crate::sync::{Slot32, Slot64};

#[derive(Clone, Debug)]
enum Step {
    Stage(u64),
    Put(u64),
    Publish,
    Push(Vec<u64>),
    LookForRoom,
    Look,
    Take,
    Release,
    Pop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u64>().prop_map(Step::Stage),
        any::<u64>().prop_map(Step::Put),
        Just(Step::Publish),
        prop::collection::vec(any::<u64>(), 0..20).prop_map(Step::Push),
        Just(Step::LookForRoom),
        Just(Step::Look),
        Just(Step::Take),
        Just(Step::Release),
        (0usize..20).prop_map(Step::Pop),
    ]
}

/// Close to where cursors wrap, or anywhere.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![(0u32..100).prop_map(u32::wrapping_neg), any::<u32>()]
}

/// A queue whose places come back on release, in numbers that do not wrap; and what the sides know
/// of each other since they last looked.
struct Oracle<T> {
    start: u32,
    capacity: u64,
    /// All entries that were ever put in.
    entries: Vec<T>,
    published: usize,
    taken: usize,
    released: usize,
    /// Of `released`.
    known_to_producer: usize,
    /// Of `published`.
    known_to_consumer: usize,
}

impl<T: Entry + Debug + PartialEq> Oracle<T> {
    fn new(start: u32, capacity: u32) -> Self {
        Self {
            start,
            capacity: capacity.into(),
            entries: vec![],
            published: 0,
            taken: 0,
            released: 0,
            known_to_producer: 0,
            known_to_consumer: 0,
        }
    }

    fn room(&self) -> usize {
        self.known_to_producer + self.capacity as usize - self.entries.len()
    }

    fn waiting(&self) -> usize {
        self.known_to_consumer - self.taken
    }

    /// What a cursor says after so many entries.
    fn cursor(&self, count: usize) -> u32 {
        (u64::from(self.start) + count as u64) as u32
    }

    fn publish(&mut self) {
        self.published = self.entries.len();
    }

    fn look_for_room(&mut self) {
        self.known_to_producer = self.released;
    }

    fn look(&mut self) {
        self.known_to_consumer = self.published;
    }

    fn take(&mut self) -> Option<T> {
        let next = (self.waiting() > 0).then(|| self.entries[self.taken]);
        self.taken += usize::from(next.is_some());
        next
    }

    fn assert_like(&self, ring: &Ring<T>) {
        let Ring {
            producer, consumer, ..
        } = ring;
        assert_eq!(producer.room() as usize, self.room());
        assert_eq!(
            producer.used() as usize,
            self.entries.len() - self.known_to_producer
        );
        assert_eq!(
            producer.unpublished() as usize,
            self.entries.len() - self.published
        );
        assert_eq!(consumer.waiting() as usize, self.waiting());
        let header = producer.raw.header();
        let shown = [&header.producer, &header.consumer].map(|at| at.0.load(Ordering::Relaxed));
        assert_eq!(
            shown,
            [self.published, self.released].map(|count| self.cursor(count))
        );
    }
}

/// Takes the step on both, and compares what they answer.
fn take<T>(ring: &mut Ring<T>, oracle: &mut Oracle<T>, step: Step, entry: fn(u64) -> T)
where
    T: Entry + Debug + PartialEq,
{
    let (producer, consumer) = (&mut ring.producer, &mut ring.consumer);
    match step {
        Step::Stage(value) => {
            let fits = oracle.room() > 0;
            assert_eq!(producer.stage(entry(value)), fits);
            oracle.entries.extend(fits.then(|| entry(value)));
        }
        Step::Put(value) => {
            if oracle.room() > 0 {
                producer.put(entry(value));
                oracle.entries.push(entry(value));
            }
        }
        Step::Publish => {
            let count = oracle.entries.len() - oracle.published;
            assert_eq!(producer.publish() as usize, count);
            oracle.publish();
        }
        Step::Push(values) => {
            let values: Vec<T> = values.into_iter().map(entry).collect();
            if oracle.room() < values.len() {
                oracle.look_for_room();
            }
            let fit = values.len().min(oracle.room());
            assert_eq!(producer.push(&values), Ok(fit));
            oracle.entries.extend(&values[..fit]);
            oracle.publish();
        }
        Step::LookForRoom => {
            oracle.look_for_room();
            assert_eq!(producer.refresh(), Ok(oracle.room() as u32));
        }
        Step::Look => {
            oracle.look();
            assert_eq!(consumer.refresh(), Ok(oracle.waiting() as u32));
        }
        Step::Take => assert_eq!(consumer.take(), oracle.take()),
        Step::Release => {
            consumer.release();
            oracle.released = oracle.taken;
        }
        Step::Pop(want) => {
            if oracle.waiting() < want {
                oracle.look();
            }
            let expected: Vec<T> = (0..want).map_while(|_| oracle.take()).collect();
            let mut out = vec![entry(0); want];
            assert_eq!(consumer.pop(&mut out), Ok(expected.len()));
            assert_eq!(out[..expected.len()], expected);
            oracle.released = oracle.taken;
        }
    }
}

fn show(cursor: &Cursor, value: u32) {
    cursor.0.store(value, Ordering::Relaxed);
}

impl<T: Entry + Debug + PartialEq> Oracle<T> {
    /// What a far side may show that has counted from `first` to `last` at most, and what it may not;
    /// each with the count that it stands for.
    fn lies(
        &self,
        counts: RangeInclusive<usize>,
        random: u32,
    ) -> impl Iterator<Item = (u32, Option<usize>)> {
        let (first, last) = (self.cursor(*counts.start()), self.cursor(*counts.end()));
        let (before, behind) = (first.wrapping_sub(1), last.wrapping_add(1));
        [before, first, last, behind, random]
            .into_iter()
            .map(move |lie| (lie, counts.clone().find(|count| self.cursor(*count) == lie)))
    }

    fn lie_to_producer(&self, producer: &mut Producer<T>, random: u32) {
        for (lie, count) in self.lies(self.known_to_producer..=self.published, random) {
            show(&producer.raw.header().consumer, lie);
            let used = count.map(|count| self.entries.len() - count);
            let room = used.map(|used| self.capacity as usize - used);
            assert_eq!(producer.refresh(), answer(room));
            assert_eq!(producer.room() as usize, room.unwrap_or(self.room()));
            producer.consumer = self.cursor(self.known_to_producer);
        }
        show(&producer.raw.header().consumer, self.cursor(self.released));
    }

    fn lie_to_consumer(&self, consumer: &mut Consumer<T>, random: u32) {
        let full = self.released + self.capacity as usize;
        for (lie, count) in self.lies(self.known_to_consumer..=full, random) {
            show(&consumer.raw.header().producer, lie);
            let waiting = count.map(|count| count - self.taken);
            assert_eq!(consumer.refresh(), answer(waiting));
            assert_eq!(
                consumer.waiting() as usize,
                waiting.unwrap_or(self.waiting())
            );
            consumer.producer = self.cursor(self.known_to_consumer);
        }
        show(&consumer.raw.header().producer, self.cursor(self.published));
    }
}

fn answer(count: Option<usize>) -> Result<u32, Corrupt> {
    count.map(|count| count as u32).ok_or(Corrupt)
}

fn follow<T: Entry + Debug + PartialEq>(
    mut ring: Ring<T>,
    mut oracle: Oracle<T>,
    steps: Vec<(Step, u32)>,
    entry: fn(u64) -> T,
) {
    for (step, lie) in steps {
        take(&mut ring, &mut oracle, step, entry);
        oracle.assert_like(&ring);
        oracle.lie_to_producer(&mut ring.producer, lie);
        oracle.lie_to_consumer(&mut ring.consumer, lie);
        oracle.assert_like(&ring);
    }
}

proptest! {
    #[test]
    fn both_sides_do_and_know_what_they_should(
        power in 0u32..6,
        start in start(),
        steps in prop::collection::vec((step(), any::<u32>()), 0..200),
    ) {
        let capacity = 1 << power;
        let ring = Ring::new(capacity, start, || Slot32::new(0));
        follow(ring, Oracle::new(start, capacity), steps.clone(), |value| value as u32);
        let ring = Ring::new(capacity, start, || Slot64::new(0));
        follow(ring, Oracle::new(start, capacity), steps, |value| value);
    }
}
