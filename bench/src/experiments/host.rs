//! The host's share: what no one has claimed.

use crate::experiment::{Experiment, Figure, Goal};
use crate::host::By;
use crate::host::flood::Flood;
use crate::host::tcp::Tcp;
use crate::peers::Peers;

/// A flood to the TAP, and a TCP transfer, both beside testpmd to `net_tap`; the transfer also beside
/// the kernel's veth alone.
pub fn set_up(peers: &Peers) -> Experiment {
    let testpmd = peers.testpmd().map(By::testpmd);
    let by = testpmd.clone();
    let goal = |peer: &str| vec![Goal::ratio(peer, 0.9, 1.0)];
    Experiment::new("host")
        .with(Flood::new(By::Multistack))
        .with_peer("testpmd_tap", testpmd.map(Flood::new))
        .with(Tcp::new(Some(By::Multistack)))
        .with_peer("testpmd_tcp", by.map(|by| Tcp::new(Some(by))))
        .with(Tcp::new(None))
        .figure(Figure::mpps(
            "flood",
            "tap",
            &["testpmd_tap"],
            goal("testpmd_tap"),
        ))
        .figure(Figure {
            unit: "Gbit/s",
            ..Figure::mpps(
                "TCP",
                "tcp",
                &["testpmd_tcp", "tcp_veth"],
                goal("testpmd_tcp"),
            )
        })
}
