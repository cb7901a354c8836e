//! The stack's side of a vport: bursts in and out.

use ring::{Consumer, Doorbells, Producer};

use crate::burst::{Burst, Packet};
use crate::desc::{Desc, MAX_FRAME};
use crate::raw::{Buffers, Region, Status};

/// Bytes kept free before a frame in a buffer from [`RingPort::alloc`], as DPDK's
/// `RTE_PKTMBUF_HEADROOM`.
const HEADROOM: u16 = 128;

/// One worker's four rings, seen from the stack: what [`RingPort`] is made of.
pub struct StackRings {
    /// Full buffers: packed [`Desc`]s.
    pub rx: Consumer<u64>,
    /// Indexes of buffers to give back.
    pub free: Producer<u32>,
    /// Indexes of empty buffers to send from.
    pub fill: Consumer<u32>,
    /// Packets to send: packed [`Desc`]s.
    pub tx: Producer<u64>,
}

/// Burst I/O over a vport's rings, without a control connection: what [`Vport`](crate::Vport) is
/// made of, and all that the exception path inside the primary needs.
///
/// Nothing here blocks, allocates or makes a system call.
pub struct RingPort {
    slot: u16,
    port: u8,
    workers: Vec<StackRings>,
    doorbells: Vec<Doorbells>,
    next_rx: usize,
    next_alloc: usize,
    buffers: Buffers,
    status: Status,
    /// Packets that were handed out and have not come back.
    in_hand: usize,
}

impl RingPort {
    /// The rings of `slot`, just reset by the switch. Frames from [`alloc`](Self::alloc) go to NIC
    /// port `port` unless told otherwise.
    ///
    /// # Panics
    /// If the region has no such slot.
    pub fn new(region: &Region, buffers: Buffers, slot: u16, port: u8) -> Self {
        let workers = 0..region.geometry().workers;
        Self {
            slot,
            port,
            workers: workers
                .clone()
                .map(|w| region.stack_rings(slot, w))
                .collect(),
            doorbells: workers.map(|w| region.doorbells(w)).collect(),
            next_rx: 0,
            next_alloc: 0,
            buffers,
            status: region.status(slot),
            in_hand: 0,
        }
    }

    /// True while the switch serves this vport; false for good once it shuts down or has shut the
    /// vport.
    pub fn is_open(&self) -> bool {
        self.status.is_open()
    }

    /// Packets that were received or allocated, and neither sent nor released.
    pub const fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Whether packets wait. For who serves several vports: if all are polled before the first one's
    /// [`rx_burst`](Self::rx_burst), the CPU fetches what was written to their rings for all of them at once.
    pub fn poll(&mut self) -> bool {
        let mut waits = false;
        for rings in &mut self.workers {
            // A broken ring has nothing to give, as in `rx_burst`.
            waits |= rings.rx.waiting() > 0 || rings.rx.refresh().is_ok_and(|count| count > 0);
        }
        waits
    }

