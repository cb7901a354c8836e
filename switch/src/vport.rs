//! A vport on one worker: the switch's ends of four rings, what the vport holds, and its counters.

use std::num::NonZeroU16;
use std::sync::Arc;

use dpdk::Owner;
use kni_fallback::Waker;
use port_api::SwitchSide;
use ring::{Consumer, Corrupt, Producer};
use vhost_port::Port;

use crate::counters::VportCounters;
use crate::io::{Bufs, Io};
use crate::meter::Meters;
use crate::verdict::DropReason;

mod guest;
mod receiving;
mod sending;

pub use guest::Guest;
pub use receiving::Unstaged;
pub use sending::{Fill, Sent, Taken, Turn};

/// Who is at the other end.
pub enum Peer {
    /// A stack: what it sends is checked against its claims.
    Stack,
    /// A program or a virtual machine behind a vhost-user socket: the same, but what it receives and sends is
    /// copied, by the worker, and nothing that it says is believed.
    Guest {
        /// Its queues.
        port: Arc<Port>,
        /// Of these, the pair that the worker sends from.
        pair: usize,
        /// DPDK id of the NIC port that it is behind.
        nic: u8,
    },
    /// The host's kernel, behind NIC port `nic`.
    Host {
        /// The NIC port's place in the worker's list.
        nic: usize,
        /// Wakes the exception path's thread.
        waker: Waker,
    },
}

impl Peer {
    /// Whether what it sends is checked against claims.
    pub const fn is_stack(&self) -> bool {
        !matches!(self, Self::Host { .. })
    }
}

/// One worker's part of a vport. What each packet touches is on its first cache line, and in its first
/// counters.
#[repr(C, align(64))]
pub struct Vport {
    rx: Producer<u64>,
    /// Packets that may be staged before something has to be looked at; see [`grant`](Self::grant).
    credit: u32,
    /// Buffers lent to it by this worker.
    pub held: u32,
    /// Packets since the `free` ring was looked at.
    lent: u32,
    /// As the ledger names it.
    owner: Owner,
    /// Its place.
    pub slot: u16,
    /// Already among the vports that this round has packets for.
    pub(crate) touched: bool,
    /// It has no use for its rings: its packets are copied.
    pub(crate) is_guest: bool,
    /// The stack broke its rings: nothing more is read from them or written to them.
    shut: bool,
    quota: u32,
    /// Counters.
    pub counters: VportCounters,
    free: Consumer<u32>,
    tx: Consumer<u64>,
    fill: Producer<u32>,
    fill_level: u32,
    /// What it may receive and send per second.
    meters: Arc<Meters>,
    /// When a limit was last looked at in this turn, in ns.
    metered_at: Option<u64>,
    /// Bytes that it may still send in this turn, if others want to send too; below 0 if it has sent more.
    allowance: i32,
    /// Its turn has begun, and waits for the NIC to have room.
    is_interrupted: bool,
    /// Packets in the `rx` ring that the stack is shown at once, so that it does not start when the
    /// ring is full.
    show_at: u32,
    /// Why it gets no more packets until it is next shown some: a stack that does not keep up costs a
    /// look at its rings once in a turn, and not for each packet.
    denied: Option<DropReason>,
    /// Questions to neighbours that have not been answered yet.
    questions: u8,
    /// The other end.
    pub peer: Peer,
}

/// The part of an `rx` ring, one in so many, whose packets don't wait for the end of the round.
const SHARE_SHOWN: u32 = 4;

/// Fewest entries of a `free` ring that are looked at in one go.
const LEAST_DRAINED: u32 = 64;

/// The ledger's name for the vport in `slot`.
pub const fn owner_of(slot: u16) -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(slot)
}

/// Limits of a vport, per worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most buffers it may hold.
    pub quota: u32,
    /// Empty buffers that the switch keeps ready for it.
    pub fill_level: u32,
}

impl Vport {
    /// A vport that holds nothing yet. `generation` tells successive stacks of a slot apart.
    pub fn new(
        slot: u16,
        generation: u8,
        peer: Peer,
        rings: SwitchSide,
        limits: Limits,
        meters: Arc<Meters>,
    ) -> Self {
        let show_at = rings.rx.room() / SHARE_SHOWN;
        let mut vport = Self {
            rx: rings.rx,
            credit: 0,
            held: 0,
            lent: 0,
            owner: Owner::new(owner_of(slot), generation),
            slot,
            touched: false,
            is_guest: matches!(peer, Peer::Guest { .. }),
            shut: false,
            quota: limits.quota,
            counters: VportCounters::default(),
            free: rings.free,
            tx: rings.tx,
            fill: rings.fill,
            fill_level: limits.fill_level,
            meters,
            metered_at: None,
            allowance: 0,
            is_interrupted: false,
            show_at,
            denied: None,
            questions: 0,
            peer,
        };
        vport.grant();
        vport
    }

