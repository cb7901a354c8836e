//! A stack's side of its rings, against a switch that writes what it likes into the shared memory.

use std::sync::atomic::Ordering;

use port_api::geometry::{Geometry, RingOffsets};
use port_api::{Buffers, Burst, Desc, Packet, Region, RingPort, SwitchSide};

use crate::input::Input;
use crate::words::{CONSUMER, PRODUCER, SLOTS, halves, wide};

const GEOMETRY: Geometry = Geometry {
    workers: 2,
    slots: 2,
    ring_size: 16,
    free_size: 32,
};
const SLOT: u16 = 1;

/// Buffers, and bytes from one to the next and in each.
const COUNT: u32 = 64;
const STRIDE: u32 = 320;
const BUF_LEN: u16 = 256;

thread_local! {
    /// They are never given back: one set for all runs.
    static BUFFERS: Buffers = Buffers::on_heap(COUNT, STRIDE, BUF_LEN);
}

/// A stack, and a switch that has an honest side too.
pub struct HostileSwitch {
    region: Region,
    at: [RingOffsets; 2],
    honest: [SwitchSide; 2],
    port: RingPort,
    /// All that the stack has in hand.
    burst: Burst,
    /// Address of the first buffer.
    base: usize,
    /// By worker: what the stack has put into its ring, ever.
    sent: [u32; 2],
    freed: [u32; 2],
    /// By worker: nobody but the stack has written its cursor of `rx`.
    rx_is_true: [bool; 2],
}

impl HostileSwitch {
    /// All is well so far.
    pub fn new() -> Self {
        let region = Region::on_heap(GEOMETRY).expect("a heap");
        let mut all = Self {
            at: [0, 1].map(|worker| GEOMETRY.rings(SLOT, worker)),
            honest: [0, 1].map(|worker| SwitchSide::new(&region, SLOT, worker)),
            port: port(&region),
            burst: Burst::new(),
            region,
            base: 0,
            sent: [0; 2],
            freed: [0; 2],
            rx_is_true: [true; 2],
        };
        all.behave();
        all
    }

    /// Writes a word, or honestly gives something that is not.
    pub fn attack(&mut self, input: &mut Input<'_>) {
        let which = input.byte();
        let worker = usize::from(which >> 7);
        let at = self.at[worker];
        let start = [at.rx, at.free, at.fill, at.tx][usize::from(which >> 5 & 3)];
        let cursor = start + [PRODUCER, CONSUMER][usize::from(which >> 4 & 1)];
        match which % 8 {
            0 | 1 => {
                let by = i32::from(input.byte().cast_signed());
                self.poke(cursor, self.word(cursor).wrapping_add_signed(by));
            }
            2 => self.poke(cursor, wide(input)),
            3 => self.poke(
                start + SLOTS + usize::from(input.byte() % 32) * 4,
                wide(input),
            ),
            4 => {
                let words = self.region.geometry().len() / 4;
                self.poke(usize::from(input.word()) % words * 4, wide(input));
            }
            5 => {
                let index = input.pick(&[0, 1, COUNT - 1, COUNT, u32::MAX]);
                // A stack that is too slow gets none.
                let _ = self.honest[worker].fill.push(&[index]);
            }
            _ => {
                let desc = Desc {
                    index: input.pick(&[0, 1, COUNT - 1, COUNT, u32::MAX]),
                    offset: input.pick(&[0, 128, 196, BUF_LEN, 257, u16::MAX]),
                    len: input.pick(&[60, 0, BUF_LEN, 128, 1, u16::MAX]),
                    port: input.byte(),
                    checksum: false,
                };
                let reserved = u64::from(input.rarely(8)) << 28;
                let _ = self.honest[worker].rx.push(&[desc.pack() | reserved]);
            }
        }
    }

    fn word(&self, at: usize) -> u32 {
        self.region.word(at).load(Ordering::Relaxed)
    }

