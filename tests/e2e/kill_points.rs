//! A stack that is killed at every single step that it takes in what others see: before each store to a
//! ring or a doorbell, before and after each message to the switch (`ring::step`).

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::net_tools::udp;
use crate::observer::Observer;
use crate::process::{PATIENCE, Process, eventually, within};
use crate::testbed::{HOST_V4, Testbed};

/// Fewest steps of `stack-probe once`, which rings no doorbell that rings already.
const FEWEST: u64 = 29;

/// `stack-probe` with the feature `kill-points`: `make kill-points`.
fn program() -> PathBuf {
    let path = std::env::var_os("MULTISTACK_KILL_POINTS")
        .expect("MULTISTACK_KILL_POINTS is set by make test");
    PathBuf::from(path)
}

/// Whether the stack outlived its script; datagrams come as long as it lives.
#[track_caller]
fn survives(bed: &Testbed, addr: &str, step: u64) -> bool {
    let mut command = bed.host.command(program());
    command.arg("--socket").arg(&bed.socket);
    command.args(["--name", "victim", "once", addr]);
    command.env("MULTISTACK_KILL_AT", step.to_string());
    let mut victim = Process::spawn("victim", &mut command);
    let socket = udp(&bed.client, addr);
    within(PATIENCE, || {
        // Refused by ICMP while nobody is there: all the same.
        let _ = socket.send(b"question");
        !victim.is_running()
    });
    let ended = victim.wait();
    let killed = ended.status.signal() == Some(Signal::KILL.as_raw());
    assert!(killed || ended.status.success(), "{step}: {ended:?}");
    !killed
}

#[test]
fn kills_at_every_step() {
    let bed = Testbed::start();
    let (neighbour, victim) = (format!("{HOST_V4}:7"), format!("{HOST_V4}:9"));
    let _neighbour = bed.echo(&neighbour);
    let observer = Observer::new(&bed);
    let at_rest = observer.pool_at_rest(&bed);
    let mut step = 1;
    while !survives(&bed, &victim, step) {
        eventually("its place and its claims are free", || {
            observer.stacks().len() == 1 && observer.claims().len() == 1
        });
        observer.expect_pool(&bed, at_rest);
        step += 1;
    }
    println!("killed at each of {} steps", step - 1);
    assert!(step > FEWEST, "only {step} steps");
    observer.expect_pool(&bed, at_rest);
    bed.finish();
}
