//! A network namespace of the test's own, and the switch's side of the rings.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kni_fallback::{Config, HostPath};
use port_api::geometry::Geometry;
use port_api::{Buffers, Burst, Region, RingPort, Status, SwitchSide};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wire::MacAddr;

/// The netdev's MAC, in place of a NIC's.
pub const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0x77, 1]);
/// Whoever is at the other end of the wire.
pub const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0x77, 2]);
/// Long enough for anything that works.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub const RING_SIZE: u32 = 64;
const STRIDE: u32 = 2304;
const BUF_LEN: u16 = 2176;

struct Netns(String);

impl Netns {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = Self(format!("ms-kni-{}-{next}", std::process::id()));
        ip(&format!("netns add {}", netns.0));
        netns
    }

    fn enter(&self) {
        let netns = File::open(format!("/run/netns/{}", self.0)).unwrap();
        move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

/// Runs `test` on a thread in a network namespace of its own, which is removed afterwards.
pub fn in_netns(test: impl FnOnce() + Send) {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces: run them as root"
    );
    let netns = Netns::new();
    let outcome = thread::scope(|scope| {
        let body = || {
            netns.enter();
            test();
        };
        scope.spawn(body).join()
    });
    drop(netns);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// ip(8) in the calling thread's namespace.
pub fn try_ip(args: &str) -> Output {
    let mut ip = Command::new("ip");
    ip.args(args.split_whitespace()).output().unwrap()
}

/// What ip(8) prints.
pub fn ip(args: &str) -> String {
    let output = try_ip(args);
    assert!(output.status.success(), "ip {args}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// So that the kernel sends nothing unasked.
pub fn disable_ipv6() {
    for conf in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6");
        std::fs::write(path, "1").unwrap();
    }
}

pub fn config(netdev: &str, addresses: &[&str]) -> Config {
    Config {
        netdev: netdev.to_owned(),
        mac: MAC,
        mtu: 1500,
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
    }
}

/// Waits until `found` is.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "not seen: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

const HOST: u16 = 0;
const HAND: u16 = 1;

/// The switch with one worker: it owns all buffers, and lends them to the host's vport.
///
/// The tests can reach into buffers only as a stack does, hence a second vport, `hand`: a packet
/// for the host is one that `hand` sends, and one from the host goes to `hand`.
pub struct Switch {
    pub side: SwitchSide,
    pub status: Status,
    hand: RingPort,
    hand_side: SwitchSide,
    free: Vec<u32>,
    count: u32,
}

impl Switch {
    /// With `count` buffers; none is lent yet. The host's end of the rings comes with it.
    pub fn new(count: u32) -> (Self, RingPort) {
        let geometry = Geometry {
            workers: 1,
            slots: 2,
            ring_size: RING_SIZE,
            free_size: count.next_power_of_two(),
        };
        let region = Region::on_heap(geometry).unwrap();
        let buffers = Buffers::on_heap(count, STRIDE, BUF_LEN);
        let switch = Self {
            side: SwitchSide::new(&region, HOST, 0),
            status: region.status(HOST),
            hand_side: SwitchSide::new(&region, HAND, 0),
            hand: RingPort::new(&region, buffers.clone(), HAND, 0),
            free: (0..count).collect(),
            count,
        };
        switch.status.open();
        (switch, RingPort::new(&region, buffers, HOST, 0))
    }

    /// Starts a host path over a new switch that has lent half a ring of empty buffers.
    pub fn with(host: &mut HostPath) -> Self {
        let (mut switch, rings) = Self::new(4 * RING_SIZE);
        switch.fill(RING_SIZE / 2);
        host.start(rings).unwrap();
        switch
    }

    /// Lends empty buffers to send from.
    pub fn fill(&mut self, count: u32) {
        let kept = self.free.len() - count as usize;
        let pushed = self.side.fill.push(&self.free[kept..]).unwrap();
        self.free.truncate(self.free.len() - pushed);
        assert_eq!(pushed, count as usize, "the fill ring is full");
    }

    /// Gives `frame` to the host, without waking it. False if the ring is full.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        self.side.rx.refresh().unwrap();
        if self.side.rx.room() == 0 {
            return false;
        }
        let index = self.free.pop().expect("a free buffer");
        self.hand_side.fill.push(&[index]).unwrap();
        let mut packet = self.hand.alloc().unwrap();
        assert!(packet.set_len(frame.len()));
        packet.data_mut().copy_from_slice(frame);
        let mut burst = Burst::new();
        burst.push(packet);
        self.hand.tx_burst(&mut burst);
        let mut desc = [0];
        assert_eq!(self.hand_side.tx.pop(&mut desc), Ok(1));
        assert_eq!(self.side.rx.push(&desc), Ok(1));
        true
    }

    /// The next frame from the host.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut desc = [0];
        if self.side.tx.pop(&mut desc).unwrap() == 0 {
            return None;
        }
        assert_eq!(self.hand_side.rx.push(&desc), Ok(1));
        let mut burst = Burst::new();
        assert_eq!(self.hand.rx_burst(&mut burst), 1);
        let frame = burst[0].data().to_vec();
        self.hand.release(&mut burst);
        let mut index = [0];
        assert_eq!(self.hand_side.free.pop(&mut index), Ok(1));
        self.free.push(index[0]);
        Some(frame)
    }

    /// Takes released buffers back.
    pub fn reap(&mut self) {
        let mut indexes = [0; 64];
        loop {
            let count = self.side.free.pop(&mut indexes).unwrap();
            if count == 0 {
                return;
            }
            self.free.extend(&indexes[..count]);
        }
    }

    /// Once the host path has ended: no buffer is lost, and none is there twice. Tells how many
    /// packets it left in `rx`.
    pub fn assert_all_buffers_back(mut self) -> u32 {
        while self.receive().is_some() {}
        self.reap();
        self.side.refresh().unwrap();
        let unread = self.side.rx.used();
        let waiting = self.side.fill.used() + unread;
        self.free.sort_unstable();
        self.free.dedup();
        assert_eq!(self.free.len(), (self.count - waiting) as usize);
        unread
    }
}

/// The calling process's thread called `name`, as a directory under `/proc`.
pub fn thread_dir(name: &str) -> Option<String> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| task.ok()?.path().to_str().map(str::to_owned))
        .find(|task| {
            let comm = std::fs::read_to_string(format!("{task}/comm"));
            comm.is_ok_and(|comm| comm.trim_end() == name)
        })
}

/// How often the thread was put to sleep or interrupted: unchanged if it never woke up.
pub fn context_switches(thread_dir: &str) -> u64 {
    let status = std::fs::read_to_string(format!("{thread_dir}/status")).unwrap();
    let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
    lines
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

/// How long the thread runs while the caller sleeps for `span`, from `/proc/.../schedstat`.
pub fn busy_during(thread_dir: &str, span: Duration) -> Duration {
    let run_ns = || {
        let stat = std::fs::read_to_string(format!("{thread_dir}/schedstat")).unwrap();
        let ns = stat.split_whitespace().next().unwrap();
        Duration::from_nanos(ns.parse().unwrap())
    };
    let before = run_ns();
    thread::sleep(span);
    run_ns().saturating_sub(before)
}
