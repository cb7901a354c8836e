//! Choices of a test that differ from run to run: each prints its seed, and `MULTISTACK_SEED` repeats them,
//! though not the scheduler's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let seed = std::env::var("MULTISTACK_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                u64::try_from(now.expect("a clock").as_micros()).expect("64 bits")
            },
            |seed| seed.parse().expect("MULTISTACK_SEED is a number"),
        );
        println!("MULTISTACK_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).expect("short");
        Duration::from_micros(self.next() % (most + 1))
    }
}
