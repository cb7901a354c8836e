//! A control socket with made-up ports, stacks, claims and counters behind it.

use std::fs;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use port_api::protocol::{
    ClaimRow, Greeting, Limit, PAGE, PoolStats, PortRow, PortStats, Reply, Request, StackRow,
    Stats, Traced, VERSION, VhostRow, VportStats, WorkerStats,
};
use port_api::{ClaimSpec, Connection, Error, Protocol};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

/// Two pages.
pub const STACKS: usize = 70;
/// Four pages.
pub const CLAIMS: usize = 200;

type Twist = fn(&mut Reply);

/// Serves one client after the other until it is dropped; then it says farewell.
pub struct FakeSwitch {
    path: PathBuf,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl FakeSwitch {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// With every reply changed by `twist`.
    pub fn with(twist: Twist) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!(
            "msctl-test-{}-{}.sock",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 4).unwrap();
        let (stopped, stop) = pipe().unwrap();
        let thread = thread::spawn(move || serve_all(&listener, &stopped, twist));
        Self {
            path,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FakeSwitch {
    fn drop(&mut self) {
        drop(self.stop.take());
        let served = self.thread.take().unwrap().join();
        fs::remove_file(&self.path).unwrap();
        // A second panic would hide the first.
        if !thread::panicking() {
            served.unwrap();
        }
    }
}

/// Waits for `socket` to become readable; false if the switch is to end.
fn wait(socket: impl AsFd, stopped: &PipeReader) -> bool {
    let mut fds = [
        PollFd::new(&socket, PollFlags::IN),
        PollFd::new(stopped, PollFlags::IN),
    ];
    poll(&mut fds, None).unwrap();
    fds[1].revents().is_empty()
}

fn serve_all(listener: &OwnedFd, stopped: &PipeReader, twist: Twist) {
    while wait(listener, stopped) {
        let socket = accept_with(listener, SocketFlags::CLOEXEC).unwrap();
        serve(&Connection::new(socket), stopped, twist);
    }
}

fn serve(client: &Connection, stopped: &PipeReader, twist: Twist) {
    let mut readings = 0;
    while wait(client, stopped) {
        let request = match client.recv() {
            Ok(received) => received.message,
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        };
        let mut reply = answer(&request, &mut readings);
        twist(&mut reply);
        match client.send(&reply, &[]) {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
    // The client may have gone by itself.
    let _ = client.send(&Reply::Shutdown, &[]);
}

fn answer(request: &Request, readings: &mut u64) -> Reply {
    match *request {
        Request::Hello { .. } => Reply::Hello(Greeting {
            version: VERSION,
            switch: "0.1.0".to_owned(),
            dpdk: "DPDK 22.11.0".to_owned(),
            file_prefix: "test".to_owned(),
            pid: std::process::id(),
        }),
        Request::Reload => Reply::Done,
        Request::Ports => Reply::Ports {
            ports: vec![port()],
        },
        Request::Stacks { from } => {
            let (stacks, next) = page(&slots(), from, stack);
            Reply::Stacks { stacks, next }
        }
        Request::Claims { from } => {
            let ids: Vec<u64> = (1..).take(CLAIMS).collect();
            let (claims, next) = page(&ids, from, claim);
            Reply::Claims { claims, next }
        }
        Request::Stats { from } => {
            if from == 0 {
                *readings += 1;
            }
            let (vports, next) = page(&slots(), from, vport_stats);
            Reply::Stats(Box::new(stats(*readings, vports, next)))
        }
        Request::Trace(ref frame) => Reply::Traced(Traced {
            steps: vec![format!("port {}, from {:?}", frame.port, frame.from)],
            verdict: frame.frame.clone(),
        }),
        _ => Reply::Refused {
            errno: 22,
            message: format!("{request:?} was not to come"),
        },
    }
}

/// The rows of a page, and where the next one starts.
fn page<K: Ord + Copy, R>(keys: &[K], from: K, row: impl Fn(K) -> R) -> (Vec<R>, Option<K>) {
    let rest: Vec<K> = keys.iter().copied().filter(|&key| key >= from).collect();
    let rows = rest.iter().copied().take(PAGE).map(row).collect();
    (rows, rest.get(PAGE).copied())
}

fn slots() -> Vec<u16> {
    (1..).take(STACKS).collect()
}

fn port() -> PortRow {
    PortRow {
        id: 0,
        name: "net_af_xdp0".to_owned(),
        driver: "net_af_xdp".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1500,
        link_up: true,
        speed_mbps: 10_000,
        rx_queues: 1,
        offloads: vec!["rx-checksum".to_owned(), "tx-checksum".to_owned()],
        host_netdev: "msh0".to_owned(),
        addresses: vec!["10.77.0.1/24".to_owned(), "fd77::1/64".to_owned()],
    }
}

fn stack(slot: u16) -> StackRow {
    StackRow {
        slot,
        name: format!("stack{slot}"),
        pid: 1000 + u32::from(slot),
        uid: 0,
        age_s: 65,
        claims: 2,
        held: 128,
        quota: 1024,
        rx_limit: Limit::NONE,
        tx_limit: "1Mpps,2Gbps".parse().unwrap(),
        vhost: (slot == 70).then(|| VhostRow {
            path: "/run/vm.sock".into(),
            connected: true,
            ready: false,
            features: 0,
            connections: 1,
            violation: None,
        }),
    }
}

/// A row of every kind first; then tuples.
fn claim(id: u64) -> ClaimRow {
    ClaimRow {
        id,
        spec: spec(id),
        stack: "http".to_owned(),
        slot: 1,
        pid: 1001,
    }
}

fn spec(id: u64) -> ClaimSpec {
    let at = |text: &str| text.parse().unwrap();
    match id {
        1 => return ClaimSpec::connection(Protocol::Tcp, at("[fd77::1]:80"), at("[fd77::2]:5000")),
        2 => return ClaimSpec::tuple(Protocol::Udp, at("0.0.0.0:9")),
        3 => return ClaimSpec::protocol(132, "10.77.0.1".parse().unwrap()),
        4 => return ClaimSpec::protocol(47, "10.77.0.1".parse().unwrap()),
        5 => {
            return ClaimSpec::address("10.77.0.50".parse().unwrap())
                .on_vlan("100.200".parse().unwrap());
        }
        6 => return ClaimSpec::tuple(Protocol::Udp, at("239.1.1.1:5000")).verified(),
        _ => {}
    }
    let (protocol, local) = if id % 2 == 1 {
        (Protocol::Tcp, format!("[fd77::1]:{id}"))
    } else {
        (Protocol::Udp, format!("10.77.0.1:{}", 10_000 + id))
    };
    ClaimSpec::tuple(protocol, at(&local))
}

fn vport_stats(slot: u16) -> VportStats {
    VportStats {
        slot,
        name: format!("stack{slot}"),
        ..VportStats::default()
    }
}

/// Every reading has 1000 packets of 60 bytes more; 5 were dropped before the first.
fn stats(readings: u64, vports: Vec<VportStats>, next: Option<u16>) -> Stats {
    Stats {
        ports: vec![PortStats {
            id: 0,
            name: "net_af_xdp0".to_owned(),
            rx_packets: readings * 1000 + 5,
            rx_bytes: (readings * 1000 + 5) * 60,
            to_vports: readings * 1000,
            rx_dropped: [("runt".to_owned(), 5)].into(),
            ..PortStats::default()
        }],
        vports,
        next,
        pool: PoolStats {
            count: 8191,
            available: 8000,
            held: 128,
            in_switch: 63,
        },
        workers: vec![WorkerStats {
            lcore: 1,
            rounds: readings * 1000,
            busy_rounds: readings * 500,
        }],
    }
}
