//! A virtqueue of either format, with what belongs to it.

use std::sync::Arc;

use crate::call::Call;
use crate::header::has;
use crate::memory::{Hint, Memory};
use crate::packed::Packed;
use crate::ring::{Ring, Segments, Walk};
use crate::split::Split;
use crate::{Direction, Part, QueueSetup, Violation, feature};

/// Entries of a queue, at most (virtio 1.2, sections 2.7 and 2.8).
pub(crate) const MAX_SIZE: u32 = 32768;

/// The two formats.
#[derive(Debug)]
pub(crate) enum Format {
    Split(Box<Split>),
    Packed(Box<Packed>),
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub ring: Format,
    pub common: Common,
}

/// What does not depend on the format.
#[derive(Debug)]
pub(crate) struct Common {
    pub queue: Direction,
    pub hint: Hint,
    pub segments: Segments,
    pub call: Option<Call>,
    indirect: bool,
}

impl Queue {
    pub(crate) fn new(
        memory: &Arc<Memory>,
        setup: QueueSetup,
        queue: Direction,
        features: u64,
    ) -> Result<Self, Violation> {
        let event_idx = has(features, feature::EVENT_IDX);
        let ring = if has(features, feature::RING_PACKED) {
            Format::Packed(Box::new(Packed::new(memory, &setup, queue, event_idx)?))
        } else {
            Format::Split(Box::new(Split::new(memory, &setup, queue, event_idx)?))
        };
        let common = Common {
            queue,
            hint: Hint::default(),
            segments: Segments::new(),
            call: setup.call.map(|fd| Call::new(fd, queue)).transpose()?,
            indirect: has(features, feature::INDIRECT_DESC),
        };
        Ok(Self { ring, common })
    }

    pub(crate) fn base(&self) -> u32 {
        match &self.ring {
            Format::Split(ring) => ring.base(),
            Format::Packed(ring) => ring.base(),
        }
    }
}

impl Common {
    pub(crate) fn walk<'a>(&'a mut self, memory: &'a Memory) -> Walk<'a> {
        Walk {
            queue: self.queue,
            memory,
            hint: &mut self.hint,
            segments: &mut self.segments,
            indirect: self.indirect,
        }
    }

    /// Ends a burst: shows the driver what was given back, and notifies it once, if it wants. `Err` if the
    /// memory went away meanwhile: then what was copied is not what the driver sees.
    pub(crate) fn publish(
        &mut self,
        ring: &mut impl Ring,
        memory: &Memory,
    ) -> Result<(), Violation> {
        if memory.is_lost() {
            return Err(Violation::MemoryGone);
        }
        if ring.publish()
            && let Some(call) = &mut self.call
        {
            call.notify();
        }
        Ok(())
    }
}

/// Checks where a part of a queue starts.
pub(crate) fn area(
    queue: Direction,
    part: Part,
    address: u64,
    align: u64,
) -> Result<(), Violation> {
    if address.is_multiple_of(align) {
        return Ok(());
    }
    Err(Violation::RingAlignment {
        queue,
        part,
        address,
    })
}
