//! What a driver must not do: each ends in its violation. Those that were a CVE of DPDK's lib/vhost have its
//! name; see the table in the crate's documentation.

#[path = "../mock/mod.rs"]
mod mock;

mod chains;
mod lengths;
mod rings;

use mock::{Driver, Guest, frame, pair, pattern};
use vhost_port::{Next, Pair, PairSetup, QueueSetup, Received, Violation, feature};

const MODERN: u64 = feature::VERSION_1 | feature::MRG_RXBUF | feature::INDIRECT_DESC;
const PACKED: u64 = MODERN | feature::RING_PACKED;
const BOTH: [u64; 2] = [MODERN, PACKED];

struct Rig {
    guest: Guest,
    rx: Driver,
    tx: Driver,
    pair: Pair,
}

fn rig(features: u64) -> Rig {
    let guest = Guest::new();
    let rx = Driver::new(&guest, 0, 16, features, 0);
    let tx = Driver::new(&guest, 1, 16, features, 0);
    let pair = pair(&guest, features, Some(&rx), Some(&tx));
    Rig {
        guest,
        rx,
        tx,
        pair,
    }
}

impl Rig {
    fn receive(&mut self, len: usize) -> Result<Received, Violation> {
        self.pair.receive([frame(&pattern(1, len))].into_iter())
    }

    fn send(&mut self) -> Result<Next, Violation> {
        self.pair.begin_send()?;
        let next = self.pair.copy_next(&mut [0; 2048])?;
        self.pair.end_send()?;
        Ok(next)
    }
}

fn setup(guest: &Guest, features: u64, rx: QueueSetup) -> Result<Pair, Violation> {
    Pair::new(PairSetup {
        memory: guest.map(),
        features,
        rx: Some(rx),
        tx: None,
    })
}
