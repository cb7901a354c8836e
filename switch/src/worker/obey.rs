//! What a worker does at the control thread's command, between two rounds.

use super::Worker;
use crate::command::{Answer, Command, Waiting};
use crate::counters::Snapshot;
use crate::io::Io;
use crate::verdict::DropReason;
use crate::vport::owner_of;

/// Ledger entries looked at per round while a vport's buffers are reclaimed: some 2 µs.
const RECLAIM_STEP: u32 = 4096;

/// A reclaim that is under way: a step of it per round.
pub(super) struct Reclaim {
    slot: u16,
    next: u32,
    /// Sent when it is done.
    answer: Answer,
}

impl<I: Io> Worker<I> {
    pub(super) fn obey(&mut self, command: Command) {
        let answer = match command {
            Command::Add(vport) => {
                let slot = usize::from(vport.slot);
                self.admit_guest(&vport);
                self.vports[slot] = Some(vport);
                // Fills its `fill` ring in the next round.
                self.pending[slot / 64] |= 1 << (slot % 64);
                Answer::Done
            }
            Command::Remove { slot, reclaim } => {
                // The next stack of this slot is to find nothing of this one's waiting to be shown.
                self.publish();
                self.disown_sent(slot);
                self.forget_fragments(slot);
                self.dismiss_guest(slot);
                let answer = Answer::Removed(self.vports[usize::from(slot)].take());
                if reclaim {
                    return self.begin_reclaim(slot, answer);
                }
                answer
            }
            Command::Reclaim(slot) => return self.begin_reclaim(slot, Answer::Done),
            Command::Claim(changes) => {
                for (subject, holder) in &changes {
                    // The control thread's table took it, and this one has seen the same changes.
                    let inserted = self.tables.insert(subject, *holder);
                    debug_assert!(inserted.is_ok());
                }
                Answer::Changed(changes)
            }
            Command::Release(changes) => {
                let mut last = None;
                for (subject, holder) in &changes {
                    self.tables.remove(subject, holder.vport);
                    if last.replace(holder.vport) != Some(holder.vport) {
                        self.forget_fragments(holder.vport);
                    }
                }
                Answer::Changed(changes)
            }
            Command::Trace(mut trace) => {
                trace.fate = self.fate(&mut trace);
                Answer::Traced(trace)
            }
            Command::Count(mut snapshot) => {
                // Packets are counted as they are shown.
                self.publish();
                self.count(&mut snapshot);
                Answer::Counted(snapshot)
            }
            Command::Drain => {
                self.receiving = 0;
                self.publish();
                Answer::Waiting(self.waiting_in_rings())
            }
            Command::Stop => return,
        };
        self.answer(answer);
    }

    fn answer(&self, answer: Answer) {
        // A control thread that is gone is noticed at the next command.
        let _ = self.channels.answers.try_send(answer);
    }

    fn begin_reclaim(&mut self, slot: u16, answer: Answer) {
        self.reclaim = Some(Reclaim {
            slot,
            next: 0,
            answer,
        });
    }

    pub(super) fn continue_reclaim(&mut self) {
        let Some(mut job) = self.reclaim.take() else {
            return;
        };
        let owner = owner_of(job.slot);
        match self.io.reclaim(owner, job.next, RECLAIM_STEP).next {
            Some(next) => {
                job.next = next;
                self.reclaim = Some(job);
            }
            None => self.answer(job.answer),
        }
    }

    fn waiting_in_rings(&mut self) -> Waiting {
        let mut waiting = Waiting::default();
        for vport in self.vports.iter_mut().flatten() {
            // One that is shut gets nothing any more, whatever its rings say.
            let Ok((unread, sent)) = vport.waiting() else {
                continue;
            };
            let side = if vport.peer.is_stack() {
                &mut waiting.stacks
            } else {
                &mut waiting.hosts
            };
            *side += u64::from(unread);
            waiting.sent += u64::from(sent);
        }
        for guest in self.guests.iter().flatten() {
            waiting.stacks += guest.waiting() as u64;
        }
        for nic in &self.nics {
            waiting.sent += nic.tx.len() as u64;
        }
        waiting
    }

    fn count(&self, snapshot: &mut Snapshot) {
        snapshot.rounds = self.rounds;
        snapshot.busy_rounds = self.busy_rounds;
        for (at, state) in self.nics.iter().enumerate() {
            let mut counters = state.counters;
            let unfit = self.io.unfit(at);
            counters.rx_packets += unfit;
            counters.waiting = self.waiting.count(at) as u64;
            counters.tx_waiting = state.tx.len() as u64;
            counters.dropped.0[DropReason::Unfit.index()] += unfit;
            snapshot.nics.push(counters);
        }
        for vport in self.vports.iter().flatten() {
            let mut counters = vport.counters;
            let waiting = self.nics.iter().flat_map(|nic| &nic.tx_from);
            let waiting = waiting.filter(|(from, _)| *from == vport.slot);
            counters.tx_waiting = waiting.count() as u64;
            let guest = &self.guests[usize::from(vport.slot)];
            // No more than a burst.
            #[allow(clippy::cast_possible_truncation)]
            let staged = guest.as_ref().map_or(0, |guest| guest.waiting()) as u32;
            snapshot
                .vports
                .push((vport.slot, counters, vport.held + staged));
        }
    }
}
