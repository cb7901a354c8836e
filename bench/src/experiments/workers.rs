//! What a second worker brings.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::testpmd;

/// Classification and verdicts by two workers over one, with stacks that take nothing out: two CPUs
/// are all there are, so there is none for them. Beside it, the same of testpmd: what the machine
/// itself has to give.
pub fn set_up(peers: &Peers) -> Experiment {
    let ours = |workers| {
        Multistack::demux(64)
            .without_delivery()
            .with_workers(workers)
    };
    let testpmd = |workers, key| {
        let peer = peers.testpmd();
        peer.map(|peer| peer.with_workers(workers).named(key))
    };
    Experiment::new("workers2")
        .with(ours(1).named("workers1", "multistack, 1 worker"))
        .with(ours(2).named("workers2", "multistack, 2 workers"))
        .with_peer(testpmd::KEY, testpmd(1, testpmd::KEY))
        .with_peer("testpmd_io2", testpmd(2, "testpmd_io2"))
        .figure(Figure::mpps(
            "workers2",
            "workers2",
            &["workers1"],
            vec![Goal::ratio("workers1", 1.8, 1.95)],
        ))
        .figure(Figure::mpps(
            "testpmd",
            "testpmd_io2",
            &[testpmd::KEY],
            vec![],
        ))
}
