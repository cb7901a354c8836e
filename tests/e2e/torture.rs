//! Stacks end at random moments under load, the bad way: what they had comes back, the next one on their
//! vport gets nothing of theirs, and their neighbours don't notice.
//!
//! A failed run says its seed (`random`).

use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use port_api::protocol::{PoolStats, StackRow};
use rustix::process::Signal;

use crate::beat::{Beat, lost, p99};
use crate::net_tools::{Flood, echoes, udp};
use crate::observer::Observer;
use crate::process::{Ended, Process, eventually, within};
use crate::random::Random;
use crate::raw::Probe;
use crate::testbed::{HOST_V4, Testbed, is_long};
use crate::victim::{KINDS, Kind};

/// UDP ports at the host's address: the neighbour's, the victims', their successors'.
const NEIGHBOUR: u16 = 7;
const VICTIM: u16 = 9;
const SUCCESSOR: u16 = 10;

/// How long after its first packet a stack ends, at most.
const LIFE: Duration = Duration::from_millis(30);
/// How long claims and buffers may take to come back.
const RECOVERY: Duration = Duration::from_millis(100);
/// How long after an end the neighbour's answers are compared with those of quiet times.
const AFTERMATH: Duration = Duration::from_millis(50);
/// How long it is quiet at first.
const QUIET: Duration = Duration::from_secs(2);
/// How much longer the neighbour's answers may take at the 99th percentile: so many times, and as long
/// as the scheduler leaves a thread waiting on a machine with two cores.
const SLOWER: u32 = 3;
const SLICE: Duration = Duration::from_millis(4);
/// How long attaching takes, about.
const ATTACHING: Duration = Duration::from_millis(120);
/// How long a stack hangs.
const HANG: Duration = Duration::from_millis(300);
/// Buffers that are on their way at most while traffic flows.
const IN_FLIGHT: u32 = 256;
/// Datagrams that a successor gets.
const OWN: usize = 20;

fn at(port: u16) -> String {
    format!("{HOST_V4}:{port}")
}

/// A switch with two vports: a neighbour's, and that of one victim after the other.
struct Chamber {
    bed: Testbed,
    observer: Observer,
    _neighbour: Process,
    at_rest: PoolStats,
    random: Random,
    slowest: Duration,
    aftermaths: Vec<(Instant, Instant)>,
}

impl Chamber {
    fn new() -> Self {
        let bed = Testbed::start_with(&["--max-vports", "2"]);
        let neighbour = bed.echo(&at(NEIGHBOUR));
        let observer = Observer::new(&bed);
        Self {
            at_rest: observer.pool_at_rest(&bed),
            observer,
            _neighbour: neighbour,
            random: Random::new(),
            slowest: Duration::ZERO,
            aftermaths: Vec::new(),
            bed,
        }
    }

    /// When a victim has received for a while, and nothing else happened.
    fn quiet(&self) -> (Instant, Instant) {
        let flood = Flood::start(&self.bed.client, &at(VICTIM));
        let mut victim = Kind::Sink.start(&self.bed, &at(VICTIM));
        victim.expect("as vport");
        let start = Instant::now();
        thread::sleep(QUIET);
        let end = Instant::now();
        drop(flood);
        victim.terminate();
        self.expect_pool();
        (start, end)
    }

    fn victim(&self) -> Option<StackRow> {
        let stacks = self.observer.stacks();
        stacks.into_iter().find(|stack| stack.name == "victim")
    }

    /// One victim's life and end, and its successor's.
    fn round(&mut self, kind: Kind, end: Signal) {
        let flood = Flood::start(&self.bed.client, &at(VICTIM));
        let mut victim = kind.start(&self.bed, &at(VICTIM));
        victim.expect("as vport");
        // A hoarder may have used its quota up before the first one comes.
        eventually("its packets come", || {
            let vport = self.observer.vport("victim");
            vport.rx_packets + vport.rx_dropped.values().sum::<u64>() > 0
        });
        let slot = self.victim().expect("it is there").slot;
        thread::sleep(self.random.up_to(LIFE));
        let start = Instant::now();
        victim.signal(end);
        self.expect_recovery(start);
        let Ended { status, .. } = victim.wait();
        match end {
            Signal::KILL => assert_eq!(status.signal(), Some(Signal::KILL.as_raw())),
            _ => assert_eq!(status.code(), Some(3), "it ended in its handler"),
        }
        thread::sleep(AFTERMATH.saturating_sub(start.elapsed()));
        self.aftermaths.push((start, start + AFTERMATH));
        self.succeed(slot);
        drop(flood);
        self.expect_pool();
    }

    /// Waits until what the victim had is back; its place, too.
    fn expect_recovery(&mut self, start: Instant) {
        let is_back = || {
            let pool = self.observer.stats().pool;
            let before = self.at_rest.available + self.at_rest.held;
            self.victim().is_none()
                && self.observer.claims().len() == 1
                && pool.available + pool.held + IN_FLIGHT >= before
        };
        assert!(within(RECOVERY, is_back), "{:?}", self.observer.stats());
        self.slowest = self.slowest.max(start.elapsed());
    }

