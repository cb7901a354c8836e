//! A peer: Open vSwitch with DPDK, as a userspace switch that looks every packet up, too. It has
//! its database, sockets and logs in the lab's folder; the system's are left alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;
use crate::experiment::{Contender, Sample};
use crate::forwarder;
use crate::lab::{CONTROL_CPU, Lab, WORK_CPU};
use crate::process::{Process, is_installed, run};
use crate::stacks::Moved;
use crate::telemetry::Telemetry;
use crate::traffic::{self, Traffic};

/// Its name in results.json.
pub const KEY: &str = "ovs_dpdk";

const DAEMON: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Ports that packets leave through.
const SINKS: u16 = 4;
/// Its pools want much; with less it makes smaller ones.
const HUGEPAGES: u64 = 512;

/// Options of the database's `other_config`, of which the fastest are taken: which of the caches
/// is used for a look-up, and whether packets are collected per port before they are sent.
const CANDIDATES: [&str; 4] = [
    "emc-insert-inv-prob=1",
    "emc-insert-inv-prob=1 per-port-memory=true",
    "emc-insert-inv-prob=1 per-port-memory=true tx-flush-interval=50",
    "emc-insert-inv-prob=0 smc-enable=true per-port-memory=true",
];

/// OVS between the device under test and other ports, with a flow for each stack's port.
#[derive(Clone)]
pub struct Ovs {
    /// Of `other_config`, beside those that the work needs.
    pub options: &'static str,
    traffic: Traffic,
    version: Option<String>,
}

