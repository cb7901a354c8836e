//! How much a peer may ask for in a second.

use std::time::{Duration, Instant};

/// Messages and connections in a [`WINDOW`]. QEMU needs some 50 to bring up a pair of queues.
const MOST: u32 = 4000;

const WINDOW: Duration = Duration::from_secs(1);

/// Counts what one device is asked for.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    count: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    /// Counts one more at `now`; how long to wait before it, if that is too many.
    pub(crate) fn count(&mut self, now: Instant) -> Option<Duration> {
        let gone = now.saturating_duration_since(self.since);
        if gone >= WINDOW {
            *self = Self {
                since: now,
                count: 1,
            };
            return None;
        }
        self.count += 1;
        (self.count > MOST).then(|| WINDOW.saturating_sub(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_waits_for_the_second_to_end() {
        let mut pace = Pace::new();
        let start = pace.since;
        let at = start + Duration::from_millis(400);
        for _ in 0..MOST {
            assert_eq!(pace.count(at), None);
        }
        assert_eq!(pace.count(at), Some(Duration::from_millis(600)));
        assert_eq!(pace.count(start + WINDOW), None);
    }
}