    /// Another stack takes the victim's place while packets for the victim still come: it gets its own.
    fn succeed(&self, slot: u16) {
        let claim = format!("udp:{}", at(SUCCESSOR));
        let mut successor = Probe::start(&self.bed, "successor", &[&claim]);
        assert_eq!(successor.slot, slot, "it has the victim's place");
        let socket = udp(&self.bed.client, &at(SUCCESSOR));
        for _ in 0..OWN {
            socket.send(b"its own").expect("a way there");
        }
        let mut seen = Vec::new();
        eventually("it gets its packets", || {
            seen.extend(successor.take_seen());
            seen.len() >= OWN
        });
        let stats = self.observer.vport("successor");
        assert_eq!(stats.rx_packets, OWN as u64, "{stats:?}");
        assert_eq!((stats.tx_packets, stats.bad_entries), (0, 0), "{stats:?}");
        let is_own = |frame: &[u8]| frame.windows(7).any(|part| part == b"its own");
        assert!(seen.iter().all(|(frame, _)| is_own(frame)), "{seen:?}");
        assert_eq!(seen.len(), OWN);
        successor.quit();
        eventually("its place is free", || self.observer.stacks().len() == 1);
    }

    fn expect_pool(&self) {
        self.observer.expect_pool(&self.bed, self.at_rest);
    }

    fn finish(self) {
        println!("slowest recovery: {:?}", self.slowest);
        self.bed.finish();
    }
}

/// So many ends of victims of these kinds in turn, by this signal.
fn ends(count: usize, kinds: &[Kind], end: Signal) {
    let mut chamber = Chamber::new();
    let beat = Beat::start(&chamber.bed.client, &at(NEIGHBOUR));
    let quiet = chamber.quiet();
    for (round, kind) in (0..count).zip(kinds.iter().cycle()) {
        println!("round {round}: {kind:?}");
        chamber.round(*kind, end);
    }
    let answers = beat.end();
    assert_eq!(lost(&answers), 0, "of the neighbour's packets");
    let (before, after) = (p99(&answers, &[quiet]), p99(&answers, &chamber.aftermaths));
    println!("99th percentile of the neighbour's answers: {before:?}, after an end {after:?}");
    assert!(after <= SLOWER * before + SLICE, "{before:?}, {after:?}");
    chamber.finish();
}

#[test]
fn kills_at_random_moments() {
    ends(if is_long() { 1000 } else { 30 }, &KINDS, Signal::KILL);
}

#[test]
fn exits_in_a_signal_handler() {
    let kinds = [Kind::Sink, Kind::Hoard, Kind::Fickle];
    ends(if is_long() { 300 } else { 9 }, &kinds, Signal::USR1);
}

#[test]
fn kills_while_attaching() {
    let mut chamber = Chamber::new();
    let beat = Beat::start(&chamber.bed.client, &at(NEIGHBOUR));
    for _ in 0..if is_long() { 1000 } else { 20 } {
        let victim = Kind::Sink.start(&chamber.bed, &at(VICTIM));
        thread::sleep(chamber.random.up_to(ATTACHING));
        let start = Instant::now();
        victim.kill();
        // Whatever it had asked for has been answered before the second question.
        chamber.observer.stacks();
        chamber.expect_recovery(start);
        chamber.expect_pool();
    }
    // Whoever comes later is not held up by what the dead have left half done.
    let mut last = Kind::Sink.start(&chamber.bed, &at(VICTIM));
    last.expect("as vport");
    last.terminate();
    assert_eq!(lost(&beat.end()), 0, "of the neighbour's packets");
    chamber.finish();
}

#[test]
fn stops_at_random_moments() {
    let mut chamber = Chamber::new();
    let beat = Beat::start(&chamber.bed.client, &at(NEIGHBOUR));
    let mut victim = Kind::Echo.start(&chamber.bed, &at(VICTIM));
    victim.expect("as vport");
    let quota = chamber.victim().expect("it is there").quota;
    for _ in 0..if is_long() { 100 } else { 5 } {
        let flood = Flood::start(&chamber.bed.client, &at(VICTIM));
        thread::sleep(chamber.random.up_to(LIFE));
        let drops = || {
            chamber
                .observer
                .vport("victim")
                .rx_dropped
                .values()
                .sum::<u64>()
        };
        victim.signal(Signal::STOP);
        let before = drops();
        eventually("it gets no more", || drops() > before + 100);
        thread::sleep(HANG);
        let stats = chamber.observer.stats();
        let vport = stats.vports.iter().find(|vport| vport.name == "victim");
        let vport = vport.expect("it keeps its place");
        assert!(vport.held <= quota, "{vport:?}");
        assert_eq!(stats.ports[0].rx_dropped, vport.rx_dropped, "no one else's");
        drop(flood);
        victim.signal(Signal::CONT);
        eventually("it goes on", || echoes(&chamber.bed.client, &at(VICTIM)));
    }
    // Nor does it matter if it never goes on.
    victim.signal(Signal::STOP);
    thread::sleep(HANG);
    let start = Instant::now();
    victim.kill();
    chamber.expect_recovery(start);
    chamber.expect_pool();
    assert_eq!(lost(&beat.end()), 0, "of the neighbour's packets");
    chamber.finish();
}
