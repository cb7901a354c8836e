//! All claims, and the kernel sockets that stand for them.

use port_api::protocol::{MAX_BATCH, Wanted};
use port_api::{ClaimSpec, Kind};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use crate::command::Changes;
use crate::flow_table::Seed;
use crate::foreign::Passed;
use crate::key::Subject;
use crate::policy::{Policy, User};
use crate::refusal::Refusal;
use crate::tables::{Holder, Tables};

mod authority;
mod socket;

pub use socket::check_address;

/// A claim in force.
pub struct Claim {
    /// What is claimed.
    pub subject: Subject,
    /// By which vport.
    pub slot: u16,
    /// The vport that had it before, and may still send.
    pub before: Option<u16>,
    /// The vport that may take it over.
    offered: Option<u16>,
    /// Kept open, so that the kernel can give the port to no one else.
    _socket: Option<Passed>,
}

impl Claim {
    fn holder(&self) -> Holder {
        Holder {
            vport: self.slot,
            before: self.before,
            verify: self.subject.spec.verify,
        }
    }
}

/// Who wants to claim.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    /// Its vport.
    pub slot: u16,
    /// Its process's user.
    pub user: User,
}

/// What claims depend on, and may change at any time.
pub struct Surroundings<'a> {
    /// The NIC port behind a netdev's index.
    pub nic_of: &'a dyn Fn(u32) -> Option<u8>,
    /// The name of the stack on a vport.
    pub holder: &'a dyn Fn(u16) -> String,
    /// Who may claim what the kernel has no say in.
    pub policy: &'a Policy,
}

/// The claims in force.
pub struct Claims {
    by_id: BTreeMap<u64, Claim>,
    /// How many each vport has.
    held: HashMap<u16, usize>,
    next_id: u64,
    /// As every worker has them: if a claim fits here, it fits there.
    tables: Tables,
    most: u32,
    netns: u64,
}

impl Claims {
    /// No claims yet; at most `most`. `netns` is the primary's network namespace, as
    /// [`netns_cookie`](port_api::netns_cookie) gives it; `seed` is that of the workers' tables.
    pub fn new(most: u32, seed: Seed, netns: u64) -> Self {
        Self {
            by_id: BTreeMap::new(),
            held: HashMap::new(),
            next_id: 1,
            tables: Tables::new(most, seed),
            most,
            netns,
        }
    }

    /// Checks what a stack wants to claim, and the sockets that it has passed, and grants all of
    /// it. The workers are still to be told. Gives the number of the first claim; those of the
    /// others follow.
    ///
    /// # Errors
    /// Nothing has changed then. A claim is not possible or its socket not what it should be
    /// (`EINVAL`) or missing (`EMFILE`), of another network namespace (`EXDEV`), not allowed (`EPERM`), taken
    /// (`EADDRINUSE`), or there are too many (`ENOSPC`).
    pub fn add(
        &mut self,
        wanted: &[Wanted],
        sockets: Vec<Passed>,
        by: Claimant,
        around: &Surroundings<'_>,
    ) -> Result<(u64, Changes), Refusal> {
        let with_socket = wanted.iter().filter(|wanted| wanted.socket).count();
        if sockets.len() < with_socket {
            // The kernel lets those go that the receiver has no room for.
            let message = format!(
                "of {with_socket} sockets {} came: the stack did not send them, or the switch is at its \
                 limit of open files (ulimit -n, LimitNOFILE=)",
                sockets.len()
            );
            return Err(Refusal::new(libc::EMFILE, message));
        }
        if wanted.is_empty() || wanted.len() > MAX_BATCH || with_socket != sockets.len() {
            let message = format!(
                "{} claims with {with_socket} sockets, of which {} came: 1 to {MAX_BATCH} claims",
                wanted.len(),
                sockets.len()
            );
            return Err(Refusal::new(libc::EINVAL, message));
        }
        let first = self.next_id;
        let mut sockets = sockets.into_iter();
        let mut changes = Changes::with_capacity(wanted.len());
        for wanted in wanted {
            let socket = if wanted.socket { sockets.next() } else { None };
            match self.add_one(&wanted.spec, socket, by, around) {
                Ok(change) => changes.push(change),
                Err(refusal) => {
                    for id in first..self.next_id {
                        self.remove(id);
                    }
                    self.next_id = first;
                    return Err(refusal);
                }
            }
        }
        Ok((first, changes))
    }

    fn add_one(
        &mut self,
        spec: &ClaimSpec,
        socket: Option<Passed>,
        by: Claimant,
        around: &Surroundings<'_>,
    ) -> Result<(Subject, Holder), Refusal> {
        let subject = self.authorize(spec, socket.as_ref(), by, around)?;
        let full = || {
            Refusal::new(
                libc::ENOSPC,
                format!("all {} claims are taken: see --max-claims", self.most),
            )
        };
        if self.by_id.len() >= self.most as usize {
            return Err(full());
        }
        let claim = Claim {
            subject,
            slot: by.slot,
            before: None,
            offered: None,
            _socket: socket,
        };
        let holder = claim.holder();
        if self.tables.insert(&subject, holder).is_err() {
            return Err(full());
        }
        self.by_id.insert(self.next_id, claim);
        *self.held.entry(by.slot).or_default() += 1;
        self.next_id += 1;
        Ok((subject, holder))
    }

