//! The packed virtqueue (virtio 1.2, section 2.8).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use virtio_bindings::virtio_ring::{
    VRING_PACKED_DESC_F_AVAIL, VRING_PACKED_DESC_F_USED, VRING_PACKED_EVENT_FLAG_DESC,
    VRING_PACKED_EVENT_FLAG_DISABLE,
};

use crate::memory::{Cells, Memory};
use crate::queue::{MAX_SIZE, area};
use crate::ring::{Desc, Head, INDIRECT, NEXT, Ring, WRITE, Walk, Word, too_long};
use crate::split::passed;
use crate::{Direction, Part, QueueSetup, Violation};

const AVAIL: u16 = 1 << VRING_PACKED_DESC_F_AVAIL;
const USED: u16 = 1 << VRING_PACKED_DESC_F_USED;

/// Descriptors in a cache line. What was given back is shown line by line: the driver can go on with it, and the CPU
/// gets the next line from the driver's core while it copies.
const LINE: u16 = 4;
/// How many descriptors ahead a line of them is asked for, to be written.
const DESCRIPTORS_AHEAD: u16 = 8;

/// A place in the ring, and the wrap counter's value there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    index: u16,
    wrap: bool,
}

impl At {
    /// As in `base`: the index, and the wrap counter above it.
    #[inline(always)]
    fn packed(self) -> u16 {
        self.index | u16::from(self.wrap) << 15
    }

