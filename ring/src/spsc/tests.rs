//! Rings whose cursors have come anywhere: against an oracle, and under the model checker.

#[cfg(loom)]
mod model;
#[cfg(not(loom))]
#[allow(clippy::cast_possible_truncation)] // counts are small, and cursors wrap
mod oracle;

use super::*;

/// As much as [`ALIGN`] says, and so aligned.
#[repr(C, align(128))]
struct Line([u8; ALIGN]);

/// Memory to share.
struct Memory {
    start: NonNull<u8>,
    _lines: Vec<Line>,
}

impl Memory {
    fn new(len: usize) -> Self {
        let mut lines: Vec<_> = (0..len.div_ceil(ALIGN)).map(|_| Line([0; ALIGN])).collect();
        Self {
            start: NonNull::new(lines.as_mut_ptr()).unwrap().cast(),
            _lines: lines,
        }
    }
}

/// Both sides of a ring.
struct Ring<T: Entry> {
    producer: Producer<T>,
    consumer: Consumer<T>,
    /// To be dropped last.
    _memory: Memory,
}

impl<T: Entry> Ring<T> {
    /// An empty ring that `start` entries have gone through, or 2^32 more.
    fn new(capacity: u32, start: u32, slot: fn() -> T::Cell) -> Self {
        let memory = Memory::new(bytes::<T>(capacity));
        let cursor = || Cursor(AtomicU32::new(start));
        let header = Header {
            producer: cursor(),
            consumer: cursor(),
        };
        let at = memory.start.cast::<Header>();
        // SAFETY: `bytes` has room for a header and, behind it, `capacity` slots.
        unsafe {
            at.write(header);
            let slots = at.add(1).cast::<T::Cell>();
            (0..capacity as usize).for_each(|at| slots.add(at).write(slot()));
        }
        // SAFETY: that memory, which outlives the sides.
        let raw = || unsafe { Raw::new(memory.start, capacity) };
        Self {
            producer: Producer {
                raw: raw(),
                staged: start,
                published: start,
                consumer: start,
            },
            consumer: Consumer {
                raw: raw(),
                taken: start,
                released: start,
                producer: start,
            },
            _memory: memory,
        }
    }
}
