//! What split and packed virtqueues have in common: descriptors, chains of them, indirect tables.

use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};

use crate::memory::{Hint, Memory};
use crate::{Direction, Violation};

#[expect(clippy::cast_possible_truncation, reason = "constants of 1, 2 and 4")]
mod flag {
    pub(crate) const NEXT: u16 = super::VRING_DESC_F_NEXT as u16;
    pub(crate) const WRITE: u16 = super::VRING_DESC_F_WRITE as u16;
    pub(crate) const INDIRECT: u16 = super::VRING_DESC_F_INDIRECT as u16;
}
pub(crate) use flag::{INDIRECT, NEXT, WRITE};

/// Descriptors that one packet may be spread over, at most, however large the queue. QEMU's bound
/// (`VIRTQUEUE_MAX_SIZE`); Linux uses up to 19, DPDK's lib/vhost takes up to 256.
pub const MAX_SEGMENTS: usize = 1024;

/// How many buffers ahead of the one that is copied the CPU is asked for one: two lines each, as many as it waits
/// for at a time.
pub(crate) const AHEAD: u16 = 12;

/// Bytes of a descriptor, in all formats (virtio 1.2, sections 2.7.5 and 2.8.13).
pub(crate) const DESC_LEN: u32 = 16;

/// A descriptor, read once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desc {
    pub addr: u64,
    pub len: u32,
    pub flags: u16,
    /// Split: the next descriptor's index. Packed: the buffer's id.
    pub tag: u16,
}

#[expect(clippy::cast_possible_truncation, reason = "it takes the words apart")]
impl Desc {
    /// From the two words of a split queue's descriptor.
    #[inline(always)]
    pub(crate) fn split(addr: u64, word: u64) -> Self {
        Self {
            addr,
            len: word as u32,
            flags: (word >> 32) as u16,
            tag: (word >> 48) as u16,
        }
    }

    /// From the two words of a packed queue's descriptor.
    #[inline(always)]
    pub(crate) fn packed(addr: u64, word: u64) -> Self {
        Self {
            addr,
            len: word as u32,
            flags: (word >> 48) as u16,
            tag: (word >> 32) as u16,
        }
    }
}

/// A number of 16 bits that changes with each packet, in 32: x86 code may load four bytes for a number of two. A
/// load that is wider than the store before it waits until that is in the cache, behind the whole frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word(u32);

impl Word {
    #[inline(always)]
    pub(crate) fn new(value: u16) -> Self {
        Self(value.into())
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it was a u16")]
    pub(crate) fn get(self) -> u16 {
        self.0 as u16
    }
}

/// A buffer that the driver has made available, as it is to be given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Split: the index of its first descriptor. Packed: its id.
    pub id: u16,
    /// Entries of the ring that it takes.
    pub slots: u16,
}

/// A virtqueue, seen from the device. Buffers are used in the order in which they were made available
/// (`VIRTIO_F_IN_ORDER`), so that one place in the ring says it all.
pub(crate) trait Ring {
    /// A place in the ring.
    type At: Copy;

    /// Looks what the driver has made available. Before each burst.
    fn begin(&mut self) -> Result<(), Violation>;
    /// How many buffers there may be, as of the last [`begin`](Self::begin): 0 if there is none.
    fn available(&self) -> usize;
    /// The place of the first buffer that has not been given back.
    fn at(&self) -> Self::At;
    /// The place behind a buffer.
    fn after(&self, at: Self::At, head: Head) -> Self::At;
    /// The buffer at a place, and its first descriptor; if that is its only one, `head` is final, else
    /// [`walk`](Self::walk) gives it.
    fn head(&self, at: Self::At) -> Result<Option<(Head, Desc)>, Violation>;
    /// Collects all descriptors of the buffer at a place.
    fn walk(
        &self,
        at: Self::At,
        first: Desc,
        head: Head,
        to: &mut Walk<'_>,
    ) -> Result<Head, Violation>;
    /// Gives back the buffer at [`at`](Self::at), into which `len` bytes were written. The driver sees it after one of
    /// the next [`end_packet`](Self::end_packet)s, or [`publish`](Self::publish).
    fn give(&mut self, head: Head, len: u32);
    /// All buffers of a packet have been given back, and may be shown to the driver: it takes a part of them for a
    /// mistake.
    fn end_packet(&mut self);
    /// Shows the driver what was given back. Whether it wants to be notified of it.
    fn publish(&mut self) -> bool;
    /// For `VHOST_USER_GET_VRING_BASE`.
    fn base(&self) -> u32;
    /// Where the buffer starts that is `ahead` buffers further, if it is there: for a hint.
    fn ahead(&self, ahead: u16) -> Option<u64>;
}

