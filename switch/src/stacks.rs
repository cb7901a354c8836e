//! Vports and who has them: from attach to reclaim.

use std::collections::VecDeque;
use std::time::Instant;

use port_api::{Region, SwitchSide};

use crate::command::Command;
use crate::refusal::Refusal;
use crate::vport::{Limits, Peer, Vport};
use crate::workers::{Stuck, Workers};

/// A vport of a stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its place.
    pub slot: u16,
    /// What the stack calls itself.
    pub name: String,
    /// When it attached.
    pub since: Instant,
    /// Most buffers it may hold, per worker.
    pub quota: u32,
}

/// The vports.
pub struct Slots {
    region: Region,
    limits: Limits,
    /// Oldest first, so that a slot rests as long as possible before it is used again.
    free: VecDeque<u16>,
    generations: Vec<u8>,
    most: usize,
}

impl Slots {
    /// All slots of `region` but the first `hosts`, which are the host's.
    pub fn new(region: Region, hosts: u16, limits: Limits) -> Self {
        let slots = region.geometry().slots;
        Self {
            region,
            limits,
            free: (hosts..slots).collect(),
            generations: vec![0; slots.into()],
            most: usize::from(slots - hosts),
        }
    }

    /// Puts the vport of `slot` into service on all workers. It may hold up to `quota` buffers per
    /// worker, or [as many as any](Self::quota) if that is less.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn open(
        &mut self,
        slot: u16,
        quota: u32,
        workers: &Workers,
        peer: impl Fn() -> Peer,
    ) -> Result<(), Stuck> {
        let quota = quota.min(self.limits.quota);
        let limits = Limits {
            quota,
            fill_level: self.limits.fill_level.min(quota / 2),
        };
        let generation = &mut self.generations[usize::from(slot)];
        *generation = generation.wrapping_add(1);
        let mut vports: Vec<_> = (0..self.region.geometry().workers)
            .map(|worker| {
                let rings = SwitchSide::new(&self.region, slot, worker);
                let vport = Vport::new(slot, *generation, peer(), rings, limits);
                Some(Box::new(vport))
            })
            .collect();
        self.region.status(slot).open();
        workers.ask(|worker| match vports[worker].take() {
            Some(vport) => Command::Add(vport),
            None => unreachable!("one vport per worker"),
        })?;
        Ok(())
    }

    /// Takes a free slot for a stack.
    ///
    /// # Errors
    /// `ENOSPC` if there is none.
    pub fn take(&mut self) -> Result<u16, Refusal> {
        self.free.pop_front().ok_or_else(|| {
            let message = format!("all {} vports are taken: see --max-vports", self.most);
            Refusal::new(libc::ENOSPC, message)
        })
    }

    /// Takes a vport out of service. With `reclaim` its buffers go back to the pool and the slot
    /// is free again; without, that is still to be done ([`reclaim`](Self::reclaim)), when its
    /// process is known to be dead.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn close(&mut self, slot: u16, workers: &Workers, reclaim: bool) -> Result<(), Stuck> {
        self.region.status(slot).close();
        workers.ask(|_| Command::Remove { slot, reclaim })?;
        if reclaim {
            self.free.push_back(slot);
        }
        Ok(())
    }

    /// Reclaims the buffers of a vport that is out of service, and frees the slot.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn reclaim(&mut self, slot: u16, workers: &Workers) -> Result<(), Stuck> {
        workers.ask(|_| Command::Reclaim(slot))?;
        self.free.push_back(slot);
        Ok(())
    }

    /// Tells the stack on `slot` to stop, without taking anything from it.
    pub fn tell_end(&self, slot: u16) {
        self.region.status(slot).close();
    }

    /// What lies where in shared memory.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Most buffers a vport may hold, per worker.
    pub const fn quota(&self) -> u32 {
        self.limits.quota
    }
}

/// Checks a stack's name: 1 to 32 printable ASCII characters, no spaces.
///
/// # Errors
/// `EINVAL`.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let most = port_api::protocol::MAX_NAME;
    if name.is_empty() || name.len() > most || !name.bytes().all(|b| b.is_ascii_graphic()) {
        let start: String = name.chars().take(most).collect();
        let message =
            format!("{start:?} is not a name: 1 to {most} printable ASCII characters, no spaces");
        return Err(Refusal::new(libc::EINVAL, message));
    }
    Ok(())
}
