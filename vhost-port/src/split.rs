//! The split virtqueue (virtio 1.2, section 2.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use virtio_bindings::virtio_ring::{VRING_AVAIL_F_NO_INTERRUPT, VRING_USED_F_NO_NOTIFY};

use crate::memory::{Cells, Memory};
use crate::queue::{MAX_SIZE, area};
use crate::ring::{Desc, Head, INDIRECT, NEXT, Ring, Walk, Word, too_long};
use crate::{Direction, Part, QueueSetup, Violation};

/// Words of 16 bits before the available ring's entries: flags and index.
const AVAIL_RING: usize = 2;

/// Words of 32 bits before the used ring's entries: flags and index in one.
const USED_RING: usize = 1;

/// Buffers given back before they are put into the used ring, at most.
const PENDING: usize = 64;

#[derive(Debug)]
pub(crate) struct Split {
    queue: Direction,
    size: u16,
    mask: u16,
    event_idx: bool,
    /// Two words for each descriptor.
    desc: Cells<AtomicU64>,
    /// Flags, index, ring, and `used_event` if there are event indexes.
    avail: Cells<AtomicU16>,
    /// Flags and index, ring of index and length.
    used: Cells<AtomicU32>,
    /// Of the first buffer that has not been given back. Of 16 bits, as all indexes, but see [`Word`].
    next: Word,
    /// The driver's index, as of the last [`begin`](Ring::begin).
    ready: Word,
    /// What the driver has been shown of `next`.
    published: Word,
    /// Index and length of the last buffers before `next`. They are put into the used ring together: between
    /// two packets the driver, which reads there, would take its lines away again.
    pending: [(u32, u32); PENDING],
    count: usize,
}

impl Split {
    pub(crate) fn new(
        memory: &Arc<Memory>,
        setup: &QueueSetup,
        queue: Direction,
        event_idx: bool,
    ) -> Result<Self, Violation> {
        let size = setup.size;
        if !size.is_power_of_two() || size > MAX_SIZE {
            return Err(Violation::QueueSize { queue, size });
        }
        let entries = u16::try_from(size).unwrap_or(u16::MAX);
        let events = u32::from(event_idx);
        area(queue, Part::Descriptors, setup.desc, 16)?;
        let desc = Cells::new(memory, setup.desc, 2 * size)
            .ok_or_else(|| outside_ring(queue, Part::Descriptors, setup.desc, 16 * size))?;
        area(queue, Part::Driver, setup.avail, 2)?;
        let avail = Cells::new(memory, setup.avail, 2 + size + events).ok_or_else(|| {
            outside_ring(queue, Part::Driver, setup.avail, 2 * (2 + size + events))
        })?;
        area(queue, Part::Device, setup.used, 4)?;
        let used_len = 4 + 8 * size;
        let used: Cells<AtomicU32> = Cells::new(memory, setup.used, used_len / 4)
            .ok_or_else(|| outside_ring(queue, Part::Device, setup.used, used_len))?;
        // Buffers are given back in order, so one index says where both rings are. Where `base` and the ring
        // differ, as after a crash of ours, the ring knows (DPDK's lib/vhost does the same).
        let next = Word::new(high(used.get(0).load(Ordering::Acquire)));
        let ring = Self {
            queue,
            size: entries,
            mask: entries - 1,
            event_idx,
            desc,
            avail,
            used,
            next,
            ready: next,
            published: next,
            pending: [(0, 0); PENDING],
            count: 0,
        };
        ring.store_index();
        if event_idx {
            ring.silence(memory, setup.used + u64::from(used_len))?;
        }
        Ok(ring)
    }

    /// `avail_event`, once for all: we poll. The driver kicks when its index passes this, which is after 65535
    /// more buffers. Without event indexes a flag says so, for good (section 2.7.10).
    fn silence(&self, memory: &Arc<Memory>, address: u64) -> Result<(), Violation> {
        let event = Cells::<AtomicU16>::new(memory, address, 1)
            .ok_or_else(|| outside_ring(self.queue, Part::Device, address, 2))?;
        event
            .get(0)
            .store(self.next.get().wrapping_sub(1), Ordering::Relaxed);
        Ok(())
    }

    fn store_index(&self) {
        let flags = if self.event_idx {
            0
        } else {
            VRING_USED_F_NO_NOTIFY
        };
        let word = u32::from(self.next.get()) << 16 | flags;
        self.used.get(0).store(word, Ordering::Release);
    }

    /// Puts what is pending into the used ring. The driver does not look there before its index says so.
    #[inline]
    fn flush(&mut self) {
        let pending = &self.pending[..self.count];
        // No more than there are pending.
        let count = u16::try_from(pending.len()).unwrap_or(0);
        let mut index = self.next.get().wrapping_sub(count);
        for (id, len) in pending {
            let at = USED_RING + 2 * usize::from(index & self.mask);
            self.used.get(at).store(*id, Ordering::Relaxed);
            self.used.get(at + 1).store(*len, Ordering::Relaxed);
            index = index.wrapping_add(1);
        }
        self.count = 0;
    }

