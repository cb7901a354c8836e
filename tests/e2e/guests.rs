//! Vports over vhost-user sockets, and `dpdk-testpmd` at the other end of one.

use std::path::PathBuf;
use std::process::Output;

use port_api::protocol::{StackRow, VhostRow};

use crate::net_tools::{echoes, ping};
use crate::process::{Ended, Process, eventually};
use crate::testbed::{HOST_V4, HOST_V6, Testbed, program};

/// What guests claim here.
pub const GUEST_V4: &str = "10.77.0.9";
pub const GUEST_V6: &str = "fd77::9";

/// Whether a bit is among the features.
pub fn has(features: u64, bit: u32) -> bool {
    features >> bit & 1 == 1
}

impl Testbed {
    /// Where a guest's socket is.
    pub fn guest_socket(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.vhost"))
    }

    /// `msctl port ARGS`, on the host.
    pub fn msctl_port(&self, args: &[&str]) -> Output {
        let mut command = self.host.command(program("msctl"));
        command.arg("--socket").arg(&self.socket).arg("port");
        command.args(args).output().expect("msctl")
    }

    /// Adds a vhost port, with the guests' addresses for its own; its vport.
    #[track_caller]
    pub fn add_guest(&self, name: &str, more: &[&str]) -> u16 {
        let socket = self.guest_socket(name);
        let (v4, v6) = (format!("addr:{GUEST_V4}"), format!("addr:{GUEST_V6}"));
        let mut args = vec!["add", name, "--vhost", socket.to_str().expect("UTF-8")];
        args.extend(["--claim", &v4, "--claim", &v6]);
        args.extend(more);
        let output = self.msctl_port(&args);
        assert!(output.status.success(), "{output:?}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let vport = stdout.trim().strip_prefix("vport ");
        vport
            .and_then(|slot| slot.parse().ok())
            .unwrap_or_else(|| panic!("{output:?}"))
    }

    /// `msctl port ARGS` is refused; in which words.
    #[track_caller]
    pub fn refuses_port(&self, args: &[&str]) -> String {
        let output = self.msctl_port(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    }

    /// The row of the stack of this name, which has a vhost-user socket.
    #[track_caller]
    pub fn guest(&self, name: &str) -> VhostRow {
        let of_name = |stack: &StackRow| stack.name == name;
        let row = self.stacks().into_iter().find(of_name);
        row.and_then(|row| row.vhost)
            .unwrap_or_else(|| panic!("no vhost port {name}"))
    }

    /// Waits until the driver at the other end has set up its queues, in its `nth` connection; the features.
    #[track_caller]
    pub fn await_guest(&self, name: &str, nth: u64) -> u64 {
        eventually("a guest's driver is ready", || {
            let row = self.guest(name);
            row.ready && row.connections >= nth
        });
        let row = self.guest(name);
        assert_eq!((row.connections, row.violation), (nth, None));
        row.features
    }

    /// Waits until so many packets were for the guest while no one was at the other end.
    #[track_caller]
    pub fn await_missed(&self, name: &str, count: u64) {
        eventually("packets find no guest", || {
            let dropped = self.vport(name).rx_dropped;
            dropped.get("not-connected") >= Some(&count)
        });
    }

    /// What is the host's, and what is the echo stack's at its port 7, is as if there were no guest.
    #[track_caller]
    pub fn expect_others(&self) {
        for addr in [HOST_V4, HOST_V6] {
            ping(&self.client, addr, 20, 56);
        }
        assert!(echoes(&self.client, &format!("{HOST_V4}:7")));
    }

    /// Whether anyone answers a ping.
    pub fn answers(&self, addr: &str) -> bool {
        let mut ping = self.client.command("ping");
        ping.args(["-q", "-c", "1", "-W", "1", addr]);
        ping.output().expect("ping").status.success()
    }

    /// Waits until no one is at the other end.
    #[track_caller]
    pub fn await_no_guest(&self, name: &str) {
        eventually("the guest is gone", || {
            let row = self.guest(name);
            !row.connected && !row.ready
        });
    }
}

/// A `dpdk-testpmd` over `net_virtio_user`. It has its memory to itself, and leaves no files.
pub struct Testpmd(Process);

/// What it says of its packets at its end.
#[derive(Debug)]
pub struct Totals {
    pub received: u64,
    pub sent: u64,
    /// What came through each pair of queues, if there are several.
    pub by_pair: Vec<u64>,
}

impl Testpmd {
    /// One with the NIC port's MAC address, that answers ARP and pings for whatever address.
    pub fn echo(bed: &Testbed, name: &str, device: &str) -> Self {
        let device = format!("mac={}{device}", bed.port().mac);
        Self::start(bed, name, &device, &["--forward-mode=icmpecho"])
    }

    /// One with these arguments of the device, besides its path, and of testpmd's own.
    pub fn start(bed: &Testbed, name: &str, device: &str, args: &[&str]) -> Self {
        let path = bed.guest_socket(name);
        let device = format!("--vdev=net_virtio_user0,path={},{device}", path.display());
        let mut command = bed.host.command("dpdk-testpmd");
        command.args(["-l", "0-1", "--main-lcore=1", "--no-pci", "--in-memory"]);
        command.args(["--single-file-segments", "-m", "64", &device, "--"]);
        command.args(["--no-mlockall", "--total-num-mbufs=4096"]);
        // Else it throws away, uncounted, what comes before it forwards.
        command.arg("--no-flush-rx");
        Self(Process::spawn("testpmd", command.args(args)))
    }

    pub fn is_running(&mut self) -> bool {
        self.0.is_running()
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.0.kill();
    }

    /// Asks it to end, and waits for that.
    #[track_caller]
    pub fn end(mut self) -> Totals {
        // Enter.
        self.0.tell("");
        let ended = self.0.wait();
        assert!(ended.status.success(), "{ended:?}");
        Totals {
            received: total(&ended, "RX-packets:"),
            sent: total(&ended, "TX-packets:"),
            by_pair: by_pair(&ended),
        }
    }
}

/// The last figure of this name: of all ports together.
#[track_caller]
fn total(ended: &Ended, name: &str) -> u64 {
    let after = ended.stdout.rsplit_once(name).map(|(_, rest)| rest);
    let figure = after.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("{name} {ended:?}"))
}

fn by_pair(ended: &Ended) -> Vec<u64> {
    let streams = ended.stdout.split("Forward Stats for RX Port").skip(1);
    let received = |stream: &str| {
        let (_, rest) = stream.split_once("RX-packets:")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    streams.filter_map(received).collect()
}
