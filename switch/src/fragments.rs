//! Which stack the fragments of a packet go to, or come from.
//!
//! A fragment that is not the first has no ports; it belongs where the first one of its packet
//! does. The switch does not reassemble: it remembers, for a short time and in a table of fixed
//! size, who owns the packet and which bytes of it have come, and passes fragments on as they
//! are. Bytes pass once: a fragment of bytes that have come is dropped, and one that overlaps them in
//! part spoils the packet (RFC 5722), so that no two readers can see different packets.

use std::collections::VecDeque;
use std::net::IpAddr;

use arrayvec::ArrayVec;
use wire::{Fragment, Vlan};

use crate::flow_table::Seed;
use crate::verdict::{DropReason, Owner};

/// How long a packet may take from its first fragment to its last, in ms. Fragments are sent
/// back to back; hosts wait longer (30 s in Linux) because they have to allow for paths of which
/// the switch is the end.
pub const LIFETIME_MS: u64 = 2_000;

/// Packets that may be under way at once, per worker and direction.
pub const PACKETS: usize = BUCKETS * WAYS;

const BUCKETS: usize = 128;
const WAYS: usize = 8;

/// Separate runs of bytes that a packet may have come in so far. In order there is one.
const RUNS: usize = 8;

/// Which packet a fragment is of: RFC 791 section 3.2 for IPv4; RFC 8200 section 4.5 for IPv6,
/// where the protocol is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketId {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// 0 for IPv6.
    proto: u8,
    vlan: Vlan,
    nic: u8,
}

impl PacketId {
    /// Of a fragment on NIC port `nic`.
    pub fn new(fragment: &Fragment, vlan: Vlan, nic: u8) -> Self {
        let Fragment {
            src,
            dst,
            id,
            proto,
            ..
        } = *fragment;
        Self {
            src,
            dst,
            id,
            proto: if src.is_ipv4() { proto } else { 0 },
            vlan,
            nic,
        }
    }

    fn hash(&self, seed: Seed) -> u64 {
        let rest =
            u64::from(self.id) << 32 | u64::from(self.proto) << 24 | u64::from(self.vlan.bits());
        let mut hash = seed.fold(rest, u64::from(self.nic));
        for addr in [self.src, self.dst] {
            let bits = match addr {
                IpAddr::V4(ip) => u128::from(ip.to_bits()),
                IpAddr::V6(ip) => ip.to_bits(),
            };
            #[allow(clippy::cast_possible_truncation)] // both halves are used
            let halves = ((bits >> 64) as u64, bits as u64);
            hash = seed.fold(halves.0 ^ hash, halves.1);
        }
        hash
    }
}

/// Bytes `start..end` of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u32,
    end: u32,
}

/// A packet that is under way.
#[derive(Clone)]
struct Packet {
    id: PacketId,
    owner: Owner,
    /// In order, and not touching each other.
    runs: ArrayVec<Run, RUNS>,
    /// Of the whole packet, once the last fragment has come.
    len: Option<u32>,
    /// A fragment overlapped another: nothing more of it passes.
    spoilt: bool,
    since_ms: u64,
}

/// Packets under way, in buckets: a new one takes the place of the oldest of its bucket.
pub struct Fragments {
    buckets: Box<[ArrayVec<Packet, WAYS>]>,
    seed: Seed,
}

/// The first fragment of the packet has not come, or that was too long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl Fragments {
    /// An empty table, with all its memory.
    pub fn new(seed: Seed) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| ArrayVec::new()).collect(),
            seed,
        }
    }

    /// A first fragment, of a packet that is `owner`'s. Tells who gets it: if that packet's first
    /// one has come before, this one repeats it.
    ///
    /// # Errors
    /// It may not pass.
    pub fn first(
        &mut self,
        id: &PacketId,
        fragment: &Fragment,
        owner: Owner,
        now_ms: u64,
    ) -> Result<Owner, DropReason> {
        if let Ok(known) = self.next(id, fragment, now_ms) {
            return known;
        }
        let bucket = self.bucket(id);
        let bucket = &mut self.buckets[bucket];
        if bucket.is_full() {
            // They are in the order of their coming.
            bucket.remove(0);
        }
        let mut packet = Packet {
            id: *id,
            owner,
            runs: ArrayVec::new(),
            len: None,
            spoilt: false,
            since_ms: now_ms,
        };
        packet.pass(fragment)?;
        bucket.push(packet);
        Ok(owner)
    }

    /// Any other fragment: who gets it.
    ///
    /// # Errors
    /// [`Unknown`], or else that it may not pass.
    pub fn next(
        &mut self,
        id: &PacketId,
        fragment: &Fragment,
        now_ms: u64,
    ) -> Result<Result<Owner, DropReason>, Unknown> {
        let bucket = self.bucket(id);
        let bucket = &mut self.buckets[bucket];
        bucket.retain(|packet| !packet.is_late(now_ms));
        let at = bucket.iter().position(|packet| packet.id == *id);
        let at = at.ok_or(Unknown)?;
        let packet = &mut bucket[at];
        let passed = packet.pass(fragment);
        let owner = packet.owner;
        if packet.is_whole() {
            // Identifications are used again soon (RFC 6864 section 4).
            bucket.remove(at);
        }
        Ok(passed.map(|()| owner))
    }

    /// What [`next`](Self::next) would say; changes nothing.
    pub fn foresee(
        &self,
        id: &PacketId,
        fragment: &Fragment,
        now_ms: u64,
    ) -> Option<Result<Owner, DropReason>> {
        let bucket = &self.buckets[self.bucket(id)];
        let packet = bucket.iter().find(|packet| packet.id == *id)?;
        let passed = packet.clone().pass(fragment).map(|()| packet.owner);
        (!packet.is_late(now_ms)).then_some(passed)
    }

    /// Who has the packet of this fragment, if its first one has come; changes nothing.
    pub fn owner(&self, id: &PacketId, now_ms: u64) -> Option<Owner> {
        let bucket = &self.buckets[self.bucket(id)];
        let packet = bucket.iter().find(|packet| packet.id == *id)?;
        (!packet.is_late(now_ms)).then_some(packet.owner)
    }

    /// Forgets what is under way for a vport.
    pub fn forget(&mut self, slot: u16) {
        for bucket in &mut self.buckets {
            bucket.retain(|packet| packet.owner != Owner::Vport(slot));
        }
    }

    #[allow(clippy::cast_possible_truncation)] // bits of a hash
    fn bucket(&self, id: &PacketId) -> usize {
        id.hash(self.seed) as usize % BUCKETS
    }
}