    fn poke(&mut self, at: usize, value: u32) {
        self.region.word(at).store(value, Ordering::Relaxed);
        for (rings, is_true) in self.at.iter().zip(&mut self.rx_is_true) {
            *is_true &= at != rings.rx + CONSUMER;
        }
    }

    /// The stack receives.
    pub fn receive(&mut self) {
        self.port.poll();
        let before = self.burst.len();
        let count = self.port.rx_burst(&mut self.burst);
        assert_eq!(self.burst.len(), before + count);
    }

    /// The stack takes an empty buffer, of a certain worker's or not.
    pub fn alloc(&mut self, worker: u8) {
        if self.burst.is_full() {
            return;
        }
        let packet = match worker % 4 {
            3 => self.port.alloc(),
            worker => self.port.alloc_from(worker.into()),
        };
        if let Some(packet) = packet {
            assert!(packet.data().is_empty());
            self.burst.push(packet);
        }
    }

    /// The stack writes to the packets that it has, from end to end.
    pub fn fill(&mut self, input: &mut Input<'_>) {
        let (len, port) = (usize::from(input.word()), input.byte());
        for packet in &mut self.burst {
            let room = packet.capacity();
            assert_eq!(packet.set_len(len), len <= room);
            if len <= room {
                assert_eq!(packet.data().len(), len);
            }
            packet.data_mut().fill(port);
            packet.set_port(port % 32);
            packet.fill_checksum(port > 128);
        }
    }

    /// The stack sends what it has; what went is in the rings.
    pub fn send(&mut self) {
        let descs: Vec<_> = self.burst.iter().map(|packet| self.desc(packet)).collect();
        let count = self.port.tx_burst(&mut self.burst);
        assert_eq!(self.burst.len(), descs.len() - count);
        let mut went = [false; 2];
        for (worker, desc) in &descs[..count] {
            let slot = (self.sent[*worker] % GEOMETRY.ring_size) as usize * 8;
            let at = self.at[*worker].tx + SLOTS + slot;
            assert_eq!([at, at + 4].map(|at| self.word(at)), halves(desc.pack()));
            self.sent[*worker] += 1;
            went[*worker] = true;
        }
        for worker in (0..2).filter(|worker| went[*worker]) {
            assert_eq!(self.word(self.at[worker].tx + PRODUCER), self.sent[worker]);
        }
    }

    /// The stack gives back what it has, as far as the rings have room.
    pub fn release(&mut self) {
        let descs: Vec<_> = self.burst.iter().map(|packet| self.desc(packet)).collect();
        // As far off as can be: what is there afterwards, the stack has published.
        let absurd = self.freed.map(|count| count ^ 1 << 31);
        for (rings, absurd) in self.at.into_iter().zip(absurd) {
            self.poke(rings.free + PRODUCER, absurd);
        }
        self.port.release(&mut self.burst);
        assert!(self.burst.is_empty());
        for (worker, rings) in self.at.into_iter().enumerate() {
            let indexes = descs.iter().filter(|(of, _)| *of == worker);
            let now = self.word(rings.free + PRODUCER);
            if now == absurd[worker] {
                continue;
            }
            let count = now.wrapping_sub(self.freed[worker]) as usize;
            assert!((1..=indexes.clone().count()).contains(&count));
            for (_, desc) in indexes.take(count) {
                let slot = (self.freed[worker] % GEOMETRY.free_size) as usize * 4;
                assert_eq!(self.word(rings.free + SLOTS + slot), desc.index);
                self.freed[worker] += 1;
            }
        }
    }

    /// A packet as its descriptor says, from where it is.
    fn desc(&self, packet: &Packet) -> (usize, Desc) {
        let at = packet.data().as_ptr().addr() - self.base;
        let (index, offset) = (at / STRIDE as usize, at % STRIDE as usize);
        let desc = Desc {
            index: u32::try_from(index).expect("a buffer"),
            offset: u16::try_from(offset).expect("a place in it"),
            len: u16::try_from(packet.data().len()).expect("a frame"),
            port: packet.port(),
            checksum: packet.checksum_is_good(),
        };
        (packet.worker().into(), desc)
    }

