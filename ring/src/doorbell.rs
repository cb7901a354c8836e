//! A bitmap in shared memory, one bit per vport: "look at my rings".
//!
//! A worker that serves a thousand idle vports reads sixteen words instead of a thousand cursors.

use core::mem::size_of;
use core::ptr::NonNull;
use core::slice;

use crate::sync::{AtomicU64, Ordering, fence};
use crate::{ALIGN, step};

/// The doorbells of one worker.
///
/// Ringing and answering are a Dekker pair: the stack publishes its cursor, then looks at its bit;
/// the worker clears the bit, then looks at the cursor. With a full fence between the two steps on
/// both sides, at least one of them sees the other, so no wake-up is lost and a bit that is
/// already set need not be written again.
pub struct Doorbells {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: a pointer to atomics that `new`'s caller keeps mapped.
unsafe impl Send for Doorbells {}
// SAFETY: as above; every access is atomic.
unsafe impl Sync for Doorbells {}

impl Doorbells {
    /// Bytes of shared memory for `vports` doorbells, a multiple of [`ALIGN`].
    pub const fn bytes(vports: u16) -> usize {
        ((vports as usize).div_ceil(64) * size_of::<AtomicU64>()).next_multiple_of(ALIGN)
    }

    /// The doorbells in `memory`.
    ///
    /// # Safety
    /// `memory` must point to [`Self::bytes`]`(vports)` bytes, aligned to [`ALIGN`], mapped for as
    /// long as the value lives and written by no one except through this crate or another process.
    ///
    /// # Panics
    /// If `memory` is not aligned.
    pub unsafe fn new(memory: NonNull<u8>, vports: u16) -> Self {
        assert!(memory.cast::<AtomicU64>().is_aligned());
        Self {
            words: memory.cast(),
            count: (vports as usize).div_ceil(64),
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `new`'s caller promised the memory.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }

    /// Stack: ask the worker to look at `vport`'s rings. To be called after the publish.
    pub fn ring(&self, vport: u16) {
        let Some(word) = self.words().get(vport as usize / 64) else {
            return;
        };
        let bit = 1 << (vport % 64);
        fence(Ordering::SeqCst);
        if word.load(Ordering::Relaxed) & bit == 0 {
            step();
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Number of words, of 64 doorbells each.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there is no doorbell at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Worker: which of the vports `64 * word ..` rang, and clears them. The rings are to be read
    /// after this.
    pub fn answer(&self, word: usize) -> u64 {
        let Some(cell) = self.words().get(word) else {
            return 0;
        };
        if cell.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let rang = cell.swap(0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        rang
    }
}
