//! How long a packet takes to an echo and back, at a load that does not wait for it.
//!
//! Packets are due at even distances, and what is measured counts from when a packet was due, not
//! from when it got away: a stall that keeps the next ones waiting is theirs as well.

use std::io::stdin;
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use wire::MacAddr;
use wire::emit::{Eth, Udp};

use crate::traffic::{self, SMALLEST};
use crate::{Error, machine, times};

mod contender;
mod flooder;
mod modest;
mod rings;
mod virtio;

pub use contender::{Loop, RoundTrip, start};
pub use modest::Modest;

/// Most packets on their way at a time: what is due beyond waits, and its time runs.
const WINDOW: u64 = 128;
/// Where the packets carry the time at which they were due, in ns since the start: behind the
/// headers.
const STAMP: usize = 42;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// What the process that sends and receives is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Through what.
    pub through: Through,
    /// From one packet to the next; none means as fast as the window allows.
    pub interval_ns: Option<u64>,
    /// How long.
    pub millis: u64,
    /// How many vports echo, in turns; of a switch.
    pub echoes: u16,
    /// What another vport of the switch sends meanwhile, as much as it can.
    pub flood: Option<Flood>,
}

/// What a stack floods the switch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flood {
    /// Packets from its own claim, to the wire.
    Own,
    /// Packets in another stack's name.
    Spoofed,
    /// None: packets are written, and stay where they are.
    Withheld,
}

/// What the packets go through.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Through {
    /// A switch with this control socket: from a vport to another, which echoes, and back.
    Switch(PathBuf),
    /// A program at the other end of this vhost-user socket that sends back what it gets.
    Vhost(PathBuf),
}

/// What it reports.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Millions of round trips per second.
    pub mpps: f64,
    /// Packets that did not come back.
    pub lost: u64,
    /// How long the process has waited for its CPU meanwhile, in ns.
    pub waited: u64,
    /// Times in ns, and how often each occurred.
    pub counts: Vec<(u64, u64)>,
}

/// A way for packets to go and come back.
trait Path {
    /// Takes a copy of a frame to be sent; false if there is no room now.
    fn queue(&mut self, frame: &[u8]) -> bool;

    /// Sends what is queued, and does whatever else keeps packets moving.
    fn turn(&mut self);

    /// Calls `each` with every frame that has come back.
    fn receive(&mut self, each: &mut dyn FnMut(&[u8]));

    /// The Ethernet addresses of what is sent.
    fn eth(&self) -> Eth;
}

/// What happens in the process.
pub fn run(plan: &Plan) -> Result<(), Error> {
    match &plan.through {
        Through::Switch(socket) => report(&mut rings::Rings::attach(socket, plan)?, plan),
        Through::Vhost(socket) => report(&mut virtio::Virtio::connect(socket)?, plan),
    }
}

fn report(path: &mut impl Path, plan: &Plan) -> Result<(), Error> {
    let report = measure(path, plan)?;
    println!("{}", serde_json::to_string(&report)?);
    // The vports are to be there while the benchmark reads their counters.
    stdin().read_line(&mut String::new())?;
    Ok(())
}

fn measure(path: &mut impl Path, plan: &Plan) -> Result<Report, Error> {
    let mut frame = template(path.eth())?;
    let counted = Duration::from_millis(plan.millis);
    let (from, end) = (ns(WARM_UP), WARM_UP + counted);
    let mut times = times::histogram()?;
    let (mut sent, mut returned, mut due) = (0u64, 0u64, 0u64);
    println!("ready");
    let waited = || machine::waited(FilePath::new("/proc/thread-self"));
    let (start, waited_before) = (Instant::now(), waited());
    loop {
        let elapsed = start.elapsed();
        if elapsed >= end {
            break;
        }
        let now = ns(elapsed);
        while due <= now && sent - returned < WINDOW {
            frame[STAMP..STAMP + 8].copy_from_slice(&due.to_be_bytes());
            if !path.queue(&frame) {
                break;
            }
            sent += 1;
            // Without a rate the next one is due at once.
            due = plan.interval_ns.map_or(now, |interval| due + interval);
            if plan.interval_ns.is_none() && sent - returned >= WINDOW {
                break;
            }
        }
        path.turn();
        path.receive(&mut |frame| {
            returned += 1;
            record(&mut times, frame, ns(start.elapsed()), from);
        });
    }
    let waited = waited() - waited_before;
    Ok(Report {
        waited,
        mpps: crate::counters::mpps(times.len(), counted),
        lost: collect(path, sent, returned),
        counts: times::to_counts(&times),
    })
}

/// What is still on its way comes back, or is lost.
fn collect(path: &mut impl Path, sent: u64, mut returned: u64) -> u64 {
    const PATIENCE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    while returned < sent && start.elapsed() < PATIENCE {
        path.turn();
        path.receive(&mut |_| returned += 1);
    }
    sent.saturating_sub(returned)
}

fn record(times: &mut Histogram<u64>, frame: &[u8], now: u64, from: u64) {
    let stamp = frame.get(STAMP..).and_then(|rest| rest.first_chunk());
    let due = stamp.map_or(now, |stamp| u64::from_be_bytes(*stamp));
    if due >= from {
        times.saturating_record(now.saturating_sub(due));
    }
}

/// A frame from the first stack's port to the second's, without a UDP checksum: its content
/// changes.
fn template(eth: Eth) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0; SMALLEST.into()];
    let packet = Udp {
        eth,
        src: traffic::claim_of(0),
        dst: traffic::claim_of(1),
        payload: &[0; SMALLEST as usize - STAMP],
    };
    packet
        .write(&mut frame)
        .ok_or("a frame that is too short")?;
    frame[40..42].fill(0);
    Ok(frame)
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// From and to the port itself: what the switch has to deliver on this machine.
const fn to_itself(mac: MacAddr) -> Eth {
    Eth { dst: mac, src: mac }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Gives everything back at once, but for one frame in so many.
    struct Mirror {
        frames: VecDeque<Vec<u8>>,
        loses_each: u64,
        queued: u64,
    }

    impl Path for Mirror {
        fn queue(&mut self, frame: &[u8]) -> bool {
            self.queued += 1;
            if !self.queued.is_multiple_of(self.loses_each) {
                self.frames.push_back(frame.to_vec());
            }
            true
        }

        fn turn(&mut self) {}

        fn receive(&mut self, each: &mut dyn FnMut(&[u8])) {
            for frame in self.frames.drain(..) {
                each(&frame);
            }
        }

        fn eth(&self) -> Eth {
            to_itself(MacAddr([2, 0, 0, 0, 0, 1]))
        }
    }

    #[test]
    fn what_comes_back_is_timed_and_what_does_not_is_lost() {
        let mut mirror = Mirror {
            frames: VecDeque::new(),
            loses_each: 100,
            queued: 0,
        };
        let plan = Plan {
            echoes: 1,
            flood: None,
            through: Through::Vhost(PathBuf::new()),
            interval_ns: Some(100_000),
            millis: 50,
        };
        let report = measure(&mut mirror, &plan).unwrap();
        // 10,000 a second for 350 ms: 3,500, of which those of the last 50 ms count.
        assert_eq!(report.lost, mirror.queued / 100);
        let counted: u64 = report.counts.iter().map(|(_, count)| count).sum();
        assert!((1..=500).contains(&counted), "{counted}");
    }
}
