//! How fast a stack gets and sends at once: both ways are validated, by one worker.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::testpmd;

/// Beside testpmd, which moves a packet in and out once where the switch moves it twice.
pub fn set_up(peers: &Peers) -> Experiment {
    let goals = vec![Goal::value(15.0, 25.0)];
    Experiment::new("echo")
        .with_peer(testpmd::KEY, peers.testpmd())
        .with(Multistack::echo())
        .figure(Figure::mpps("echo", "echo", &[testpmd::KEY], goals))
}