    /// Ends a claim: drops its socket. The workers must have forgotten it.
    pub fn remove(&mut self, id: u64) {
        if let Some(claim) = self.by_id.remove(&id) {
            self.tables.remove(&claim.subject, claim.slot);
            self.lose(claim.slot);
        }
    }

    /// The vport has one less.
    fn lose(&mut self, slot: u16) {
        let held = self.count(slot) - 1;
        if held == 0 {
            self.held.remove(&slot);
        } else {
            self.held.insert(slot, held);
        }
    }

    /// Lets `to` take a claim over.
    ///
    /// # Errors
    /// `ENOENT` if it is not a claim of `slot`'s, `EINVAL` if it is shared.
    pub fn offer(&mut self, id: u64, slot: u16, to: u16) -> Result<(), Refusal> {
        let claim = self.by_id.get_mut(&id).filter(|claim| claim.slot == slot);
        let claim = claim.ok_or_else(|| unknown(id))?;
        if claim.subject.spec.what.kind() == Kind::Group {
            let message = "a group is shared: the other stack can claim it too";
            return Err(Refusal::new(libc::EINVAL, message));
        }
        claim.offered = Some(to);
        Ok(())
    }

    /// Gives a claim that was offered to `slot` to it. The workers are still to be told.
    ///
    /// # Errors
    /// `ENOENT` if there is no such offer.
    pub fn take(&mut self, id: u64, slot: u16) -> Result<(Subject, Holder), Refusal> {
        let offered = |claim: &&mut Claim| claim.offered == Some(slot);
        let claim = self.by_id.get_mut(&id).filter(offered);
        let none = || Refusal::new(libc::ENOENT, format!("claim {id} is not offered to you"));
        let claim = claim.ok_or_else(none)?;
        let former = claim.slot;
        claim.before = (former != slot).then_some(former);
        claim.slot = slot;
        claim.offered = None;
        let change = (claim.subject, claim.holder());
        // It is in the tables, and only changes hands.
        let _ = self.tables.insert(&change.0, change.1);
        *self.held.entry(slot).or_default() += 1;
        self.lose(former);
        Ok(change)
    }

    /// Ends what `slot` may still send from claims that others have taken over: of all, or of the
    /// one called `only`. The workers are still to be told of what changes.
    pub fn withdraw_former(&mut self, slot: u16, only: Option<u64>) -> Changes {
        let mut changes = Changes::new();
        let range = only.map_or(0..=u64::MAX, |id| id..=id);
        for (_, claim) in self.by_id.range_mut(range) {
            if claim.before == Some(slot) {
                claim.before = None;
                changes.push((claim.subject, claim.holder()));
            }
            if claim.offered == Some(slot) && only.is_none() {
                claim.offered = None;
            }
        }
        for (subject, holder) in &changes {
            // They are in the tables.
            let _ = self.tables.insert(subject, *holder);
        }
        changes
    }

    /// The vport that receives what is sent to a local end, and is no connection's.
    pub fn owner(&self, subject: &Subject) -> Option<u16> {
        self.tables.exact(subject).map(|holder| holder.vport)
    }

    /// What the workers are told when a claim of `slot`'s ends.
    ///
    /// # Errors
    /// `ENOENT` if it has none called `id`.
    pub fn ending(&self, id: u64, slot: u16) -> Result<Changes, Refusal> {
        let claim = self.by_id.get(&id).filter(|claim| claim.slot == slot);
        let claim = claim.ok_or_else(|| unknown(id))?;
        Ok(vec![(claim.subject, claim.holder())])
    }

    /// The claims from `from` on, in the order of their ids.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, &Claim)> {
        self.by_id.range(from..).map(|(id, claim)| (*id, claim))
    }

    /// The claims of a vport: their numbers, and what the workers are told when they end.
    pub fn of(&self, slot: u16) -> (Vec<u64>, Changes) {
        self.from(0)
            .filter(|(_, claim)| claim.slot == slot)
            .map(|(id, claim)| (id, (claim.subject, claim.holder())))
            .unzip()
    }

    /// How many claims a vport has.
    pub fn count(&self, slot: u16) -> usize {
        self.held.get(&slot).copied().unwrap_or_default()
    }
}

fn unknown(id: u64) -> Refusal {
    Refusal::new(libc::ENOENT, format!("no claim {id} of yours"))
}

/// The subject of a tuple, for a look-up.
pub fn tuple_at(protocol: port_api::Protocol, addr: SocketAddr, nic: u8) -> Subject {
    Subject {
        spec: ClaimSpec::tuple(protocol, addr),
        nic,
    }
}

#[cfg(test)]
mod tests;
