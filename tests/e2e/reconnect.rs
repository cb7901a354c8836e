//! Stacks that outlive the primary.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::net_tools::{Flood, Questions, curl, echoes};
use crate::process::{PATIENCE, Process, eventually};
use crate::serving::{serve_http, start_http};
use crate::testbed::{HOST_V4, HOST_V6, Testbed, is_long};

const WAITING: &str = "waiting for the next one";

/// How soon a stack is to know that its primary is gone.
const SOON: Duration = Duration::from_millis(100);

/// How often a stack has begun to serve.
fn lives(stdout: &str) -> usize {
    stdout.matches("serving").count()
}

/// Waits until a stack has said for the `nth` time that it waits for a primary; how long it took.
#[track_caller]
fn noticed(stack: &Process, nth: usize, since: Instant) -> Duration {
    while stack.stderr().matches(WAITING).count() < nth {
        assert!(since.elapsed() < PATIENCE, "{}", stack.stderr());
        thread::sleep(Duration::from_micros(200));
    }
    since.elapsed()
}

/// Ends the primary over and over, under load, and sees http and echo go on with the next one.
fn outlives(signal: Signal) {
    let mut bed = Testbed::start();
    let echo_addr = format!("{HOST_V4}:7");
    let http = serve_http(&bed, &["--reconnect"]);
    let socket = bed.socket.to_str().unwrap().to_owned();
    let mut echo = bed.stack("stack-echo", &["--reconnect", &socket, &echo_addr]);
    echo.expect("serving");
    let pids = [&http, &echo].map(Process::pid);
    let mut times = Vec::new();
    for round in 1..=if is_long() { 25 } else { 5 } {
        let flood = Flood::start(&bed.client, &echo_addr);
        thread::sleep(Duration::from_millis(50));
        let switch = bed.take_switch();
        let start = Instant::now();
        switch.signal(signal);
        times.extend([&http, &echo].map(|stack| noticed(stack, round, start)));
        let ended = switch.wait();
        drop(flood);
        if signal == Signal::TERM {
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        }
        bed.start_switch(&[]);
        let is_back = |stack: &Process| lives(&stack.stdout()) == round + 1;
        let all_back = || is_back(&http) && is_back(&echo);
        eventually("both have begun anew", all_back);
        assert_eq!(bed.claims().len(), 3, "http's two and echo's");
        let stacks = bed.stacks();
        assert!(
            stacks.iter().all(|stack| pids.contains(&stack.pid)),
            "the same processes: {stacks:?}"
        );
        for host in [HOST_V4, &format!("[{HOST_V6}]")] {
            assert_eq!(curl(&bed.client, &[&format!("http://{host}/")]), "a page\n");
        }
        assert!(echoes(&bed.client, &echo_addr));
    }
    times.sort_unstable();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("after {signal:?}: noticed within {median:?} in the median, {slowest:?} at most");
    assert!(slowest < SOON, "{times:?}");
    http.terminate();
    echo.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn stacks_go_on_after_a_killed_primary() {
    outlives(Signal::KILL);
}

#[test]
fn stacks_go_on_after_a_primary_that_ended() {
    outlives(Signal::TERM);
}

#[test]
fn a_stack_waits_for_the_first_primary_too() {
    let mut bed = Testbed::without_switch();
    let mut http = start_http(&bed, &["--reconnect"]);
    thread::sleep(Duration::from_millis(300));
    assert!(http.is_running());
    bed.start_switch(&[]);
    http.expect("serving");
    let url = format!("http://{HOST_V4}/");
    assert_eq!(curl(&bed.client, &[&url]), "a page\n");
    bed.take_switch().terminate();
    http.expect(WAITING);
    // Nothing holds it up while it waits.
    let asked = Instant::now();
    let ended = http.terminate();
    assert!(asked.elapsed() < Duration::from_secs(1), "{ended:?}");
}

#[test]
fn without_the_option_a_stack_ends_with_the_primary() {
    let mut bed = Testbed::start();
    let http = serve_http(&bed, &[]);
    bed.take_switch().kill();
    let ended = http.wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(lives(&ended.stdout), 1, "{ended:?}");
}

#[test]
fn a_stack_of_a_dead_primary_is_no_harm_to_the_next_one() {
    let mut bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let old = bed.echo(&addr);
    // It keeps what it has mapped, EAL's locks included, and answers no one.
    old.signal(Signal::STOP);
    bed.take_switch().kill();
    bed.start_switch(&[]);
    let new = bed.echo(&addr);
    let questions = Questions::start(&bed.client, &addr);
    old.signal(Signal::CONT);
    let ended = old.wait();
    assert!(ended.status.code().is_some(), "by itself: {ended:?}");
    questions.end();
    new.terminate();
    bed.expect_no_stacks();
    bed.finish();
}
