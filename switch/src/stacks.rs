//! Vports and who has them: from attach to reclaim.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use port_api::protocol::Limit;
use port_api::{Region, SwitchSide};

use crate::command::Command;
use crate::meter::Meters;
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

/// Limits on what passes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// What a vport receives.
    pub rx: Limit,
    /// What it sends.
    pub tx: Limit,
}

/// What vports may do when they begin.
#[derive(Clone, Copy, Debug)]
pub struct Allowances {
    /// A stack's share of buffers.
    pub stack: Limits,
    /// The host's.
    pub host: Limits,
    /// A stack's limits.
    pub stack_rates: Rates,
    /// The host's.
    pub host_rates: Rates,
    /// How much of a limit may be used at once, as the time in which it comes to that on average.
    pub burst: Duration,
}

/// The vports.
pub struct Slots {
    region: Region,
    hosts: u16,
    allowances: Allowances,
    /// By slot.
    rates: Vec<Rates>,
    meters: Vec<Arc<Meters>>,
    /// Oldest first, so that a slot rests as long as possible before it is used again.
    free: VecDeque<u16>,
    generations: Vec<u8>,
    most: usize,
}

impl Slots {
    /// All slots of `region` but the first `hosts`, which are the host's.
    pub fn new(region: Region, hosts: u16, allowances: Allowances) -> Self {
        let slots = region.geometry().slots;
        Self {
            region,
            hosts,
            allowances,
            rates: vec![allowances.stack_rates; slots.into()],
            meters: (0..slots).map(|_| Arc::default()).collect(),
            free: (hosts..slots).collect(),
            generations: vec![0; slots.into()],
            most: usize::from(slots - hosts),
        }
    }

    /// Puts the vport of `slot` into service on all workers. It may hold up to `quota` buffers per
    /// worker, or [as many as is its most](Self::quota) if that is less.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn open(
        &mut self,
        slot: u16,
        quota: u32,
        workers: &Workers,
        peer: impl Fn(usize) -> Peer,
    ) -> Result<(), Stuck> {
        let generation = &mut self.generations[usize::from(slot)];
        *generation = generation.wrapping_add(1);
        let generation = *generation;
        let (limits, rates) = self.allowed(slot);
        let quota = quota.min(limits.quota);
        let limits = Limits {
            quota,
            fill_level: limits.fill_level.min(quota / 2),
        };
        // Not those of the slot's last stack: it may have used up what there was.
        self.meters[usize::from(slot)] = Arc::default();
        self.limit(slot, rates);
        let mut vports: Vec<_> = (0..self.region.geometry().workers)
            .map(|worker| {
                let rings = SwitchSide::new(&self.region, slot, worker);
                let meters = self.meters[usize::from(slot)].clone();
                let vport =
                    Vport::new(slot, generation, peer(worker.into()), rings, limits, meters);
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

    /// Sets the limits of the vport of `slot`, until it is taken out of service. Takes effect within a
    /// round or so of each worker.
    pub fn limit(&mut self, slot: u16, rates: Rates) {
        let meters = &self.meters[usize::from(slot)];
        meters.rx.set(rates.rx, self.allowances.burst);
        meters.tx.set(rates.tx, self.allowances.burst);
        self.rates[usize::from(slot)] = rates;
    }

    /// What vports may do from now on: the host's, and those of stacks that are yet to come.
    pub fn allow(&mut self, allowances: Allowances) {
        self.allowances = allowances;
        for slot in 0..self.hosts {
            self.limit(slot, allowances.host_rates);
        }
    }

    /// The limits of the vport of `slot`.
    pub fn rates(&self, slot: u16) -> Rates {
        self.rates[usize::from(slot)]
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

    /// Most buffers the vport of `slot` may hold, per worker.
    pub const fn quota(&self, slot: u16) -> u32 {
        self.allowed(slot).0.quota
    }

    const fn allowed(&self, slot: u16) -> (Limits, Rates) {
        if slot < self.hosts {
            (self.allowances.host, self.allowances.host_rates)
        } else {
            (self.allowances.stack, self.allowances.stack_rates)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::plan::allowances;
    use port_api::geometry::Geometry;

    #[test]
    fn the_hosts_quota_is_its_own() {
        let args = ["--quota", "64", "--host-quota", "512", "--fill", "16"];
        let config = Config::parse(args.map(str::to_owned)).unwrap();
        let geometry = Geometry {
            workers: 1,
            slots: 4,
            ring_size: 32,
            free_size: 512,
        };
        let region = Region::on_heap(geometry).unwrap();
        let slots = Slots::new(region, 2, allowances(&config));
        let quotas: Vec<_> = (0..4).map(|slot| slots.quota(slot)).collect();
        assert_eq!(quotas, [512, 512, 64, 64]);
    }
}
