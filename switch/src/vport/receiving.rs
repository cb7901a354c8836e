//! What a vport receives: staged in its `rx` ring within its quota and limits, then shown to the stack.

use port_api::Desc;

use super::{Peer, Vport};
use crate::io::{Buf, Bufs, Io};
use crate::verdict::DropReason;

/// Packets for a vport after which its `free` ring is worth a look: half a cache line of it.
const DRAIN_AFTER: u32 = 8;

/// Why a packet is not in the `rx` ring.
pub enum Unstaged {
    /// The quota is used up, or the ring is full.
    Full(DropReason),
    /// The vport is to be shut.
    Corrupt,
}

impl Vport {
    /// Puts a packet into the `rx` ring, to be [shown](Self::show). `has_more`: others are likely to
    /// come for it soon.
    ///
    /// # Errors
    /// The packet, and why it cannot be.
    #[inline(always)]
    pub fn stage<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
        buf: I::Buf,
        nic: u8,
        checksum: bool,
        has_more: bool,
    ) -> Result<(), (I::Buf, Unstaged)> {
        if self.credit == 0
            && let Err(why) = self.make_room(io, freed, buf.frame().len())
        {
            return Err((buf, why));
        }
        let lent = io.lend(buf, self.owner);
        self.counters.rx_bytes += u64::from(lent.len);
        let desc = Desc {
            index: lent.index,
            offset: lent.offset,
            len: lent.len,
            port: nic,
            checksum,
        };
        if has_more {
            self.rx.prefetch_ahead();
        }
        self.rx.put(desc.pack());
        self.held += 1;
        self.credit -= 1;
        Ok(())
    }

    /// Shows the stack what was staged if that is much, and looks again at what it has taken and given
    /// back if it must.
    #[cold]
    fn make_room<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
        len: usize,
    ) -> Result<(), Unstaged> {
        if let Some(reason) = self.denied {
            return Err(Unstaged::Full(reason));
        }
        if self.rx.unpublished() >= self.show_at {
            self.publish();
        }
        let metered = self.within_limit(io).map_err(Unstaged::Full)?;
        if self.room() == 0 {
            self.look_for_room(io, freed)?;
        }
        self.charge(metered, len, self.room());
        Ok(())
    }

    /// Whether it may receive one more packet now, which is the time that it gives if there is a limit.
    pub(super) fn within_limit<I: Io>(&mut self, io: &I) -> Result<Option<u64>, DropReason> {
        if !self.meters.rx.is_set() {
            return Ok(None);
        }
        let now = self.now(io);
        if self.meters.rx.allows(now) {
            return Ok(Some(now));
        }
        self.denied = Some(DropReason::RateLimit);
        Err(DropReason::RateLimit)
    }

    /// Lets as many packets be staged as there is `room` for; only one, of `len` bytes, if there is a limit.
    pub(super) fn charge(&mut self, metered: Option<u64>, len: usize, room: u32) {
        self.credit = room;
        if let Some(now) = metered {
            self.meters.rx.charge(now, len);
            self.credit = 1;
        }
    }

    /// The time of this turn, in ns.
    fn now<I: Io>(&mut self, io: &I) -> u64 {
        *self.metered_at.get_or_insert_with(|| io.now_ns())
    }

    fn look_for_room<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
    ) -> Result<(), Unstaged> {
        let looked = self.rx.refresh().and_then(|_| self.drain_free(io, freed));
        if looked.is_err() {
            return Err(Unstaged::Corrupt);
        }
        if self.held >= self.quota {
            self.denied = Some(DropReason::Quota);
        } else if self.rx.room() == 0 {
            self.denied = Some(DropReason::RingFull);
        }
        self.denied
            .map_or(Ok(()), |reason| Err(Unstaged::Full(reason)))
    }

    /// Shows the stack what was staged. True if it has been shown so much that its `free` ring is worth a
    /// look: early enough that buffers are used again while the CPU has them in its cache.
    #[inline]
    pub fn show(&mut self) -> bool {
        self.begin_turn();
        self.publish();
        if let Peer::Host { waker, .. } = &self.peer {
            waker.wake();
        }
        self.grant();
        let is_due = self.lent >= DRAIN_AFTER;
        if is_due {
            self.lent = 0;
        }
        is_due
    }

    /// Asks for what [`drain_free`](Self::drain_free) reads first.
    #[inline]
    pub fn expect_free(&self) {
        self.free.prefetch();
    }

    /// Asks for what [`stage`](Self::stage) writes next.
    #[inline(always)]
    pub fn expect_packet(&self) {
        self.rx.prefetch();
    }

    /// Asks for what [`show`](Self::show) writes.
    #[inline]
    pub fn expect_show(&self) {
        self.rx.prefetch_cursor();
    }

    pub(super) fn begin_turn(&mut self) {
        self.touched = false;
        if !self.shut {
            self.denied = None;
        }
        self.metered_at = None;
    }

    fn publish(&mut self) {
        let count = self.rx.publish();
        self.lent += count;
        self.counters.rx_packets += u64::from(count);
    }

    /// Notes that what was staged last is a copy of `len` bytes: those are counted apart.
    pub fn was_copy(&mut self, len: usize) {
        self.publish();
        self.counters.rx_copies += 1;
        self.counters.rx_packets -= 1;
        self.counters.rx_bytes -= len as u64;
    }
}
