//! What a flood costs those who do not take part in it.

use crate::experiment::{Experiment, Figure, Goal};
use crate::host::tcp::{Beside, Tcp};
use crate::latency::{Flood, Modest};
use crate::peers::Peers;

/// Round trips over seven modest stacks: alone, beside a stack that writes as many packets but sends none, beside
/// one that sends all it can, beside one that does so in another's name, and while the wire floods the host, without
/// and with a limit. And the host's TCP beside stacks of which one writes as many packets, and sends none or all.
pub fn set_up(_: &Peers) -> Experiment {
    let by_stack = vec![Goal::at_most("alone", 2.0, 1.5)];
    let floods = [
        ("flood", "p99 beside a flood", by_stack.clone()),
        ("spoofed", "p99 beside spoofing", by_stack),
        ("host", "p99 in a host flood", vec![]),
        ("host_limited", "p99, host limited", vec![]),
    ];
    let mut experiment = Experiment::new("fairness")
        .with(Modest::alone())
        .with(Modest::beside(
            "withheld",
            "beside one that writes as much, and sends nothing",
            Flood::Withheld,
        ))
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
        (
            "tcp_quiet",
            "host's TCP beside quiet stacks",
            Flood::Withheld,
            "",
        ),
        (
            "tcp_flood",
            "host's TCP beside one that floods",
            Flood::Own,
            "",
        ),
        (
            "tcp_limited",
            "the same, with a limit on stacks",
            Flood::Own,
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
    for (key, name, goals) in floods {
        experiment = experiment.figure(Figure {
            unit: "µs",
            ..Figure::mpps(name, key, &["alone", "withheld"], goals)
        });
    }
    experiment
}
