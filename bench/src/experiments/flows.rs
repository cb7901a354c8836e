//! What very many claims cost.

use crate::experiment::{Experiment, Figure, Goal};
use crate::multistack::Multistack;
use crate::peers::Peers;
use crate::traffic::{Target, Traffic};

const CONNECTIONS: u32 = 1_000_000;

/// A million connections, 262,144 of which have traffic; beside that, the same traffic with 64
/// claims, and testpmd on it: the device itself is slower with so many packets, which do not fit
/// the CPU's cache.
pub fn set_up(peers: &Peers) -> Experiment {
    let flows = Multistack::demux(64)
        .with_connections(CONNECTIONS)
        .named("flows", "multistack, 1,000,000 connections");
    let few = Multistack::demux(64)
        .with_connections(0)
        .named("demux64_long", "multistack, 64 addresses, same packets");
    let long = Traffic::smallest(64).to(Target::Connections);
    Experiment::new("demux_flows")
        .with(Multistack::demux(64))
        .with(flows)
        .with(few)
        .with_peer(
            "testpmd_long",
            peers
                .testpmd()
                .map(|peer| peer.with_traffic(long).named("testpmd_long")),
        )
        .figure(Figure::mpps(
            "demux_flows",
            "flows",
            &["demux64_long", "testpmd_long"],
            vec![Goal::ratio("demux64", 0.6, 0.8)],
        ))
}
