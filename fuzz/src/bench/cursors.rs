//! Which of a stack's cursors the worker may believe: from what it has seen of them, and without the ring's
//! own code.

use std::sync::atomic::Ordering;

use port_api::Region;
use port_api::geometry::{Geometry, RingOffsets};

use crate::words::{CONSUMER, PRODUCER};

/// More than goes through a ring in a run, and no closer to where cursors wrap.
const FAR: u32 = 1 << 16;

/// Whether the worker shuts the vport when it looks at its cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuts {
    /// None is impossible.
    No,
    /// One is.
    Yes,
    /// That depends on what only the worker knows by now.
    Perhaps,
}

/// A stack's cursors as the worker has last seen them.
pub struct Cursors {
    at: RingOffsets,
    size: Geometry,
    tx: u32,
    free: u32,
    fill: u32,
    rx: u32,
    /// Nobody but the worker has written its cursor of `fill`, or of `rx`.
    fill_is_true: bool,
    rx_is_true: bool,
    /// The stack's cursor of `rx` was one that it could not be, for all that is known.
    rx_has_lied: bool,
}

fn load(region: &Region, at: usize) -> u32 {
    region.word(at).load(Ordering::Relaxed)
}

/// Whether a consumer's cursor may have come from `before` to `now`.
fn is_on_the_way(before: u32, now: u32, producer: u32) -> bool {
    producer.wrapping_sub(now) <= producer.wrapping_sub(before)
}

impl Cursors {
    /// Of rings at `at`, all of whose entries but those in `rx` the worker has just seen.
    pub fn seen(region: &Region, at: RingOffsets) -> Self {
        Self {
            at,
            size: *region.geometry(),
            tx: load(region, at.tx + PRODUCER),
            free: load(region, at.free + PRODUCER),
            fill: load(region, at.fill + CONSUMER),
            rx: load(region, at.rx + CONSUMER),
            fill_is_true: true,
            rx_is_true: true,
            rx_has_lied: false,
        }
    }

    /// To be told of each word that the stack has written.
    pub fn note(&mut self, region: &Region, written: usize) {
        self.fill_is_true &= written != self.at.fill + PRODUCER;
        self.rx_is_true &= written != self.at.rx + PRODUCER;
        if written != self.at.rx + CONSUMER {
            return;
        }
        let now = load(region, written);
        let producer = load(region, self.at.rx + PRODUCER);
        if self.rx_is_true && is_on_the_way(self.rx, now, producer) {
            self.rx = now;
        } else {
            self.rx_has_lied = true;
        }
    }

    /// If it looks at all of them but that of `rx`, as it does when the stack has rung.
    pub fn judge(&self, region: &Region) -> Shuts {
        // The worker takes all that it sees in these two.
        let tx = load(region, self.at.tx + PRODUCER).wrapping_sub(self.tx);
        let free = load(region, self.at.free + PRODUCER).wrapping_sub(self.free);
        let overfull = tx > self.size.ring_size || free > self.size.free_size;
        let fill = load(region, self.at.fill + CONSUMER);
        let producer = load(region, self.at.fill + PRODUCER);
        let fill_lies = self.fill_is_true && !is_on_the_way(self.fill, fill, producer);
        if overfull || fill_lies {
            Shuts::Yes
        } else if self.rx_has_lied || !self.fill_is_true && fill != self.fill {
            Shuts::Perhaps
        } else {
            Shuts::No
        }
    }

    /// If it may look at that of `rx`, and does if `overfull`: more comes than the ring holds.
    pub fn judge_rx(&self, region: &Region, overfull: bool) -> Shuts {
        let rx = load(region, self.at.rx + CONSUMER);
        if overfull && (FAR..u32::MAX - FAR).contains(&rx) {
            Shuts::Yes
        } else if self.rx_has_lied {
            Shuts::Perhaps
        } else {
            Shuts::No
        }
    }

    /// The worker has looked at all but that of `rx`, and believed them.
    pub fn look(&mut self, region: &Region) {
        self.tx = load(region, self.at.tx + PRODUCER);
        self.free = load(region, self.at.free + PRODUCER);
        self.fill = load(region, self.at.fill + CONSUMER);
    }
}
