//! Clients of the control socket that say anything, and connections without end. Nobody else notices,
//! and nothing is left of them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use port_api::protocol::{Reply, Request, VERSION};
use port_api::{Client, Connection};
use rustix::net::{SendFlags, send};

use crate::control::dial;
use crate::net_tools::{Pings, Questions};
use crate::process::{PATIENCE, eventually, within};
use crate::testbed::{HOST_V4, HOST_V6, Testbed, is_long};

/// How long the control thread may keep anyone waiting.
const SOON: Duration = Duration::from_secs(1);

fn open_descriptors(bed: &mut Testbed) -> usize {
    let path = format!("/proc/{}/fd", bed.switch().pid());
    fs::read_dir(path).unwrap().count()
}

/// How many are open once those of clients that have just gone are closed.
fn settled_descriptors(bed: &mut Testbed) -> usize {
    let counts = (0..10).map(|_| {
        thread::sleep(Duration::from_millis(30));
        open_descriptors(bed)
    });
    counts.min().unwrap()
}

/// As many descriptors are open as before.
#[track_caller]
fn expect_descriptors(bed: &mut Testbed, before: usize) {
    let is_as_before = within(PATIENCE, || open_descriptors(bed) == before);
    assert!(
        is_as_before,
        "{before} before, {} now",
        open_descriptors(bed)
    );
}

#[test]
fn any_message_in_any_order_with_any_descriptors() {
    let mut bed = Testbed::start();
    let _bystander = bed.echo(&format!("{HOST_V4}:7"));
    let baseline = bed.stats().pool;
    let before = settled_descriptors(&mut bed);
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    let pings = [HOST_V4, HOST_V6].map(|addr| Pings::start(&bed.client, addr));
    let rounds = if is_long() { 40 } else { 4 };
    for round in 0..rounds {
        let seeds = [3 * round + 1, 3 * round + 2, 3 * round + 3].map(|seed| seed.to_string());
        let start = Instant::now();
        let mut hostile: Vec<_> = seeds
            .iter()
            .map(|seed| bed.probe("hostile", &["hostile", "--seconds", "2", "--seed", seed]))
            .collect();
        while start.elapsed() < SOON {
            let asked = Instant::now();
            let client = Client::connect(&bed.socket, "bystander").unwrap();
            client.call(&Request::Ports, &[]).unwrap();
            assert!(
                asked.elapsed() < SOON,
                "seeds {seeds:?}: {:?}",
                asked.elapsed()
            );
        }
        // One dies in the midst of it.
        hostile.remove(0).kill();
        for process in hostile {
            let ended = process.wait();
            assert!(ended.status.success(), "seeds {seeds:?}: {ended:?}");
            let words = ended.stdout.split(", ");
            let attached = words
                .last()
                .and_then(|w| w.split(' ').next()?.parse::<u32>().ok());
            assert!(attached > Some(0), "seeds {seeds:?}: {}", ended.stdout);
        }
        eventually("only the bystander is left", || bed.stacks().len() == 1);
        assert_eq!(bed.claims().len(), 1);
    }
    questions.end();
    pings.into_iter().for_each(Pings::end);
    expect_descriptors(&mut bed, before);
    bed.expect_buffers_back(baseline);
    bed.finish();
}

fn hello() -> Request {
    Request::Hello {
        version: VERSION,
        client: "many".to_owned(),
    }
}

/// One connection, in one of the ways to have one.
fn come_and_go(bed: &Testbed, number: u32) {
    let conn = Connection::new(dial(&bed.socket));
    let ask = |request: &Request| {
        conn.send(request, &[]).unwrap();
        conn.recv::<Reply>().unwrap().message
    };
    match number % 6 {
        0 => {}
        1 => {
            let _ = send(&conn, b"nonsense", SendFlags::NOSIGNAL);
        }
        // Gone before the answer.
        2 => conn.send(&hello(), &[]).unwrap(),
        3 => {
            ask(&hello());
            assert!(matches!(ask(&Request::Ports), Reply::Ports { .. }));
        }
        4 => {
            ask(&hello());
            let attach = Request::Attach {
                name: "many".to_owned(),
            };
            assert!(matches!(ask(&attach), Reply::Attached(_)));
            assert_eq!(ask(&Request::Detach), Reply::Done);
        }
        _ => {
            ask(&hello());
            let (pipe, _) = std::io::pipe().unwrap();
            let fds = [std::os::fd::AsFd::as_fd(&pipe); 100];
            conn.send(&Request::Ports, &fds).unwrap();
            let reply = conn.recv::<Reply>().unwrap().message;
            assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
        }
    }
}

#[test]
fn connections_without_end_leave_nothing_behind() {
    let mut bed = Testbed::start();
    let connections = if is_long() { 100_000 } else { 2_000 };
    let before = settled_descriptors(&mut bed) + 1;
    // What has been a stack is watched until it dies, by one descriptor.
    come_and_go(&bed, 4);
    expect_descriptors(&mut bed, before);
    let errors: u64 = bed
        .stats()
        .ports
        .iter()
        .map(|port| port.rx_dropped.values().sum::<u64>())
        .sum();
    let pings = Pings::start(&bed.client, HOST_V4);
    for number in 0..connections {
        come_and_go(&bed, number);
    }
    pings.end();
    expect_descriptors(&mut bed, before);
    let stats = bed.stats();
    let after: u64 = stats
        .ports
        .iter()
        .map(|port| port.rx_dropped.values().sum::<u64>())
        .sum();
    assert_eq!(after, errors, "{stats:?}");
    bed.expect_no_stacks();
    bed.finish();
}
