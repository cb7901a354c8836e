//! The peer: `dpdk-testpmd` in io mode, which receives and sends and does nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::counters::{Sample, per_second, timed};
use crate::lab::{LCORES, Lab};
use crate::plan::{Contender, WARM_UP};
use crate::process::Process;
use crate::telemetry::Telemetry;
use crate::traffic;

/// testpmd between the device under test and a `net_null` that swallows everything.
pub struct Testpmd {
    options: Vec<String>,
    version: Option<String>,
}

impl Testpmd {
    /// With these options behind EAL's.
    pub fn new(options: &str) -> Self {
        Self {
            options: options.split_whitespace().map(str::to_owned).collect(),
            version: None,
        }
    }

    /// Whether there is such a program.
    pub fn is_installed() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(PROGRAM).is_file())
    }
}

const PROGRAM: &str = "dpdk-testpmd";

impl Contender for Testpmd {
    fn key(&self) -> String {
        "testpmd_io".to_owned()
    }

    fn label(&self) -> String {
        "testpmd io".to_owned()
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let mut process = Process::start(lab, "testpmd", Path::new(PROGRAM), &self.args(lab)?)?;
        let telemetry = process.until(lab, || Telemetry::connect(&lab.runtime_dir()))?;
        self.version = telemetry.greeting["version"].as_str().map(str::to_owned);
        process.until(lab, || match telemetry.received(0)? {
            0 => Err("it does not forward".into()),
            _ => Ok(()),
        })?;
        lab.sleep(WARM_UP)?;
        let (before, start) = timed(|| telemetry.received(0))?;
        lab.sleep(time)?;
        let (after, end) = timed(|| telemetry.received(0))?;
        process.terminate()?;
        let pps = per_second(after - before, end - start);
        Ok(Sample {
            delivered_pps: pps,
            offered_pps: pps,
        })
    }
}

impl Testpmd {
    fn args(&self, lab: &Lab) -> Result<Vec<String>, Error> {
        let pcap: PathBuf = lab.dir.join("testpmd.pcap");
        traffic::write(&pcap, 1)?;
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
        args.extend(self.options.iter().cloned());
        Ok(args)
    }
}
