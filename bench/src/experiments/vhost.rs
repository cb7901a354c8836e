//! How fast packets come to a program behind a vhost-user socket, and back.

use crate::experiment::{At, Experiment, Figure, Goal, key_at};
use crate::ovs::Ovs;
use crate::peers::Peers;
use crate::testpmd::Testpmd;
use crate::traffic::SMALLEST;
use crate::vhost::{BackEnd, Multistack, Task, Through, key};

/// Bytes of frames, without FCS.
const FRAMES: [u16; 2] = [SMALLEST, 1514];

/// Beside DPDK's own back end behind testpmd's io mode, which looks at nothing, and beside OVS-DPDK, all with
/// the same far end.
pub fn set_up(peers: &Peers) -> Experiment {
    let testpmd = peers.fastest(Testpmd::candidates().map(through_each));
    let ovs = peers.fastest(Ovs::candidates().map(through_each));
    let mut experiment = Experiment::new("vhost");
    for task in [Task::Drain, Task::Echo] {
        for frame in FRAMES {
            let [name, testpmd_key, ovs_key] =
                [Multistack::KEY, Testpmd::KEY, Ovs::KEY].map(|by| key_at(&key(by, task), frame));
            let goals = vec![
                Goal::ratio(&testpmd_key, 0.8, 1.1),
                Goal::ratio(&ovs_key, 1.3, 2.0),
            ];
            experiment = experiment
                .with_peer(
                    &testpmd_key,
                    testpmd.clone().map(|peer| at(peer, task, frame)),
                )
                .with(at(Through::new(Multistack), task, frame))
                .with_peer(&ovs_key, ovs.clone().map(|peer| at(peer, task, frame)))
                .figure(Figure::mpps(&name, &name, &[&testpmd_key, &ovs_key], goals));
        }
    }
    experiment
}

fn at<B: BackEnd>(through: Through<B>, task: Task, frame: u16) -> At<Through<B>> {
    At(through.with_frame(frame).with_task(task), frame)
}

fn through_each<B: BackEnd>(candidates: Vec<B>) -> Vec<Through<B>> {
    candidates.into_iter().map(Through::new).collect()
}
