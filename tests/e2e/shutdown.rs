//! The end of the primary, in order and otherwise.

use std::thread;
use std::time::Duration;

use port_api::BURST;
use rustix::process::Signal;

use crate::net_tools::{Flood, echoes, ping};
use crate::process::{Ended, eventually};
use crate::serving::kernel_datagrams;
use crate::testbed::{HOST_V4, Testbed};

#[test]
fn a_signal_ends_the_primary_and_the_stacks_with_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut bed = Testbed::start();
        let addr = format!("{HOST_V4}:7");
        let echo = bed.echo(&addr);
        let mut sink = bed.probe("sink", &["sink", "udp", &format!("{HOST_V4}:9")]);
        sink.expect("receiving");
        let flood = Flood::start(&bed.client, &addr);
        assert!(echoes(&bed.client, &addr));
        let switch = bed.take_switch();
        switch.signal(signal);
        let ended = switch.wait();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        for stack in [echo, sink] {
            let Ended { status, .. } = stack.wait();
            assert!(status.code().is_some(), "it ended by itself: {status}");
        }
        assert_eq!(bed.left_behind(), [""; 0]);
        drop(flood);
        // And the same place serves again.
        bed.start_switch(&[]);
        let _echo = bed.echo(&addr);
        assert!(echoes(&bed.client, &addr));
        bed.finish();
    }
}

#[test]
fn after_a_killed_primary_the_next_one_starts() {
    let mut bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    assert!(echoes(&bed.client, &addr));
    bed.take_switch().kill();
    let ended = echo.wait();
    assert!(
        ended.status.code().is_some(),
        "it ended by itself: {ended:?}"
    );
    bed.start_switch(&[]);
    ping(&bed.client, HOST_V4, 5, 56);
    let _echo = bed.echo(&addr);
    assert!(echoes(&bed.client, &addr));
    bed.finish();
}

/// The number in front of `what` in a line.
#[track_caller]
fn number_before(line: &str, what: &str) -> u64 {
    let number = || {
        let (before, _) = line.split_once(what)?;
        before.trim_end().rsplit(' ').next()?.parse().ok()
    };
    number().unwrap_or_else(|| panic!("no number before {what:?} in {line:?}"))
}

/// What a sink says that it has received.
#[track_caller]
fn received(ended: &Ended) -> u64 {
    number_before(&ended.stdout, "packets,")
}

#[test]
fn sigterm_under_load_loses_nothing_uncounted() {
    for stopped in [false, true] {
        let mut bed = Testbed::start();
        // From here on only what this test sends is on the wire.
        ping(&bed.client, HOST_V4, 1, 56);
        bed.client
            .run("sysctl", &["-q", "net.ipv6.conf.msx1.disable_ipv6=1"]);
        let sinks = ["10", "11"].map(|port| {
            let mut sink = bed.probe(port, &["sink", "udp", &format!("{HOST_V4}:{port}")]);
            sink.expect("receiving");
            sink
        });
        let (host_before, kernel_before) =
            (bed.stats().ports[0].to_host, kernel_datagrams(&bed.host));
        let floods =
            ["9", "10", "11"].map(|p| Flood::start(&bed.client, &format!("{HOST_V4}:{p}")));
        eventually("all of it comes", || {
            bed.stats().ports[0].to_host > host_before + 1000
        });
        if stopped {
            sinks[0].signal(Signal::STOP);
            thread::sleep(Duration::from_millis(50));
        }
        let switch = bed.take_switch();
        switch.signal(Signal::TERM);
        let log = switch.wait().stderr;
        drop(floods);
        if stopped {
            sinks[0].signal(Signal::CONT);
        }
        let line = |what: &str| log.lines().find(|line| line.contains(what));
        let totals = line("port 0 in all: ").unwrap_or_else(|| panic!("no totals: {log}"));
        let (to_stacks, to_host, dropped) = (
            number_before(totals, "to stacks"),
            number_before(totals, "to the host,"),
            number_before(totals, "dropped"),
        );
        let all = totals.split_once("received ").unwrap().1;
        assert_eq!(
            number_before(all, ": "),
            to_stacks + to_host + dropped,
            "{totals}"
        );
        let unread = line("left in rings").map_or(0, |line| {
            assert_eq!(number_before(line, "that the host"), 0, "{line}");
            number_before(line, "packets that stacks")
        });
        assert_eq!(unread > 0, stopped, "{log}");
        let read: u64 = sinks.map(|sink| received(&sink.wait())).iter().sum();
        // One that was stopped before it looked reads a burst of what was taken for unread.
        let twice = if stopped { BURST as u64 } else { 0 };
        let all_stacks = to_stacks..=to_stacks + twice;
        assert!(all_stacks.contains(&(read + unread)), "{read}: {log}");
        let to_kernel = kernel_datagrams(&bed.host) - kernel_before;
        assert_eq!(to_host - host_before, to_kernel, "{log}");
        assert!(to_kernel > 1000 && read > 1000, "{to_kernel}, {read}");
    }
}
