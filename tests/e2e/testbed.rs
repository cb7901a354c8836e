//! What each test stands on: two namespaces with a wire between them, and a primary at one end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use port_api::protocol::{ClaimRow, PoolStats, PortRow, StackRow, Stats, Traced, VportStats};
use rustix::process::Signal;
use serde_json::Value;

use crate::netns::{self, Netns};
use crate::process::{Process, eventually};

pub const HOST_V4: &str = "10.77.0.1";
pub const HOST_V6: &str = "fd77::1";
pub const CLIENT_V4: &str = "10.77.0.2";
pub const CLIENT_V6: &str = "fd77::2";

/// One test at a time, of all runs on this machine: there may be no more than two cores, and a
/// primary uses both.
static TURN: Mutex<()> = Mutex::new(());
const TURN_FILE: &str = "/tmp/multistack-e2e.lock";
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Whether tests may take minutes.
pub fn is_long() -> bool {
    std::env::var("MULTISTACK_LONG").is_ok_and(|value| value == "1")
}

/// A program of the workspace.
pub fn program(name: &str) -> PathBuf {
    let primary = Path::new(env!("CARGO_BIN_EXE_multistack"));
    let folder = std::env::var_os("MULTISTACK_BIN").map(PathBuf::from);
    let path = folder
        .unwrap_or_else(|| primary.with_file_name(""))
        .join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace, or make test",
        path.display()
    );
    path
}

/// Two namespaces, host and client, and what belongs to them. Everything goes when it goes.
pub struct Testbed {
    // Fields are dropped in this order.
    switch: Option<Process>,
    pub host: Netns,
    pub client: Netns,
    /// Name of the run; EAL's `--file-prefix` too.
    pub name: String,
    /// A folder for files.
    pub dir: PathBuf,
    pub socket: PathBuf,
    /// Workers of the primary: 1, or 2 on one CPU, to which the kernel deals out the wire's flows.
    pub workers: u8,
    /// The port's device, if there is one worker.
    pub device: &'static str,
    _turns: (File, MutexGuard<'static, ()>),
}

impl Testbed {
    /// With a primary that serves.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With a primary that serves, and more arguments for it.
    #[track_caller]
    pub fn start_with(app_args: &[&str]) -> Self {
        let mut bed = Self::without_switch();
        bed.start_switch(app_args);
        bed
    }

    /// With namespaces and the wire, but no primary yet.
    pub fn without_switch() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let file = File::create(TURN_FILE).expect("a lock file");
        file.lock().expect("a lock");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mstest{}n{number}", std::process::id());
        let dir = Path::new("/tmp").join(&name);
        fs::create_dir(&dir).expect("a folder");
        let bed = Self {
            switch: None,
            host: Netns::new(format!("{name}-host")),
            client: Netns::new(format!("{name}-client")),
            socket: dir.join("switch.sock"),
            name,
            dir,
            workers: 1,
            device: "net_af_xdp0,iface=msx0",
            _turns: (file, turn),
        };
        bed.lay_wire();
        bed
    }

    fn lay_wire(&self) {
        let (host, client) = (&self.host.name, &self.client.name);
        let wire = format!("link add msx0 netns {host} type veth peer name msx1 netns {client}");
        let args: Vec<_> = wire.split(' ').collect();
        netns::run("ip", &args);
        // The port's own netdev is only a wire here: no addresses, not even link-local.
        self.host.ip("link set msx0 addrgenmode none");
        self.host.ip("link set msx0 up");
        // What leaves a veth has unfinished checksums and overlong segments otherwise.
        let offloads = "-K msx1 tx off rx off tso off gso off gro off";
        let offloads: Vec<_> = offloads.split(' ').collect();
        self.client.run("ethtool", &offloads);
        for (netns, netdev) in [(&self.host, "msx0"), (&self.client, "msx1")] {
            // Tags stay in the frames, as on a wire.
            netns.run("ethtool", &["-K", netdev, "rxvlan", "off", "txvlan", "off"]);
        }
        self.client.ip(&format!("addr add {CLIENT_V4}/24 dev msx1"));
        self.client
            .ip(&format!("addr add {CLIENT_V6}/64 dev msx1 nodad"));
        self.client.ip("link set msx1 up");
    }

    /// EAL's arguments for a port on the wire.
    pub fn eal_args(&self) -> Vec<String> {
        let prefix = format!("--file-prefix={}", self.name);
        let (lcores, device) = match self.workers {
            1 => ("0-1", self.device),
            _ => ("0@0,(1-2)@1", "net_af_packet0,iface=msx0,qpairs=2"),
        };
        let args = ["--lcores", lcores, &prefix, "--no-pci", "--vdev", device];
        args.map(str::to_owned).to_vec()
    }

