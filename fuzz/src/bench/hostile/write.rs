//! What the hostile stack writes.

use std::sync::atomic::Ordering;

use port_api::Desc;

use super::{CLAIMS, HERE, HOSTILE, Hostile, OTHERS, OUT, REMOTE, desc};
use crate::bench::GEOMETRY;
use crate::input::Input;
use crate::io::HEADROOM;
use crate::words::{CONSUMER, PRODUCER, SLOTS, halves, wide};

impl Hostile {
    /// Any word of the stack's part of the memory; or an entry that looks right, pushed as it should be.
    pub(super) fn write(&mut self, input: &mut Input<'_>) {
        let at = self.at;
        let start = input.pick(&[at.rx, at.free, at.fill, at.tx]);
        match input.byte() % 8 {
            0 => {
                let cursor = start + input.pick(&[PRODUCER, CONSUMER]);
                let by = i32::from(input.byte().cast_signed());
                self.poke(cursor, self.word(cursor).wrapping_add_signed(by));
            }
            1 => {
                let cursor = start + input.pick(&[PRODUCER, CONSUMER]);
                self.poke(cursor, wide(input));
            }
            2 => self.poke(
                start + SLOTS + usize::from(input.byte() % 32) * 4,
                wide(input),
            ),
            3 => {
                let slot = self.bench.region.geometry();
                let part = slot.status(HOSTILE)..slot.status(HOSTILE + 1);
                let words = part.len() / 4;
                self.poke(
                    part.start + usize::from(input.word()) % words * 4,
                    wide(input),
                );
            }
            4 => {
                let doorbells = self.bench.region.geometry().doorbells(0);
                self.poke(doorbells + usize::from(input.byte() % 2) * 4, wide(input));
            }
            5 => {
                let index = self.index(input);
                self.push_free(index);
            }
            6 => {
                let desc = Desc {
                    index: self.index(input),
                    offset: input.pick(&[128, 128, 0, 2100, 4000]),
                    len: input.pick(&[50, 60, 0, 2048, u16::MAX]),
                    port: input.byte(),
                    checksum: input.rarely(4),
                };
                self.push_tx(desc.pack() | u64::from(input.rarely(8)) << 28);
            }
            _ => self.write_frame(input),
        }
    }

    fn word(&self, at: usize) -> u32 {
        self.bench.region.word(at).load(Ordering::Relaxed)
    }

    fn poke(&mut self, at: usize, value: u32) {
        let word = self.bench.region.word(at);
        word.store(value, Ordering::Relaxed);
        self.cursors.note(&self.bench.region, at);
    }

    fn push_tx(&mut self, raw: u64) {
        let cursor = self.word(self.at.tx + PRODUCER);
        let at = self.at.tx + SLOTS + (cursor % GEOMETRY.ring_size) as usize * 8;
        let [low, high] = halves(raw);
        self.poke(at, low);
        self.poke(at + 4, high);
        self.poke(self.at.tx + PRODUCER, cursor.wrapping_add(1));
    }

    fn push_free(&mut self, index: u32) {
        let cursor = self.word(self.at.free + PRODUCER);
        let at = self.at.free + SLOTS + (cursor % GEOMETRY.free_size) as usize * 4;
        self.poke(at, index);
        self.poke(self.at.free + PRODUCER, cursor.wrapping_add(1));
    }

    /// A buffer of its own, of another's, or any.
    fn index(&self, input: &mut Input<'_>) -> u32 {
        let (whose, which) = (input.byte(), input.byte());
        let whose = match whose % 4 {
            0 => HOSTILE,
            1 => OTHERS[0],
            2 => OTHERS[1],
            _ => return wide(input) % (1 << (whose >> 3)),
        };
        let lent: Vec<u32> = self.lent(whose).collect();
        lent.get(usize::from(which) % lent.len().max(1))
            .copied()
            .unwrap_or(0)
    }

    /// Into a buffer of its own, and sent: its own packet, or in the name of another; to the wire, or
    /// to someone here.
    fn write_frame(&mut self, input: &mut Input<'_>) {
        let lent: Vec<u32> = self.lent(HOSTILE).collect();
        let Some(index) = lent.get(usize::from(input.byte()) % lent.len().max(1)) else {
            return;
        };
        let (_, from) = CLAIMS[usize::from(input.byte() % 4) % 3];
        let (eth, to) = match input.byte() % 5 {
            at @ 0..3 => (HERE, CLAIMS[usize::from(at)].1),
            _ => (OUT, REMOTE),
        };
        let frame = self.frame(eth, from, to);
        self.bench
            .memory
            .borrow_mut()
            .write(*index, HEADROOM, &frame);
        let desc = desc(*index, &frame);
        self.push_tx(desc.pack());
    }
}
