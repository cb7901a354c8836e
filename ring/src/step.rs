//! Where a process can die, for tests of those that outlive it: see the feature `kill-points`.

/// A step: a store to memory that another process sees, or a message to one, comes next. With the feature
/// `kill-points`, a process whose environment has `MULTISTACK_KILL_AT=n` kills itself (SIGKILL) before
/// its `n`th step, counted from 1; without the feature, nothing.
#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub fn step() {}

#[cfg(feature = "kill-points")]
pub use counted::step;

#[cfg(feature = "kill-points")]
mod counted {
    extern crate std;

    use core::sync::atomic::{AtomicU64, Ordering};
    use std::sync::OnceLock;

    use rustix::process::{Signal, getpid, kill_process};

    /// As above.
    ///
    /// # Panics
    /// If `MULTISTACK_KILL_AT` is set, and not a number.
    pub fn step() {
        static LAST: OnceLock<Option<u64>> = OnceLock::new();
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let last = LAST.get_or_init(|| {
            let text = std::env::var("MULTISTACK_KILL_AT").ok()?;
            Some(text.parse().expect("MULTISTACK_KILL_AT is a number"))
        });
        let number = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
        if *last == Some(number) {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
