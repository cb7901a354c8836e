//! Measuring a peer: any DPDK program that forwards from `net_pcap` to other devices.

use std::time::Duration;

use crate::Error;
use crate::counters::{mpps, timed};
use crate::experiment::Sample;
use crate::lab::{Lab, WARM_UP};
use crate::process::Process;
use crate::telemetry::Telemetry;

/// Buffers that may be on their way between two devices when their counters are read, one after
/// the other; and what a reading's delay makes of that at the highest rates.
const UNDER_WAY: u64 = 1_000_000;

/// Millions of packets per second that it forwards over `time`. Fails if it does not forward what
/// it receives.
pub fn measure(
    process: &mut Process,
    telemetry: &Telemetry,
    lab: &Lab,
    time: Duration,
) -> Result<Sample, Error> {
    let (sources, sinks) = telemetry.ports()?;
    let read = || telemetry.forwarded(&sources, &sinks);
    process.until(lab, || match read()?.sent {
        0 => Err("it does not forward".into()),
        _ => Ok(()),
    })?;
    lab.sleep(WARM_UP)?;
    let (before, start) = timed(read)?;
    lab.sleep(time)?;
    let (after, end) = timed(read)?;
    let received = after.received - before.received;
    let sent = after.sent - before.sent;
    if received.abs_diff(sent) > UNDER_WAY.max(received / 50) {
        return Err(format!("of {received} packets it has forwarded {sent}").into());
    }
    Ok(Sample::new(mpps(sent, end - start)).with("offered_mpps", mpps(received, end - start)))
}
