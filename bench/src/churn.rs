//! A stack that comes and goes, and how long its coming takes.

use std::io::stdin;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use port_api::{Protocol, Vport};

use crate::lab::Lab;
use crate::process::Process;
use crate::switch::Switch;
use crate::{Error, times, traffic};

/// How often it comes, in [`BOUTS`] bouts.
const TIMES: u32 = 100;
/// Bouts, and as many pauses: what the machine does meanwhile is the same for both.
pub const BOUTS: u32 = 5;
/// The number that its claim has among the stacks'.
const NUMBER: u16 = 5000;

/// The process in which it does, as the benchmark has it.
pub struct Churn(Process);

impl Churn {
    /// Starts it; it waits for [`bout`](Self::bout).
    pub fn start(lab: &Lab, switch: &Switch) -> Result<Self, Error> {
        Ok(Self(switch.helper(lab, "churn", None)?))
    }

    /// Has it come and go, evenly over `time`; adds how long it took to attach to `times`.
    pub fn bout(
        &mut self,
        lab: &Lab,
        time: Duration,
        times: &mut Histogram<u64>,
    ) -> Result<(), Error> {
        self.0.tell(&time.as_millis().to_string())?;
        lab.sleep(time)?;
        let counts: Vec<(u64, u64)> = serde_json::from_str(&self.0.line()?)?;
        times.add(times::from_counts(&counts)?)?;
        Ok(())
    }

    /// Ends it.
    pub fn end(self) -> Result<(), Error> {
        self.0.terminate()
    }
}

/// What happens in the process. EAL is initialised before the measurement: another process's start
/// takes the stacks' CPU away from them, which is not the switch's doing.
pub fn run(socket: &Path) -> Result<(), Error> {
    come_and_go(socket)?;
    println!("ready");
    for line in stdin().lines() {
        let pause = Duration::from_millis(line?.trim().parse()?) / (TIMES / BOUTS);
        let mut times = times::histogram()?;
        let start = Instant::now();
        for number in 1..=TIMES / BOUTS {
            times.saturating_record(u64::try_from(come_and_go(socket)?.as_nanos())?);
            thread::sleep((pause * number).saturating_sub(start.elapsed()));
        }
        println!("{}", serde_json::to_string(&times::to_counts(&times))?);
    }
    Ok(())
}

/// Attaches, claims and detaches; tells how long the first took.
fn come_and_go(socket: &Path) -> Result<Duration, Error> {
    let start = Instant::now();
    let vport = Vport::attach(socket, "churn")?;
    let took = start.elapsed();
    vport.claim(Protocol::Udp, traffic::claim_of(NUMBER))?;
    vport.detach()?;
    Ok(took)
}
