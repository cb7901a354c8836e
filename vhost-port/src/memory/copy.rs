//! Copies between the guest's memory and our own. Frames of up to 128 bytes are copied in place: a call
//! of `memcpy` costs more than they do.

use std::ptr;

/// Copies `len` bytes. The pieces of a short copy overlap, so bytes of `from` may be read twice; what ends
/// up in `to` is one of the two.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`]; but one side may be written by another process meanwhile.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: every piece lies within `len` bytes of both, by the ranges.
    unsafe {
        match len {
            33..=64 => {
                piece::<32>(to, from, 0);
                piece::<32>(to, from, len - 32);
            }
            65..=128 => {
                piece::<32>(to, from, 0);
                piece::<32>(to, from, 32);
                piece::<32>(to, from, len - 64);
                piece::<32>(to, from, len - 32);
            }
            16..=32 => {
                piece::<16>(to, from, 0);
                piece::<16>(to, from, len - 16);
            }
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

/// # Safety
/// `N` bytes from `at` on are valid in both.
#[inline(always)]
unsafe fn piece<const N: usize>(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: the caller's promise; arrays of bytes need no alignment.
    unsafe {
        to.add(at)
            .cast::<[u8; N]>()
            .write(from.add(at).cast::<[u8; N]>().read());
    }
}
