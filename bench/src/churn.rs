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

/// How often it comes.
const TIMES: u32 = 100;
/// The number that its claim has among the stacks'.
const NUMBER: u16 = 5000;

/// The process in which it does, as the benchmark has it.
pub struct Churn(Process);

impl Churn {
    /// Starts it; it waits for [`run`](Self::run).
    pub fn start(lab: &Lab, switch: &Switch) -> Result<Self, Error> {
        Ok(Self(switch.helper(lab, "churn", None)?))
    }

    /// Has it come and go, evenly over `time`; gives how long it took to attach.
    pub fn run(mut self, lab: &Lab, time: Duration) -> Result<Histogram<u64>, Error> {
        self.0.tell(&time.as_millis().to_string())?;
        lab.sleep(time)?;
        let counts: Vec<(u64, u64)> = serde_json::from_str(&self.0.line()?)?;
        self.0.terminate()?;
        times::from_counts(&counts)
    }
}

/// What happens in the process. EAL is initialised before the measurement: another process's start
/// takes the stacks' CPU away from them, which is not the switch's doing.
pub fn run(socket: &Path) -> Result<(), Error> {
    come_and_go(socket)?;
    println!("ready");
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let pause = Duration::from_millis(line.trim().parse()?) / TIMES;
    let mut times = times::histogram()?;
    let start = Instant::now();
    for number in 1..=TIMES {
        times.saturating_record(u64::try_from(come_and_go(socket)?.as_nanos())?);
        thread::sleep((pause * number).saturating_sub(start.elapsed()));
    }
    println!("{}", serde_json::to_string(&times::to_counts(&times))?);
    stdin().read_line(&mut line)?;
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
