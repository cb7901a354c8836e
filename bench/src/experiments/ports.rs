//! What many vports cost, idle and busy.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;

const ATTACHED: u16 = 1000;
const BUSY: u16 = 250;

/// 1,000 vports, of which 64 are busy as without the others; then 250 of them.
pub fn set_up(_: &Peers) -> Experiment {
    let idle = Multistack::demux(64)
        .with_attached(ATTACHED)
        .named("busy64", "multistack, 64 of 1,000 stacks busy");
    let busy = Multistack::demux(BUSY)
        .with_attached(ATTACHED)
        .named("busy250", "multistack, 250 of 1,000 stacks busy");
    let figure = |name: &str, must, aim| {
        Figure::mpps(
            name,
            name,
            &["demux64"],
            vec![Goal::ratio("demux64", must, aim)],
        )
    };
    Experiment::new("demux_ports")
        .with(Multistack::demux(64))
        .with(idle)
        .with(busy)
        .figure(figure("busy64", 0.9, 1.0))
        .figure(figure("busy250", 0.6, 0.8))
}
