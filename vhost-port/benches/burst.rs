//! What a frame costs the device, in bursts of 32, with the driver in the same thread: ns, and no more than a hint of
//! what it is with the driver on another core. `cargo bench -p multistack-vhost-port`.

#[path = "../tests/mock/mod.rs"]
mod mock;

use std::time::{Duration, Instant};

use mock::{BUFFERS, Driver, Guest, Part, frame, pair, pattern};
use vhost_port::{Next, feature};

const BURST: usize = 32;
const ROUNDS: u64 = 4000;
/// Buffers offered in a round.
const OFFER: u64 = 256;

fn main() {
    let modern = feature::VERSION_1 | feature::MRG_RXBUF;
    for (name, features) in [("split", modern), ("packed", modern | feature::RING_PACKED)] {
        for len in [60, 1514] {
            println!(
                "{name:6} {len:4} B: receive {:5.1} ns, send {:5.1} ns",
                receive(features, len),
                send(features, len)
            );
        }
    }
}

fn offer(guest: &Guest, driver: &mut Driver, round: u64, len: u32, write: bool) {
    for i in 0..OFFER {
        let addr = BUFFERS + (round * OFFER + i) % 1024 * 2304;
        driver
            .add(guest, &[Part { addr, len, write }], None)
            .unwrap();
    }
}

fn take_back(guest: &Guest, driver: &mut Driver) {
    for _ in 0..OFFER {
        driver.used(guest).unwrap();
    }
}

fn receive(features: u64, len: usize) -> f64 {
    let guest = Guest::new();
    let mut rx = Driver::new(&guest, 0, 1024, features, 0);
    rx.mute(&guest);
    let mut pair = pair(&guest, features, Some(&rx), None);
    let frames: Vec<_> = (0..BURST).map(|i| pattern(i, len)).collect();
    let mut spent = Vec::new();
    for round in 0..ROUNDS {
        offer(&guest, &mut rx, round, 2048, true);
        let since = Instant::now();
        for _ in 0..OFFER / BURST as u64 {
            let done = pair
                .receive(frames.iter().map(|bytes| frame(bytes)))
                .unwrap();
            assert_eq!(done.delivered, BURST);
        }
        spent.push(since.elapsed());
        take_back(&guest, &mut rx);
    }
    per_frame(spent)
}

fn send(features: u64, len: usize) -> f64 {
    let guest = Guest::new();
    let mut tx = Driver::new(&guest, 0, 1024, features, 0);
    tx.mute(&guest);
    let mut pair = pair(&guest, features, None, Some(&tx));
    let mut buffers = vec![[0u8; 2048]; BURST];
    let mut spent = Vec::new();
    for round in 0..ROUNDS {
        offer(
            &guest,
            &mut tx,
            round,
            u32::try_from(len).unwrap() + 12,
            false,
        );
        let since = Instant::now();
        for _ in 0..OFFER / BURST as u64 {
            assert!(pair.begin_send().unwrap() > 0);
            for buffer in &mut buffers {
                assert!(matches!(pair.copy_next(buffer), Ok(Next::Copied(_))));
            }
            pair.end_send().unwrap();
        }
        spent.push(since.elapsed());
        take_back(&guest, &mut tx);
    }
    per_frame(spent)
}

/// The median of the rounds: other processes have the CPU now and then.
fn per_frame(mut spent: Vec<Duration>) -> f64 {
    spent.sort();
    let frames = f64::from(u32::try_from(OFFER).unwrap());
    spent[spent.len() / 2].as_secs_f64() * 1e9 / frames
}
