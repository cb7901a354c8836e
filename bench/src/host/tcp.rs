//! TCP between the host's kernel and another one's, over a veth pair as the wire.

use std::io::{Read, Write, stdin};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

use super::{By, ip, set_up_tap};
use crate::experiment::{Contender, Sample};
use crate::lab::{Lab, WARM_UP, WORK_CPU};
use crate::latency::{self, Flood, Plan, Through};
use crate::process::{Process, run as run_program};
use crate::switch::{self, Setup, Switch};
use crate::{Error, traffic};

/// The wire's near and far end.
const NEAR: &str = "mswire0";
const FAR: &str = "mswire1";
const FAR_CIDR: &str = "10.99.0.2/24";
/// The near end's address, and so the switch's and testpmd's TAP's.
const MAC: &str = "02:70:63:61:70:00";
const PORT: u16 = 5001;
/// The switch's defaults, but never asleep: one connection is no load.
const TUNING: &str = "--poll";
/// Bytes in a call.
const CHUNK: usize = 128 << 10;

/// A bulk transfer from the other kernel to the host's.
pub struct Tcp {
    key: &'static str,
    label: &'static str,
    /// The kernel alone if no one.
    by: Option<By>,
    /// The switch's other users.
    beside: Option<Beside>,
}

/// A process with stacks that use the CPU which the host's kernel works on.
#[derive(Clone, Copy)]
pub struct Beside {
    /// What one of them floods the wire with.
    pub flood: Flood,
    /// The switch's options for it.
    pub options: &'static str,
}

impl Tcp {
    /// Through the switch or testpmd; over the veth pair alone if neither.
    pub const fn new(by: Option<By>) -> Self {
        let (key, label) = match by {
            None => ("tcp_veth", "TCP over veth alone"),
            Some(By::Multistack) => ("tcp", "TCP through multistack"),
            Some(By::Testpmd(_)) => ("testpmd_tcp", "TCP through testpmd"),
        };
        Self {
            key,
            label,
            by,
            beside: None,
        }
    }

    /// Through the switch, which others use too.
    pub const fn beside(key: &'static str, label: &'static str, beside: Beside) -> Self {
        Self {
            key,
            label,
            by: Some(By::Multistack),
            beside: Some(beside),
        }
    }

    fn options(&self) -> String {
        format!(
            "{TUNING} {}",
            self.beside.map_or("", |beside| beside.options)
        )
    }

    fn transfer(&self, lab: &Lab, client: &mut Process, time: Duration) -> Result<f64, Error> {
        match &self.by {
            None => {
                ip(&format!(
                    "address replace {} dev {NEAR}",
                    traffic::HOST_CIDR
                ))?;
                // The switch has a CPU for itself; so may who sends without one.
                receive(lab, client, "alone", time).map(|(rate, _)| rate)
            }
            Some(By::Multistack) => {
                let setup = Setup {
                    options: self.options(),
                    ..Setup::new(switch::program()?, source(), 3)
                };
                let switch = Switch::start(lab, &setup)?;
                let beside = self.beside.map(|beside| others(lab, &switch, beside));
                let beside = beside.transpose()?;
                let (rate, _open) = receive(lab, client, "shared", time)?;
                if let Some(others) = beside {
                    others.kill()?;
                }
                switch.terminate()?;
                Ok(rate)
            }
            Some(By::Testpmd(testpmd)) => {
                let (mut process, _) = testpmd.start_between(lab, &source())?;
                set_up_tap(lab, &mut process)?;
                let (rate, _open) = receive(lab, client, "shared", time)?;
                // With net_tap under load it does not always end on SIGTERM.
                process.kill()?;
                Ok(rate)
            }
        }
    }
}

/// Starts stacks that go on until they are killed.
fn others(lab: &Lab, switch: &Switch, beside: Beside) -> Result<Process, Error> {
    let plan = Plan {
        through: Through::Switch(switch.socket().into()),
        interval_ns: Some(1_000_000_000),
        millis: 3_600_000,
        echoes: 1,
        flood: Some(beside.flood),
    };
    latency::start(lab, &plan)
}

