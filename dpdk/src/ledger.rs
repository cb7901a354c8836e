//! Who has which buffer.
//!
//! The primary's private table: one entry per buffer of the pool, 0 for the switch (the pool, a
//! port's queue or an [`Mbuf`] value), else the vport that the buffer is lent to, the worker that
//! lent it and the vport's generation. Whatever index a stack sends back, [`take_back`] yields a
//! buffer only if the table says that this stack has it, and so at most once; a dead stack's
//! buffers are found by walking the table ([`reclaim`]).
//!
//! [`take_back`]: WorkerLedger::take_back
//! [`reclaim`]: WorkerLedger::reclaim

use std::{
    num::NonZeroU16,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use ring::prefetch_write;

use crate::{
    huge::HugeSlice,
    mbuf::{self, Mbuf},
    mempool::{Geometry, Mempool},
};

/// To whom a buffer is lent: a vport, and which of the stacks that have had it one after the other,
/// counted modulo 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(u32);

impl Owner {
    /// The stack of this generation on a vport.
    pub const fn new(vport: NonZeroU16, generation: u8) -> Self {
        Self((vport.get() as u32) << 16 | generation as u32)
    }

    /// The vport's number.
    pub const fn vport(self) -> u32 {
        self.0 >> 16
    }
}

/// A lent buffer, as a stack is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// The buffer's index in the pool.
    pub index: u32,
    /// Bytes from the start of the room to the packet.
    pub offset: u16,
    /// Bytes of packet.
    pub len: u16,
}

/// What one step of [`WorkerLedger::reclaim`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// Buffers given back to the pool.
    pub freed: u32,
    /// Where to go on; None at the end of the table.
    pub next: Option<u32>,
}

/// One entry per buffer. Relaxed loads and stores suffice: an entry that names a worker is written
/// only by that worker; an entry of 0 only by the worker that holds the buffer, and who held it
/// before handed it on through the pool or a queue, which orders the two.
#[derive(Debug, Clone)]
struct Table(Arc<HugeSlice<AtomicU32>>);

/// Vport, worker, generation: in 16, 8 and 8 bits.
const fn entry(worker: u8, owner: Owner) -> u32 {
    owner.0 | (worker as u32) << 8
}

/// The generation in an entry.
const GENERATION: u32 = 0xff;

impl Table {
    fn new(count: u32) -> Self {
        Self(Arc::new(HugeSlice::from_fn(count as usize, || {
            AtomicU32::new(0)
        })))
    }

    #[inline]
    fn prefetch(&self, index: u32) {
        if let Some(slot) = self.0.get(index as usize) {
            prefetch_write(slot);
        }
    }

    #[inline]
    fn lend(&self, index: u32, worker: u8, owner: Owner) {
        let slot = &self.0[index as usize];
        debug_assert_eq!(
            slot.load(Ordering::Relaxed),
            0,
            "buffer {index} is lent already"
        );
        slot.store(entry(worker, owner), Ordering::Relaxed);
    }

    /// True if the buffer was lent to the owner by this worker; then it no longer is.
    #[inline]
    fn take_back(&self, index: u32, worker: u8, owner: Owner) -> bool {
        let Some(slot) = self.0.get(index as usize) else {
            return false;
        };
        if slot.load(Ordering::Relaxed) != entry(worker, owner) {
            return false;
        }
        slot.store(0, Ordering::Relaxed);
        true
    }

    /// Takes back what this worker lent to the vport in any generation, among at most `max`
    /// entries from `from`. Returns where to go on.
    fn reclaim(
        &self,
        vport: NonZeroU16,
        worker: u8,
        from: u32,
        max: u32,
        mut found: impl FnMut(u32),
    ) -> Option<u32> {
        let wanted = entry(worker, Owner::new(vport, 0));
        let end = from.saturating_add(max);
        for index in from..end {
            let slot = self.0.get(index as usize)?;
            if slot.load(Ordering::Relaxed) & !GENERATION == wanted {
                slot.store(0, Ordering::Relaxed);
                found(index);
            }
        }
        ((end as usize) < self.0.len()).then_some(end)
    }