    #[inline(always)]
    fn from_packed(value: u16) -> Self {
        Self {
            index: value & 0x7fff,
            wrap: value & 0x8000 != 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Packed {
    queue: Direction,
    size: u16,
    event_idx: bool,
    /// Two words for each descriptor.
    desc: Cells<AtomicU64>,
    /// The driver's event suppression: offset and wrap counter, and flags above them.
    driver: Cells<AtomicU32>,
    /// The first buffer that has not been given back, [packed](At::packed).
    next: Word,
    /// Where `next` was when the driver was last asked whether it wants to know.
    asked: Word,
    /// Second word of the first used descriptor that the driver has not been shown, and which one that is. The driver
    /// looks there for news, so those behind it are in their places already.
    first: (usize, u64),
    /// How many these are.
    pending: usize,
    /// Buffers shown since `asked`.
    shown: usize,
}

impl Packed {
    pub(crate) fn new(
        memory: &Arc<Memory>,
        setup: &QueueSetup,
        queue: Direction,
        event_idx: bool,
    ) -> Result<Self, Violation> {
        let size = setup.size;
        let Some(entries) = u16::try_from(size)
            .ok()
            .filter(|_| size > 0 && size <= MAX_SIZE)
        else {
            return Err(Violation::QueueSize { queue, size });
        };
        let place = |part, address, len| Violation::RingAddress {
            queue,
            part,
            address,
            len,
        };
        area(queue, Part::Descriptors, setup.desc, 16)?;
        let desc = Cells::new(memory, setup.desc, 2 * size)
            .ok_or_else(|| place(Part::Descriptors, setup.desc, u64::from(16 * size)))?;
        area(queue, Part::Driver, setup.avail, 4)?;
        let driver = Cells::new(memory, setup.avail, 1)
            .ok_or_else(|| place(Part::Driver, setup.avail, 4))?;
        area(queue, Part::Device, setup.used, 4)?;
        let device: Cells<AtomicU32> =
            Cells::new(memory, setup.used, 1).ok_or_else(|| place(Part::Device, setup.used, 4))?;
        // Buffers are given back in order, so the used index is the available one. Front ends disagree on
        // what they put into the used half of `base` at the start; DPDK's lib/vhost does not look at it either.
        let next = u16::try_from(setup.base & 0xffff).unwrap_or(0);
        let At { index, .. } = At::from_packed(next);
        if index >= entries {
            return Err(Violation::DescriptorIndex {
                queue,
                index,
                size: entries,
            });
        }
        // No kicks: we poll (section 2.8.10).
        device
            .get(0)
            .store(VRING_PACKED_EVENT_FLAG_DISABLE << 16, Ordering::Release);
        let next = Word::new(next);
        Ok(Self {
            queue,
            size: entries,
            event_idx,
            desc,
            driver,
            next,
            asked: next,
            first: (0, 0),
            pending: 0,
            shown: 0,
        })
    }

    #[inline(always)]
    fn desc(&self, index: u16, order: Ordering) -> Desc {
        let at = usize::from(index) * 2;
        // The word with the flags first: they say whether the rest is valid.
        let word = self.desc.get(at + 1).load(order);
        let addr = self.desc.get(at).load(Ordering::Relaxed);
        Desc::packed(addr, word)
    }

    #[inline(always)]
    fn step(&self, at: At, slots: u16) -> At {
        let index = at.index + slots;
        if index >= self.size {
            At {
                index: index - self.size,
                wrap: !at.wrap,
            }
        } else {
            At { index, ..at }
        }
    }

    /// Shows the driver what is pending.
    #[inline(always)]
    fn flush(&mut self) {
        if self.pending > 0 {
            let (index, word) = self.first;
            self.desc.get(index * 2 + 1).store(word, Ordering::Release);
            self.shown += self.pending;
            self.pending = 0;
        }
    }

    /// Asks the CPU for the descriptors of buffers further on. Not of those that are sent: there the driver may be
    /// writing still.
    #[inline(always)]
    fn prefetch(&self) {
        if self.queue == Direction::Receive {
            let At { index, .. } = self.step(self.at(), DESCRIPTORS_AHEAD.min(self.size));
            ring::prefetch_write(self.desc.get(usize::from(index) * 2));
        }
    }

    /// Whether the driver wants to hear of what was published since `old` (section 2.8.10).
    fn wanted(&self, old: At) -> bool {
        // The descriptors must be out before the driver's wish is read, or both could miss the other.
        fence(Ordering::SeqCst);
        let word = self.driver.get(0).load(Ordering::Relaxed);
        match word >> 16 & 3 {
            VRING_PACKED_EVENT_FLAG_DISABLE => false,
            VRING_PACKED_EVENT_FLAG_DESC if self.event_idx => {
                let off = u16::try_from(word & 0x7fff).unwrap_or(0);
                let wrap = word & 0x8000 != 0;
                let new = self.at();
                // As if the ring went on for ever: a place of the round before is `size` lower.
                let lower = |value: u16, round_before| {
                    if round_before {
                        value.wrapping_sub(self.size)
                    } else {
                        value
                    }
                };
                let event = lower(off, wrap != new.wrap);
                passed(event, new.index, lower(old.index, new.index <= old.index))
            }
            _ => true,
        }
    }
}

impl Ring for Packed {
    type At = At;

    fn begin(&mut self) -> Result<(), Violation> {
        Ok(())
    }

    /// The ring does not say how many there are.
    fn available(&self) -> usize {
        match self.head(self.at()) {
            Ok(Some(_)) => usize::from(self.size),
            _ => 0,
        }
    }

    #[inline(always)]
    fn at(&self) -> At {
        At::from_packed(self.next.get())
    }

    #[inline(always)]
    fn after(&self, at: At, head: Head) -> At {
        self.step(at, head.slots)
    }

    #[inline(always)]
    fn head(&self, at: At) -> Result<Option<(Head, Desc)>, Violation> {
        let desc = self.desc(at.index, Ordering::Acquire);
        let (avail, used) = (desc.flags & AVAIL != 0, desc.flags & USED != 0);
        // Available in this round, and not used in it (section 2.8.1).
        if avail != at.wrap || used == at.wrap {
            return Ok(None);
        }
        let head = Head {
            id: desc.tag,
            slots: 1,
        };
        Ok(Some((head, desc)))
    }

    /// The flags of the first descriptor were written last, so those behind it are there (section 2.8.6).
    fn walk(&self, at: At, first: Desc, _: Head, to: &mut Walk<'_>) -> Result<Head, Violation> {
        let (mut desc, mut place) = (first, at);
        for slots in 1..=self.size {
            if desc.flags & INDIRECT != 0 {
                to.table(desc, self.size, false)?;
            } else {
                to.take(desc)?;
            }
            if desc.flags & NEXT == 0 {
                return Ok(Head {
                    id: desc.tag,
                    slots,
                });
            }
            place = self.step(place, 1);
            desc = self.desc(place.index, Ordering::Relaxed);
        }
        Err(too_long(self.queue, usize::from(self.size)))
    }

    #[inline(always)]
    fn give(&mut self, head: Head, len: u32) {
        // Both bits as the wrap counter; and whether `len` means anything (section 2.8.4).
        let at = self.at();
        let mut flags = if at.wrap { AVAIL | USED } else { 0 };
        if self.queue == Direction::Receive {
            flags |= WRITE;
        }
        let word = u64::from(flags) << 48 | u64::from(head.id) << 32 | u64::from(len);
        let index = at.index.into();
        if self.pending == 0 {
            self.first = (index, word);
        } else {
            self.desc.get(index * 2 + 1).store(word, Ordering::Relaxed);
        }
        self.pending += 1;
        self.next = Word::new(self.step(at, head.slots).packed());
    }

    #[inline(always)]
    fn end_packet(&mut self) {
        let line = |index: usize| index / usize::from(LINE);
        if line(self.first.0) != line(self.at().index.into()) {
            self.flush();
            self.prefetch();
        }
    }

    fn publish(&mut self) -> bool {
        self.flush();
        if self.shown == 0 {
            return false;
        }
        self.shown = 0;
        let old = self.asked;
        self.asked = self.next;
        self.wanted(At::from_packed(old.get()))
    }

    /// Both halves: the used index is the available one.
    fn base(&self) -> u32 {
        let place = u32::from(self.next.get());
        place << 16 | place
    }

    #[inline(always)]
    fn ahead(&self, ahead: u16) -> Option<u64> {
        let place = self.step(self.at(), ahead.min(self.size));
        let (_, desc) = self.head(place).ok()??;
        Some(desc.addr)
    }
}
