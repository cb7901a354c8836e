//! multistack, started and asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use port_api::Client;
use port_api::protocol::{PortRow, PortStats, Reply, Request, VportStats};

use crate::Error;
use crate::counters;
use crate::lab::{LCORES, Lab};
use crate::machine;
use crate::process::Process;
use crate::stacks::Stacks;
use crate::traffic;

/// Options for throughput: as little of everything as keeps the worker busy, so that all of it
/// stays in the CPU's cache.
pub const TUNING: &str = "--poll --fill 1 --txd 64";
/// Fewest and most buffers for a vport, and entries of its rings; see [`quota`].
const QUOTAS: [u32; 2] = [64, 2048];
/// Buffers for all vports together, if each then has no fewer than the least.
const SHARED: u32 = 16_384;
/// Buffers beside quotas and the device's: queues, caches, hands; and as much again.
const SLACK: u32 = 8192;
/// Bytes of a buffer, and of what the switch keeps for each, rounded up.
const BUFFER: u32 = 2560;
/// Bytes of hugepages for everything but buffers and rings, rounded up.
const FIXED: u64 = 64 << 20;
/// Bytes of the four rings for each entry of the largest, rounded up.
const ENTRY: u64 = 32;

/// How it is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// EAL's option for the lcores.
    pub lcores: String,
    /// How many of them are workers.
    pub workers: u16,
    /// What EAL's `--vdev` says.
    pub device: String,
    /// Buffers that the device keeps for itself.
    pub held: u32,
    /// Most stacks.
    pub vports: u16,
    /// Most claims.
    pub claims: u32,
    /// Further options.
    pub options: String,
}

impl Setup {
    /// One worker, and the tuning for throughput.
    pub fn new(program: PathBuf, device: String, vports: u16) -> Self {
        Self {
            program,
            lcores: format!("-l{LCORES}"),
            workers: 1,
            device,
            held: traffic::PACKETS,
            vports,
            claims: 65_536,
            options: TUNING.to_owned(),
        }
    }

    fn mbufs(&self) -> u32 {
        let quotas = quota(self.vports) * (u32::from(self.vports) + 1);
        self.held + u32::from(self.workers) * (quotas + SLACK)
    }

    /// Hugepages of 2 MiB.
    fn pages(&self) -> u64 {
        let workers = u64::from(self.workers);
        let rings = workers * u64::from(self.vports) * u64::from(quota(self.vports)) * ENTRY;
        let buffers = u64::from(self.mbufs()) * u64::from(BUFFER);
        (buffers + rings + FIXED).div_ceil(2 << 20)
    }

    fn args(&self, lab: &Lab) -> Vec<String> {
        let mut args = vec![
            self.lcores.clone(),
            format!("--file-prefix={}", lab.prefix),
            "--no-pci".to_owned(),
            format!("--vdev={}", self.device),
            "--".to_owned(),
            format!("--socket={}", socket(lab).display()),
            format!("--host-addr={}", traffic::HOST_CIDR),
            format!("--max-vports={}", self.vports),
            format!("--max-claims={}", self.claims),
            format!("--quota={}", quota(self.vports)),
            format!("--ring-size={}", quota(self.vports)),
            // The device holds buffers of which the switch knows nothing otherwise.
            format!("--mbufs={}", self.mbufs()),
        ];
        args.extend(self.options.split_whitespace().map(str::to_owned));
        args
    }
}

/// Buffers that a vport may hold, and entries of its rings, with so many vports: enough for what is on
/// its way, and no more than the CPU's cache holds.
pub fn quota(vports: u16) -> u32 {
    let [least, most] = QUOTAS;
    (SHARED / u32::from(vports))
        .next_power_of_two()
        .clamp(least, most)
}

/// A running one.
pub struct Switch {
    process: Process,
    version: String,
    socket: String,
}

impl Switch {
    /// Starts it, and waits until it answers.
    pub fn start(lab: &Lab, setup: &Setup) -> Result<Self, Error> {
        lab.hugepages.ensure(setup.pages())?;
        let mut process = Process::start(lab, "multistack", &setup.program, &setup.args(lab))?;
        let client = process.until(lab, || Ok(Client::connect(&socket(lab), "bench")?))?;
        Ok(Self {
            process,
            version: format!("{}, {}", client.greeting().switch, client.greeting().dpdk),
            socket: socket(lab).display().to_string(),
        })
    }

    /// Starts `stacks` on it, and waits until they have their claims.
    pub fn attach(&self, lab: &Lab, stacks: Stacks) -> Result<Process, Error> {
        self.helper(lab, "stacks", Some(&serde_json::to_string(&stacks)?))
    }

    /// Starts this program again in one of its other roles, and waits until it is ready.
    pub fn helper(&self, lab: &Lab, role: &str, plan: Option<&str>) -> Result<Process, Error> {
        let program = std::env::current_exe()?;
        let words: Vec<_> = [role, &self.socket].into_iter().chain(plan).collect();
        let mut process = Process::start(lab, role, &program, &words)?;
        process.expect("ready")?;
        Ok(process)
    }

    /// Its control socket.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Its release and DPDK's.
    pub fn version(&self) -> String {
        self.version.clone()
    }

    /// A connection for one reading: one that asks for nothing for a minute is cut off.
    fn client(&self) -> Result<Client, Error> {
        Ok(Client::connect(self.socket.as_ref(), "bench")?)
    }

    /// The one port.
    pub fn port_row(&self) -> Result<PortRow, Error> {
        match self.client()?.call(&Request::Ports, &[])? {
            Reply::Ports { mut ports } if ports.len() == 1 => Ok(ports.remove(0)),
            other => Err(format!("not one port: {other:?}").into()),
        }
    }

    /// The counters of the one port.
    pub fn port(&self) -> Result<PortStats, Error> {
        counters::port(&self.client()?)
    }

    /// The port's counters before and after what is done, and the time between.
    pub fn over(
        &self,
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(PortStats, PortStats, Duration), Error> {
        let (before, start) = counters::timed(|| self.port())?;
        work()?;
        let (after, end) = counters::timed(|| self.port())?;
        Ok((before, after, end - start))
    }

    /// The counters of all vports.
    pub fn vports(&self) -> Result<Vec<VportStats>, Error> {
        counters::vports(&self.client()?)
    }

    /// How long its workers have waited for their CPUs, in ns.
    pub fn workers_waited(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.pid()));
        let tasks = tasks.into_iter().flatten().flatten();
        let name = |task: &Path| fs::read_to_string(task.join("comm")).unwrap_or_default();
        tasks
            .map(|task| task.path())
            .filter(|task| name(task).starts_with("rte-worker"))
            .map(|task| machine::waited(&task))
            .sum()
    }

    /// Ends it.
    pub fn terminate(self) -> Result<(), Error> {
        self.process.terminate()
    }
}

fn socket(lab: &Lab) -> PathBuf {
    lab.dir.join("control.sock")
}

/// multistack itself: in the same folder as this program.
pub fn program() -> Result<PathBuf, String> {
    existing(|exe| Some(exe.with_file_name(NAME)))
}

/// multistack without validation: `cargo build --features unvalidated`, in a target folder of its
/// own beside this program's.
pub fn unvalidated() -> Result<PathBuf, String> {
    existing(|exe| {
        Some(
            exe.ancestors()
                .nth(2)?
                .join("unvalidated/release")
                .join(NAME),
        )
    })
}

const NAME: &str = "multistack";

fn existing(place: impl Fn(&Path) -> Option<PathBuf>) -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = place(&exe).ok_or("no folder to look for multistack in")?;
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("there is no {}", program.display()))
    }
}
