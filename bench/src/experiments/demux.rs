//! How fast packets come to the stacks that have claimed them.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::traffic::Traffic;
use crate::{ovs, testpmd};

/// 64 stacks.
pub fn many(peers: &Peers) -> Experiment {
    let goals = vec![
        Goal::ratio(testpmd::KEY, 0.5, 0.65),
        Goal::ratio(ovs::KEY, 2.5, 3.5),
    ];
    against_both("demux64", peers, 64, goals)
}

/// One stack.
pub fn one(peers: &Peers) -> Experiment {
    let goals = vec![Goal::ratio(testpmd::KEY, 0.6, 0.75)];
    against_both("demux1", peers, 1, goals)
}

fn against_both(key: &'static str, peers: &Peers, stacks: u16, goals: Vec<Goal>) -> Experiment {
    let traffic = Traffic::smallest(stacks);
    let ovs = peers.ovs().map(|ovs| ovs.with_traffic(traffic));
    let peer_keys = [testpmd::KEY, ovs::KEY];
    Experiment::new(key)
        .with_peer(testpmd::KEY, peers.testpmd())
        .with(Multistack::demux(stacks))
        .with_peer(ovs::KEY, ovs)
        .figure(Figure::mpps(key, key, &peer_keys, goals))
}
