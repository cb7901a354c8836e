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
mod tests {
    use super::*;
    use port_api::{Protocol, netns_cookie};
    use rustix::net::{AddressFamily, SocketType, socket};
    use std::os::fd::{AsFd, OwnedFd};

    /// The user that the default policy lets claim anything.
    pub fn user() -> User {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        User {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        }
    }

    pub fn claims() -> Claims {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        let here = netns_cookie(any.as_fd()).unwrap();
        let seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);
        Claims::new(8, seed, here)
    }

    pub fn wanted(spec: ClaimSpec, socket: bool) -> Wanted {
        Wanted { spec, socket }
    }

    /// Adds claims for `slot`, with netdev 7 behind NIC port 2.
    pub fn add_as(
        claims: &mut Claims,
        wanted: &[Wanted],
        sockets: Vec<OwnedFd>,
        by: Claimant,
    ) -> Result<u64, Refusal> {
        let around = Surroundings {
            nic_of: &|index| (index == 7).then_some(2),
            holder: &|slot| format!("stack{slot}"),
            policy: &Policy::default(),
        };
        let sockets = sockets.into_iter().map(|fd| Passed::new(fd).unwrap());
        let (first, changes) = claims.add(wanted, sockets.collect(), by, &around)?;
        assert_eq!(changes.len(), wanted.len());
        assert!(changes.iter().all(|(_, holder)| holder.vport == by.slot));
        Ok(first)
    }

    /// Adds one claim that takes no socket.
    pub fn add(claims: &mut Claims, spec: ClaimSpec, slot: u16) -> Result<u64, Refusal> {
        let by = Claimant { slot, user: user() };
        add_as(claims, &[wanted(spec, false)], vec![], by)
    }

    /// At an address that no host has (RFC 5737).
    pub fn udp(port: u16) -> ClaimSpec {
        ClaimSpec::tuple(Protocol::Udp, ([198, 51, 100, 1], port).into())
    }

    fn subject_of(spec: ClaimSpec) -> Subject {
        Subject { spec, nic: 0 }
    }

    #[test]
    fn a_batch_is_granted_as_a_whole_or_not_at_all() {
        let mut claims = claims();
        let by = Claimant {
            slot: 3,
            user: user(),
        };
        add(&mut claims, udp(9), 4).unwrap();
        let three = [7, 8, 9].map(|port| wanted(udp(port), false));
        let refusal = add_as(&mut claims, &three, vec![], by).unwrap_err();
        assert_eq!(refusal.errno, libc::EADDRINUSE);
        assert_eq!(claims.count(3), 0);
        assert_eq!(claims.owner(&subject_of(udp(7))), None);
        assert_eq!(add_as(&mut claims, &three[..2], vec![], by), Ok(2));
        assert_eq!(claims.of(3).0, [2, 3]);
        let none = add_as(&mut claims, &[], vec![], by).unwrap_err();
        assert_eq!(none.errno, libc::EINVAL);
        let without_its_socket = [wanted(udp(10), true)];
        let missing = add_as(&mut claims, &without_its_socket, vec![], by).unwrap_err();
        assert_eq!(missing.errno, libc::EMFILE);
    }

    #[test]
    fn there_are_no_more_than_the_tables_hold() {
        let mut claims = claims();
        for port in 1..=8 {
            add(&mut claims, udp(port), 3).unwrap();
        }
        assert_eq!(add(&mut claims, udp(9), 3).unwrap_err().errno, libc::ENOSPC);
        claims.remove(1);
        assert_eq!(add(&mut claims, udp(9), 3), Ok(9));
    }

    #[test]
    fn an_offer_is_for_one_and_taken_once() {
        let mut claims = claims();
        let id = add(&mut claims, udp(7), 3).unwrap();
        let errno = |result: Result<_, Refusal>| result.map(drop).unwrap_err().errno;
        assert_eq!(errno(claims.offer(id, 4, 4)), libc::ENOENT, "not its own");
        assert_eq!(errno(claims.take(id, 4).map(drop)), libc::ENOENT);
        claims.offer(id, 3, 4).unwrap();
        assert_eq!(errno(claims.take(id, 5).map(drop)), libc::ENOENT);
        let (subject, holder) = claims.take(id, 4).unwrap();
        assert_eq!((holder.vport, holder.before), (4, Some(3)));
        assert_eq!(claims.owner(&subject), Some(4));
        assert_eq!((claims.count(3), claims.count(4)), (0, 1));
        assert_eq!(errno(claims.take(id, 4).map(drop)), libc::ENOENT);
        assert_eq!(
            errno(claims.offer(id, 3, 5)),
            libc::ENOENT,
            "no more its own"
        );
        // The former owner's release ends its part, and no more.
        assert!(claims.withdraw_former(4, Some(id)).is_empty());
        let ended = claims.withdraw_former(3, Some(id));
        assert_eq!(ended, [(subject, Holder::new(4, false))]);
        assert!(claims.withdraw_former(3, Some(id)).is_empty());
        assert_eq!(claims.ending(id, 3).unwrap_err().errno, libc::ENOENT);
        assert_eq!(claims.ending(id, 4).unwrap().len(), 1);
    }

    #[test]
    fn an_offer_ends_with_whom_it_was_made_to() {
        let mut claims = claims();
        let id = add(&mut claims, udp(7), 3).unwrap();
        claims.offer(id, 3, 4).unwrap();
        // Vport 4 goes, and another stack gets its place.
        assert!(claims.withdraw_former(4, None).is_empty());
        assert_eq!(claims.take(id, 4).unwrap_err().errno, libc::ENOENT);
        // A new offer replaces the one before.
        claims.offer(id, 3, 4).unwrap();
        claims.offer(id, 3, 5).unwrap();
        assert_eq!(claims.take(id, 4).unwrap_err().errno, libc::ENOENT);
        claims.take(id, 5).unwrap();
        // The former owner goes: nothing of it is left.
        assert_eq!(claims.withdraw_former(3, None).len(), 1);
        assert!(claims.from(0).all(|(_, claim)| claim.before.is_none()));
    }

    #[test]
    fn a_group_is_not_handed_over() {
        let mut claims = claims();
        // Of a port of the kernel's choice.
        let addr: SocketAddr = ([239, 1, 1, 1], 0).into();
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        rustix::net::bind(&socket, &addr).unwrap();
        let group = ClaimSpec::tuple(Protocol::Udp, addr);
        let by = Claimant {
            slot: 3,
            user: user(),
        };
        let id = add_as(&mut claims, &[wanted(group, true)], vec![socket], by).unwrap();
        assert_eq!(claims.offer(id, 3, 4).unwrap_err().errno, libc::EINVAL);
    }
}