    fn lent_to(&self, vport: NonZeroU16) -> u32 {
        let lent = |slot: &&AtomicU32| slot.load(Ordering::Relaxed) >> 16 == vport.get().into();
        u32::try_from(self.0.iter().filter(lent).count()).unwrap_or(u32::MAX)
    }
}

/// The table, shared by the workers.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Table,
    geometry: Geometry,
    taken: [AtomicBool; 256],
}

impl Ledger {
    /// A ledger in which the switch has every buffer.
    pub fn new(pool: &Mempool) -> Self {
        let geometry = pool.geometry();
        Self(Arc::new(Shared {
            table: Table::new(geometry.count),
            geometry,
            taken: [const { AtomicBool::new(false) }; 256],
        }))
    }

    /// The one handle of a worker; None if it was given out already.
    pub fn worker(&self, worker: u8) -> Option<WorkerLedger> {
        let taken = self.0.taken[usize::from(worker)].swap(true, Ordering::AcqRel);
        (!taken).then(|| WorkerLedger {
            table: self.0.table.clone(),
            geometry: self.0.geometry,
            worker,
        })
    }

    /// The number of buffers that a vport has. Walks the table; not for the packet path. Exact
    /// only while no worker lends or takes back.
    pub fn lent_to(&self, vport: NonZeroU16) -> u32 {
        self.0.table.lent_to(vport)
    }
}

/// A worker's handle to the ledger: it alone lends and takes back in this worker's name.
#[derive(Debug)]
pub struct WorkerLedger {
    table: Table,
    geometry: Geometry,
    worker: u8,
}

/// Buffers that [`WorkerLedger::reclaim`] gives to the pool in one call.
const RECLAIM_BULK: usize = 64;

impl WorkerLedger {
    /// The worker.
    pub fn worker(&self) -> u8 {
        self.worker
    }

    /// Asks the CPU for the entry of a buffer that will be lent soon.
    #[inline]
    pub fn prefetch(&self, mbuf: &Mbuf) {
        let index = self.geometry.index_of(mbuf.as_raw());
        self.table.prefetch(index);
    }

    /// Lends a buffer.
    #[inline]
    pub fn lend(&mut self, mbuf: Mbuf, owner: Owner) -> Lent {
        let (offset, len) = (mbuf.offset(), mbuf.len());
        let index = self.geometry.index_of(mbuf.into_raw());
        self.table.lend(index, self.worker, owner);
        Lent { index, offset, len }
    }

    /// Takes back a buffer that `owner` returned; None, and no harm done, if the index is out of
    /// range or this owner does not have that buffer from this worker. The packet in it is where
    /// it was when it was lent; see [`Mbuf::set_data`].
    #[inline]
    pub fn take_back(&mut self, index: u32, owner: Owner) -> Option<Mbuf> {
        if !self.table.take_back(index, self.worker, owner) {
            return None;
        }
        let header = self.geometry.header(index);
        mbuf::prefetch(header);
        // SAFETY: the entry named this worker, so lend() of this very handle wrote it and with it
        // swallowed the buffer's only Mbuf. The entry is 0 again, so this happens once per loan.
        // All of that holds whatever a stack sends. The index is below the table's length, which
        // is the pool's count.
        Some(unsafe { Mbuf::from_raw(header) })
    }

