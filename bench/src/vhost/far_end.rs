//! The far end: testpmd on a `net_virtio_user` device, on the control CPU.

use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::lab::{self, CONTROL_CPU, Lab};
use crate::process::Process;
use crate::stacks::Moved;
use crate::telemetry::Telemetry;
use crate::testpmd::PROGRAM;

/// Entries of each of its queues: as many as a driver has that asks for nothing else.
pub const DESCRIPTORS: u64 = 256;
/// Of the device and of testpmd, beside those: what is fastest for the peers.
pub const OPTIONS: [&str; 2] = [
    "packed_vq=1,mrg_rxbuf=1,in_order=1",
    "--mbcache=256 --total-num-mbufs=4096 --burst=64",
];
/// Hugepages that are enough for it.
const HUGEPAGES: u64 = 64;
/// How long nothing must move for it to be over.
const STILL: Duration = Duration::from_millis(100);

/// What it does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Counts and drops it.
    Drain,
    /// Sends it back, with MAC addresses, IP addresses and ports swapped.
    Echo,
}

/// A running one.
pub struct FarEnd {
    process: Process,
    telemetry: Telemetry,
    ports: Vec<u64>,
}

impl FarEnd {
    /// Starts it at a socket, to which it connects unless it is to listen there, and waits for the first
    /// packet.
    pub fn start(lab: &Lab, socket: &Path, listens: bool, task: Task) -> Result<Self, Error> {
        lab.hugepages.ensure(HUGEPAGES)?;
        let args = args(lab, socket, listens, task);
        let mut process = Process::start(lab, "far-end", Path::new(PROGRAM), &args)?;
        let dir = lab::runtime_dir(&lab.far_prefix);
        let telemetry = process.until(lab, || Telemetry::connect(&dir))?;
        let (_, ports) = telemetry.ports()?;
        let mut far_end = Self {
            process,
            telemetry,
            ports,
        };
        far_end.await_packets(lab)?;
        Ok(far_end)
    }

    fn await_packets(&mut self, lab: &Lab) -> Result<(), Error> {
        let Self {
            process,
            telemetry,
            ports,
        } = self;
        process.until(lab, || match telemetry.moved(ports)?.received {
            0 => Err("it receives nothing".into()),
            _ => Ok(()),
        })
    }

    /// What it has received and sent.
    pub fn moved(&self) -> Result<Moved, Error> {
        self.telemetry.moved(&self.ports)
    }

    /// Has it receive nothing any more; returns when nothing moves.
    pub fn stop(&mut self, lab: &Lab) -> Result<(), Error> {
        self.process.tell("stop")?;
        let mut last = self.moved()?;
        let Self {
            process,
            telemetry,
            ports,
        } = self;
        process.until(lab, || {
            lab.sleep(STILL)?;
            let now = telemetry.moved(ports)?;
            let is_still = now == last;
            last = now;
            is_still
                .then_some(())
                .ok_or_else(|| "it does not stop".into())
        })
    }

    /// Has it go on.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.process.tell("start")
    }

    /// Ends it.
    pub fn terminate(self) -> Result<(), Error> {
        self.process.terminate()
    }
}

fn args(lab: &Lab, socket: &Path, listens: bool, task: Task) -> Vec<String> {
    let mode = match task {
        Task::Drain => "rxonly",
        Task::Echo => "5tswap",
    };
    let [device, options] = OPTIONS;
    let mut args = vec![
        format!("--lcores=0@{CONTROL_CPU},1@{CONTROL_CPU}"),
        format!("--file-prefix={}", lab.far_prefix),
        "--no-pci".to_owned(),
        // vhost-user can pass on few regions of memory.
        "--single-file-segments".to_owned(),
        format!(
            "--vdev=net_virtio_user0,path={},server={},queue_size={DESCRIPTORS},{device}",
            socket.display(),
            u8::from(listens)
        ),
        "--".to_owned(),
        // For "stop".
        "--interactive".to_owned(),
        "--auto-start".to_owned(),
        format!("--forward-mode={mode}"),
        "--port-topology=loop".to_owned(),
        format!("--rxd={DESCRIPTORS}"),
        format!("--txd={DESCRIPTORS}"),
    ];
    args.extend(options.split_whitespace().map(str::to_owned));
    args
}
