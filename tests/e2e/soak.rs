//! Everything at once, for long: `make soak`. At the end every packet and every buffer is accounted for,
//! the primary is no larger than it was, and its log names no error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{fs, panic};

use port_api::protocol::PoolStats;
use wire::Malformed;

use crate::actors::{self, Tally};
use crate::beat::{Beat, Round, lost};
use crate::net_tools::{Flood, Pings};
use crate::observer::Observer;
use crate::process::eventually;
use crate::serving::serve_http;
use crate::testbed::{HOST_V4, HOST_V6, Testbed};

/// From one sample to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// Most samples that are printed.
const ROWS: usize = 30;
/// How many of the samples are of a primary that still warms up: one in so many.
const WARM_UP: usize = 4;
/// How much memory the primary may take after that, in kB: what the kernel counts late.
const GROWTH_KB: u64 = 1024;

/// The primary at one moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Duration,
    rss_kb: u64,
    files: usize,
    stacks: usize,
    pool: PoolStats,
    received: u64,
    complaints: usize,
}

impl Sample {
    const HEAD: &str =
        "   time     RSS  fds stacks   free   lent  held by switch    received  complaints";

    fn take(bed: &Testbed, pid: u32, observer: &Observer, start: Instant) -> Self {
        let process = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let rss = process.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rss| rss.trim().strip_suffix(" kB")?.parse().ok());
        let stats = observer.stats();
        Self {
            at: start.elapsed(),
            rss_kb: rss.expect("its memory"),
            files: open_files(pid),
            stacks: observer.stacks().len(),
            pool: stats.pool,
            received: stats.ports[0].rx_packets,
            complaints: complaints(&bed.log()).len(),
        }
    }

    fn print(&self) {
        println!(
            "{:5} s {:4} MB {:4} {:6} {:6} {:6} {:15} {:11} {:11}",
            self.at.as_secs(),
            self.rss_kb / 1024,
            self.files,
            self.stacks,
            self.pool.available,
            self.pool.held,
            self.pool.in_switch,
            self.received,
            self.complaints,
        );
    }
}

fn open_files(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    files.count()
}

/// Lines of a log that must not be there.
fn complaints(log: &str) -> Vec<&str> {
    let is_bad = |line: &&str| {
        ["WARN", "ERROR", "panicked"]
            .iter()
            .any(|word| line.contains(word))
    };
    log.lines().filter(is_bad).collect()
}

fn duration() -> Duration {
    let seconds = std::env::var("MULTISTACK_SOAK_SECONDS").expect("make soak sets it");
    Duration::from_secs(seconds.parse().expect("a number of seconds"))
}

/// Samples until the time is over, or an actor gives up.
fn watch(
    take: impl Fn() -> Sample,
    time: Duration,
    actors: &[ScopedJoinHandle<'_, Tally>],
) -> Vec<Sample> {
    let start = Instant::now();
    let mut samples = Vec::new();
    let count = usize::try_from(time.as_secs() / PERIOD.as_secs()).expect("not for ever");
    println!("{}", Sample::HEAD);
    while start.elapsed() < time && !actors.iter().any(ScopedJoinHandle::is_finished) {
        thread::sleep(PERIOD.min(time.saturating_sub(start.elapsed())));
        let sample = take();
        if samples.len().is_multiple_of(count.div_ceil(ROWS).max(1)) {
            sample.print();
        }
        samples.push(sample);
    }
    samples
}

fn assert_flat(samples: &[Sample]) {
    let (warming, warm) = samples.split_at(samples.len().div_ceil(WARM_UP));
    let largest = |samples: &[Sample]| samples.iter().map(|sample| sample.rss_kb).max();
    let before = largest(warming).expect("more than one sample");
    let after = largest(warm).expect("more than one sample");
    println!("largest RSS: {before} kB while warming up, {after} kB later");
    assert!(after <= before + GROWTH_KB, "memory grows");
}

/// When those were asked that were not answered.
fn times_of_lost(answers: &[Round], start: Instant) -> Vec<Duration> {
    let lost = answers.iter().filter(|(_, took)| took.is_none());
    lost.map(|(at, _)| *at - start).collect()
}

/// All of it; what it was like meanwhile.
fn run(bed: &Testbed, pid: u32, observer: &Observer, time: Duration) -> Vec<Sample> {
    let neighbour = format!("{HOST_V4}:7");
    let (http, echo) = (serve_http(bed, &[]), bed.echo(&neighbour));
    let flood = Flood::start(&bed.client, &format!("{HOST_V4}:9"));
    let pings = [HOST_V4, HOST_V6].map(|addr| Pings::start(&bed.client, addr));
    let beat = Beat::start(&bed.client, &neighbour);
    let (stop, start) = (&AtomicBool::new(false), Instant::now());
    let (samples, tallies) = thread::scope(|scope| {
        let actors = actors::ALL.map(|actor| scope.spawn(move || actor(bed, stop)));
        let take = || Sample::take(bed, pid, observer, start);
        let samples = watch(take, time, &actors);
        stop.store(true, Ordering::Relaxed);
        let tallies = actors.map(|actor| actor.join().unwrap_or_else(|p| panic::resume_unwind(p)));
        (samples, tallies)
    });
    drop(flood);
    let answers = beat.end();
    let unanswered = lost(&answers);
    let pings: usize = pings.map(|pings| pings.lost().len()).iter().sum();
    // While no stack has the flood, it is the host's.
    let host = observer.vport("msh0").rx_dropped;
    let tallies: Vec<_> = tallies.into_iter().flatten().collect();
    for (what, count) in &tallies {
        println!("{count:9} {what}");
    }
    println!(
        "{:9} questions to a stack, {unanswered} not answered",
        answers.len()
    );
    println!("{pings:9} pings of the host lost, packets for the host dropped: {host:?}");
    let missed = actors::missed(bed);
    println!("{missed:9} packets dropped on the wire, for want of CPU time");
    assert!(
        unanswered as u64 <= missed,
        "unanswered are those of {:?}: {}",
        times_of_lost(&answers, start),
        actors::where_packets_went(bed)
    );
    assert!(
        pings as u64 <= missed + host.values().sum::<u64>(),
        "more than were dropped"
    );
    assert!(tallies.iter().all(|(_, count)| *count > 0));
    http.terminate();
    echo.terminate();
    samples
}

#[test]
#[ignore = "takes as long as it is told to: make soak"]
fn everything_at_once() {
    let time = duration();
    let mut bed = Testbed::without_switch();
    // It has no CPU to itself as it should, so it goes before those that it shares one with.
    bed.start_switch_under(&["nice", "-n", "-20"], &[]);
    let pid = bed.switch().pid();
    let observer = Observer::new(&bed);
    // The first ones may leave something to stay.
    actors::come_and_go(&bed, 3);
    let (at_rest, files) = (observer.pool_at_rest(&bed), open_files(pid));
    let samples = run(&bed, pid, &observer, time);
    let dropped = &observer.stats().ports[0].rx_dropped;
    let mut unbroken = Malformed::ALL.to_vec();
    unbroken.retain(|rule| !dropped.contains_key(rule.name()));
    // The client's kernel sends neither.
    assert_eq!(unbroken, [Malformed::Runt, Malformed::Oversize]);
    eventually("all stacks are gone", || observer.stacks().is_empty());
    assert_eq!(observer.claims(), []);
    observer.expect_pool(&bed, at_rest);
    eventually("no more files are open than before", || {
        open_files(pid) == files
    });
    assert_flat(&samples);
    assert_eq!(complaints(&bed.log()), [""; 0]);
    bed.finish();
}
