//! What the control thread tells the workers, and what they answer.
//!
//! A command takes effect between two rounds of a worker's loop; its answer therefore means that
//! no packet is any more treated the old way. That is all the quiescence there is, and all that
//! is needed: no table is shared.

use crate::classify::Local;
use crate::counters::Snapshot;
use crate::vport::Vport;

/// A change, or a question. Memory that a command needs comes with it, and goes back with the
/// [`Answer`], so that workers hardly ever allocate, and never while they have packets in hand.
pub enum Command {
    /// Put a vport into service.
    Add(Box<Vport>),
    /// Take a vport out of service and reclaim its buffers. Its claims must be gone.
    Remove {
        /// Which.
        slot: u16,
        /// Whether its buffers may be reclaimed now: the stack has let go of them, or is dead.
        reclaim: bool,
    },
    /// Reclaim the buffers of a vport that was taken out of service without.
    Reclaim(u16),
    /// Give a tuple to a vport.
    Claim(Local, u16),
    /// Take a tuple back.
    Release(Local),
    /// Copy the counters into this.
    Count(Box<Snapshot>),
    /// End.
    Stop,
}

/// A worker's answer to a command.
pub enum Answer {
    /// Done.
    Done,
    /// To [`Command::Remove`]: what the worker had of the vport.
    Removed(Option<Box<Vport>>),
    /// To [`Command::Count`].
    Counted(Box<Snapshot>),
}

/// What a worker says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This vport's rings hold impossible cursors; the worker serves it no longer.
    Corrupt(u16),
}
