//! What classification and the egress check say of their steps, for `msctl trace`.
//!
//! The worker passes `()`, which hears nothing and costs nothing; a trace passes [`Notes`]. The
//! code that decides is the same.

use arrayvec::ArrayVec;
use port_api::Kind;
use wire::{Checksum, Origin, Parsed, parse};

use crate::tables::Holder;

/// Hears of the steps of a decision.
pub trait Observer {
    /// A frame is to be decided on.
    #[inline]
    fn begins(&mut self, _frame: &[u8], _origin: Origin) {}

    /// Claims of a kind were looked through.
    #[inline]
    fn looked_up(&mut self, _kind: Kind, _found: Option<Holder>) {}

    /// The layer 4 checksum was verified.
    #[inline]
    fn verified(&mut self, _checksum: Option<Checksum>) {}
}

impl Observer for () {}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The frame is well-formed.
    Parsed(Parsed),
    /// Claims of this kind were looked through, and who was found.
    LookedUp(Kind, Option<Holder>),
    /// The layer 4 checksum was verified.
    Verified(Option<Checksum>),
}

/// Most steps that one decision takes: parsed, five kinds of claims for it and as many for what it
/// is switched to on this machine, checksums.
pub const MAX_NOTES: usize = 24;

/// The steps of a decision, in their order.
#[derive(Clone, Debug, Default)]
pub struct Notes(pub ArrayVec<Note, MAX_NOTES>);

impl Notes {
    fn note(&mut self, note: Note) {
        // There is room for all; a note too many is better lost than a worker.
        let _ = self.0.try_push(note);
    }
}

impl Observer for Notes {
    fn begins(&mut self, frame: &[u8], origin: Origin) {
        // What is malformed ends the decision, and the verdict names the rule.
        if let Ok(parsed) = parse(frame, origin) {
            self.note(Note::Parsed(parsed));
        }
    }

    fn looked_up(&mut self, kind: Kind, found: Option<Holder>) {
        self.note(Note::LookedUp(kind, found));
    }

    fn verified(&mut self, checksum: Option<Checksum>) {
        self.note(Note::Verified(checksum));
    }
}
