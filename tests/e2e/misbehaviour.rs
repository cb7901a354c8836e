//! Stacks that live, and don't do what they should: to their own loss only. That one which never gives
//! back costs its own quota only is in `death`.

use crate::beat::{Beat, lost};
use crate::net_tools::{Flood, udp};
use crate::observer::Observer;
use crate::process::eventually;
use crate::testbed::{HOST_V4, Testbed};

#[test]
fn a_stack_that_never_looks_loses_its_own_packets_only() {
    let bed = Testbed::start();
    let (neighbour, lazy) = (format!("{HOST_V4}:7"), format!("{HOST_V4}:9"));
    let _neighbour = bed.echo(&neighbour);
    let observer = Observer::new(&bed);
    let at_rest = observer.pool_at_rest(&bed);
    let beat = Beat::start(&bed.client, &neighbour);
    let mut stack = bed.probe("lazy", &["claim", "udp", &lazy]);
    stack.expect("claimed");
    let flood = Flood::start(&bed.client, &lazy);
    let drops = || observer.vport("lazy").rx_dropped.values().sum::<u64>();
    eventually("its packets are dropped", || drops() > 10_000);
    drop(flood);
    assert_eq!(lost(&beat.end()), 0, "of the neighbour's packets");
    let stats = observer.stats();
    let vport = observer.vport("lazy");
    assert_eq!(stats.ports[0].rx_dropped, vport.rx_dropped, "no one else's");
    let quota = observer
        .stacks()
        .iter()
        .find(|stack| stack.name == "lazy")
        .expect("it")
        .quota;
    assert!(vport.held <= quota, "{vport:?}");
    // It leaves of its own accord, with its ring full.
    stack.tell("detach");
    stack.expect("detached");
    observer.expect_pool(&bed, at_rest);
    stack.kill();
    bed.finish();
}

#[test]
fn what_is_given_back_twice_is_taken_once() {
    const COUNT: u64 = 1000;
    let bed = Testbed::start();
    let (neighbour, addr) = (format!("{HOST_V4}:7"), format!("{HOST_V4}:9"));
    let _neighbour = bed.echo(&neighbour);
    let observer = Observer::new(&bed);
    let at_rest = observer.pool_at_rest(&bed);
    let beat = Beat::start(&bed.client, &neighbour);
    let mut twice = bed.probe("twice", &["twice", &addr]);
    twice.expect("receiving");
    let empty = observer.vport("twice").held;
    let socket = udp(&bed.client, &addr);
    for number in 1..=COUNT {
        socket
            .send(b"give this back, and again")
            .expect("a way there");
        eventually("it was given back, and again", || {
            observer.vport("twice").bad_entries == number
        });
    }
    let vport = observer.vport("twice");
    assert_eq!((vport.rx_packets, vport.held), (COUNT, empty), "{vport:?}");
    assert_eq!(lost(&beat.end()), 0, "of the neighbour's packets");
    twice.terminate();
    eventually("it is gone", || observer.stacks().len() == 1);
    observer.expect_pool(&bed, at_rest);
    bed.finish();
}
