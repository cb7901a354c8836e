//! Round trips over ring vports.

use crate::experiment::{Experiment, Figure, Goal};
use crate::latency::{Loop, RoundTrip};
use crate::peers::Peers;

const LOADS: [u32; 2] = [10, 80];

/// The time to an echo stack and back, which is twice through the switch, beside a testpmd that
/// sends back what comes over vhost-user. Each at parts of its own full load.
pub fn set_up(peers: &Peers) -> Experiment {
    let mut experiment = Experiment::new("latency");
    for contender in RoundTrip::series("rings", &Loop::Switch, &LOADS) {
        experiment = experiment.with(contender);
    }
    match peers.testpmd() {
        Ok(testpmd) => {
            for contender in RoundTrip::series("testpmd", &Loop::Testpmd(testpmd), &LOADS) {
                experiment = experiment.with(contender);
            }
        }
        Err(why) => {
            for load in LOADS {
                experiment
                    .skipped
                    .insert(format!("testpmd_{load}"), why.clone());
            }
        }
    }
    for load in LOADS {
        let (name, peer) = (format!("rings_{load}"), format!("testpmd_{load}"));
        experiment = experiment.figure(Figure {
            unit: "µs",
            ..Figure::mpps(
                &format!("p99 at {load} %"),
                &name,
                &[&peer],
                vec![Goal::aim_below(&peer, 2.0)],
            )
        });
    }
    experiment.figure(Figure::mpps(
        "full load",
        "rings_max",
        &["testpmd_max"],
        vec![],
    ))
}
