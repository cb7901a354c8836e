//! The ring itself.

use core::fmt;
use core::mem::size_of;
use core::ptr::NonNull;

use crate::prefetch::LINE;
use crate::sync::{AtomicU32, Ordering};
use crate::{ALIGN, Entry, prefetch_read, prefetch_write, step};

/// Largest capacity of a ring, in entries. Cursors are free-running `u32`s, so anything up to
/// 2^31 would be sound; this bounds the memory a bad configuration can ask for.
pub const MAX_CAPACITY: u32 = 1 << 20;

/// The far side published a cursor that no correct peer can have: more entries than the ring
/// holds, or fewer taken than before. Nothing read from this ring afterwards means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer published an impossible ring cursor")
    }
}

impl core::error::Error for Corrupt {}

#[repr(C, align(128))]
struct Cursor(AtomicU32);

#[repr(C)]
struct Header {
    producer: Cursor,
    consumer: Cursor,
}

const _: () = assert!(size_of::<Header>() == 2 * ALIGN);

/// Bytes of shared memory that a ring of `capacity` entries takes, a multiple of [`ALIGN`].
///
/// # Panics
/// If `capacity` is not a power of two up to [`MAX_CAPACITY`].
pub const fn bytes<T: Entry>(capacity: u32) -> usize {
    assert!(capacity.is_power_of_two() && capacity <= MAX_CAPACITY);
    let slots = capacity as usize * size_of::<T::Cell>();
    size_of::<Header>() + slots.next_multiple_of(ALIGN)
}

struct Raw<T: Entry> {
    header: NonNull<Header>,
    slots: NonNull<T::Cell>,
    /// Capacity less one.
    mask: u32,
}

/// Cache lines that a producer asks for ahead of the one that it writes, which another core may have.
const LINES_AHEAD: u32 = 2;

impl<T: Entry> Raw<T> {
    /// # Safety
    /// As for [`Producer::new`].
    unsafe fn new(memory: NonNull<u8>, capacity: u32) -> Self {
        assert!(capacity.is_power_of_two() && capacity <= MAX_CAPACITY);
        assert!(memory.cast::<Header>().is_aligned());
        // SAFETY: the caller gives `bytes::<T>(capacity)` bytes, of which the header is a part.
        let slots = unsafe { memory.add(size_of::<Header>()) }.cast();
        Self {
            header: memory.cast(),
            slots,
            mask: capacity - 1,
        }
    }

    #[allow(clippy::cast_possible_truncation)] // 8 or 16
    const PER_LINE: u32 = (LINE / size_of::<T::Cell>()) as u32;

    fn capacity(&self) -> u32 {
        self.mask + 1
    }

    fn header(&self) -> &Header {
        // SAFETY: `new`'s caller promised valid, aligned memory for as long as `self` lives, and
        // that everyone reaches it through atomics only.
        unsafe { self.header.as_ref() }
    }

    fn slot(&self, cursor: u32) -> &T::Cell {
        // SAFETY: as for `header`; `capacity` cells lie behind it, and the mask keeps the index
        // among them, whatever the cursor.
        unsafe { self.slots.add((cursor & self.mask) as usize).as_ref() }
    }
}

/// Empties a ring: both cursors to zero. To be called before either side is made.
///
/// # Safety
/// As for [`Producer::new`], and no [`Producer`] or [`Consumer`] of this memory may be in use, in
/// any process.
pub unsafe fn init<T: Entry>(memory: NonNull<u8>, capacity: u32) {
    // SAFETY: passed on to the caller.
    let raw = unsafe { Raw::<T>::new(memory, capacity) };
    raw.header().producer.0.store(0, Ordering::Release);
    raw.header().consumer.0.store(0, Ordering::Release);
}

/// The side that puts entries in.
pub struct Producer<T: Entry> {
    raw: Raw<T>,
    /// Next cursor to write; ours alone, never read back from shared memory.
    staged: u32,
    /// What the consumer may see already.
    published: u32,
    /// The consumer's cursor as last read.
    consumer: u32,
}