    /// The primary's command line, as in `multistack <eal> -- <app>`.
    pub fn switch_command(&self, eal: &[String], app: &[&str]) -> Command {
        self.switch_command_under(&[], eal, app)
    }

    /// The same, by way of a program that executes the rest of its arguments.
    pub fn switch_command_under(&self, wrapper: &[&str], eal: &[String], app: &[&str]) -> Command {
        // Executes it, too.
        let mut command = self.host.command("env");
        command.args(wrapper).arg(program("multistack"));
        command.args(eal).arg("--").args(app);
        command
    }

    /// Starts the primary with the usual addresses and waits until it serves.
    #[track_caller]
    pub fn start_switch(&mut self, app_args: &[&str]) {
        self.start_switch_under(&[], app_args);
    }

    /// The same, by way of a program that executes the rest of its arguments.
    #[track_caller]
    pub fn start_switch_under(&mut self, wrapper: &[&str], app_args: &[&str]) {
        let (v4, v6) = (format!("{HOST_V4}/24"), format!("{HOST_V6}/64"));
        let socket = self.socket.to_str().expect("UTF-8");
        let mut app = vec!["--socket", socket, "--host-addr", &v4, "--host-addr", &v6];
        app.extend(app_args);
        let mut command = self.switch_command_under(wrapper, &self.eal_args(), &app);
        let switch = self
            .switch
            .insert(Process::spawn("multistack", &mut command));
        switch.expect("ready");
        eventually("the host's addresses are usable", || {
            let addresses = self.host.ip("-br addr show dev msh0");
            addresses.contains(HOST_V4)
                && addresses.contains(HOST_V6)
                && self.host.ip("-6 addr show dev msh0 tentative").is_empty()
        });
    }

    #[track_caller]
    pub fn switch(&mut self) -> &mut Process {
        self.switch.as_mut().expect("the primary was started")
    }

    /// What the primary has logged.
    #[track_caller]
    pub fn log(&self) -> String {
        self.switch.as_ref().expect("the primary runs").stderr()
    }

    /// Hands the primary over to the test.
    #[track_caller]
    pub fn take_switch(&mut self) -> Process {
        self.switch.take().expect("the primary was started")
    }

    /// Starts a stack on the host.
    pub fn stack(&self, name: &str, args: &[&str]) -> Process {
        Process::spawn(name, self.host.command(program(name)).args(args))
    }

    /// Starts `stack-probe --name NAME ...` on the host.
    pub fn probe(&self, name: &str, args: &[&str]) -> Process {
        Process::spawn(name, &mut self.probe_command(&self.host, name, args))
    }

    /// `stack-probe --name NAME ...`, in a namespace.
    pub fn probe_command(&self, netns: &Netns, name: &str, args: &[&str]) -> Command {
        let mut command = netns.command(program("stack-probe"));
        command.arg("--socket").arg(&self.socket);
        command.args(["--name", name]).args(args);
        command
    }

    /// Starts the echo stack on UDP `addr`, and waits until it serves.
    #[track_caller]
    pub fn echo(&self, addr: &str) -> Process {
        let socket = self.socket.to_str().expect("UTF-8");
        let mut echo = self.stack("stack-echo", &[socket, addr]);
        echo.expect("serving");
        echo
    }

