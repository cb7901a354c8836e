//! The end of the primary, in order and otherwise.

use rustix::process::Signal;

use crate::net_tools::{Flood, echoes, ping};
use crate::process::Ended;
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
    // The kernel keeps the AF_XDP device's program on the netdev; a real NIC has none.
    bed.host.ip("link set msx0 xdp off");
    bed.start_switch(&[]);
    ping(&bed.client, HOST_V4, 5, 56);
    let _echo = bed.echo(&addr);
    assert!(echoes(&bed.client, &addr));
    bed.finish();
}
