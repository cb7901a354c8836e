//! What a flood costs those who do not take part in it.

use crate::experiment::{Experiment, Figure, Goal};
use crate::host::tcp::{Beside, Tcp};
use crate::latency::{Flood, Modest};
use crate::peers::Peers;

/// Round trips over seven modest stacks: alone, beside a stack that sends all it can, beside one that
/// does so in another's name, and while the wire floods the host, without and with a limit. And the
/// host's TCP beside stacks that use as much of the CPU, but of which none, or one, floods.
pub fn set_up(_: &Peers) -> Experiment {
    let floods = [
        ("flood", "p99 beside a flood"),
        ("spoofed", "p99 beside spoofing"),
        ("host", "p99 in a host flood"),
        ("host_limited", "p99, host limited"),
    ];
    let mut experiment = Experiment::new("fairness")
        .with(Modest::alone())
        .with(Modest::beside(
            "flood",
            "beside one that floods",
            Flood::Own,
        ))
        .with(Modest::beside(
            "spoofed",
            "beside one that floods in another's name",
            Flood::Spoofed,
        ))
        .with(Modest::host_flood(
            "host",
            "while the wire floods the host",
            "",
        ))
        .with(Modest::host_flood(
            "host_limited",
            "the same, with a limit on the host",
            "--host-rx-limit=10kpps",
        ));
    for (key, label, flood, options) in [
        ("tcp_quiet", "host's TCP beside quiet stacks", None, ""),
        (
            "tcp_flood",
            "host's TCP beside one that floods",
            Some(Flood::Own),
            "",
        ),
        (
            "tcp_limited",
            "the same, with a limit on stacks",
            Some(Flood::Own),
            "--tx-limit=10kpps",
        ),
    ] {
        experiment = experiment.with(Tcp::beside(key, label, Beside { flood, options }));
    }
    for (key, name) in [
        ("tcp_flood", "host's TCP beside a flood"),
        ("tcp_limited", "host's TCP, stacks limited"),
    ] {
        experiment = experiment.figure(Figure {
            unit: "Gbit/s",
            ..Figure::mpps(
                name,
                key,
                &["tcp_quiet"],
                vec![Goal::ratio("tcp_quiet", 0.95, 1.0)],
            )
        });
    }
    for (key, name) in floods {
        experiment = experiment.figure(Figure {
            unit: "µs",
            ..Figure::mpps(name, key, &["alone"], vec![Goal::aim_below("alone", 2.0)])
        });
    }
    experiment
}
