//! Rate limits: token buckets, kept as the time at which a bucket is full again (the "virtual
//! scheduling" form of the generic cell rate algorithm, ITU-T I.371), which takes neither a timer nor
//! a division.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use port_api::protocol::Limit;

/// A nanosecond in ticks. 2^64 of them are nine years.
const NANOSECOND: u64 = 64;
/// A second in ticks.
const SECOND: u64 = 1_000_000_000 * NANOSECOND;
/// Of a cost, the bits behind the point.
const FRACTION: u32 = 20;
/// No bucket is ever that far from full, in ticks: one that seems to be has not been used for years, and time
/// has come round.
const FAR: i64 = (3600 * SECOND).cast_signed();

/// What a vport may receive, and what it may send, on all workers together.
#[derive(Debug, Default)]
pub struct Meters {
    /// What the switch gives it.
    pub rx: Meter,
    /// What it sends.
    pub tx: Meter,
}

/// A limit on packets and bits per second, shared by the workers: plain loads and stores where there is no
/// limit, one atomic addition per packet and bucket where there is one.
#[derive(Debug, Default)]
pub struct Meter {
    packets: Bucket,
    bytes: Bucket,
    /// How much may come at once, as the time in which it may come on average, in ticks.
    burst: AtomicU64,
}

/// Times are in ticks, modulo 2^64.
#[derive(Debug, Default)]
struct Bucket {
    /// What one packet or byte takes, in ticks, with [`FRACTION`]; 0 for no limit.
    cost: AtomicU64,
    /// When it is full again.
    full_at: AtomicU64,
}

impl Meter {
    /// Sets the limit: at most `burst`'s worth of it at once, and always at least one packet. Each worker
    /// may pass what it has granted to the vport before: less than a ring's worth of packets.
    pub fn set(&self, limit: Limit, burst: Duration) {
        let cost = |units: u64, number: NonZeroU64| ((units * SECOND) << FRACTION) / number.get();
        let burst = u64::try_from(burst.as_nanos()).unwrap_or(u64::MAX);
        let burst = burst.saturating_mul(NANOSECOND).min(SECOND);
        self.burst.store(burst, Ordering::Relaxed);
        let packet = limit.packets.map_or(0, |packets| cost(1, packets));
        let byte = limit.bits.map_or(0, |bits| cost(8, bits));
        self.packets.cost.store(packet, Ordering::Relaxed);
        self.bytes.cost.store(byte, Ordering::Relaxed);
    }

    /// Whether there is a limit.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.packets.is_set() || self.bytes.is_set()
    }

    /// Whether a packet may pass now, in ns since some moment in the past.
    pub fn allows(&self, now_ns: u64) -> bool {
        let burst = self.burst.load(Ordering::Relaxed);
        self.packets.allows(now_ns, burst) && self.bytes.allows(now_ns, burst)
    }

    /// Counts a packet of `bytes` that passes now. What is beyond the limit by one packet is made up for
    /// by the next ones.
    pub fn charge(&self, now_ns: u64, bytes: usize) {
        self.packets.charge(now_ns, 1);
        self.bytes.charge(now_ns, bytes as u64);
    }
}

impl Bucket {
    fn is_set(&self) -> bool {
        self.cost.load(Ordering::Relaxed) > 0
    }

    /// How long it is until this bucket is full; 0 if it is.
    fn behind(full_at: u64, now_ns: u64) -> u64 {
        let behind = full_at
            .wrapping_sub(now_ns.wrapping_mul(NANOSECOND))
            .cast_signed();
        if (0..FAR).contains(&behind) {
            behind.unsigned_abs()
        } else {
            0
        }
    }

    fn allows(&self, now_ns: u64, burst: u64) -> bool {
        let full_at = self.full_at.load(Ordering::Relaxed);
        !self.is_set() || Self::behind(full_at, now_ns) <= burst
    }