/// The side that takes entries out.
pub struct Consumer<T: Entry> {
    raw: Raw<T>,
    /// Next cursor to read; ours alone.
    taken: u32,
    /// What the producer may overwrite already.
    released: u32,
    /// The producer's cursor as last read.
    producer: u32,
}

// SAFETY: the pointers lead to memory that `new`'s caller keeps valid, reached through atomics
// only; a side is used through `&mut self`, so moving it to another thread is fine.
unsafe impl<T: Entry> Send for Producer<T> {}
// SAFETY: as above.
unsafe impl<T: Entry> Send for Consumer<T> {}

impl<T: Entry> Producer<T> {
    /// The producing side of the ring in `memory`, which must be freshly [`init`]ialised.
    ///
    /// # Safety
    /// `memory` must point to [`bytes`]`::<T>(capacity)` bytes, aligned to [`ALIGN`], mapped for as
    /// long as the value lives and written by no one except through this crate or another process.
    ///
    /// # Panics
    /// If `capacity` is not a power of two up to [`MAX_CAPACITY`], or `memory` is not aligned.
    pub unsafe fn new(memory: NonNull<u8>, capacity: u32) -> Self {
        Self {
            // SAFETY: passed on to the caller.
            raw: unsafe { Raw::new(memory, capacity) },
            staged: 0,
            published: 0,
            consumer: 0,
        }
    }

    /// Entries that fit, as last known: the consumer may have made more room since.
    pub fn room(&self) -> u32 {
        // `refresh` keeps the distance within the capacity.
        self.raw.capacity() - self.used()
    }

    /// Looks at the consumer's cursor again and tells how many entries fit now.
    ///
    /// # Errors
    /// [`Corrupt`] if the cursor is impossible.
    pub fn refresh(&mut self) -> Result<u32, Corrupt> {
        let consumer = self.raw.header().consumer.0.load(Ordering::Acquire);
        // What is staged but not published cannot have been consumed: measure from `published`.
        let unread = self.published.wrapping_sub(consumer);
        let unread_before = self.published.wrapping_sub(self.consumer);
        if unread > unread_before {
            return Err(Corrupt);
        }
        self.consumer = consumer;
        Ok(self.room())
    }

    /// Entries in the ring, staged ones included, as last known: the consumer may have taken some
    /// since.
    pub fn used(&self) -> u32 {
        self.staged.wrapping_sub(self.consumer)
    }

    /// Entries that were staged and not published.
    pub fn unpublished(&self) -> u32 {
        self.staged.wrapping_sub(self.published)
    }

    /// Writes an entry without showing it to the consumer yet. False, and nothing written, if
    /// there is no [`room`](Self::room).
    pub fn stage(&mut self, entry: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        self.prefetch_ahead();
        self.put(entry);
        true
    }

    /// Asks the CPU for a line that is written after this one: for who writes entry upon entry.
    #[inline(always)]
    pub fn prefetch_ahead(&self) {
        if self.staged.is_multiple_of(Raw::<T>::PER_LINE) {
            let ahead = LINES_AHEAD * Raw::<T>::PER_LINE;
            prefetch_write(self.raw.slot(self.staged.wrapping_add(ahead)));
        }
    }

    /// Asks the CPU for what the next entry is written to.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch_write(self.raw.slot(self.staged));
    }

    /// Asks the CPU for what [`publish`](Self::publish) writes: for when that is soon, as the consumer looks
    /// at it again and again.
    #[inline]
    pub fn prefetch_cursor(&self) {
        prefetch_write(&raw const self.raw.header().producer);
    }

    /// As [`stage`](Self::stage), for who has seen that there is [`room`](Self::room). Without it, this
    /// would overwrite what the consumer has not read.
    #[inline(always)]
    pub fn put(&mut self, entry: T) {
        debug_assert!(self.room() > 0);
        step();
        T::store(self.raw.slot(self.staged), entry);
        self.staged = self.staged.wrapping_add(1);
    }

    /// Shows the consumer all that was staged; tells how many entries that were.
    pub fn publish(&mut self) -> u32 {
        let count = self.unpublished();
        if count > 0 {
            self.published = self.staged;
            let cursor = &self.raw.header().producer.0;
            step();
            cursor.store(self.published, Ordering::Release);
        }
        count
    }

    /// Puts in as many of `entries` as fit, in order, and publishes them; tells how many.
    ///
    /// # Errors
    /// [`Corrupt`] if the consumer's cursor is impossible.
    pub fn push(&mut self, entries: &[T]) -> Result<usize, Corrupt> {
        let mut room = self.room() as usize;
        if room < entries.len() {
            room = self.refresh()? as usize;
        }
        let count = entries.len().min(room);
        for &entry in &entries[..count] {
            self.stage(entry);
        }
        self.publish();
        Ok(count)
    }
}