    #[inline(always)]
    fn desc(&self, index: u16) -> Result<Desc, Violation> {
        if index >= self.size {
            return Err(no_such(self.queue, index, self.size));
        }
        let at = usize::from(index) * 2;
        let addr = self.desc.get(at).load(Ordering::Relaxed);
        let word = self.desc.get(at + 1).load(Ordering::Relaxed);
        Ok(Desc::split(addr, word))
    }

    /// Whether the driver wants to hear of what was published since `old` (sections 2.7.7 and 2.7.10).
    fn wanted(&self, old: u16) -> bool {
        // The index must be out before the driver's wish is read, or both could miss the other.
        fence(Ordering::SeqCst);
        if !self.event_idx {
            let flags = u32::from(self.avail.get(0).load(Ordering::Relaxed));
            return flags & VRING_AVAIL_F_NO_INTERRUPT == 0;
        }
        let used_event = AVAIL_RING + usize::from(self.size);
        let event = self.avail.get(used_event).load(Ordering::Relaxed);
        passed(event, self.next.get(), old)
    }
}

impl Ring for Split {
    type At = u16;

    fn begin(&mut self) -> Result<(), Violation> {
        let index = self.avail.get(1).load(Ordering::Acquire);
        if index.wrapping_sub(self.next.get()) > self.size {
            return Err(Violation::AvailableIndex {
                queue: self.queue,
                index,
                seen: self.next.get(),
                size: self.size,
            });
        }
        self.ready = Word::new(index);
        Ok(())
    }

    fn available(&self) -> usize {
        usize::from(self.ready.get().wrapping_sub(self.next.get()))
    }

    #[inline(always)]
    fn at(&self) -> u16 {
        self.next.get()
    }

    #[inline(always)]
    fn after(&self, at: u16, _: Head) -> u16 {
        at.wrapping_add(1)
    }

    #[inline(always)]
    fn head(&self, at: u16) -> Result<Option<(Head, Desc)>, Violation> {
        if at == self.ready.get() {
            return Ok(None);
        }
        let entry = AVAIL_RING + usize::from(at & self.mask);
        let id = self.avail.get(entry).load(Ordering::Relaxed);
        Ok(Some((Head { id, slots: 1 }, self.desc(id)?)))
    }

    fn walk(&self, _: u16, first: Desc, head: Head, to: &mut Walk<'_>) -> Result<Head, Violation> {
        let mut desc = first;
        for _ in 0..self.size {
            if desc.flags & INDIRECT != 0 {
                to.table(desc, self.size, true)?;
                return Ok(head);
            }
            to.take(desc)?;
            if desc.flags & NEXT == 0 {
                return Ok(head);
            }
            desc = self.desc(desc.tag)?;
        }
        Err(too_long(self.queue, usize::from(self.size)))
    }

    #[inline(always)]
    fn give(&mut self, head: Head, len: u32) {
        if let Some(place) = self.pending.get_mut(self.count) {
            *place = (head.id.into(), len);
        }
        self.count += 1;
        self.next = Word::new(self.next.get().wrapping_add(1));
        if self.count == PENDING {
            self.flush();
        }
    }

    /// It sees nothing before its index moves.
    #[inline(always)]
    fn end_packet(&mut self) {}

    fn publish(&mut self) -> bool {
        if self.next.get() == self.published.get() {
            return false;
        }
        self.flush();
        self.store_index();
        let old = self.published.get();
        self.published = self.next;
        self.wanted(old)
    }

    fn base(&self) -> u32 {
        self.next.get().into()
    }

    #[inline(always)]
    fn ahead(&self, ahead: u16) -> Option<u64> {
        if ahead >= self.ready.get().wrapping_sub(self.next.get()) {
            return None;
        }
        let at = self.next.get().wrapping_add(ahead);
        let entry = AVAIL_RING + usize::from(at & self.mask);
        let id = self.avail.get(entry).load(Ordering::Relaxed);
        let desc = 2 * usize::from(id & self.mask);
        Some(self.desc.get(desc).load(Ordering::Relaxed))
    }
}

/// Whether an index that went from `old` to `new` passed `event` (section 2.7.7.1, `vring_need_event`).
pub(crate) fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

fn high(word: u32) -> u16 {
    let [.., low, high] = word.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cold]
fn no_such(queue: Direction, index: u16, size: u16) -> Violation {
    Violation::DescriptorIndex { queue, index, size }
}

fn outside_ring(queue: Direction, part: Part, address: u64, len: u32) -> Violation {
    let len = u64::from(len);
    Violation::RingAddress {
        queue,
        part,
        address,
        len,
    }
}
