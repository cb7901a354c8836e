//! What the primary says, asked directly: `msctl` takes a process for each question.

use port_api::Client;
use port_api::protocol::{ClaimRow, PoolStats, Reply, Request, StackRow, Stats, VportStats};

use crate::net_tools::ping;
use crate::process::eventually;
use crate::testbed::{HOST_V4, Testbed};

/// A client of the control socket.
pub struct Observer(Client);

impl Observer {
    #[track_caller]
    pub fn new(bed: &Testbed) -> Self {
        Self(Client::connect(&bed.socket, "observer").expect("a primary"))
    }

    #[track_caller]
    pub fn stats(&self) -> Stats {
        match self.0.call(&Request::Stats { from: 0 }, &[]) {
            Ok(Reply::Stats(stats)) => *stats,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn stacks(&self) -> Vec<StackRow> {
        match self.0.call(&Request::Stacks { from: 0 }, &[]) {
            Ok(Reply::Stacks { stacks, .. }) => stacks,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn claims(&self) -> Vec<ClaimRow> {
        match self.0.call(&Request::Claims { from: 0 }, &[]) {
            Ok(Reply::Claims { claims, .. }) => claims,
            other => panic!("{other:?}"),
        }
    }

    /// The counters of the vport of this name.
    #[track_caller]
    pub fn vport(&self, name: &str) -> VportStats {
        let stats = self.stats();
        let vport = stats.vports.iter().find(|vport| vport.name == name);
        vport
            .unwrap_or_else(|| panic!("no vport {name}: {stats:?}"))
            .clone()
    }

    /// Where the buffers are when nothing is on its way. The driver keeps what it has sent until it sends
    /// again: a ping's answer is the last each time.
    #[track_caller]
    pub fn pool_at_rest(&self, bed: &Testbed) -> PoolStats {
        let mut last = self.stats().pool;
        eventually("the pool is at rest", || {
            ping(&bed.client, HOST_V4, 1, 56);
            let now = self.stats().pool;
            std::mem::replace(&mut last, now) == now
        });
        last
    }

    /// Waits until the buffers are exactly where they were at such a moment of rest.
    #[track_caller]
    pub fn expect_pool(&self, bed: &Testbed, before: PoolStats) {
        eventually(&format!("the pool is as before: {before:?}"), || {
            ping(&bed.client, HOST_V4, 1, 56);
            self.stats().pool == before
        });
    }
}
