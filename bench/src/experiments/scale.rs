//! Throughput over the length of frames and over the number of stacks: the lines of the picture.

use crate::experiment::{At, Experiment, Figure, Goal, key_at};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::traffic::{SMALLEST, Traffic};
use crate::{ovs, testpmd};

/// Bytes of frames, without FCS.
const FRAMES: [u16; 6] = [SMALLEST, 128, 256, 512, 1024, 1514];
/// From here on, copying into buffers is what takes time, and looking at packets should not.
const LONG: u16 = 512;
const STACKS: [u16; 5] = [1, 4, 16, 64, 250];

/// Demultiplexing to 64 stacks, and an echo, over the length of frames.
pub fn sizes(peers: &Peers) -> Experiment {
    let mut experiment = Experiment::new("sizes");
    for frame in FRAMES {
        let traffic = |stacks| Traffic {
            frame,
            ..Traffic::smallest(stacks)
        };
        let testpmd = peers
            .testpmd()
            .map(|peer| At(peer.with_traffic(traffic(1)), frame));
        let ovs = peers
            .ovs()
            .map(|peer| At(peer.with_traffic(traffic(64)), frame));
        experiment = experiment
            .with_peer(&key_at(testpmd::KEY, frame), testpmd)
            .with(At(Multistack::demux(64).with_frame(frame), frame))
            .with(At(Multistack::echo().with_frame(frame), frame))
            .with_peer(&key_at(ovs::KEY, frame), ovs);
    }
    // The longest first: it is the experiment's own figure.
    for frame in FRAMES.into_iter().rev() {
        for contender in ["demux64", "echo"] {
            let peer = key_at(testpmd::KEY, frame);
            let goals = if frame >= LONG {
                vec![Goal::ratio(&peer, 0.9, 1.0)]
            } else {
                vec![]
            };
            let name = key_at(contender, frame);
            experiment = experiment.figure(Figure::mpps(&name, &name, &[&peer], goals));
        }
    }
    experiment
}

/// Demultiplexing the smallest frames over the number of stacks.
pub fn stacks(peers: &Peers) -> Experiment {
    let mut experiment = Experiment::new("scale")
        .with_peer(testpmd::KEY, peers.testpmd())
        .with_peer(ovs::KEY, peers.ovs());
    for stacks in STACKS {
        let demux = Multistack::demux(stacks).named("demux", "multistack");
        let name = key_at("demux", stacks);
        let peers = [testpmd::KEY, ovs::KEY];
        experiment =
            experiment
                .with(At(demux, stacks))
                .figure(Figure::mpps(&name, &name, &peers, vec![]));
    }
    experiment
}
