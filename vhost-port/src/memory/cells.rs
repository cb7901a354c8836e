//! The rings themselves: arrays of integers that both sides read and write.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use super::Memory;

/// The integers that rings are made of.
///
/// # Safety
/// Any bytes are a valid value, and it is an atomic.
pub(crate) unsafe trait Cell {}

// SAFETY: an atomic integer.
unsafe impl Cell for AtomicU16 {}
// SAFETY: an atomic integer.
unsafe impl Cell for AtomicU32 {}
// SAFETY: an atomic integer.
unsafe impl Cell for AtomicU64 {}

/// An array of `T` in the guest's memory, which it keeps mapped.
#[derive(Debug)]
pub(crate) struct Cells<T> {
    at: NonNull<T>,
    last: usize,
    _memory: Arc<Memory>,
}

// SAFETY: a pointer to memory that stays mapped, reached through atomics only.
unsafe impl<T: Cell> Send for Cells<T> {}
// SAFETY: as above.
unsafe impl<T: Cell> Sync for Cells<T> {}

impl<T: Cell> Cells<T> {
    /// `count` of them from the front end's address `user` on. `None` if `count` is 0, they are not wholly in
    /// one region, or not aligned.
    pub(crate) fn new(memory: &Arc<Memory>, user: u64, count: u32) -> Option<Self> {
        let bytes = u64::from(count).checked_mul(size_of::<T>() as u64)?;
        let at = memory.user(user, bytes)?.cast::<T>();
        (at.is_aligned() && count > 0).then(|| Self {
            at,
            last: count as usize - 1,
            _memory: Arc::clone(memory),
        })
    }

    /// The one at `index`, which is in range; else the last.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> &T {
        debug_assert!(index <= self.last);
        let index = index.min(self.last);
        // SAFETY: within the array, by the line above; mapped as long as `_memory`; all access on our side
        // is by atomics, or by copies that the peer's buffers overlap with (`Window`).
        unsafe { self.at.add(index).as_ref() }
    }
}