impl Packet {
    fn is_late(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.since_ms) >= LIFETIME_MS
    }

    /// Takes a fragment's bytes into account.
    fn pass(&mut self, fragment: &Fragment) -> Result<(), DropReason> {
        let start = u32::from(fragment.offset);
        let end = start + u32::from(fragment.len);
        if self.spoilt {
            return Err(DropReason::FragmentOverlap);
        }
        let within = |run: &Run| run.start <= start && end <= run.end;
        if self.runs.iter().any(within) {
            return Err(DropReason::FragmentDuplicate);
        }
        let overlaps = |run: &Run| run.start < end && start < run.end;
        // A second end elsewhere, or bytes behind the end, are no better than an overlap.
        let ends_badly = match self.len {
            Some(len) => end > len || (!fragment.more && end != len),
            None => !fragment.more && self.runs.last().is_some_and(|run| run.end > end),
        };
        if self.runs.iter().any(overlaps) || ends_badly || !self.add(Run { start, end }) {
            self.spoilt = true;
            return Err(DropReason::FragmentOverlap);
        }
        if !fragment.more {
            self.len = Some(end);
        }
        Ok(())
    }

    /// Puts a run in its place and joins it with those that it touches. False if there are too many
    /// gaps.
    fn add(&mut self, run: Run) -> bool {
        let at = self.runs.iter().take_while(|r| r.end <= run.start).count();
        let joins_before = at > 0 && self.runs[at - 1].end == run.start;
        let joins_after = self.runs.get(at).is_some_and(|next| next.start == run.end);
        match (joins_before, joins_after) {
            (true, true) => {
                self.runs[at - 1].end = self.runs[at].end;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].end = run.end,
            (false, true) => self.runs[at].start = run.start,
            (false, false) => return self.runs.try_insert(at, run).is_ok(),
        }
        true
    }

    fn is_whole(&self) -> bool {
        let [Run { start: 0, end }] = self.runs.as_slice() else {
            return false;
        };
        self.len == Some(*end)
    }
}

/// Fragments that wait for the first one of their packet: at most so many, none for longer than
/// [`LIFETIME_MS`].
pub const WAITING: usize = 256;

/// A fragment that came before the first one of its packet.
pub struct Waiting<B> {
    /// The buffer that it is in.
    pub buf: B,
    /// Which packet it is of.
    pub id: PacketId,
    /// What its headers say.
    pub fragment: Fragment,
    /// The NIC port that it came in at.
    pub nic: usize,
    /// When.
    pub since_ms: u64,
}

/// The fragments that wait, oldest first.
pub struct WaitingRoom<B>(VecDeque<Waiting<B>>);

impl<B> Default for WaitingRoom<B> {
    fn default() -> Self {
        Self(VecDeque::with_capacity(WAITING))
    }
}

impl<B> WaitingRoom<B> {
    /// Lets one more wait; gives back the oldest if there are too many.
    pub fn admit(&mut self, waiting: Waiting<B>) -> Option<Waiting<B>> {
        let oldest = if self.0.len() >= WAITING {
            self.0.pop_front()
        } else {
            None
        };
        self.0.push_back(waiting);
        oldest
    }

    /// The oldest one of a packet whose first fragment has come.
    pub fn call(&mut self, id: &PacketId) -> Option<Waiting<B>> {
        let at = self.0.iter().position(|waiting| waiting.id == *id)?;
        self.0.remove(at)
    }

    /// One that has waited too long.
    pub fn late(&mut self, now_ms: u64) -> Option<Waiting<B>> {
        let oldest = self.0.front()?;
        let is_late = now_ms.saturating_sub(oldest.since_ms) >= LIFETIME_MS;
        if is_late { self.0.pop_front() } else { None }
    }

    /// How many wait at NIC port `nic`.
    pub fn count(&self, nic: usize) -> usize {
        self.0.iter().filter(|waiting| waiting.nic == nic).count()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
