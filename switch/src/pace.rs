//! How often something may be done.

use std::time::{Duration, Instant};

/// So many times a second, and so many times at once after a rest: a token bucket, kept as the
/// moment until which what was done is paid for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// What doing it once takes off.
    each: Duration,
    burst: Duration,
    paid_until: Instant,
}

impl Pace {
    /// `per_second` times, 1 to a thousand million, in bursts of up to `burst`; as after a rest.
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let each = Duration::from_secs(1) / per_second;
        Self {
            each,
            burst: each * burst,
            paid_until: now,
        }
    }

    /// It was done, and counts as if it had been done so many times.
    pub fn charge(&mut self, times: u32, now: Instant) {
        self.paid_until = self.paid_until.max(now) + self.each * times;
    }

    /// How long to wait until it may be done again; zero if it may be now.
    pub fn wait(&self, now: Instant) -> Duration {
        let ahead = self.paid_until.saturating_duration_since(now);
        (ahead + self.each).saturating_sub(self.burst)
    }
}

/// Says who has something to log, now and then only, so that a client can't fill the log.
#[derive(Clone, Copy, Debug)]
pub struct Muffler {
    pace: Pace,
    held_back: u64,
}

impl Muffler {
    /// Lines of log, as [`Pace::new`].
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            pace: Pace::new(per_second, burst, now),
            held_back: 0,
        }
    }

    /// Whether this line may be logged: then how many before it were not.
    pub fn lets_through(&mut self, now: Instant) -> Option<u64> {
        if self.pace.wait(now) > Duration::ZERO {
            self.held_back += 1;
            return None;
        }
        self.pace.charge(1, now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(1000, 10, start);
        let mut at = start;
        for _ in 0..10 {
            assert_eq!(pace.wait(at), Duration::ZERO);
            pace.charge(1, at);
        }
        assert_eq!(pace.wait(at), MS);
        for _ in 0..1000 {
            at += pace.wait(at);
            pace.charge(1, at);
        }
        assert_eq!(at - start, 1000 * MS);
        // Rest gives a burst back, and no more.
        at += 3600 * 1000 * MS;
        pace.charge(10, at);
        assert_eq!(pace.wait(at), MS);
    }

    #[test]
    fn what_costs_much_is_paid_for_afterwards() {
        let now = Instant::now();
        let mut pace = Pace::new(1000, 10, now);
        pace.charge(100, now);
        assert_eq!(pace.wait(now), 91 * MS);
        assert_eq!(pace.wait(now + 91 * MS), Duration::ZERO);
    }

    #[test]
    fn lines_held_back_are_counted() {
        let start = Instant::now();
        let mut muffler = Muffler::new(10, 2, start);
        let mut said = |at| muffler.lets_through(start + at);
        assert_eq!(
            [said(Duration::ZERO), said(Duration::ZERO)],
            [Some(0), Some(0)]
        );
        assert_eq!([said(MS), said(2 * MS)], [None, None]);
        assert_eq!(said(200 * MS), Some(2));
    }
}