impl Ovs {
    /// In every configuration that is worth a try, or why there is none.
    pub fn candidates() -> Result<Vec<Self>, String> {
        if !Path::new(DAEMON).is_file() {
            let package = "package openvswitch-switch-dpdk";
            return Err(format!("{DAEMON} ({package}) is not installed"));
        }
        let tools = ["ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-ofctl"];
        if let Some(tool) = tools.iter().find(|tool| !is_installed(tool)) {
            return Err(format!("{tool} is not installed"));
        }
        let each = CANDIDATES.iter().map(|options| Self {
            options,
            traffic: Traffic::smallest(64),
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

    /// What the daemon is to find in its database when it starts.
    fn other_config(&self, lab: &Lab) -> Vec<String> {
        let dpdk = format!(
            "--no-pci --huge-unlink --telemetry --file-prefix={}",
            lab.prefix
        );
        let fixed = [
            "dpdk-init=true".to_owned(),
            format!("dpdk-lcore-mask={:#x}", 1 << CONTROL_CPU),
            format!("pmd-cpu-mask={:#x}", 1 << WORK_CPU),
            format!("dpdk-extra=\"{dpdk}\""),
        ];
        let chosen = self.options.split_whitespace().map(str::to_owned);
        let each = fixed.into_iter().chain(chosen);
        each.map(|option| format!("other_config:{option}"))
            .collect()
    }

    fn flows(&self, sinks: &Sinks) -> String {
        let mut flows = String::new();
        let ports = sinks.ports();
        for stack in 0..self.traffic.stacks {
            let (port, out) = (traffic::claim_of(stack).port(), stack % ports + 1);
            let _ = writeln!(flows, "udp,tp_dst={port},actions=output:{out}");
        }
        if let Sinks::Vhost(_) = sinks {
            let _ = writeln!(flows, "in_port=1,actions=output:{}", ports + 1);
        }
        flows
    }

    /// Starts it, with all ports and flows.
    pub fn start(&self, lab: &Lab, sinks: &Sinks) -> Result<Vswitch, Error> {
        lab.hugepages.ensure(HUGEPAGES)?;
        let home = Home::new(lab)?;
        let database = home.start_database(lab)?;
        home.configure(&self.other_config(lab))?;
        let mut daemon = home.start_daemon(lab)?;
        let telemetry = daemon.until(lab, || Telemetry::connect(&lab.runtime_dir()))?;
        home.add_bridge(&self.traffic.write(lab)?, sinks)?;
        home.add_flows(&self.flows(sinks))?;
        Ok(Vswitch {
            home,
            database,
            daemon,
            telemetry,
        })
    }
}

/// Where packets leave through: `out1`, `out2` and so on.
pub enum Sinks {
    /// [`SINKS`] `net_null` ports.
    Null,
    /// A program that listens at this socket. What it sends leaves through the device under test.
    Vhost(PathBuf),
}

impl Sinks {
    const fn ports(&self) -> u16 {
        match self {
            Self::Null => SINKS,
            Self::Vhost(_) => 1,
        }
    }

    /// Columns of a port's `Interface`.
    fn interface(&self, number: u16) -> String {
        match self {
            Self::Null => format!("type=dpdk options:dpdk-devargs=net_null{number},no-rx=1"),
            Self::Vhost(socket) => {
                let path = socket.display();
                format!("type=dpdkvhostuserclient options:vhost-server-path={path}")
            }
        }
    }
}

/// A running one.
pub struct Vswitch {
    home: Home,
    database: Process,
    daemon: Process,
    /// Of DPDK's ports.
    pub telemetry: Telemetry,
}

impl Vswitch {
    /// Its release and DPDK's.
    pub fn version(&self) -> Result<String, Error> {
        Ok(format!("{}, {}", version()?, self.telemetry.version()))
    }

    /// What a port of the bridge has received and sent.
    pub fn port(&self, name: &str) -> Result<Moved, Error> {
        let text = self.home.ofctl("dump-ports", name)?;
        let count = |way: &str| {
            let (_, rest) = text.split_once(&format!("{way} pkts="))?;
            rest.split(',').next()?.trim().parse().ok()
        };
        match (count("rx"), count("tx")) {
            (Some(received), Some(sent)) => Ok(Moved { received, sent }),
            _ => Err(format!("no counters in {text:?}").into()),
        }
    }

    /// Ends it.
    pub fn terminate(self) -> Result<(), Error> {
        self.daemon.terminate()?;
        self.database.terminate()
    }
}

impl Contender for Ovs {
    fn key(&self) -> String {
        KEY.to_owned()
    }

    fn label(&self) -> String {
        "OVS-DPDK".to_owned()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        Some(("ovs", self.version.clone()?))
    }

    fn settings(&self) -> Value {
        json!({ "other_config": self.options, "sinks": SINKS })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let mut vswitch = self.start(lab, &Sinks::Null)?;
        self.version = Some(vswitch.version()?);
        let Vswitch {
            daemon, telemetry, ..
        } = &mut vswitch;
        let sample = forwarder::measure(daemon, telemetry, lab, time)?;
        vswitch.terminate()?;
        Ok(sample)
    }
}

/// A run's folder.
struct Home(PathBuf);

impl Home {
    fn new(lab: &Lab) -> Result<Self, Error> {
        let dir = lab.dir.join("ovs");
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What keeps all of OVS's programs to this folder.
    fn environment(&self) -> Vec<String> {
        ["RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR"]
            .map(|what| format!("OVS_{what}={}", self.0.display()))
            .to_vec()
    }

    fn start(&self, lab: &Lab, name: &str, args: Vec<String>) -> Result<Process, Error> {
        let mut words = self.environment();
        words.push(name.to_owned());
        words.push("-vsyslog:off".to_owned());
        words.extend(args);
        let short = name.rsplit('/').next().unwrap_or(name);
        // env becomes the program, as setpriv does.
        Process::start(lab, short, Path::new("env"), &words)
    }

    fn start_database(&self, lab: &Lab) -> Result<Process, Error> {
        run("ovsdb-tool", &["create", &self.path("conf.db"), SCHEMA])?;
        let mut process = self.start(
            lab,
            "ovsdb-server",
            vec![
                self.path("conf.db"),
                format!("--remote=punix:{}", self.path("db.sock")),
                format!("--unixctl={}", self.path("db.ctl")),
            ],
        )?;
        process.until(lab, || self.vsctl(&["--no-wait", "init"]))?;
        Ok(process)
    }

    fn configure(&self, options: &[String]) -> Result<(), Error> {
        let mut words = vec!["--no-wait", "set", "Open_vSwitch", "."];
        words.extend(options.iter().map(String::as_str));
        self.vsctl(&words)
    }

    fn start_daemon(&self, lab: &Lab) -> Result<Process, Error> {
        let args = vec![
            format!("unix:{}", self.path("db.sock")),
            format!("--unixctl={}", self.path("vswitchd.ctl")),
        ];
        self.start(lab, DAEMON, args)
    }

    /// One bridge with all ports; returns when the daemon has them.
    fn add_bridge(&self, pcap: &Path, sinks: &Sinks) -> Result<(), Error> {
        let mut text =
            "add-br br0 -- set Bridge br0 datapath_type=netdev fail-mode=secure".to_owned();
        let mut add = |name: &str, number: u16, columns: &str| {
            let _ = write!(
                text,
                " -- add-port br0 {name} -- set Interface {name} ofport_request={number} {columns}"
            );
        };
        let device = traffic::device(pcap, 1);
        let columns = format!("type=dpdk options:dpdk-devargs={device}");
        add("in", sinks.ports() + 1, &columns);
        for number in 1..=sinks.ports() {
            add(&format!("out{number}"), number, &sinks.interface(number));
        }
        self.vsctl(&text.split(' ').collect::<Vec<_>>())
    }

    fn add_flows(&self, flows: &str) -> Result<(), Error> {
        let file = self.path("flows");
        std::fs::write(&file, flows)?;
        self.ofctl("add-flows", &file).map(drop)
    }

    fn ofctl(&self, command: &str, what: &str) -> Result<String, Error> {
        let bridge = format!("unix:{}", self.path("br0.mgmt"));
        run("ovs-ofctl", &[command, &bridge, what])
    }

    fn vsctl(&self, words: &[&str]) -> Result<(), Error> {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        let mut all = vec![database.as_str(), "--timeout=20"];
        all.extend(words);
        run("ovs-vsctl", &all).map(drop)
    }
}

/// The daemon's release: the last word of "ovs-vswitchd (Open vSwitch) 3.1.0".
fn version() -> Result<String, Error> {
    let text = run(DAEMON, &["--version"])?;
    let line = text.lines().next().unwrap_or_default();
    Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
}
