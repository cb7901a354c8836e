//! What is carried out: every contender of an experiment once, then every one again, as machines
//! drift.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::Error;
use crate::experiment::Experiment;
use crate::experiments;
use crate::lab::{self, Lab};
use crate::machine::busy_percent;
use crate::measured::{Measured, Series};
use crate::peers::Peers;
use crate::results::Results;
use crate::table;
use crate::times::hgrm;

/// Above this, others use the machine, and figures are too low.
const QUIET_PERCENT: u8 = 5;

/// What the user can choose.
#[derive(Args)]
pub struct Plan {
    /// What is measured: all if none is named
    #[arg(value_name = "EXPERIMENT")]
    experiments: Vec<String>,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement takes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
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
    let chosen = experiments::chosen(&plan.experiments)?;
    if !plan.in_netns {
        return Err(lab::enter_netns("--in-netns"));
    }
    let lab = Lab::new()?;
    let peers = Peers::new(&lab);
    let mut results = Results::open(&plan.out_dir()?)?;
    let (mut failures, mut busiest) = (Vec::new(), 0);
    for (key, set_up) in chosen {
        let outcome = plan.measure(&lab, set_up(&peers));
        if lab.is_interrupted() {
            return Err("interrupted".into());
        }
        let (entry, settings, versions) = match outcome {
            Ok((measured, settings, versions)) => {
                print!("\n{}{}\n", table::head(), table::lines(&measured));
                busiest = busiest.max(measured.busy_percent);
                for (contender, series) in &measured.series {
                    if let Some(times) = series.times() {
                        results.put_times(key, contender, &hgrm(&times))?;
                    }
                }
                (measured.json(), settings, versions)
            }
            Err(error) => {
                eprintln!("{key}: {error}");
                failures.push(key);
                (json!({ "failed": error.to_string() }), json!({}), json!({}))
            }
        };
        results.put(key, entry, &settings, &versions)?;
    }
    print!("{}", table::legend(plan.rounds));
    if busiest > QUIET_PERCENT {
        println!("NOT QUIET: others used up to {busiest} % of the machine: measure it again.");
    }
    println!("{}", results.path().display());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("no figures of {}", failures.join(", ")).into())
    }
}

impl Plan {
    /// All rounds; gives with them the settings, and the versions of who was measured.
    fn measure(
        &self,
        lab: &Lab,
        mut experiment: Experiment,
    ) -> Result<(Measured, Value, Value), Error> {
        let key = experiment.key;
        for (peer, why) in &experiment.skipped {
            eprintln!("{key}: {peer} skipped: {why}");
        }
        let mut series: BTreeMap<String, Series> = BTreeMap::new();
        let mut busy = 0;
        for round in 1..=self.rounds {
            busy = busy.max(busy_percent(lab)?);
            for contender in &mut experiment.contenders {
                let label = contender.label();
                let sample = contender
                    .measure(lab, Duration::from_secs(self.seconds))
                    .map_err(|error| format!("{label}: {error}"))?;
                let (rounds, value) = (self.rounds, sample.value);
                eprintln!("{key}, round {round} of {rounds}: {label}: {value:.2}");
                let of_contender = series.entry(contender.key()).or_insert_with(|| Series {
                    label,
                    samples: Vec::new(),
                });
                of_contender.samples.push(sample);
            }
        }
        let settings = self.settings(&experiment);
        let versions = experiment.versions();
        let measured = Measured {
            key,
            series,
            skipped: experiment.skipped,
            figures: experiment.figures,
            busy_percent: busy,
        };
        Ok((measured, settings, versions))
    }

    fn settings(&self, experiment: &Experiment) -> Value {
        json!({
            "rounds": self.rounds,
            "seconds": self.seconds,
            "lcores": lab::LCORES,
            "contenders": experiment.settings(),
        })
    }

    fn out_dir(&self) -> Result<PathBuf, Error> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or("no folder for results")?;
        Ok(target.join("bench"))
    }
}