    /// Appends received packets to `burst` until it is full or no more wait; tells how many.
    ///
    /// Packets of one flow come in order: a flow stays with one worker.
    pub fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let before = burst.len();
        for _ in 0..self.workers.len() {
            let worker = self.next_rx;
            self.next_rx = if worker + 1 == self.workers.len() {
                0
            } else {
                worker + 1
            };
            self.rx_from(worker, burst);
            if burst.is_full() {
                break;
            }
        }
        let received = burst.len() - before;
        self.in_hand += received;
        received
    }

    fn rx_from(&mut self, worker: usize, burst: &mut Burst) {
        let rings = &mut self.workers[worker];
        if rings.rx.waiting() == 0 && rings.rx.refresh().is_err() {
            return;
        }
        while !burst.is_full() {
            let Some(raw) = rings.rx.take() else { break };
            // What the primary gives is right or the primary is broken: skipping is all that a
            // stack can do.
            let Some(desc) = Desc::unpack(raw) else {
                continue;
            };
            if let Some(packet) = packet(&self.buffers, desc, worker) {
                burst.push(packet);
            }
        }
        rings.rx.release();
    }

    /// An empty buffer to send from, with room for [`Packet::capacity`] bytes and a length of 0.
    /// None if the switch has not provided one: the vport's quota is used up, or the switch has not
    /// come round yet.
    ///
    /// Stays with one worker for as long as that has buffers. Packets that leave through different
    /// workers may overtake each other: [`alloc_from`](Self::alloc_from) keeps a flow to one.
    pub fn alloc(&mut self) -> Option<Packet> {
        for _ in 0..self.workers.len() {
            if let Some(packet) = self.take_empty(self.next_alloc) {
                return Some(packet);
            }
            self.next_alloc = if self.next_alloc + 1 < self.workers.len() {
                self.next_alloc + 1
            } else {
                0
            };
        }
        None
    }

    /// As [`alloc`](Self::alloc), a buffer that leaves through `worker`, such as the
    /// [`Packet::worker`] of what is answered. None also if there is no such worker.
    pub fn alloc_from(&mut self, worker: u16) -> Option<Packet> {
        self.take_empty(worker.into())
    }

    fn take_empty(&mut self, worker: usize) -> Option<Packet> {
        let fill = &mut self.workers.get_mut(worker)?.fill;
        if fill.waiting() == 0 && fill.refresh().is_err() {
            return None;
        }
        let Some(index) = fill.take() else {
            self.doorbells[worker].ring(self.slot);
            return None;
        };
        fill.release();
        let empty = Desc {
            index,
            offset: HEADROOM,
            len: 0,
            port: self.port,
            checksum: false,
        };
        let packet = packet(&self.buffers, empty, worker)?;
        self.in_hand += 1;
        Some(packet)
    }

    /// Sends packets from the front of `burst`, each to its [`Packet::port`]; what the rings have
    /// no room for stays in `burst`, in order. Tells how many went.
    ///
    /// The switch checks each against this stack's own claims before it reaches the wire; what
    /// fails is dropped and counted (`msctl stats`).
    pub fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let count = burst
            .iter()
            .take_while(|packet| {
                let desc = Desc {
                    index: packet.index,
                    offset: packet.offset,
                    len: packet.len,
                    port: packet.port,
                    checksum: packet.checksum,
                };
                let tx = &mut self.workers[usize::from(packet.worker)].tx;
                if tx.room() == 0 && tx.refresh().is_err() {
                    return false;
                }
                tx.stage(desc.pack())
            })
            .count();
        // What was sent belongs to the switch from here on: `Packet` has no drop to run.
        burst.drain(..count);
        self.in_hand = self.in_hand.saturating_sub(count);
        for (rings, doorbells) in self.workers.iter_mut().zip(&self.doorbells) {
            if rings.tx.publish() > 0 {
                doorbells.ring(self.slot);
            }
        }
        count
    }

    /// Gives the buffers of all packets in `burst` back to the switch.
    pub fn release(&mut self, burst: &mut Burst) {
        self.in_hand = self.in_hand.saturating_sub(burst.len());
        for packet in burst.drain(..) {
            let free = &mut self.workers[usize::from(packet.worker)].free;
            if free.room() == 0 {
                // The ring is no smaller than the quota, so a stack that holds only what it was
                // given finds room; if not, the switch reclaims the buffer on detach.
                let _ = free.refresh();
            }
            free.stage(packet.index);
        }
        // No doorbell: the switch looks when it has packets for this vport, or nothing to do.
        for rings in &mut self.workers {
            rings.free.publish();
        }
    }
}

fn packet(buffers: &Buffers, desc: Desc, worker: usize) -> Option<Packet> {
    if !buffers.contains(desc.index, desc.offset, desc.len) {
        return None;
    }
    Some(Packet {
        index: desc.index,
        worker: u16::try_from(worker).ok()?,
        offset: desc.offset,
        len: desc.len,
        room: (buffers.buf_len() - desc.offset).min(MAX_FRAME),
        port: desc.port,
        checksum: desc.checksum,
        place: buffers.start(desc.index, desc.offset),
    })
}
