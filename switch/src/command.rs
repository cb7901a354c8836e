//! What the control thread tells the workers, and what they answer.
//!
//! A command takes effect between two rounds of a worker's loop; its answer therefore means that
//! no packet is any more treated the old way. That is all the quiescence there is, and all that
//! is needed: no table is shared.

use crate::counters::Snapshot;
use crate::key::Subject;
use crate::tables::Holder;
use crate::trace::Notes;
use crate::verdict::{DropReason, Owner, Verdict};
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
    /// Give each of these to its holder, whoever had it.
    Claim(Changes),
    /// Take each of these from its holder.
    Release(Changes),
    /// Say what would become of a frame.
    Trace(Box<Trace>),
    /// Copy the counters into this.
    Count(Box<Snapshot>),
    /// Receive nothing more from the NICs, go on with everything else, and say what waits.
    Drain,
    /// End.
    Stop,
}

/// Claims that begin, change hands or end.
pub type Changes = Vec<(Subject, Holder)>;

/// A frame whose fate is asked for.
pub struct Trace {
    /// The NIC port's place in the worker's list.
    pub nic: usize,
    /// The vport that would send it; from the wire if none.
    pub from: Option<u16>,
    /// The frame, without FCS.
    pub frame: Vec<u8>,
    /// Filled in by the worker: the steps.
    pub notes: Notes,
    /// Filled in by the worker: the end.
    pub fate: Option<Fate>,
}

/// What would become of a traced frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// From the wire; for a fragment, with the owner of its packet if that is known.
    Received(Verdict, Option<Owner>),
    /// From a vport, and not passed.
    Refused(DropReason),
    /// From a vport, and passed to the wire.
    Passed,
    /// From a vport to another one, or to the host.
    Switched(Verdict),
    /// From a vport to the wire, and in copies to those on this machine who would get it from there,
    /// save to its sender.
    Copied {
        /// What becomes of it here.
        here: Option<Verdict>,
        /// Whether the host gets a copy too.
        to_host: bool,
    },
}

/// A worker's answer to a command.
pub enum Answer {
    /// Done.
    Done,
    /// To [`Command::Claim`] and [`Command::Release`]: done, and the memory back.
    Changed(Changes),
    /// To [`Command::Trace`].
    Traced(Box<Trace>),
    /// To [`Command::Remove`]: what the worker had of the vport.
    Removed(Option<Box<Vport>>),
    /// To [`Command::Count`].
    Counted(Box<Snapshot>),
    /// To [`Command::Drain`].
    Waiting(Waiting),
}

/// Packets in a worker's rings with the vports in service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// That stacks have not read.
    pub stacks: u64,
    /// That the hosts' exception paths have not read.
    pub hosts: u64,
    /// That stacks or hosts have sent, and the worker has not taken.
    pub sent: u64,
}

impl Waiting {
    /// Adds another worker's.
    pub fn add(&mut self, other: Self) {
        self.stacks += other.stacks;
        self.hosts += other.hosts;
        self.sent += other.sent;
    }
}

/// What a worker says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This vport's rings hold impossible cursors; the worker serves it no longer.
    Corrupt(u16),
}
