//! A peer: `dpdk-testpmd` in io mode, which receives and sends and does nothing else.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;
use crate::experiment::{Contender, Sample};
use crate::forwarder;
use crate::lab::{self, Lab};
use crate::process::{Process, is_installed};
use crate::telemetry::Telemetry;
use crate::traffic::{self, PACKETS, Traffic};

/// Its name in results.json.
pub const KEY: &str = "testpmd_io";

/// Its name in `PATH`.
pub const PROGRAM: &str = "dpdk-testpmd";

/// Buffers beside those of a device that holds very many.
const POOL: u32 = 16_384;
/// Hugepages that are enough for those as well.
const HUGEPAGES: u64 = 400;

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
    key: &'static str,
    /// Beside those that the work needs.
    pub options: &'static str,
    traffic: Traffic,
    workers: u16,
    sink: String,
    version: Option<String>,
}

impl Testpmd {
    /// In every configuration that is worth a try, or why there is none.
    pub fn candidates() -> Result<Vec<Self>, String> {
        if !is_installed(PROGRAM) {
            return Err(format!("{PROGRAM} (package dpdk-dev) is not installed"));
        }
        let each = CANDIDATES.iter().map(|options| Self {
            key: KEY,
            options,
            traffic: Traffic::smallest(1),
            workers: 1,
            sink: "net_null0,no-rx=1".to_owned(),
            version: None,
        });
        Ok(each.collect())
    }

    /// The same under another key.
    #[must_use]
    pub const fn named(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }

    /// The same with other traffic.
    #[must_use]
    pub const fn with_traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// The same with so many forwarding lcores, each with a queue of its own.
    #[must_use]
    pub const fn with_workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// The same with another device to send to.
    #[must_use]
    pub fn with_sink(mut self, sink: impl Into<String>) -> Self {
        self.sink = sink.into();
        self
    }

    /// Starts it between `net_pcap` and the sink.
    pub fn start(&self, lab: &Lab) -> Result<(Process, Telemetry), Error> {
        if self.traffic.packets() > PACKETS {
            lab.hugepages.ensure(HUGEPAGES)?;
        }
        let pcap = self.traffic.write(lab)?;
        self.start_between(lab, &traffic::device(&pcap, self.workers))
    }

    /// Starts it between any source and the sink.
    pub fn start_between(&self, lab: &Lab, source: &str) -> Result<(Process, Telemetry), Error> {
        let args = self.args(lab, source);
        let mut process = Process::start(lab, "testpmd", Path::new(PROGRAM), &args)?;
        let telemetry = process.until(lab, || Telemetry::connect(&lab.runtime_dir()))?;
        Ok((process, telemetry))
    }

    /// Starts it so that it sends back what comes over the vhost-user socket that it makes.
    pub fn start_loop(&self, lab: &Lab, socket: &Path) -> Result<Process, Error> {
        let mut args = vec![
            lab::lcores(1),
            format!("--file-prefix={}", lab.prefix),
            "--no-pci".to_owned(),
            "--huge-unlink".to_owned(),
            format!("--vdev=net_vhost0,iface={}", socket.display()),
            "--".to_owned(),
            "--auto-start".to_owned(),
            "--forward-mode=io".to_owned(),
            "--port-topology=loop".to_owned(),
        ];
        args.extend(self.options.split_whitespace().map(str::to_owned));
        let mut process = Process::start(lab, "testpmd", Path::new(PROGRAM), &args)?;
        process.until(lab, || Telemetry::connect(&lab.runtime_dir()))?;
        process.until(lab, || Ok(std::fs::metadata(socket)?))?;
        Ok(process)
    }

    fn args(&self, lab: &Lab, source: &str) -> Vec<String> {
        let mut args = vec![
            lab::lcores(self.workers),
            format!("--file-prefix={}", lab.prefix),
            "--no-pci".to_owned(),
            "--huge-unlink".to_owned(),
            format!("--vdev={source}"),
            format!("--vdev={}", self.sink),
            "--".to_owned(),
            "--auto-start".to_owned(),
            "--forward-mode=io".to_owned(),
        ];
        for option in ["nb-cores", "rxq", "txq"] {
            args.push(format!("--{option}={}", self.workers));
        }
        args.extend(self.options.split_whitespace().map(str::to_owned));
        if self.traffic.packets() > PACKETS {
            // The last one counts.
            args.push(format!(
                "--total-num-mbufs={}",
                self.traffic.packets() + POOL
            ));
        }
        args
    }
}

impl Contender for Testpmd {
    fn key(&self) -> String {
        self.key.to_owned()
    }

    fn label(&self) -> String {
        self.key.replace('_', " ")
    }

    fn version(&self) -> Option<(&'static str, String)> {
        Some(("testpmd", self.version.clone()?))
    }

    fn settings(&self) -> Value {
        json!({ "options": self.options })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let (mut process, telemetry) = self.start(lab)?;
        self.version = Some(telemetry.version());
        let sample = forwarder::measure(&mut process, &telemetry, lab, time)?;
        process.terminate()?;
        Ok(sample)
    }
}
