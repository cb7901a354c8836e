//! Round trips as contenders: at full load, and at a part of it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Plan, Report, Through};
use crate::Error;
use crate::experiment::{Contender, Sample};
use crate::lab::Lab;
use crate::process::Process;
use crate::switch::{self, Setup, Switch};
use crate::testpmd::Testpmd;
use crate::times;

/// Enough buffers to send from; else as for throughput.
pub(super) const TUNING: &str = "--poll --fill 192 --txd 64";

/// Who carries the packets.
#[derive(Clone)]
pub enum Loop {
    /// The switch, from vport to vport and back.
    Switch,
    /// testpmd, from a vhost-user port back to it.
    Testpmd(Testpmd),
}

/// Round trips at some load.
pub struct RoundTrip {
    key: String,
    by: Loop,
    /// In percent of what there can be; everything if none.
    load: Option<u32>,
    /// What there can be, in Mpps: found out by who measures that.
    most: Rc<Cell<f64>>,
    version: Option<(&'static str, String)>,
}

impl RoundTrip {
    /// At full load, then at each of `loads`: to be measured in this order.
    pub fn series(key: &str, by: &Loop, loads: &[u32]) -> Vec<Self> {
        let most = Rc::new(Cell::new(0.0));
        let all = std::iter::once(None).chain(loads.iter().copied().map(Some));
        all.map(|load| Self {
            key: load.map_or_else(|| format!("{key}_max"), |load| format!("{key}_{load}")),
            by: by.clone(),
            load,
            most: Rc::clone(&most),
            version: None,
        })
        .collect()
    }

    fn plan(&self, through: Through, time: Duration) -> Plan {
        let interval = |load| 1e5 / (self.most.get() * f64::from(load));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 10 ns to 1 s
        Plan {
            through,
            interval_ns: self.load.map(|load| interval(load).clamp(10.0, 1e9) as u64),
            millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            echoes: 1,
            flood: None,
        }
    }

    fn by_switch(&mut self, lab: &Lab, time: Duration) -> Result<Report, Error> {
        let device = "net_null0,no-rx=1".to_owned();
        let setup = Setup {
            options: TUNING.to_owned(),
            ..Setup::new(switch::program()?, device, 2)
        };
        let switch = Switch::start(lab, &setup)?;
        self.version = Some(("multistack", switch.version()));
        let through = Through::Switch(switch.socket().into());
        let (report, generator) = generate(lab, &self.plan(through, time))?;
        for vport in switch.vports()? {
            if vport.unaccounted() != 0 {
                return Err(format!("sent packets unaccounted for: {vport:?}").into());
            }
        }
        generator.terminate()?;
        switch.terminate()?;
        Ok(report)
    }

    fn by_testpmd(&self, lab: &Lab, testpmd: &Testpmd, time: Duration) -> Result<Report, Error> {
        let socket = lab.dir.join("vhost.sock");
        let process = testpmd.start_loop(lab, &socket)?;
        let (report, generator) = generate(lab, &self.plan(Through::Vhost(socket), time))?;
        generator.terminate()?;
        process.terminate()?;
        Ok(report)
    }
}

/// Starts the process that sends and receives.
pub fn start(lab: &Lab, plan: &Plan) -> Result<Process, Error> {
    let program: PathBuf = std::env::current_exe()?;
    let plan = serde_json::to_string(plan)?;
    let mut process = Process::start(lab, "roundtrip", Path::new(&program), &["roundtrip", &plan])?;
    process.expect("ready")?;
    Ok(process)
}

/// Starts it, and waits for its report.
pub(super) fn generate(lab: &Lab, plan: &Plan) -> Result<(Report, Process), Error> {
    let mut process = start(lab, plan)?;
    let report = serde_json::from_str(&process.line()?)?;
    Ok((report, process))
}

impl Contender for RoundTrip {
    fn key(&self) -> String {
        self.key.clone()
    }

    fn label(&self) -> String {
        let by = match self.by {
            Loop::Switch => "echo over vports",
            Loop::Testpmd(_) => "testpmd loop over vhost",
        };
        match self.load {
            Some(load) => format!("{by}, {load} % load"),
            None => format!("{by}, full load"),
        }
    }

    fn version(&self) -> Option<(&'static str, String)> {
        self.version.clone()
    }

    fn settings(&self) -> Value {
        match &self.by {
            Loop::Switch => json!({ "options": TUNING }),
            Loop::Testpmd(testpmd) => testpmd.settings(),
        }
    }

    /// Full load in Mpps, others' 99th percentile in µs.
    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let report = match self.by.clone() {
            Loop::Switch => self.by_switch(lab, time)?,
            Loop::Testpmd(testpmd) => self.by_testpmd(lab, &testpmd, time)?,
        };
        let times = times::from_counts(&report.counts)?;
        if times.is_empty() {
            return Err("nothing came back".into());
        }
        let value = if self.load.is_some() {
            times::us(times.value_at_quantile(0.99))
        } else {
            self.most.set(report.mpps);
            report.mpps
        };
        #[allow(clippy::cast_precision_loss)] // nor has this 2^53
        let sample = Sample::new(value)
            .with("mpps", report.mpps)
            .with("lost", report.lost as f64);
        Ok(Sample {
            times: Some(times),
            ..sample
        })
    }
}
