//! What lies where in the shared memzone: one truth for both sides.
//!
//! ```text
//! 0        doorbells of worker 0, of worker 1, ...
//!          slot 0: status line, then per worker: rx, free, fill, tx
//!          slot 1: ...
//! ```
//! A slot is a vport's place. Everything is laid out when the primary starts; nothing grows.

use ring::{ALIGN, Doorbells};
use serde::{Deserialize, Serialize};

/// Version of this layout and of the descriptors; part of the control protocol's greeting.
pub const LAYOUT_VERSION: u32 = 3;

/// Most workers: as many as DPDK has lcores (`RTE_MAX_LCORE`); a ledger entry
/// has room for 256.
pub const MAX_WORKERS: u16 = 128;
/// Most vports, the host's included.
pub const MAX_SLOTS: u16 = 4096;
/// Smallest and largest `rx`, `fill` and `tx` ring, in entries.
pub const RING_SIZES: std::ops::RangeInclusive<u32> = 16..=16_384;

/// The sizes from which every offset follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Workers of the primary: each vport has a set of four rings with each of them.
    pub workers: u16,
    /// Vports, the host's included.
    pub slots: u16,
    /// Entries of the `rx`, `fill` and `tx` rings: a power of two in [`RING_SIZES`].
    pub ring_size: u32,
    /// Entries of the `free` ring: a power of two, no less than the quota, so that a stack which
    /// holds only what it was given can always release.
    pub free_size: u32,
}

/// Byte offsets of one vport's four rings with one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOffsets {
    /// Switch to stack: full buffers.
    pub rx: usize,
    /// Stack to switch: buffers done with.
    pub free: usize,
    /// Switch to stack: empty buffers.
    pub fill: usize,
    /// Stack to switch: packets to send.
    pub tx: usize,
}

impl Geometry {
    /// Checks the ranges that this module's constants give.
    ///
    /// # Errors
    /// A sentence that names the number that is off.
    pub fn check(&self) -> Result<(), String> {
        if self.workers == 0 || self.workers > MAX_WORKERS {
            return Err(format!(
                "{} workers: 1 to {MAX_WORKERS} are possible",
                self.workers
            ));
        }
        if self.slots == 0 || self.slots > MAX_SLOTS {
            return Err(format!(
                "{} vports: 1 to {MAX_SLOTS} are possible",
                self.slots
            ));
        }
        if !self.ring_size.is_power_of_two() || !RING_SIZES.contains(&self.ring_size) {
            return Err(format!(
                "ring size {}: a power of two from {} to {} is needed",
                self.ring_size,
                RING_SIZES.start(),
                RING_SIZES.end()
            ));
        }
        if !self.free_size.is_power_of_two() || self.free_size > ring::MAX_CAPACITY {
            return Err(format!(
                "free ring size {}: not a power of two",
                self.free_size
            ));
        }
        Ok(())
    }

    fn rings_len(&self) -> usize {
        2 * ring::bytes::<u64>(self.ring_size)
            + ring::bytes::<u32>(self.free_size)
            + ring::bytes::<u32>(self.ring_size)
    }

    fn slot_len(&self) -> usize {
        ALIGN + self.workers as usize * self.rings_len()
    }

    /// Bytes of the whole memzone.
    pub fn len(&self) -> usize {
        self.doorbells(self.workers) + self.slots as usize * self.slot_len()
    }

    /// Always false: a checked geometry has memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Offset of a worker's doorbells.
    pub fn doorbells(&self, worker: u16) -> usize {
        worker as usize * Doorbells::bytes(self.slots)
    }

    /// Offset of a slot's status line.
    pub fn status(&self, slot: u16) -> usize {
        self.doorbells(self.workers) + slot as usize * self.slot_len()
    }

    /// Offsets of a slot's rings with a worker.
    pub fn rings(&self, slot: u16, worker: u16) -> RingOffsets {
        let rx = self.status(slot) + ALIGN + worker as usize * self.rings_len();
        let tx = rx + ring::bytes::<u64>(self.ring_size);
        let free = tx + ring::bytes::<u64>(self.ring_size);
        let fill = free + ring::bytes::<u32>(self.free_size);
        RingOffsets { rx, free, fill, tx }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        workers: 2,
        slots: 70,
        ring_size: 64,
        free_size: 128,
    };

    #[test]
    fn rings_neither_overlap_nor_leave_the_memzone() {
        let mut places = vec![];
        for worker in 0..GEOMETRY.workers {
            places.push((GEOMETRY.doorbells(worker), Doorbells::bytes(70)));
        }
        for slot in 0..GEOMETRY.slots {
            places.push((GEOMETRY.status(slot), ALIGN));
            for worker in 0..GEOMETRY.workers {
                let at = GEOMETRY.rings(slot, worker);
                places.push((at.rx, ring::bytes::<u64>(64)));
                places.push((at.tx, ring::bytes::<u64>(64)));
                places.push((at.free, ring::bytes::<u32>(128)));
                places.push((at.fill, ring::bytes::<u32>(64)));
            }
        }
        places.sort_unstable();
        let mut end = 0;
        for (start, len) in places {
            assert_eq!(start, end, "a gap or an overlap at {start}");
            assert_eq!(start % ALIGN, 0);
            end = start + len;
        }
        assert_eq!(end, GEOMETRY.len());
    }

    #[test]
    fn bad_numbers_are_named() {
        let bad = |change: fn(&mut Geometry)| {
            let mut geometry = GEOMETRY;
            change(&mut geometry);
            geometry.check().unwrap_err()
        };
        assert!(bad(|g| g.ring_size = 48).contains("48"));
        assert!(bad(|g| g.ring_size = 8).contains("16 to 16384"));
        assert!(bad(|g| g.workers = 0).contains("0 workers"));
        assert!(bad(|g| g.slots = 5000).contains("5000 vports"));
        assert!(bad(|g| g.free_size = 3).contains("free ring size 3"));
        assert_eq!(GEOMETRY.check(), Ok(()));
    }
}