impl<T: Entry> Consumer<T> {
    /// The consuming side of the ring in `memory`, which must be freshly [`init`]ialised.
    ///
    /// # Safety
    /// As for [`Producer::new`].
    ///
    /// # Panics
    /// As for [`Producer::new`].
    pub unsafe fn new(memory: NonNull<u8>, capacity: u32) -> Self {
        Self {
            // SAFETY: passed on to the caller.
            raw: unsafe { Raw::new(memory, capacity) },
            taken: 0,
            released: 0,
            producer: 0,
        }
    }

    /// Asks the CPU for the producer's cursor and for the next entry, before [`refresh`](Self::refresh): for
    /// when entries are expected, as that takes the line from a producer which still writes it.
    #[inline]
    pub fn prefetch(&self) {
        prefetch_read(&raw const self.raw.header().producer);
        prefetch_read(self.raw.slot(self.taken));
    }

    /// Looks at the producer's cursor and tells how many entries wait.
    ///
    /// # Errors
    /// [`Corrupt`] if the cursor is impossible.
    pub fn refresh(&mut self) -> Result<u32, Corrupt> {
        let producer = self.raw.header().producer.0.load(Ordering::Acquire);
        let waiting = producer.wrapping_sub(self.taken);
        let waiting_before = self.producer.wrapping_sub(self.taken);
        // The producer may fill only what we have released, and never takes an entry back.
        let unreleased = self.taken.wrapping_sub(self.released);
        if waiting > self.raw.capacity() - unreleased || waiting < waiting_before {
            return Err(Corrupt);
        }
        self.producer = producer;
        if waiting > 0 {
            prefetch_read(self.raw.slot(self.taken));
            if waiting > Raw::<T>::PER_LINE {
                let next = self.taken.wrapping_add(Raw::<T>::PER_LINE);
                prefetch_read(self.raw.slot(next));
            }
        }
        Ok(waiting)
    }

    /// Entries that wait, as last known.
    pub fn waiting(&self) -> u32 {
        self.producer.wrapping_sub(self.taken)
    }

    /// Takes one entry, without giving its slot back yet. None if none was known to wait.
    pub fn take(&mut self) -> Option<T> {
        if self.taken == self.producer {
            return None;
        }
        let ahead = 2 * Raw::<T>::PER_LINE;
        // Only what has been published: a line that is still being written is not to be taken away.
        if self.taken.is_multiple_of(Raw::<T>::PER_LINE) && self.waiting() > ahead {
            prefetch_read(self.raw.slot(self.taken.wrapping_add(ahead)));
        }
        let entry = T::load(self.raw.slot(self.taken));
        self.taken = self.taken.wrapping_add(1);
        Some(entry)
    }

    /// Gives the slots of all that was taken back to the producer.
    pub fn release(&mut self) {
        if self.released != self.taken {
            self.released = self.taken;
            let cursor = &self.raw.header().consumer.0;
            step();
            cursor.store(self.released, Ordering::Release);
        }
    }

    /// Takes up to `out.len()` entries, in order, and gives their slots back; tells how many.
    ///
    /// # Errors
    /// [`Corrupt`] if the producer's cursor is impossible.
    pub fn pop(&mut self, out: &mut [T]) -> Result<usize, Corrupt> {
        let mut waiting = self.waiting() as usize;
        if waiting < out.len() {
            waiting = self.refresh()? as usize;
        }
        let count = out.len().min(waiting);
        for slot in &mut out[..count] {
            let Some(entry) = self.take() else { break };
            *slot = entry;
        }
        self.release();
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
