//! How long a new process takes to become a stack.

use std::path::Path;
use std::time::{Duration, Instant};

use port_api::Vport;
use serde_json::{Value, json};

use crate::experiment::{Contender, Sample};
use crate::lab::Lab;
use crate::switch::{self, Setup, Switch, TUNING};
use crate::{Error, times};

/// Processes in a run.
const PROCESSES: u32 = 20;

/// Processes that attach one after the other to a switch without traffic.
pub struct Fresh;

impl Contender for Fresh {
    fn key(&self) -> String {
        "fresh".to_owned()
    }

    fn label(&self) -> String {
        "attaching, new process".to_owned()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        None
    }

    fn settings(&self) -> Value {
        json!({ "options": TUNING, "processes": PROCESSES })
    }

    /// The median in ms.
    fn measure(&mut self, lab: &Lab, _: Duration) -> Result<Sample, Error> {
        let device = "net_null0,no-rx=1".to_owned();
        let switch = Switch::start(lab, &Setup::new(switch::program()?, device, 1))?;
        let mut took = times::histogram()?;
        for _ in 0..PROCESSES {
            let mut process = switch.helper(lab, "fresh", None)?;
            took.saturating_record(process.line()?.parse()?);
            process.tell("end")?;
            process.wait(lab)?;
        }
        switch.terminate()?;
        let median = times::us(took.value_at_quantile(0.5)) / 1e3;
        Ok(Sample {
            times: Some(took),
            ..Sample::new(median)
        })
    }
}

/// What happens in the process: from EAL's initialisation to a vport in service.
pub fn run(socket: &Path) -> Result<(), Error> {
    println!("ready");
    let start = Instant::now();
    let vport = Vport::attach(socket, "fresh")?;
    println!("{}", start.elapsed().as_nanos());
    std::io::stdin().read_line(&mut String::new())?;
    Ok(vport.detach()?)
}
