//! A stack that dies takes nothing with it.

use std::thread;
use std::time::Duration;

use crate::net_tools::{Flood, Pings, Questions, echoes};
use crate::process::eventually;
use crate::testbed::{HOST_V4, HOST_V6, Testbed};

#[test]
fn sigkill_under_load_disturbs_no_one() {
    let bed = Testbed::start();
    let _bystander = bed.echo(&format!("{HOST_V4}:7"));
    let baseline = bed.stats().pool;
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    let pings = [HOST_V4, HOST_V6].map(|addr| Pings::start(&bed.client, addr));
    let flood = Flood::start(&bed.client, &format!("{HOST_V4}:9"));
    for round in 0..5 {
        let mut hoard = bed.probe("hoard", &["hoard", "udp", &format!("{HOST_V4}:9")]);
        hoard.expect("receiving");
        eventually("it holds buffers", || bed.vport("hoard").held > 100);
        hoard.kill();
        eventually("its vport is gone", || {
            bed.stacks().iter().all(|stack| stack.name != "hoard")
        });
        assert_eq!(
            bed.claims().len(),
            1,
            "only the bystander's, in round {round}"
        );
    }
    drop(flood);
    questions.end();
    pings.into_iter().for_each(Pings::end);
    bed.expect_buffers_back(baseline);
    bed.finish();
}

#[test]
fn a_stack_that_does_not_keep_up_starves_only_itself() {
    let bed = Testbed::start();
    let _bystander = bed.echo(&format!("{HOST_V4}:7"));
    let mut hoard = bed.probe("hoard", &["hoard", "udp", &format!("{HOST_V4}:9")]);
    hoard.expect("receiving");
    let flood = Flood::start(&bed.client, &format!("{HOST_V4}:9"));
    let quota = bed
        .stacks()
        .iter()
        .find(|s| s.name == "hoard")
        .unwrap()
        .quota;
    eventually("its quota is used up", || {
        bed.vport("hoard")
            .rx_dropped
            .get("quota")
            .is_some_and(|n| *n > 100)
    });
    assert!(bed.vport("hoard").held <= quota);
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    let pings = Pings::start(&bed.client, HOST_V4);
    thread::sleep(Duration::from_secs(1));
    questions.end();
    pings.end();
    drop(flood);
    hoard.terminate();
    eventually("it is gone", || bed.stacks().len() == 1);
    bed.finish();
}

#[test]
fn a_stopped_stack_is_no_harm_and_goes_on_later() {
    use rustix::process::Signal;
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:9");
    let _bystander = bed.echo(&format!("{HOST_V4}:7"));
    let stopped = bed.echo(&addr);
    stopped.signal(Signal::STOP);
    let flood = Flood::start(&bed.client, &addr);
    eventually("its ring is full", || {
        let stats = bed.stats();
        stats.ports[0].rx_dropped.values().sum::<u64>() > 100
    });
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    thread::sleep(Duration::from_millis(500));
    questions.end();
    drop(flood);
    stopped.signal(Signal::CONT);
    eventually("it serves again", || echoes(&bed.client, &addr));
    bed.finish();
}
