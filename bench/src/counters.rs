//! Reading counters, and what follows from two readings.

use std::time::{Duration, Instant};

use port_api::Client;
use port_api::protocol::{PortStats, Reply, Request, VportStats};

use crate::Error;

/// A figure: what a contender did over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Packets per second that arrived where they are to go.
    pub delivered_pps: u32,
    /// Packets per second that the device gave.
    pub offered_pps: u32,
}

/// Reads something, and tells when: in the middle of the time that it took.
pub fn timed<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<(T, Instant), Error> {
    let start = Instant::now();
    let value = read()?;
    Ok((value, start + start.elapsed() / 2))
}

/// `packets` in `time`, per second.
pub fn per_second(packets: u64, time: Duration) -> u32 {
    let rate = u128::from(packets) * 1_000_000_000 / time.as_nanos().max(1);
    u32::try_from(rate).unwrap_or(u32::MAX)
}

/// The counters of the one port.
pub fn port(client: &Client) -> Result<PortStats, Error> {
    match client.call(&Request::Stats { from: 0 }, &[])? {
        Reply::Stats(mut stats) if stats.ports.len() == 1 => Ok(stats.ports.remove(0)),
        other => Err(format!("not the counters of one port: {other:?}").into()),
    }
}

/// The counters of all vports.
pub fn vports(client: &Client) -> Result<Vec<VportStats>, Error> {
    let mut all = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        match client.call(&Request::Stats { from }, &[])? {
            Reply::Stats(page) => {
                next = page.next.filter(|next| *next > from);
                all.extend(page.vports);
            }
            other => return Err(format!("not counters: {other:?}").into()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert_eq!(per_second(90_000_000, Duration::from_secs(2)), 45_000_000);
        assert_eq!(per_second(1, Duration::from_millis(1)), 1000);
        assert_eq!(per_second(1, Duration::ZERO), 1_000_000_000);
        assert_eq!(per_second(u64::MAX, Duration::from_secs(1)), u32::MAX);
    }
}
