//! Stacks that come and go: how long that takes, and what the others notice.

use crate::experiment::{Experiment, Figure, Goal};
use crate::fresh::Fresh;
use crate::multistack::Multistack;
use crate::peers::Peers;

/// 64 stacks while 100 others attach, claim and detach; and processes that attach.
pub fn set_up(_: &Peers) -> Experiment {
    let churn = Multistack::demux(64)
        .with_churn()
        .named("churn", "while 100 stacks come and go, of the rate else");
    Experiment::new("attach")
        .with(churn)
        .with(Fresh)
        .figure(Figure {
            unit: "x",
            ..Figure::mpps("rate", "churn", &[], vec![Goal::value(0.98, 0.995)])
        })
        .figure(Figure {
            unit: "ms",
            ..Figure::mpps("time", "fresh", &[], vec![])
        })
}
