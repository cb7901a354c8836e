//! Seven modest stacks, alone and beside what floods the switch.

use std::time::Duration;

use serde_json::{Value, json};

use super::contender::{TUNING, generate};
use super::{Flood, Plan, Through};
use crate::Error;
use crate::experiment::{Contender, Sample};
use crate::lab::Lab;
use crate::switch::{self, Setup, Switch};
use crate::times;
use crate::traffic::{self, Target, Traffic};

/// Modest stacks.
const STACKS: u16 = 7;
/// From one of their packets to the next, in ns: 200,000 a second in all.
const INTERVAL_NS: u64 = 5000;

/// Round trips over the modest stacks; the 99th percentile in µs.
pub struct Modest {
    key: &'static str,
    label: &'static str,
    flood: Option<Flood>,
    /// The device brings packets for the host, as many as the worker takes.
    host_flood: bool,
    options: &'static str,
    version: Option<String>,
}

impl Modest {
    /// With no one else.
    pub fn alone() -> Self {
        Self {
            key: "alone",
            label: "7 modest stacks, alone",
            flood: None,
            host_flood: false,
            options: "",
            version: None,
        }
    }

    /// Beside a stack that floods.
    pub fn beside(key: &'static str, label: &'static str, flood: Flood) -> Self {
        Self {
            key,
            label,
            flood: Some(flood),
            ..Self::alone()
        }
    }

    /// While the wire floods the host.
    pub fn host_flood(key: &'static str, label: &'static str, options: &'static str) -> Self {
        Self {
            key,
            label,
            host_flood: true,
            options,
            ..Self::alone()
        }
    }

    fn setup(&self, lab: &Lab) -> Result<Setup, Error> {
        let device = if self.host_flood {
            let pcap = Traffic::smallest(1).to(Target::Unclaimed).write(lab)?;
            traffic::device(&pcap, 1)
        } else {
            "net_null0,no-rx=1".to_owned()
        };
        Ok(Setup {
            options: format!("{TUNING} {}", self.options),
            ..Setup::new(switch::program()?, device, STACKS + 2)
        })
    }
}

impl Contender for Modest {
    fn key(&self) -> String {
        self.key.to_owned()
    }

    fn label(&self) -> String {
        self.label.to_owned()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        Some(("multistack", self.version.clone()?))
    }

    fn settings(&self) -> Value {
        json!({ "options": format!("{TUNING} {}", self.options), "interval_ns": INTERVAL_NS })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let switch = Switch::start(lab, &self.setup(lab)?)?;
        self.version = Some(switch.version());
        let plan = Plan {
            through: Through::Switch(switch.socket().into()),
            interval_ns: Some(INTERVAL_NS),
            millis: u64::try_from(time.as_millis())?,
            echoes: STACKS,
            flood: self.flood,
        };
        let waited = switch.workers_waited();
        let (report, generator) = generate(lab, &plan)?;
        let waited = switch.workers_waited() - waited;
        let vports = switch.vports()?;
        if let Some(vport) = vports.iter().find(|vport| vport.unaccounted() != 0) {
            return Err(format!("sent packets unaccounted for: {vport:?}").into());
        }
        generator.terminate()?;
        switch.terminate()?;
        let times = times::from_counts(&report.counts)?;
        let ninth = vports
            .iter()
            .find(|vport| usize::from(vport.slot) > 1 + usize::from(STACKS));
        let flooded = ninth.map_or(0, |vport| vport.tx_packets);
        #[allow(clippy::cast_precision_loss)] // nor has this 2^53
        let sample = Sample::new(times::us(times.value_at_quantile(0.99)))
            .with("mpps", report.mpps)
            .with("lost", report.lost as f64)
            .with("stacks_waited_us", times::us(report.waited))
            .with("worker_waited_us", times::us(waited))
            .with("flood_packets", flooded as f64);
        Ok(Sample {
            times: Some(times),
            ..sample
        })
    }
}
