//! What validation costs, and what a packet costs that no one has claimed.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::switch;
use crate::traffic::Target;

/// With and without validation; and hits beside misses. Those are compared where no packet is
/// delivered: both kinds are looked up and dropped, as the rings of stacks that take nothing out
/// are full, and so is the host's, whose thread takes out little.
pub fn set_up(_: &Peers) -> Experiment {
    let unvalidated = switch::unvalidated().map(|program| {
        Multistack::demux(64)
            .with_program(program)
            .named("unvalidated", "multistack, without validation")
    });
    let hits = Multistack::demux(64)
        .without_delivery()
        .named("hits", "multistack, only hits, dropped");
    let misses = Multistack::demux(64)
        .without_delivery()
        .with_target(Target::Unclaimed)
        .named("misses", "multistack, only misses, dropped");
    Experiment::new("validate_cost")
        .with(Multistack::demux(64))
        .with_peer("unvalidated", unvalidated)
        .with(hits)
        .with(misses)
        .figure(Figure::mpps(
            "validated",
            "demux64",
            &["unvalidated"],
            vec![Goal::ratio("unvalidated", 0.85, 0.92)],
        ))
        .figure(Figure::mpps(
            "misses",
            "misses",
            &["hits"],
            vec![Goal::ratio("hits", 1.0, 1.0)],
        ))
}
