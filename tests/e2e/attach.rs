//! Coming and going.

use std::fs;
use std::time::Duration;

use crate::net_tools::{Pings, Questions};
use crate::process::{Ended, Process, eventually};
use crate::testbed::{HOST_V4, Testbed, is_long};

fn open_files(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .count()
}

/// Attaches so often; how long the slowest took, in ms.
#[track_caller]
fn cycle(bed: &Testbed, times: u32, more: &[&str]) -> f64 {
    let count = times.to_string();
    let mut args = vec!["attach", "--times", &count];
    args.extend(more);
    let limit = Duration::from_secs(10) + Duration::from_secs(1) * times;
    let Ended {
        status,
        stdout,
        stderr,
    } = bed.probe("cycler", &args).wait_for(limit);
    assert!(status.success(), "{stdout}{stderr}");
    println!("{}", stdout.trim());
    let max = stdout.split_once(" max");
    let max = max.and_then(|(text, _)| text.rsplit(' ').next()?.parse().ok());
    max.expect("a number")
}

#[test]
fn a_thousand_stacks_come_and_go() {
    let aslr = fs::read_to_string("/proc/sys/kernel/randomize_va_space").unwrap();
    assert_eq!(aslr.trim(), "2", "address space layout randomization is on");
    let mut bed = Testbed::start();
    let _bystander = bed.echo(&format!("{HOST_V4}:7"));
    // The first of them may leave something to stay.
    cycle(&bed, 3, &[]);
    let baseline = bed.stats().pool;
    let questions = Questions::start(&bed.client, &format!("{HOST_V4}:7"));
    let pings = Pings::start(&bed.client, HOST_V4);
    let (files, runtime) = (open_files(bed.switch()), bed.runtime_files());
    let slow = cycle(&bed, if is_long() { 1000 } else { 200 }, &[]);
    assert!(slow < 1000.0, "attaching takes {slow} ms");
    eventually("only the bystander is left", || bed.stacks().len() == 1);
    eventually("no file of EAL's is left", || {
        bed.runtime_files() == runtime
    });
    let switch = bed.switch();
    eventually("the primary has closed everything", || {
        open_files(switch) == files
    });
    questions.end();
    pings.end();
    bed.expect_buffers_back(baseline);
    bed.finish();
}

#[test]
fn one_process_attaches_again_and_again() {
    let bed = Testbed::start();
    let slow = cycle(&bed, 200, &["--in-process"]);
    assert!(slow < 1000.0, "attaching takes {slow} ms");
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn there_are_as_many_vports_as_asked_for() {
    let bed = Testbed::start_with(&["--max-vports", "3"]);
    let probes: Vec<_> = (0..3)
        .map(|n| {
            let mut probe = bed.probe(
                &format!("probe-{n}"),
                &["claim", "udp", &format!("{HOST_V4}:0")],
            );
            probe.expect("claimed");
            probe
        })
        .collect();
    let ended = bed
        .probe("one-too-many", &["attach", "--in-process"])
        .wait();
    assert!(!ended.status.success(), "{ended:?}");
    let why = "all 3 vports are taken: see --max-vports";
    assert!(ended.stderr.contains(why), "{ended:?}");
    for probe in probes {
        probe.kill();
    }
    bed.expect_no_stacks();
    cycle(&bed, 3, &[]);
    bed.finish();
}

#[test]
fn a_bad_name_is_refused() {
    let bed = Testbed::start();
    for name in ["", "two words", "a-name-of-more-than-thirty-two-bytes"] {
        let ended = bed.probe(name, &["attach", "--in-process"]).wait();
        assert!(!ended.status.success(), "{name:?}: {ended:?}");
    }
    bed.expect_no_stacks();
    bed.finish();
}
