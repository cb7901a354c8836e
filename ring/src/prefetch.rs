//! Hints to the CPU: what will be needed soon. No more than hints: no memory changes, whatever the
//! address.

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Asks the CPU to bring the cache line where `value` starts into its cache.
#[inline(always)]
pub fn prefetch_read<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch of any address is harmless.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(value.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// As [`prefetch_read`], and to take it from all others: it is to be written. For the line that is
/// written next, and that another core still has, this is what a store would wait for.
#[inline(always)]
pub fn prefetch_write<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHW neither faults nor changes memory or flags; CPUs of x86-64 without it take it
    // for a NOP.
    unsafe {
        core::arch::asm!(
            "prefetchw [{}]",
            in(reg) value,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
