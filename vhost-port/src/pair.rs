//! A pair of virtqueues, as the switch sees it.

use std::sync::Arc;

use crate::header::header_len;
use crate::queue::{Format, Queue};
use crate::receive::{Received, Receiver};
use crate::ring::{Head, MAX_SEGMENTS, Ring};
use crate::send::{Next, Sender};
use crate::{Direction, Memory, PairSetup, Violation};

/// A frame for the guest, from Ethernet header to payload, without FCS.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Its layer 4 checksum is known to be right: the guest is told so, if it wants to hear it.
    pub checksum_good: bool,
}

/// Where each queue would go on, for `VHOST_USER_GET_VRING_BASE`; see [`QueueSetup::base`](crate::QueueSetup).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bases {
    /// Of the queue that the guest receives from.
    pub rx: Option<u32>,
    /// Of the queue that the guest sends into.
    pub tx: Option<u32>,
}

/// A pair of virtqueues in use. It keeps the memory table mapped.
#[derive(Debug)]
pub struct Pair {
    memory: Arc<Memory>,
    features: u64,
    header_len: usize,
    rx: Option<Queue>,
    tx: Option<Queue>,
    rx_enabled: bool,
    tx_enabled: bool,
    /// Scratch for [`Receiver`].
    taken: Vec<(Head, u32)>,
}

impl Pair {
    /// Checks what the front end has described. Both queues that are there are enabled.
    ///
    /// # Errors
    /// If a queue's size is not allowed, a part of it is misaligned or not in the memory table, or its
    /// notifications are to go to something else than an eventfd.
    pub fn new(setup: PairSetup) -> Result<Self, Violation> {
        let PairSetup {
            memory,
            features,
            rx,
            tx,
        } = setup;
        let queue = |setup, direction| Queue::new(&memory, setup, direction, features);
        let rx = rx.map(|rx| queue(rx, Direction::Receive)).transpose()?;
        let tx = tx.map(|tx| queue(tx, Direction::Send)).transpose()?;
        if memory.is_lost() {
            return Err(Violation::MemoryGone);
        }
        Ok(Self {
            memory,
            features,
            header_len: header_len(features),
            rx,
            tx,
            rx_enabled: true,
            tx_enabled: true,
            taken: Vec::with_capacity(MAX_SEGMENTS),
        })
    }

    /// Enables or disables each queue (`VHOST_USER_SET_VRING_ENABLE`). Disabled, the one delivers nothing,
    /// and what the guest sends into the other is discarded.
    pub fn set_enabled(&mut self, rx: bool, tx: bool) {
        self.rx_enabled = rx;
        self.tx_enabled = tx;
    }

    /// The features that were negotiated.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Where each queue would go on.
    pub fn bases(&self) -> Bases {
        Bases {
            rx: self.rx.as_ref().map(Queue::base),
            tx: self.tx.as_ref().map(Queue::base),
        }
    }

    /// Copies frames into the guest's buffers, shows them to it and notifies it once, if it wants. Of `frames`
    /// one more than [taken](Received::taken) may have been asked for.
    ///
    /// # Errors
    /// If the peer has broken a rule: this pair is not to be used any more.
    #[inline]
    pub fn receive<'f>(
        &mut self,
        frames: impl Iterator<Item = Frame<'f>>,
    ) -> Result<Received, Violation> {
        let Some(queue) = self.rx.as_mut().filter(|_| self.rx_enabled) else {
            return Ok(Received::default());
        };
        let mut receiver = Receiver {
            memory: &self.memory,
            common: &mut queue.common,
            features: self.features,
            header_len: self.header_len,
            taken: &mut self.taken,
        };
        let done = match &mut queue.ring {
            Format::Split(ring) => receiver.burst(&mut **ring, frames),
            Format::Packed(ring) => receiver.burst(&mut **ring, frames),
        };
        done.map_err(|violation| blame(&self.memory, violation))
    }

    /// Begins a burst of packets from the guest. Returns how many there may be: 0 if there is none.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    #[inline]
    pub fn begin_send(&mut self) -> Result<usize, Violation> {
        let enabled = self.tx_enabled;
        self.sending(0, |mut sender, ring| match ring {
            Format::Split(ring) => begin(&mut sender, &mut **ring, enabled),
            Format::Packed(ring) => begin(&mut sender, &mut **ring, enabled),
        })
    }

    /// Copies the next packet of the guest to the start of `to`.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    #[inline]
    pub fn copy_next(&mut self, to: &mut [u8]) -> Result<Next, Violation> {
        self.sending(Next::End, |mut sender, ring| match ring {
            Format::Split(ring) => sender.next(&mut **ring, to),
            Format::Packed(ring) => sender.next(&mut **ring, to),
        })
    }

    /// Passes over the next packet of the guest.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub fn skip_next(&mut self) -> Result<(), Violation> {
        let skipped = self.sending(false, |mut sender, ring| match ring {
            Format::Split(ring) => sender.skip(&mut **ring),
            Format::Packed(ring) => sender.skip(&mut **ring),
        });
        skipped.map(|_| ())
    }

    /// Ends a burst: gives the buffers of what was copied or skipped back to the guest, as far as it does not have them
    /// yet, and notifies it once, if it wants.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive). With [`Violation::MemoryGone`] the packets of this burst are not
    /// what the guest sent.
    #[inline]
    pub fn end_send(&mut self) -> Result<(), Violation> {
        self.sending((), |sender, ring| match ring {
            Format::Split(ring) => sender.common.publish(&mut **ring, sender.memory),
            Format::Packed(ring) => sender.common.publish(&mut **ring, sender.memory),
        })
    }

    /// `none` if there is no queue that the guest sends into.
    #[inline(always)]
    fn sending<T>(
        &mut self,
        none: T,
        work: impl FnOnce(Sender<'_>, &mut Format) -> Result<T, Violation>,
    ) -> Result<T, Violation> {
        let Some(queue) = self.tx.as_mut() else {
            return Ok(none);
        };
        let sender = Sender {
            memory: &self.memory,
            common: &mut queue.common,
            features: self.features,
            header_len: self.header_len,
        };
        work(sender, &mut queue.ring).map_err(|violation| blame(&self.memory, violation))
    }
}

/// Zeros that stand in for lost memory break other rules too.
#[cold]
fn blame(memory: &Memory, violation: Violation) -> Violation {
    if memory.is_lost() {
        return Violation::MemoryGone;
    }
    violation
}

#[inline]
fn begin<R: Ring>(
    sender: &mut Sender<'_>,
    ring: &mut R,
    enabled: bool,
) -> Result<usize, Violation> {
    ring.begin()?;
    if !enabled {
        sender.discard(ring)?;
        return Ok(0);
    }
    let available = ring.available();
    if available > 0 {
        sender.look_ahead(ring);
    }
    Ok(available)
}