    /// Every packet lies in a buffer with all that it may grow to, and all are counted.
    pub fn assert_sound(&self) {
        assert_eq!(self.port.in_hand(), self.burst.len());
        for packet in &self.burst {
            let (worker, desc) = self.desc(packet);
            assert!(worker < self.at.len() && desc.index < COUNT && desc.port < 32);
            let most = packet.capacity().max(packet.data().len());
            assert!(usize::from(desc.offset) + most <= BUF_LEN.into());
        }
    }

    /// The switch does as it should again: a ring whose cursors are right goes on, and the next stack finds
    /// nothing of this one.
    pub fn mend(mut self) {
        self.release();
        while self.port.rx_burst(&mut self.burst) > 0 {
            self.release();
        }
        for worker in 0..2 {
            if self.rx_is_true[worker] {
                self.go_on(worker);
            }
        }
        self.honest = [0, 1].map(|worker| SwitchSide::new(&self.region, SLOT, worker));
        self.port = port(&self.region);
        self.burst.clear();
        (self.sent, self.freed) = Default::default();
        self.behave();
    }

    /// The stack has taken all that it knows of, so the next packet is where its cursor is.
    fn go_on(&mut self, worker: usize) {
        let rx = self.at[worker].rx;
        let cursor = self.word(rx + CONSUMER);
        let slot = (cursor % GEOMETRY.ring_size) as usize * 8;
        for (at, half) in (0..).zip(halves(whole(5).pack())) {
            self.poke(rx + SLOTS + slot + at * 4, half);
        }
        self.poke(rx + PRODUCER, cursor.wrapping_add(1));
        self.port.rx_burst(&mut self.burst);
        let received = self.burst.iter().map(|packet| self.desc(packet));
        let from_it: Vec<_> = received.filter(|(of, _)| *of == worker).collect();
        assert_eq!(from_it, [(worker, whole(5))]);
        self.port.release(&mut self.burst);
    }

    /// Packets and buffers go both ways.
    fn behave(&mut self) {
        self.region.status(SLOT).open();
        for (worker, side) in (0..).zip(&mut self.honest) {
            let descs = [0, 1].map(|at| whole(2 * worker + at).pack());
            assert_eq!(side.rx.push(&descs), Ok(2));
            assert_eq!(side.fill.push(&[4 + worker]), Ok(1));
        }
        assert!(self.port.is_open() && self.port.poll());
        assert_eq!(self.port.rx_burst(&mut self.burst), 4);
        let base = self.burst[0].data().as_ptr().addr();
        assert!([0, base].contains(&self.base), "the buffers have moved");
        self.base = base;
        for worker in 0..2 {
            self.alloc(worker);
        }
        self.assert_sound();
        let got = self.burst.iter().map(|packet| self.desc(packet).1.index);
        assert!(got.eq([0, 1, 2, 3, 4, 5]));
        self.send();
        assert!(self.burst.is_empty());
        for (worker, side) in (0..).zip(&mut self.honest) {
            let mut sent = [0; 4];
            assert_eq!(side.tx.pop(&mut sent), Ok(3));
            assert_eq!(sent[0], whole(2 * worker).pack());
            assert_eq!(side.refresh(), Ok(()));
            let rang = self
                .region
                .doorbells(u16::try_from(worker).unwrap_or(0))
                .answer(0);
            assert_ne!(rang & 1 << SLOT, 0);
        }
        self.region.status(SLOT).close();
    }
}

impl Default for HostileSwitch {
    fn default() -> Self {
        Self::new()
    }
}

fn port(region: &Region) -> RingPort {
    RingPort::new(region, BUFFERS.with(Clone::clone), SLOT, 0)
}

/// A packet that is all of a buffer.
fn whole(index: u32) -> Desc {
    Desc {
        index,
        offset: 0,
        len: BUF_LEN,
        port: 0,
        checksum: false,
    }
}