    /// Recounts how many packets may be staged before the quota is used up, the ring is full as far as
    /// is known, or the stack is to be shown some. To be called whenever that may have become less.
    fn grant(&mut self) {
        // Each packet of a limited vport is looked at by itself, and each burst of a guest's.
        self.credit = if self.meters.rx.is_set() || self.is_guest {
            0
        } else {
            self.room()
        };
    }

    /// How many packets may be staged, but for a limit.
    fn room(&self) -> u32 {
        let quota = if self.shut {
            0
        } else {
            self.quota.saturating_sub(self.held)
        };
        let unshown = self.show_at.saturating_sub(self.rx.unpublished());
        quota.min(self.rx.room()).min(unshown)
    }

    /// Puts it out of service: nothing more is read from its rings or written to them.
    pub fn shut(&mut self) {
        self.shut = true;
        self.denied = Some(DropReason::VportShut);
        self.is_interrupted = false;
        self.grant();
    }

    /// Whether it is out of service.
    #[inline]
    pub const fn is_shut(&self) -> bool {
        self.shut
    }

    /// Takes back what the stack is done with.
    ///
    /// # Errors
    /// [`Corrupt`]: the vport is to be shut.
    pub fn drain_free<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
    ) -> Result<(), Corrupt> {
        // No more than it can have: garbage is no reason to keep the others waiting.
        let mut left = self.free.refresh()?.min(self.held.max(LEAST_DRAINED));
        while left > 0 {
            if freed.is_full() {
                io.free(freed);
            }
            let room = u32::try_from(freed.remaining_capacity()).unwrap_or(left);
            for _ in 0..left.min(room) {
                let Some(index) = self.free.take() else {
                    break;
                };
                left -= 1;
                if let Some(buf) = io.take_back(index, self.owner) {
                    freed.push(buf);
                    self.held -= 1;
                } else {
                    self.counters.bad_entries += 1;
                }
            }
        }
        self.free.release();
        self.grant();
        Ok(())
    }

    /// Takes back freed buffers and keeps empty ones ready, after the stack rang. False if the pool
    /// had none: to be tried again.
    ///
    /// # Errors
    /// [`Corrupt`]: the vport is to be shut.
    pub fn replenish<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
    ) -> Result<bool, Corrupt> {
        self.drain_free(io, freed)?;
        self.fill.refresh()?;
        let mut found = true;
        while self.fill.used() < self.fill_level && self.fill.room() > 0 && self.held < self.quota {
            let Some(buf) = io.alloc() else {
                found = false;
                break;
            };
            let lent = io.lend(buf, self.owner);
            self.fill.stage(lent.index);
            self.held += 1;
        }
        self.fill.publish();
        self.grant();
        Ok(found)
    }

    /// Packets in the rings: that the other end has not read, and that it has sent and were not taken.
    ///
    /// # Errors
    /// [`Corrupt`]: it is to be shut, or is.
    pub fn waiting(&mut self) -> Result<(u32, u32), Corrupt> {
        if self.shut {
            return Err(Corrupt);
        }
        self.rx.refresh()?;
        self.tx.refresh()?;
        Ok((self.rx.used(), self.tx.waiting()))
    }

    /// Counts a packet of this vport's that is not passed on.
    #[inline]
    pub fn drop_sent(&mut self, reason: DropReason) {
        self.counters.tx_dropped.0[reason.index()] += 1;
    }

    /// Counts a packet for this vport that it did not get.
    #[inline]
    pub fn drop_received(&mut self, reason: DropReason) {
        self.counters.rx_dropped.0[reason.index()] += 1;
    }

    /// Notes that the stack has asked for a neighbour.
    pub fn asked(&mut self) {
        self.questions = self.questions.saturating_add(1);
    }

    /// Whether the stack waits for an answer; it has one less to wait for then.
    pub fn wants_answer(&mut self) -> bool {
        let waits = self.questions > 0;
        self.questions = self.questions.saturating_sub(1);
        waits
    }
}