fn source() -> String {
    format!("net_af_xdp0,iface={NEAR}")
}

/// Lays the wire to the client's network namespace.
fn lay_wire(client: &Process) -> Result<(), Error> {
    let pid = client.pid();
    ip(&format!(
        "link add {NEAR} address {MAC} type veth peer name {FAR} netns {pid}"
    ))?;
    ip(&format!("link set {NEAR} addrgenmode none"))?;
    ip(&format!("link set {NEAR} up"))
}

/// Accepts the client's connection and takes what comes; Gbit/s. With the connection ends the client,
/// and with that the wire: while something runs on it, it is to stay.
fn receive(
    lab: &Lab,
    client: &mut Process,
    cpu: &str,
    time: Duration,
) -> Result<(f64, TcpStream), Error> {
    let listener = TcpListener::bind((traffic::HOST, PORT))?;
    listener.set_nonblocking(true)?;
    client.tell(cpu)?;
    let mut stream = client.until(lab, || Ok(listener.accept()?.0))?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    take(&mut stream, lab, WARM_UP)?;
    let start = Instant::now();
    let bytes = take(&mut stream, lab, time)?;
    #[allow(clippy::cast_precision_loss)] // no run has 2^53 bytes
    let rate = bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9;
    Ok((rate, stream))
}

fn take(stream: &mut TcpStream, lab: &Lab, time: Duration) -> Result<u64, Error> {
    let mut chunk = vec![0; CHUNK];
    let (mut bytes, start) = (0, Instant::now());
    while start.elapsed() < time && !lab.is_interrupted() {
        match stream.read(&mut chunk)? {
            0 => return Err("the connection has ended".into()),
            count => bytes += count as u64,
        }
    }
    Ok(bytes)
}

impl Contender for Tcp {
    fn key(&self) -> String {
        self.key.to_owned()
    }

    fn label(&self) -> String {
        self.label.to_owned()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        None
    }

    fn settings(&self) -> Value {
        match &self.by {
            None => json!({}),
            Some(By::Multistack) => json!({ "options": self.options(), "device": source() }),
            Some(By::Testpmd(testpmd)) => testpmd.settings(),
        }
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let program = std::env::current_exe()?.display().to_string();
        let words = ["--net", "--", &program, "tcp-client"];
        let mut client = Process::start(lab, "tcp-client", Path::new("unshare"), &words)?;
        client.expect("ready")?;
        lay_wire(&client)?;
        let rate = self.transfer(lab, &mut client, time);
        // By itself the wire goes some time after the client, which ends with its connection.
        let _ = ip(&format!("link delete {NEAR}"));
        client.terminate()?;
        Ok(Sample::new(rate?))
    }
}

/// What happens in the client's process: waits for the wire, and sends until it is killed.
pub fn run() -> Result<(), Error> {
    println!("ready");
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let is_alone = line.trim() == "alone";
    ip(&format!("address add {FAR_CIDR} dev {FAR}"))?;
    if is_alone {
        let mut cpus = CpuSet::new();
        cpus.set(WORK_CPU);
        sched_setaffinity(None, &cpus)?;
    } else {
        // What leaves a veth has unfinished checksums and overlong segments otherwise.
        let offloads = format!("-K {FAR} tx off rx off tso off gso off gro off");
        run_program("ethtool", &offloads.split(' ').collect::<Vec<_>>())?;
    }
    ip(&format!("link set {FAR} up"))?;
    let mut stream = connect();
    let chunk = vec![0; CHUNK];
    loop {
        stream.write_all(&chunk)?;
    }
}

/// Tries until the host's side is up.
fn connect() -> TcpStream {
    loop {
        match TcpStream::connect((traffic::HOST, PORT)) {
            Ok(stream) => return stream,
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