    /// Gives the pool what this worker lent to `vport`, in whatever generation, among at most
    /// `max` buffers from index `from` (start with 0). The caller spreads the walk over rounds of
    /// its loop. The stack must be gone: it could still write to these buffers.
    pub fn reclaim(&mut self, vport: NonZeroU16, from: u32, max: u32) -> Reclaimed {
        let mut batch = [NonNull::dangling(); RECLAIM_BULK];
        let mut held = 0;
        let mut freed = 0;
        let geometry = self.geometry;
        let next = self.table.reclaim(vport, self.worker, from, max, |index| {
            batch[held] = geometry.header(index);
            held += 1;
            freed += 1;
            if held == RECLAIM_BULK {
                // SAFETY: as in take_back(): each of these was lent by this handle, and no longer is.
                unsafe { mbuf::put_bulk(&batch) };
                held = 0;
            }
        });
        // SAFETY: as above; only what was found since the last batch.
        unsafe { mbuf::put_bulk(&batch[..held]) };
        Reclaimed { freed, next }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn vport(vport: u16) -> NonZeroU16 {
        NonZeroU16::new(vport).unwrap()
    }

    fn owner(vport: u16, generation: u8) -> Owner {
        Owner::new(self::vport(vport), generation)
    }

    #[test]
    fn take_back_needs_the_same_worker_vport_and_generation_and_works_once() {
        let table = Table::new(4);
        table.lend(2, 1, owner(7, 3));
        assert!(!table.take_back(2, 0, owner(7, 3)), "another worker's");
        assert!(!table.take_back(2, 1, owner(8, 3)), "foreign");
        assert!(!table.take_back(2, 1, owner(7, 4)), "stale");
        assert!(!table.take_back(3, 1, owner(7, 3)), "never lent");
        assert!(!table.take_back(4, 1, owner(7, 3)), "out of range");
        assert!(
            !table.take_back(u32::MAX, 1, owner(7, 3)),
            "far out of range"
        );
        assert!(table.take_back(2, 1, owner(7, 3)));
        assert!(!table.take_back(2, 1, owner(7, 3)), "doubled");
    }

    #[test]
    fn the_least_entry_is_not_the_switchs() {
        let table = Table::new(1);
        table.lend(0, 0, owner(1, 0));
        assert_eq!(table.lent_to(vport(1)), 1);
        assert!(table.take_back(0, 0, owner(1, 0)));
    }

    #[test]
    fn reclaim_steps_end_exactly_at_the_end() {
        let table = Table::new(10);
        for index in 0..10 {
            table.lend(index, 0, owner(1 + u16::from(index % 2 == 0), 9));
        }
        let first = vport(1);
        let mut found = Vec::new();
        assert_eq!(table.reclaim(first, 0, 0, 4, |i| found.push(i)), Some(4));
        assert_eq!(table.reclaim(first, 0, 4, 6, |i| found.push(i)), None);
        assert_eq!(found, [1, 3, 5, 7, 9]);
        assert_eq!(table.reclaim(first, 0, 10, 4, |_| panic!()), None);
        assert_eq!(table.reclaim(first, 0, u32::MAX, 4, |_| panic!()), None);
        assert_eq!(table.lent_to(vport(2)), 5);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Lend(u32, u8, u16, u8),
        TakeBack(u32, u8, u16, u8),
        Reclaim(u16, u8, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let what = (0..20u32, 0..2u8, 1..4u16, 0..3u8);
        prop_oneof![
            what.clone().prop_map(|(i, w, v, g)| Step::Lend(i, w, v, g)),
            what.prop_map(|(i, w, v, g)| Step::TakeBack(i, w, v, g)),
            (1..4u16, 0..2u8, 1..20u32).prop_map(|(v, w, chunk)| Step::Reclaim(v, w, chunk)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_from_index_to_owner(steps in prop::collection::vec(step(), 0..200)) {
            const COUNT: u32 = 16;
            let table = Table::new(COUNT);
            let mut model: HashMap<u32, (u8, u16, u8)> = HashMap::new();
            for step in steps {
                match step {
                    // Only the holder of the Mbuf can lend it, so never what is lent.
                    Step::Lend(i, w, v, g) => if i < COUNT && !model.contains_key(&i) {
                        table.lend(i, w, owner(v, g));
                        model.insert(i, (w, v, g));
                    },
                    Step::TakeBack(i, w, v, g) => {
                        let expected = model.get(&i) == Some(&(w, v, g));
                        prop_assert_eq!(table.take_back(i, w, owner(v, g)), expected);
                        if expected {
                            model.remove(&i);
                        }
                    }
                    Step::Reclaim(v, w, chunk) => {
                        let mut found = Vec::new();
                        let mut from = Some(0);
                        while let Some(at) = from {
                            from = table.reclaim(vport(v), w, at, chunk, |i| found.push(i));
                        }
                        let mut expected: Vec<u32> = model.iter()
                            .filter(|(_, o)| (o.0, o.1) == (w, v)).map(|(i, _)| *i).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(&found, &expected);
                        model.retain(|i, _| !found.contains(i));
                    }
                }
                for v in 1..4 {
                    let lent = model.values().filter(|o| o.1 == v).count();
                    prop_assert_eq!(table.lent_to(vport(v)) as usize, lent);
                }
            }
        }
    }
}
