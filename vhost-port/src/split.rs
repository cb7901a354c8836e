//! The split virtqueue (virtio 1.2, section 2.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

use virtio_bindings::virtio_ring::{VRING_AVAIL_F_NO_INTERRUPT, VRING_USED_F_NO_NOTIFY};

use crate::memory::{Cells, Hint, Memory};
use crate::queue::{MAX_SIZE, area};
use crate::ring::{Desc, Head, INDIRECT, NEXT, Ring, Walk, too_long};
use crate::{Direction, Part, QueueSetup, Violation};

/// Words of 16 bits before the available ring's entries: flags and index.
const AVAIL_RING: usize = 2;

/// Words of 32 bits before the used ring's entries: flags and index in one.
const USED_RING: usize = 1;

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
    /// Of the first buffer that has not been given back.
    next: u16,
    /// The driver's index, as of the last [`begin`](Ring::begin).
    ready: u16,
    /// What the driver has been shown of `next`.
    published: u16,
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
        let next = high(used.get(0).load(Ordering::Acquire));
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
            .store(self.next.wrapping_sub(1), Ordering::Relaxed);
        Ok(())
    }

    fn store_index(&self) {
        let flags = if self.event_idx {
            0
        } else {
            VRING_USED_F_NO_NOTIFY
        };
        let word = u32::from(self.next) << 16 | flags;
        self.used.get(0).store(word, Ordering::Release);
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
        passed(event, self.next, old)
    }
}

impl Ring for Split {
    type At = u16;

    fn begin(&mut self) -> Result<(), Violation> {
        let index = self.avail.get(1).load(Ordering::Acquire);
        if index.wrapping_sub(self.next) > self.size {
            return Err(Violation::AvailableIndex {
                queue: self.queue,
                index,
                seen: self.next,
                size: self.size,
            });
        }
        self.ready = index;
        Ok(())
    }

    fn available(&self) -> usize {
        usize::from(self.ready.wrapping_sub(self.next))
    }

    #[inline(always)]
    fn at(&self) -> u16 {
        self.next
    }

    #[inline(always)]
    fn after(&self, at: u16, _: Head) -> u16 {
        at.wrapping_add(1)
    }

    #[inline(always)]
    fn head(&self, at: u16) -> Result<Option<(Head, Desc)>, Violation> {
        if at == self.ready {
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
        let at = USED_RING + 2 * usize::from(self.next & self.mask);
        self.used
            .get(at)
            .store(u32::from(head.id), Ordering::Relaxed);
        self.used.get(at + 1).store(len, Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
    }

    fn publish(&mut self) -> bool {
        if self.next == self.published {
            return false;
        }
        self.store_index();
        let old = self.published;
        self.published = self.next;
        self.wanted(old)
    }

    fn base(&self) -> u32 {
        u32::from(self.next)
    }

    #[inline(always)]
    fn prefetch(&self, ahead: u16, memory: &Memory, hint: Hint) {
        let left = self.ready.wrapping_sub(self.next);
        if ahead < left {
            let at = self.next.wrapping_add(ahead);
            let id = self
                .avail
                .get(AVAIL_RING + usize::from(at & self.mask))
                .load(Ordering::Relaxed);
            let addr = self
                .desc
                .get(2 * usize::from(id & self.mask))
                .load(Ordering::Relaxed);
            memory.prefetch(hint, addr);
        }
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
