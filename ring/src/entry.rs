//! What a ring carries: plain integers, read and written as relaxed atomics, because the far side
//! may write at any time.

use crate::sync::{Ordering, Slot32, Slot64};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A ring entry: `u32` (a buffer index) or `u64` (a descriptor).
pub trait Entry: Copy + sealed::Sealed {
    /// The atomic of the same size and alignment that lies in shared memory.
    type Cell: Sync;

    /// Reads a slot once.
    fn load(cell: &Self::Cell) -> Self;

    /// Writes a slot.
    fn store(cell: &Self::Cell, value: Self);
}

impl Entry for u32 {
    type Cell = Slot32;

    fn load(cell: &Slot32) -> u32 {
        cell.load(Ordering::Relaxed)
    }

    fn store(cell: &Slot32, value: u32) {
        cell.store(value, Ordering::Relaxed);
    }
}

impl Entry for u64 {
    type Cell = Slot64;

    fn load(cell: &Slot64) -> u64 {
        cell.load(Ordering::Relaxed)
    }

    fn store(cell: &Slot64, value: u64) {
        cell.store(value, Ordering::Relaxed);
    }
}