/// A part of a packet in the guest's memory. Not checked: it is when it is accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub addr: u64,
    pub len: u32,
}

/// The parts of a packet, in memory that was allocated before.
#[derive(Debug)]
pub(crate) struct Segments {
    pub list: Vec<Segment>,
    /// Bytes of all.
    pub total: u64,
}

impl Segments {
    pub(crate) fn new() -> Self {
        Self {
            list: Vec::with_capacity(MAX_SEGMENTS),
            total: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.total = 0;
    }
}

/// What collecting a chain needs.
pub(crate) struct Walk<'a> {
    pub queue: Direction,
    pub memory: &'a Memory,
    pub hint: &'a mut Hint,
    pub segments: &'a mut Segments,
    /// Whether `VIRTIO_F_INDIRECT_DESC` was negotiated.
    pub indirect: bool,
}

impl Walk<'_> {
    /// Takes a descriptor that is no indirect one.
    pub(crate) fn take(&mut self, desc: Desc) -> Result<(), Violation> {
        let Self { queue, .. } = *self;
        let flags = desc.flags;
        if (flags & WRITE != 0) != (queue == Direction::Receive) {
            return Err(Violation::WrongWay { queue, flags });
        }
        // Those of no bytes are allowed, and bounded by the chain's length.
        if desc.len == 0 {
            return Ok(());
        }
        let segments = &mut *self.segments;
        if segments.list.len() == MAX_SEGMENTS {
            return Err(too_long(queue, MAX_SEGMENTS));
        }
        segments.total += u64::from(desc.len);
        segments.list.push(Segment {
            addr: desc.addr,
            len: desc.len,
        });
        Ok(())
    }

    /// Takes an indirect table (sections 2.7.5.3 and 2.8.7), of at most `size` entries. Each is read once, so
    /// that what was checked is what is used. `linked`: of a split queue, where `next` says how it goes on;
    /// the entries of a packed queue's are used one by one.
    pub(crate) fn table(&mut self, desc: Desc, size: u16, linked: bool) -> Result<(), Violation> {
        let Self {
            queue, indirect, ..
        } = *self;
        let (flags, len) = (desc.flags, desc.len);
        if !indirect || flags & NEXT != 0 {
            return Err(Violation::IndirectFlags { queue, flags });
        }
        let count = len / DESC_LEN;
        if len % DESC_LEN != 0 || count == 0 || count > u32::from(size) {
            return Err(Violation::IndirectTable { queue, len });
        }
        let mut index = 0;
        for _ in 0..count {
            let entry = self.entry(desc.addr, index, linked)?;
            if linked && entry.flags & INDIRECT != 0 {
                let flags = entry.flags;
                return Err(Violation::IndirectFlags { queue, flags });
            }
            self.take(entry)?;
            if linked && entry.flags & NEXT == 0 {
                return Ok(());
            }
            index = if linked {
                u32::from(entry.tag)
            } else {
                index + 1
            };
            if linked && index >= count {
                return Err(Violation::DescriptorIndex {
                    queue,
                    index: entry.tag,
                    size: u16::try_from(count).unwrap_or(size),
                });
            }
        }
        // A linked table must have ended before.
        if linked {
            return Err(too_long(queue, count as usize));
        }
        Ok(())
    }

    fn entry(&mut self, table: u64, index: u32, linked: bool) -> Result<Desc, Violation> {
        let mut bytes = [0; DESC_LEN as usize];
        let read = table
            .checked_add(u64::from(index * DESC_LEN))
            .and_then(|address| self.memory.read(self.hint, address, &mut bytes));
        read.ok_or_else(|| outside(self.queue, table, (index + 1) * DESC_LEN))?;
        let ([addr, word], _) = bytes.as_chunks::<8>() else {
            return Err(outside(self.queue, table, DESC_LEN));
        };
        let (addr, word) = (u64::from_le_bytes(*addr), u64::from_le_bytes(*word));
        Ok(if linked {
            Desc::split(addr, word)
        } else {
            Desc::packed(addr, word)
        })
    }
}

#[cold]
pub(crate) fn too_long(queue: Direction, limit: usize) -> Violation {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    Violation::ChainTooLong { queue, limit }
}

#[cold]
pub(crate) fn outside(queue: Direction, address: u64, len: u32) -> Violation {
    Violation::BufferAddress {
        queue,
        address,
        len,
    }
}
