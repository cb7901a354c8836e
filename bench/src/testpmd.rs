//! A peer: `dpdk-testpmd` in io mode, which receives and sends and does nothing else.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;
use crate::experiment::{Contender, Sample};
use crate::forwarder;
use crate::lab::{LCORES, Lab};
use crate::process::{Process, is_installed};
use crate::telemetry::Telemetry;
use crate::traffic::{self, Traffic};

/// Its name in results.json.
pub const KEY: &str = "testpmd_io";

const PROGRAM: &str = "dpdk-testpmd";

/// Options, of which the fastest are taken: caches and pools as large as DPDK allows and as small
/// as the device leaves room, and bursts of all useful sizes.
const CANDIDATES: [&str; 5] = [
    "--mbcache=512 --total-num-mbufs=16384 --burst=32",
    "--mbcache=512 --total-num-mbufs=16384 --burst=64",
    "--mbcache=512 --total-num-mbufs=16384 --burst=128",
    "--mbcache=512 --total-num-mbufs=4096 --burst=64",
    "--mbcache=256 --total-num-mbufs=4096 --burst=64",
];

/// testpmd between the device under test and a `net_null` that swallows everything.
#[derive(Clone)]
pub struct Testpmd {
    options: &'static str,
    traffic: Traffic,
    version: Option<String>,
}

impl Testpmd {
    /// In every configuration that is worth a try, or why there is none.
    pub fn candidates() -> Result<Vec<Self>, String> {
        if !is_installed(PROGRAM) {
            return Err(format!("{PROGRAM} (package dpdk-dev) is not installed"));
        }
        let each = CANDIDATES.iter().map(|options| Self {
            options,
            traffic: Traffic::smallest(1),
            version: None,
        });
        Ok(each.collect())
    }

    /// The same with other traffic.
    #[must_use]
    pub const fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    fn args(&self, lab: &Lab) -> Result<Vec<String>, Error> {
        let pcap = self.traffic.write(lab)?;
        let mut args = vec![
            format!("-l{LCORES}"),
            format!("--file-prefix={}", lab.prefix),
            "--no-pci".to_owned(),
            "--huge-unlink".to_owned(),
            format!("--vdev={}", traffic::device(&pcap)),
            "--vdev=net_null0,no-rx=1".to_owned(),
            "--".to_owned(),
            "--auto-start".to_owned(),
            "--forward-mode=io".to_owned(),
        ];
        args.extend(self.options.split_whitespace().map(str::to_owned));
        Ok(args)
    }
}

impl Contender for Testpmd {
    fn key(&self) -> String {
        KEY.to_owned()
    }

    fn label(&self) -> String {
        "testpmd io".to_owned()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        Some(("testpmd", self.version.clone()?))
    }

    fn settings(&self) -> Value {
        json!({ "options": self.options })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let mut process = Process::start(lab, "testpmd", Path::new(PROGRAM), &self.args(lab)?)?;
        let telemetry = process.until(lab, || Telemetry::connect(&lab.runtime_dir()))?;
        self.version = telemetry.greeting["version"].as_str().map(str::to_owned);
        let sample = forwarder::measure(&mut process, &telemetry, lab, time)?;
        process.terminate()?;
        Ok(sample)
    }
}
