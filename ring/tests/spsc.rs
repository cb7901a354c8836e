//! The ring against a second thread and against a lying peer. Against an oracle: `src/spsc/tests`.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use ring::{ALIGN, Consumer, Corrupt, Doorbells, Entry, Producer, bytes, init};

struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    fn new(len: usize) -> Self {
        let layout = Layout::from_size_align(len, ALIGN).unwrap();
        // SAFETY: the layout has a non-zero size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        Self { start, layout }
    }

    fn cursor(&self, line: usize) -> &AtomicU32 {
        // SAFETY: the header's two cursors lie at 0 and `ALIGN`, inside the allocation.
        unsafe { self.start.add(line * ALIGN).cast::<AtomicU32>().as_ref() }
    }

    fn sides<T: Entry>(&self, capacity: u32) -> (Producer<T>, Consumer<T>) {
        assert!(bytes::<T>(capacity) <= self.layout.size());
        // SAFETY: the memory is large enough, aligned, and outlives both sides in these tests.
        unsafe {
            init::<T>(self.start, capacity);
            (
                Producer::new(self.start, capacity),
                Consumer::new(self.start, capacity),
            )
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

proptest! {
    #[test]
    fn any_peer_cursor_is_survived(lies in prop::collection::vec(any::<u32>(), 1..50)) {
        let memory = Memory::new(bytes::<u64>(8));
        let (mut producer, mut consumer) = memory.sides::<u64>(8);
        for lie in lies {
            memory.cursor(0).store(lie, Ordering::Relaxed);
            memory.cursor(1).store(lie, Ordering::Relaxed);
            let mut out = [0; 16];
            if let Ok(count) = consumer.pop(&mut out) {
                prop_assert!(count <= 8);
            }
            if let Ok(count) = producer.push(&[1; 16]) {
                prop_assert!(count <= 8);
            }
            prop_assert!(producer.room() <= 8);
            prop_assert!(consumer.waiting() <= 8);
        }
    }
}

#[test]
fn cursors_wrap_around() {
    let memory = Memory::new(bytes::<u32>(4));
    let (mut producer, mut consumer) = memory.sides::<u32>(4);
    let mut out = [0; 3];
    for round in 0..10_000u32 {
        assert_eq!(producer.push(&[round, round + 1, round + 2]), Ok(3));
        assert_eq!(consumer.pop(&mut out), Ok(3));
        assert_eq!(out, [round, round + 1, round + 2]);
    }
}

#[test]
fn an_impossible_cursor_is_corrupt() {
    let memory = Memory::new(bytes::<u32>(8));
    let (mut producer, mut consumer) = memory.sides::<u32>(8);
    memory.cursor(0).store(9, Ordering::Relaxed);
    assert_eq!(consumer.refresh(), Err(Corrupt));
    memory.cursor(1).store(1, Ordering::Relaxed);
    assert_eq!(
        producer.refresh(),
        Err(Corrupt),
        "consumed what was never published"
    );
}

#[test]
fn a_consumer_that_steps_back_is_corrupt() {
    let memory = Memory::new(bytes::<u32>(8));
    let (mut producer, mut consumer) = memory.sides::<u32>(8);
    producer.push(&[1, 2, 3, 4]).unwrap();
    consumer.pop(&mut [0; 4]).unwrap();
    assert_eq!(producer.refresh(), Ok(8));
    memory.cursor(1).store(2, Ordering::Relaxed);
    assert_eq!(producer.refresh(), Err(Corrupt));
}

#[test]
fn two_threads_see_every_entry_once_and_in_order() {
    const COUNT: u64 = 300_000;
    let memory = Memory::new(bytes::<u64>(64));
    let (mut producer, mut consumer) = memory.sides::<u64>(64);
    let sender = std::thread::spawn(move || {
        let mut next = 0;
        while next < COUNT {
            let burst: Vec<u64> = (next..(next + 17).min(COUNT)).collect();
            let sent = producer.push(&burst).unwrap();
            next += sent as u64;
            if sent == 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    let mut out = [0; 32];
    while expected < COUNT {
        let count = consumer.pop(&mut out).unwrap();
        for &value in &out[..count] {
            assert_eq!(value, expected);
            expected += 1;
        }
        if count == 0 {
            std::thread::yield_now();
        }
    }
    sender.join().unwrap();
}

#[test]
fn doorbells_are_answered_once() {
    let memory = Memory::new(Doorbells::bytes(130));
    // SAFETY: the memory is large enough, aligned, and outlives the value.
    let bells = unsafe { Doorbells::new(memory.start, 130) };
    assert_eq!(bells.len(), 3);
    bells.ring(0);
    bells.ring(63);
    bells.ring(129);
    bells.ring(129);
    bells.ring(60_000);
    assert_eq!(bells.answer(0), 1 | 1 << 63);
    assert_eq!(bells.answer(0), 0);
    assert_eq!(bells.answer(1), 0);
    assert_eq!(bells.answer(2), 2);
    assert_eq!(bells.answer(3), 0);
}
