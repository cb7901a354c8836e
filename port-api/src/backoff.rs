//! What a poller does when there is nothing to do.

use std::hint;
use std::thread;
use std::time::Duration;

/// Empty polls before the first `pause`.
const POLLS: u32 = 64;
/// Empty polls before the first sleep.
const PAUSES: u32 = 512;
/// `pause` instructions per step.
const PAUSE_BURST: u32 = 16;
const FIRST_SLEEP_US: u64 = 10;
const LONGEST_SLEEP_US: u64 = 100;

/// Backs an idle poller off: first it just polls on, then pauses, then sleeps for 10 µs and longer,
/// up to 100 µs at a time. One packet brings it back to polling.
///
/// The same for workers and stacks, so that a machine with few cores stays usable.
#[derive(Debug)]
pub struct Backoff {
    empty: u32,
    sleep_us: u64,
    pure_poll: bool,
}

impl Backoff {
    /// `pure_poll` never pauses nor sleeps: for lcores that nothing else needs.
    pub const fn new(pure_poll: bool) -> Self {
        Self {
            empty: 0,
            sleep_us: FIRST_SLEEP_US,
            pure_poll,
        }
    }

    /// To be called after each poll; `worked` tells whether it found anything to do.
    pub fn after_poll(&mut self, worked: bool) {
        if worked || self.pure_poll {
            self.empty = 0;
            self.sleep_us = FIRST_SLEEP_US;
            return;
        }
        self.empty = self.empty.saturating_add(1);
        if self.empty > PAUSES {
            thread::sleep(Duration::from_micros(self.sleep_us));
            self.sleep_us = (self.sleep_us * 2).min(LONGEST_SLEEP_US);
        } else if self.empty > POLLS {
            for _ in 0..PAUSE_BURST {
                hint::spin_loop();
            }
        }
    }

    /// True if the last step slept: the moment for what a busy poller has no time for.
    pub const fn is_asleep(&self) -> bool {
        self.empty > PAUSES
    }
}

/// Lets the calling thread's sleeps end when asked, not up to 50 µs later (Linux' default timer
/// slack, prctl(2) `PR_SET_TIMERSLACK`).
pub fn sharpen_sleeps() {
    // Without it sleeps are only longer: not worth failing for.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1_000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_only_after_many_empty_polls_and_work_resets_it() {
        let mut backoff = Backoff::new(false);
        for _ in 0..PAUSES {
            backoff.after_poll(false);
        }
        assert!(!backoff.is_asleep());
        backoff.after_poll(false);
        assert!(backoff.is_asleep());
        backoff.after_poll(true);
        assert!(!backoff.is_asleep());
    }

    #[test]
    fn pure_poll_never_sleeps() {
        let mut backoff = Backoff::new(true);
        for _ in 0..10 * PAUSES {
            backoff.after_poll(false);
        }
        assert!(!backoff.is_asleep());
    }
}
