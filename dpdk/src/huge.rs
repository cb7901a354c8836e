//! Large tables on transparent huge pages, so that the CPU's TLB holds all of them.

use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

/// Bytes of a huge page of x86-64 and, with the usual granule, of arm64.
const PAGE: usize = 2 << 20;

/// An array that begins on a huge page and is on such pages as far as the kernel has any
/// (`/sys/kernel/mm/transparent_hugepage/enabled`: "madvise" or "always"); else on ordinary ones.
#[derive(Debug)]
pub struct HugeSlice<T> {
    start: NonNull<T>,
    len: usize,
    /// What was mapped.
    map: (NonNull<u8>, usize),
}

// SAFETY: it owns its elements, as a Box does.
unsafe impl<T: Send> Send for HugeSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T> HugeSlice<T> {
    /// `len` elements, each from `element`.
    ///
    /// # Panics
    /// If there is not enough memory.
    pub fn from_fn(len: usize, mut element: impl FnMut() -> T) -> Self {
        const {
            assert!(!std::mem::needs_drop::<T>() && align_of::<T>() <= PAGE);
        }
        let bytes = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(PAGE));
        let bytes = bytes.expect("the length of a table");
        // SAFETY: a new private mapping, of no file.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let map = NonNull::new(map.cast::<u8>()).filter(|_| map != libc::MAP_FAILED);
        let map = map.unwrap_or_else(|| panic!("no memory for a table of {bytes} bytes"));
        let start = map
            .as_ptr()
            .wrapping_add(map.as_ptr().align_offset(PAGE))
            .cast::<T>();
        // SAFETY: a part of the mapping; a hint, which changes nothing that is in it. Without huge
        // pages it fails, and ordinary ones are used.
        unsafe {
            libc::madvise(start.cast(), len * size_of::<T>(), libc::MADV_HUGEPAGE);
        }
        for at in 0..len {
            // SAFETY: aligned to a page, and `len` elements end at least where the mapping does.
            unsafe { start.add(at).write(element()) };
        }
        Self {
            start: NonNull::new(start).unwrap_or(NonNull::dangling()),
            len,
            map: (map, bytes),
        }
    }
}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: from_fn has written that many.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and &mut self is the only way to them.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for HugeSlice<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by from_fn; no element needs to be dropped.
        unsafe {
            libc::munmap(self.map.0.as_ptr().cast(), self.map.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_made_of() {
        for len in [0, 1, 1000, PAGE / 4 + 1] {
            let mut next = 0u64;
            let mut array = HugeSlice::from_fn(len, || {
                next += 1;
                next
            });
            assert_eq!(array.len(), len);
            assert!(array.iter().copied().eq(1..=len as u64));
            assert_eq!(array.as_ptr().addr() % PAGE, 0);
            if let Some(last) = array.last_mut() {
                *last = 7;
                assert_eq!(array[len - 1], 7);
            }
        }
    }
}
