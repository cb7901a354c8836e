//! Reading counters, and what follows from two readings.

use std::time::{Duration, Instant};

use port_api::Client;
use port_api::protocol::{PortStats, Reply, Request, VportStats};

use crate::Error;

/// Reads something, and tells when: in the middle of the time that it took.
pub fn timed<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<(T, Instant), Error> {
    let start = Instant::now();
    let value = read()?;
    Ok((value, start + start.elapsed() / 2))
}

/// `packets` in `time`, in millions per second.
#[allow(clippy::cast_precision_loss)] // no run has 2^53 packets
pub fn mpps(packets: u64, time: Duration) -> f64 {
    packets as f64 / time.as_secs_f64() / 1e6
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
    fn rates_are_millions_per_second() {
        let rate = mpps(90_000_000, Duration::from_secs(2));
        assert_eq!(rate.to_string(), "45");
    }
}
