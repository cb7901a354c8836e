//! Claims: made, released, handed over.

use port_api::protocol::{Reply, Wanted};

use super::{Control, Failure};
use crate::claims::{Claimant, Surroundings};
use crate::command::{Changes, Command};
use crate::foreign::Passed;
use crate::guests::Tenants;
use crate::refusal::Refusal;

impl Control {
    pub(super) fn claim(
        &mut self,
        at: usize,
        wanted: &[Wanted],
        sockets: Vec<Passed>,
    ) -> Result<Reply, Failure> {
        let by = Claimant {
            slot: self.stack_of(at)?.slot,
            user: self.peers[at].user,
        };
        self.may_claim(at, wanted.len())?;
        self.claim_as(by, wanted, sockets)
    }

    pub(super) fn claim_as(
        &mut self,
        by: Claimant,
        wanted: &[Wanted],
        sockets: Vec<Passed>,
    ) -> Result<Reply, Failure> {
        let tenants = Tenants {
            peers: &self.peers,
            guests: &self.guests,
        };
        let nics = &self.nics;
        let around = Surroundings {
            nic_of: &|index| nics.iter().find(|nic| nic.has_index(index)).map(|n| n.id),
            holder: &|slot| tenants.describe(slot),
            policy: &self.policy,
        };
        let (first, changes) = self.claims.add(wanted, sockets, by, &around)?;
        self.workers.ask(|_| Command::Claim(changes.clone()))?;
        Ok(claimed(first, &changes))
    }

    pub(super) fn release(&mut self, at: usize, claim: u64) -> Result<Reply, Failure> {
        let slot = self.stack_of(at)?.slot;
        let former = self.claims.withdraw_former(slot, Some(claim));
        if former.is_empty() {
            let changes = self.claims.ending(claim, slot)?;
            self.workers.ask(|_| Command::Release(changes.clone()))?;
            self.claims.remove(claim);
        } else {
            self.workers.ask(|_| Command::Claim(former.clone()))?;
        }
        Ok(Reply::Done)
    }

    pub(super) fn offer(&mut self, at: usize, claim: u64, to: u16) -> Result<Reply, Failure> {
        let slot = self.stack_of(at)?.slot;
        let has_slot = |stack: &crate::stacks::Stack| stack.slot == to;
        let there = self
            .peers
            .iter()
            .any(|peer| !peer.evicted && peer.stack.as_ref().is_some_and(has_slot));
        if !there {
            let message = format!("vport {to} has no stack");
            return Err(Refusal::new(libc::ENODEV, message).into());
        }
        self.claims.offer(claim, slot, to)?;
        Ok(Reply::Done)
    }

    pub(super) fn take(&mut self, at: usize, claim: u64) -> Result<Reply, Failure> {
        let slot = self.stack_of(at)?.slot;
        self.may_claim(at, 1)?;
        let changes = vec![self.claims.take(claim, slot)?];
        self.workers.ask(|_| Command::Claim(changes.clone()))?;
        Ok(claimed(claim, &changes))
    }
}

fn claimed(first: u64, changes: &Changes) -> Reply {
    Reply::Claimed {
        first,
        claims: changes.iter().map(|(subject, _)| subject.spec).collect(),
    }
}
