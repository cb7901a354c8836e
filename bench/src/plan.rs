//! What is compared: every contender once, then every one again, as machines drift.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::process::geteuid;

use crate::Error;
use crate::counters::Sample;
use crate::demux::Demux;
use crate::lab::{self, Lab};
use crate::machine::{Machine, busy_percent};
use crate::report::{Report, Series};
use crate::testpmd::Testpmd;

/// From a contender's first packet to the first reading.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// Above this, others use the machine, and figures are too low.
const QUIET_PERCENT: u8 = 5;

/// A program that is measured.
pub trait Contender {
    /// Its name in results.json.
    fn key(&self) -> String;

    /// Its name in the table.
    fn label(&self) -> String;

    /// What was measured, once it was.
    fn version(&self) -> Option<String>;

    /// Starts it, lets it work for `time`, and ends it.
    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error>;
}

/// What the user can choose.
#[derive(Args)]
pub struct Plan {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Numbers of stacks to be measured
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 64],
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    stacks: Vec<u16>,
    /// The switch's options
    #[arg(
        long,
        value_name = "OPTIONS",
        allow_hyphen_values = true,
        default_value = "--poll --ring-size 2048 --quota 2048 --fill 1 --txd 64"
    )]
    switch: String,
    /// testpmd's options, behind EAL's
    #[arg(
        long,
        value_name = "OPTIONS",
        allow_hyphen_values = true,
        default_value = "--mbcache=512 --total-num-mbufs=16384 --burst=64"
    )]
    testpmd: String,
    /// Folder for results.json [default: bench/ beside the folder of this program]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// This is the network namespace to work in
    #[arg(long, hide = true)]
    in_netns: bool,
}

/// Carries it out.
pub fn run(plan: &Plan) -> Result<(), Error> {
    if !geteuid().is_root() {
        return Err("run as root: hugepages and network namespaces need it".into());
    }
    if !plan.in_netns {
        return Err(lab::enter_netns("--in-netns"));
    }
    let out = plan.out_dir()?;
    let lab = Lab::new()?;
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    let peer = Testpmd::is_installed();
    if peer {
        contenders.push(Box::new(Testpmd::new(&plan.testpmd)));
    } else {
        eprintln!("no dpdk-testpmd here: there is nothing to compare with");
    }
    for stacks in &plan.stacks {
        contenders.push(Box::new(Demux::new(*stacks, &plan.switch)));
    }
    let mut series: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    let mut busy = 0;
    let time = Duration::from_secs(plan.seconds);
    for round in 1..=plan.rounds {
        busy = busy.max(busy_percent(&lab)?);
        for (contender, samples) in contenders.iter_mut().zip(&mut series) {
            let sample = contender.measure(&lab, time)?;
            let mpps = f64::from(sample.delivered_pps) / 1e6;
            let (label, rounds) = (contender.label(), plan.rounds);
            eprintln!("round {round} of {rounds}: {label}: {mpps:.2} Mpps");
            samples.push(sample);
        }
    }
    let measured = contenders.iter().zip(series).map(|(contender, samples)| {
        let (key, label, version) = (contender.key(), contender.label(), contender.version());
        Series::new(key, label, version, &samples)
    });
    let report = Report {
        series: measured.collect(),
        has_peer: peer,
        machine: Machine::this(),
        busy_percent: busy,
        settings: plan.settings(),
    };
    print!("\n{}", report.table());
    if busy > QUIET_PERCENT {
        println!(
            "NOT QUIET: up to {busy} % of the machine was in use by others: measure it again."
        );
    }
    println!("{}", report.write(&out)?.display());
    Ok(())
}

impl Plan {
    fn out_dir(&self) -> Result<PathBuf, Error> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or("no folder for results")?;
        Ok(target.join("bench"))
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::json!({
            "rounds": self.rounds,
            "seconds": self.seconds,
            "frame_bytes_without_fcs": crate::traffic::FRAME,
            "flows": crate::traffic::PACKETS,
            "device": "net_pcap, infinite_rx=1",
            "lcores": crate::lab::LCORES,
            "switch": self.switch,
            "testpmd": self.testpmd,
        })
    }
}