    fn charge(&self, now_ns: u64, units: u64) {
        let cost = self.cost.load(Ordering::Relaxed);
        // A length that a stack has made up may be beyond all bounds.
        let cost = cost.saturating_mul(units) >> FRACTION;
        if cost == 0 {
            return;
        }
        let full_at = self.full_at.load(Ordering::Relaxed);
        if Self::behind(full_at, now_ns) == 0 {
            let then = now_ns.wrapping_mul(NANOSECOND).wrapping_add(cost);
            let set =
                self.full_at
                    .compare_exchange(full_at, then, Ordering::Relaxed, Ordering::Relaxed);
            if set.is_ok() {
                return;
            }
        }
        self.full_at.fetch_add(cost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: Duration = Duration::from_millis(10);

    fn meter(limit: &str) -> Meter {
        let meter = Meter::default();
        meter.set(limit.parse().unwrap(), BURST);
        meter
    }

    /// How many packets pass if one is offered every `every_ns` from `from` on, `count` times.
    fn passed(meter: &Meter, from: u64, every_ns: u64, count: u64, bytes: usize) -> u64 {
        let times = (0..count).map(|at| from.wrapping_add(at * every_ns));
        let mut passed = 0;
        for now in times {
            if meter.allows(now) {
                meter.charge(now, bytes);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn packets_pass_at_the_limit_and_a_burst_before() {
        let meter = meter("100kpps");
        // A second of 1 Mpps, and the first 10 ms' worth.
        let passed = passed(&meter, 5, 1000, 1_000_000, 60);
        assert!((101_000..=101_002).contains(&passed), "{passed}");
    }

    #[test]
    fn bits_pass_at_the_limit() {
        let meter = meter("8Mbps");
        // 1000 bytes at 1 MB/s: 1000 a second, and 10.
        let passed = passed(&meter, 0, 10_000, 100_000, 1000);
        assert!((1010..=1012).contains(&passed), "{passed}");
    }

    #[test]
    fn the_tighter_of_two_limits_counts() {
        let both = meter("100kpps,8Mbps");
        let passed = passed(&both, 0, 1000, 1_000_000, 1000);
        assert!((1010..=1012).contains(&passed), "{passed}");
    }

    #[test]
    fn a_slow_limit_lets_one_packet_pass_at_a_time() {
        let meter = meter("2pps");
        // 10 s of 1000 a second.
        let passed = passed(&meter, 0, 1_000_000, 10_000, 60);
        assert!((20..=21).contains(&passed), "{passed}");
    }

    #[test]
    fn no_limit_lets_all_pass_and_can_be_set_and_taken_away() {
        let meter = meter("none");
        assert!(!meter.is_set());
        assert_eq!(passed(&meter, 0, 1, 1000, 60), 1000);
        meter.set("1kpps".parse().unwrap(), BURST);
        assert!(meter.is_set());
        assert!(passed(&meter, 1000, 1, 1000, 60) <= 12);
        meter.set(Limit::NONE, BURST);
        assert_eq!(passed(&meter, 2000, 1, 1000, 60), 1000);
    }

    #[test]
    fn time_may_come_round() {
        // It does in the midst of this.
        let start = u64::MAX / NANOSECOND - 500_000_000;
        let meter = meter("100kpps");
        meter.charge(start - 7200 * 1_000_000_000, 60);
        let passed = passed(&meter, start, 1000, 1_000_000, 60);
        assert!((101_000..=101_004).contains(&passed), "{passed}");
        // And a bucket that has not been used for eight years is full, not empty.
        assert!(meter.allows(start + 8 * 365 * 86_400 * 1_000_000_000));
    }

    #[test]
    fn workers_share_a_limit() {
        let meter = meter("100kpps");
        let offer = || passed(&meter, 0, 1000, 1_000_000, 60);
        let passed: u64 = std::thread::scope(|scope| {
            let workers = [scope.spawn(offer), scope.spawn(offer)];
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum()
        });
        // Whoever is behind in time finds nothing left of it; both may see the same bucket once in a while.
        assert!(passed <= 101_100, "{passed}");
    }
}
