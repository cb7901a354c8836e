//! Frames into the queue that the guest receives from.

use crate::header::{LONG, SHORT, feature, has, to_guest};
use crate::memory::Memory;
use crate::queue::Common;
use crate::ring::{Head, INDIRECT, NEXT, Ring, WRITE, outside};
use crate::{Frame, MAX_SEGMENTS, Violation};

/// What became of the frames that were given to [`Pair::receive`](crate::Pair::receive). Those that were not
/// taken found no buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Frames that the guest has now.
    pub delivered: usize,
    /// Frames that no buffer is long enough for, as the driver has not negotiated mergeable ones. Dropped.
    pub too_long: usize,
}

impl Received {
    /// Frames that were dealt with, from the first on.
    pub fn taken(self) -> usize {
        self.delivered + self.too_long
    }
}

/// What became of a frame that did not simply fit into one descriptor.
enum Outcome {
    Delivered,
    TooLong,
    NoBuffer,
}

/// What all frames of a burst have in common.
pub(crate) struct Receiver<'a> {
    pub memory: &'a Memory,
    pub common: &'a mut Common,
    pub features: u64,
    pub header_len: usize,
    /// Scratch: the buffers that one frame takes.
    pub taken: &'a mut Vec<(Head, u32)>,
}

impl Receiver<'_> {
    #[inline]
    pub(crate) fn burst<'f, R: Ring>(
        &mut self,
        ring: &mut R,
        frames: impl Iterator<Item = Frame<'f>>,
    ) -> Result<Received, Violation> {
        ring.begin()?;
        let mut done = Received::default();
        let verified = has(self.features, feature::GUEST_CSUM);
        for frame in frames {
            let Some((head, desc)) = ring.head(ring.at())? else {
                break;
            };
            let data_valid = verified && frame.checksum_good;
            let need = self.header_len + frame.bytes.len();
            let single = desc.flags & (NEXT | INDIRECT | WRITE) == WRITE;
            if single
                && let Ok(need) = u32::try_from(need)
                && need <= desc.len
                && let Some(window) = self.memory.window(&mut self.common.hint, desc.addr, need)
            {
                let header = to_guest(data_valid, 1);
                if self.header_len == LONG {
                    window.begin_with(&header);
                    window.write(LONG, frame.bytes);
                } else {
                    let [short @ .., _, _] = header;
                    window.begin_with::<SHORT>(&short);
                    window.write(SHORT, frame.bytes);
                }
                ring.give(head, need);
                ring.end_packet();
                done.delivered += 1;
                continue;
            }
            match self.spread(ring, frame.bytes, data_valid)? {
                Outcome::Delivered => done.delivered += 1,
                Outcome::TooLong => done.too_long += 1,
                Outcome::NoBuffer => break,
            }
        }
        self.common.publish(ring, self.memory)?;
        Ok(done)
    }

    /// One frame into several descriptors, and several buffers if they may be merged (section 5.1.6.4).
    fn spread<R: Ring>(
        &mut self,
        ring: &mut R,
        frame: &[u8],
        data_valid: bool,
    ) -> Result<Outcome, Violation> {
        let need = (self.header_len + frame.len()) as u64;
        let outcome = self.gather(ring, need)?;
        if !matches!(outcome, Outcome::Delivered) {
            return Ok(outcome);
        }
        let buffers = u16::try_from(self.taken.len()).unwrap_or(u16::MAX);
        let header = to_guest(data_valid, buffers);
        self.scatter(&header[..self.header_len], frame)?;
        let mut left = need;
        for &(head, len) in &*self.taken {
            let len = u64::from(len).min(left);
            left -= len;
            ring.give(head, u32::try_from(len).unwrap_or(u32::MAX));
        }
        ring.end_packet();
        Ok(Outcome::Delivered)
    }

    /// Finds buffers for `need` bytes. Nothing is given back yet.
    fn gather<R: Ring>(&mut self, ring: &R, need: u64) -> Result<Outcome, Violation> {
        let merge = has(self.features, feature::MRG_RXBUF);
        let queue = self.common.queue;
        self.taken.clear();
        self.common.segments.clear();
        let mut at = ring.at();
        loop {
            let Some((head, desc)) = ring.head(at)? else {
                return Ok(Outcome::NoBuffer);
            };
            let before = self.common.segments.total;
            let head = ring.walk(at, desc, head, &mut self.common.walk(self.memory))?;
            let total = self.common.segments.total;
            let len = u32::try_from(total - before).unwrap_or(u32::MAX);
            // Section 5.1.6.3.1: a buffer must hold at least the header. Where it does not, nothing ever fits.
            if (len as usize) < self.header_len {
                let header = u32::try_from(self.header_len).unwrap_or(0);
                return Err(Violation::Runt { queue, len, header });
            }
            // Each has a segment of at least one byte, so there are no more of them than segments.
            debug_assert!(self.taken.len() < MAX_SEGMENTS);
            self.taken.push((head, len));
            if total >= need {
                return Ok(Outcome::Delivered);
            }
            if !merge {
                return Ok(Outcome::TooLong);
            }
            at = ring.after(at, head);
        }
    }

    /// Writes header and frame over the segments that were gathered.
    fn scatter(&mut self, header: &[u8], frame: &[u8]) -> Result<(), Violation> {
        let queue = self.common.queue;
        let mut parts = [header, frame];
        for segment in &self.common.segments.list {
            let mut address = segment.addr;
            let mut room = segment.len as usize;
            for part in &mut parts {
                let (now, later) = part.split_at(part.len().min(room));
                *part = later;
                room -= now.len();
                if now.is_empty() {
                    continue;
                }
                let written = self.memory.write(&mut self.common.hint, address, now);
                written.ok_or_else(|| outside(queue, segment.addr, segment.len))?;
                // Within the memory, so it does not overflow.
                address = address.wrapping_add(now.len() as u64);
            }
        }
        Ok(())
    }
}
