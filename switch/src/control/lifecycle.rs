//! A stack's life, from attach to reclaim.

use std::time::Instant;

use dpdk::eal::forget_secondary;
use port_api::protocol::{Attachment, Pool, Reply};

use super::{Control, Failure, MEMZONE};
use crate::command::Command;
use crate::peer::Peer;
use crate::queries;
use crate::refusal::Refusal;
use crate::stacks::{Stack, check_name};
use crate::vport;
use crate::workers::Stuck;

/// Claims that a worker changes between two bursts, at most: some 20 µs of its time.
const CHANGES: usize = 256;

impl Control {
    pub(super) fn attach(&mut self, at: usize, name: String) -> Result<Reply, Failure> {
        check_name(&name)?;
        if let Some(stack) = &self.peers[at].stack {
            let message = format!("this connection has vport {} already", stack.slot);
            return Err(Refusal::new(libc::EBUSY, message).into());
        }
        let rights = self.may_attach(at)?;
        let slot = self.slots.take()?;
        let quota = rights.quota.min(self.slots.quota(slot));
        self.slots
            .open(slot, quota, &self.workers, |_| vport::Peer::Stack)?;
        let stack = Stack {
            slot,
            name,
            since: Instant::now(),
            quota,
        };
        let peer = &mut self.peers[at];
        peer.stack = Some(stack);
        peer.was_stack = true;
        tracing::info!("{} attached as vport {slot}", peer.describe());
        let layout = self.stock.layout();
        Ok(Reply::Attached(Box::new(Attachment {
            slot,
            quota,
            memzone: MEMZONE.to_owned(),
            geometry: *self.slots.region().geometry(),
            pool: Pool {
                memzone: layout.memzone.clone(),
                base: layout.base,
                stride: layout.stride,
                count: layout.count,
                buf_len: layout.buf_len,
            },
            ports: queries::ports(&self.nics),
        })))
    }

    /// The stack says that it has let go of everything.
    pub(super) fn detach(&mut self, at: usize) -> Result<Reply, Failure> {
        let peer = &self.peers[at];
        let Some(stack) = peer.stack.clone() else {
            return Err(Refusal::new(libc::ENOTCONN, "not attached").into());
        };
        tracing::info!("{} detached from vport {}", peer.describe(), stack.slot);
        if peer.evicted {
            self.slots.reclaim(stack.slot, &self.workers)?;
        } else {
            self.withdraw_claims(stack.slot)?;
            self.slots.close(stack.slot, &self.workers, true)?;
        }
        let peer = &mut self.peers[at];
        peer.stack = None;
        peer.evicted = false;
        Ok(Reply::Done)
    }

    pub(super) fn withdraw_claims(&mut self, slot: u16) -> Result<(), Stuck> {
        let (ids, changes) = self.claims.of(slot);
        for some in changes.chunks(CHANGES) {
            self.workers.ask(|_| Command::Release(some.to_vec()))?;
        }
        for id in ids {
            self.claims.remove(id);
        }
        let former = self.claims.withdraw_former(slot, None);
        for some in former.chunks(CHANGES) {
            self.workers.ask(|_| Command::Claim(some.to_vec()))?;
        }
        Ok(())
    }

    /// Takes a vport out of service while its process may still live: nothing goes to it or comes
    /// from it any more, but its buffers are reclaimed only when it is dead or lets go.
    pub(super) fn evict(&mut self, slot: u16, why: &str) -> Result<(), Stuck> {
        let has_slot = |peer: &Peer| peer.stack.as_ref().is_some_and(|stack| stack.slot == slot);
        let Some(at) = self.peers.iter().position(has_slot) else {
            return Ok(());
        };
        if self.peers[at].evicted {
            return Ok(());
        }
        tracing::info!("{}: vport {slot} is shut: {why}", self.peers[at].describe());
        self.withdraw_claims(slot)?;
        self.slots.close(slot, &self.workers, false)?;
        self.peers[at].evicted = true;
        let message = why.to_owned();
        self.reply(at, &Reply::Evicted { message });
        Ok(())
    }

    /// The connection is over; the process may live on.
    pub(super) fn hang_up(&mut self, at: usize) -> Result<(), Stuck> {
        self.disconnect(at);
        if let Some(slot) = self.peers[at].stack.as_ref().map(|stack| stack.slot) {
            self.evict(slot, "it has closed its connection")?;
        } else if self.is_known_otherwise(at) {
            self.peers[at].was_stack = false;
        }
        Ok(())
    }

    /// Whether another peer is there to be buried when the same process dies: one that attaches and
    /// detaches over and over is not to be remembered for each time.
    fn is_known_otherwise(&self, at: usize) -> bool {
        let (id, pid) = (self.peers[at].id, self.peers[at].pid);
        let mut others = self.peers.iter().filter(|peer| peer.id != id);
        others.any(|peer| peer.pid == pid && peer.was_stack)
    }

    /// The process is dead: nothing of it is left that could write anywhere.
    pub(super) fn bury(&mut self, at: usize) -> Result<(), Stuck> {
        let peer = &self.peers[at];
        if let Some(slot) = peer.stack.as_ref().map(|stack| stack.slot) {
            tracing::info!("{} on vport {slot} is dead", peer.describe());
            if peer.evicted {
                self.slots.reclaim(slot, &self.workers)?;
            } else {
                self.withdraw_claims(slot)?;
                self.slots.close(slot, &self.workers, true)?;
            }
        }
        let peer = &mut self.peers[at];
        if peer.was_stack {
            forget_secondary(&self.runtime_dir, peer.pid);
        }
        peer.stack = None;
        peer.was_stack = false;
        self.disconnect(at);
        Ok(())
    }
}
