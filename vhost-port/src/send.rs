//! Packets out of the queue that the guest sends into.

use crate::gso::{Gso, NeedsChecksum};
use crate::header::{LONG, SHORT, from_guest};
use crate::memory::Memory;
use crate::queue::Common;
use crate::ring::{AHEAD, INDIRECT, NEXT, Ring, WRITE, outside};
use crate::{Direction, Violation};

/// Bytes of a frame from a guest, at most, without the virtio-net header: as many as `wire` parses. Linux
/// and DPDK stay below it with segmentation offload, too.
pub const MAX_FRAME: usize = 65535;

/// Packets discarded in a burst while the queue is disabled.
const DISCARD: usize = 64;

/// A packet of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the frame, at most [`MAX_FRAME`]. May be 0: a driver can send less than a frame.
    pub len: usize,
    /// The checksum that the guest has left to us, if it has. Not checked; see
    /// [`complete_checksum`](crate::complete_checksum).
    pub checksum: Option<NeedsChecksum>,
    /// How the frame is to be segmented, if it is. Not checked; see [`Segmented`](crate::Segmented), which
    /// makes the checksums too.
    pub gso: Option<Gso>,
}

/// What [`Pair::copy_next`](crate::Pair::copy_next) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// No more packets in this burst.
    End,
    /// It was copied.
    Copied(Sent),
    /// It is longer than the buffer, and still the next: ask again with one of at least this length
    /// ([`MAX_FRAME`] is always enough; the guest may change its mind meanwhile), or skip it.
    Larger(Sent),
}

/// What all packets of a burst have in common.
pub(crate) struct Sender<'a> {
    pub memory: &'a Memory,
    pub common: &'a mut Common,
    pub features: u64,
    pub header_len: usize,
}

impl Sender<'_> {
    /// Before the first packet of a burst.
    pub(crate) fn look_ahead<R: Ring>(&self, ring: &R) {
        for ahead in 0..AHEAD {
            self.prefetch(ring, ahead);
        }
    }

    #[inline(always)]
    fn prefetch<R: Ring>(&self, ring: &R, ahead: u16) {
        if let Some(addr) = ring.ahead(ahead) {
            self.memory.prefetch_read(self.common.hint, addr);
        }
    }

    #[inline]
    pub(crate) fn next<R: Ring>(&mut self, ring: &mut R, to: &mut [u8]) -> Result<Next, Violation> {
        let Some((head, desc)) = ring.head(ring.at())? else {
            return Ok(Next::End);
        };
        self.prefetch(ring, AHEAD);
        let mut header = [0; SHORT];
        let single = desc.flags & (NEXT | INDIRECT | WRITE) == 0;
        if single
            && let Some(window) = self
                .memory
                .window(&mut self.common.hint, desc.addr, desc.len)
        {
            let len = self.frame_len(u64::from(desc.len))?;
            window.read(0, &mut header);
            let sent = self.sent(len, &header);
            let Some(to) = to.get_mut(..len) else {
                return Ok(Next::Larger(sent));
            };
            // A constant where it is the usual one.
            if self.header_len == LONG {
                window.read(LONG, to);
            } else {
                window.read(SHORT, to);
            }
            ring.give(head, 0);
            ring.end_packet();
            return Ok(Next::Copied(sent));
        }
        self.gathered(ring, to)
    }

    /// A packet of several descriptors, or one across regions.
    fn gathered<R: Ring>(&mut self, ring: &mut R, to: &mut [u8]) -> Result<Next, Violation> {
        let Some((head, desc)) = ring.head(ring.at())? else {
            return Ok(Next::End);
        };
        self.common.segments.clear();
        let head = ring.walk(ring.at(), desc, head, &mut self.common.walk(self.memory))?;
        let len = self.frame_len(self.common.segments.total)?;
        let mut header = [0; LONG];
        self.gather(0, &mut header[..self.header_len])?;
        let [head_bytes @ .., _, _] = header;
        let sent = self.sent(len, &head_bytes);
        let Some(to) = to.get_mut(..len) else {
            return Ok(Next::Larger(sent));
        };
        self.gather(self.header_len, to)?;
        ring.give(head, 0);
        ring.end_packet();
        Ok(Next::Copied(sent))
    }

    /// Copies from byte `skip` of the segments on, of which there are enough.
    fn gather(&mut self, mut skip: usize, mut to: &mut [u8]) -> Result<(), Violation> {
        for segment in &self.common.segments.list {
            let len = segment.len as usize;
            if skip >= len {
                skip -= len;
                continue;
            }
            let here = (len - skip).min(to.len());
            let (now, later) = to.split_at_mut(here);
            let read = segment
                .addr
                .checked_add(skip as u64)
                .and_then(|address| self.memory.read(&mut self.common.hint, address, now));
            read.ok_or_else(|| outside(Direction::Send, segment.addr, segment.len))?;
            (to, skip) = (later, 0);
            if to.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Passes over a packet.
    pub(crate) fn skip<R: Ring>(&mut self, ring: &mut R) -> Result<bool, Violation> {
        let Some((head, desc)) = ring.head(ring.at())? else {
            return Ok(false);
        };
        self.common.segments.clear();
        let head = ring.walk(ring.at(), desc, head, &mut self.common.walk(self.memory))?;
        ring.give(head, 0);
        ring.end_packet();
        Ok(true)
    }

    /// What a disabled queue does with packets ("must process and discard", vhost-user's "Ring states").
    pub(crate) fn discard<R: Ring>(&mut self, ring: &mut R) -> Result<(), Violation> {
        for _ in 0..DISCARD {
            if !self.skip(ring)? {
                break;
            }
        }
        self.common.publish(ring, self.memory)
    }

    /// Bytes of the frame in a packet of `total` bytes. Without a whole header it is a breach (section
    /// 5.1.6.2; QEMU ends the device then, too), as is more than any frame has.
    #[inline(always)]
    fn frame_len(&self, total: u64) -> Result<usize, Violation> {
        let header = self.header_len as u64;
        match total.checked_sub(header) {
            Some(len) if len <= MAX_FRAME as u64 => Ok(usize::try_from(len).unwrap_or(0)),
            Some(_) => Err(Violation::PacketTooLong { len: total }),
            None => Err(Violation::Runt {
                queue: Direction::Send,
                len: u32::try_from(total).unwrap_or(0),
                header: u32::try_from(header).unwrap_or(0),
            }),
        }
    }

    #[inline(always)]
    fn sent(&self, len: usize, header: &[u8; SHORT]) -> Sent {
        let (checksum, gso) = from_guest(header, self.features);
        Sent { len, checksum, gso }
    }
}