    /// What `msctl ARGS --json` prints.
    #[track_caller]
    fn msctl(&self, args: &[&str]) -> Value {
        let output = Command::new(program("msctl"))
            .arg("--socket")
            .arg(&self.socket)
            .args(args)
            .arg("--json")
            .output()
            .expect("msctl");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "msctl {args:?}: {stderr}");
        assert_eq!(stderr, "", "msctl {args:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// What `msctl trace` says of a frame.
    #[track_caller]
    pub fn trace(&self, args: &[&str]) -> Traced {
        let args = [&["trace"], args].concat();
        serde_json::from_value(self.msctl(&args)).expect("a trace")
    }

    #[track_caller]
    pub fn port(&self) -> PortRow {
        let mut ports: Vec<PortRow> =
            serde_json::from_value(self.msctl(&["ports"])).expect("ports");
        assert_eq!(ports.len(), 1);
        ports.remove(0)
    }

    #[track_caller]
    pub fn stacks(&self) -> Vec<StackRow> {
        serde_json::from_value(self.msctl(&["stacks"])).expect("stacks")
    }

    #[track_caller]
    pub fn claims(&self) -> Vec<ClaimRow> {
        serde_json::from_value(self.msctl(&["claims"])).expect("claims")
    }

    #[track_caller]
    pub fn stats(&self) -> Stats {
        serde_json::from_value(self.msctl(&["stats"])).expect("stats")
    }

    /// The counters of the vport of this name.
    #[track_caller]
    pub fn vport(&self, name: &str) -> VportStats {
        vport_named(&self.stats(), name)
    }

    /// Buffers lent to stacks; the host's own are not counted.
    #[track_caller]
    pub fn held_by_stacks(&self) -> u32 {
        let stats = self.stats();
        let (hosts, stacks): (Vec<&VportStats>, Vec<_>) =
            stats.vports.iter().partition(|vport| vport.name == "msh0");
        assert_eq!(hosts.len(), 1);
        let of_hosts: u32 = hosts.iter().map(|vport| vport.held).sum();
        let of_stacks: u32 = stacks.iter().map(|vport| vport.held).sum();
        assert_eq!(stats.pool.held, of_hosts + of_stacks, "{stats:?}");
        of_stacks
    }

    /// Waits until no stack is left and the pool has every buffer back that it had lent to them.
    #[track_caller]
    pub fn expect_no_stacks(&self) {
        eventually("all stacks are gone", || self.stacks().is_empty());
        assert_eq!(self.claims(), []);
        assert_eq!(self.held_by_stacks(), 0);
    }

    /// Waits until no more buffers are lent out, and no fewer are in the pool, than at a moment of
    /// rest before.
    #[track_caller]
    pub fn expect_buffers_back(&self, before: PoolStats) {
        eventually(&format!("the pool is as before: {before:?}"), || {
            let now = self.stats().pool;
            now.held <= before.held && now.available >= before.available
        });
    }

    /// Every packet and every buffer is accounted for.
    #[track_caller]
    pub fn assert_conserved(&self) {
        let stats = self.stats();
        for port in &stats.ports {
            assert_eq!(port.unaccounted(), 0, "{port:?}");
        }
        for vport in &stats.vports {
            assert_eq!(vport.unaccounted(), 0, "{vport:?}");
            assert_eq!(vport.bad_entries, 0, "{vport:?}");
        }
        let pool = stats.pool;
        let sum = pool.available + pool.held + pool.in_switch;
        assert_eq!(pool.count, sum, "{pool:?}");
    }

    /// EAL's files, the control socket, the exception path's netdev: what a primary must not leave.
    pub fn left_behind(&self) -> Vec<String> {
        let runtime = Path::new("/var/run/dpdk").join(&self.name);
        let mut left: Vec<_> = self.huge_files();
        left.extend(
            [runtime, self.socket.clone()]
                .into_iter()
                .filter(|path| path.exists()),
        );
        let mut left: Vec<_> = left.iter().map(|path| path.display().to_string()).collect();
        let netdevs = self.host.ip("-br link");
        let exception_path = netdevs.lines().filter(|line| line.starts_with("msh"));
        left.extend(exception_path.map(str::to_owned));
        left
    }

    fn huge_files(&self) -> Vec<PathBuf> {
        let prefix = format!("{}map_", self.name);
        let entries = fs::read_dir("/dev/hugepages")
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    /// What EAL keeps in its runtime folder, by kind: a name up to its first digit.
    pub fn runtime_files(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        let folder = Path::new("/var/run/dpdk").join(&self.name);
        for entry in fs::read_dir(folder).expect("EAL's folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = name.split(|c: char| c.is_ascii_digit()).next();
            *kinds
                .entry(kind.unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        kinds
    }

    /// The end of a test that went well: the counters add up, and SIGTERM ends the primary with
    /// nothing left behind.
    #[track_caller]
    pub fn finish(mut self) {
        self.end();
    }

    /// The same; the namespaces stay for now.
    #[track_caller]
    pub fn end(&mut self) {
        self.assert_conserved();
        let switch = self.take_switch();
        switch.signal(Signal::TERM);
        let ended = switch.wait();
        assert!(ended.status.success(), "{ended:?}");
        assert!(!ended.stderr.contains("ERROR"), "{}", ended.stderr);
        assert_eq!(self.left_behind(), [""; 0]);
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.switch.take());
        let _ = fs::remove_dir_all(&self.dir);
        let _ = fs::remove_dir_all(Path::new("/var/run/dpdk").join(&self.name));
        // A primary that was killed has left these.
        for file in self.huge_files() {
            let _ = fs::remove_file(file);
        }
    }
}

/// The counters of the vport of this name.
#[track_caller]
pub fn vport_named(stats: &Stats, name: &str) -> VportStats {
    let vport = stats.vports.iter().find(|vport| vport.name == name);
    vport
        .unwrap_or_else(|| panic!("no vport {name}: {stats:?}"))
        .clone()
}
