//! What a worker does with packets, apart from deciding: burst I/O, and lending buffers.
//!
//! A trait, so that the data path can be tested with no DPDK, no root and no hugepages; static
//! dispatch, so that it costs nothing.

use arrayvec::ArrayVec;
use dpdk::ethdev::{RxQueue, TxQueue};
use dpdk::mbuf::{Checksum, LeftChecksum};
use dpdk::{Burst, Ledger, Lent, Mbuf, Mempool, Owner, WorkerLedger, ledger::Reclaimed};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

/// Most packets that are received, sent or freed together.
pub const BURST: usize = dpdk::BURST;

/// Buffers that are moved together.
pub type Bufs<B> = ArrayVec<B, BURST>;

/// A packet in a buffer of the switch's own.
pub trait Buf {
    /// The frame, without FCS.
    fn frame(&self) -> &[u8];

    /// The frame, to change in place.
    fn frame_mut(&mut self) -> &mut [u8];

    /// What the NIC found out about the layer 4 checksum of a packet that it received.
    fn l4_checksum(&self) -> Checksum;

    /// Makes `len` bytes from `offset` on, counted from the buffer's start, the frame. False, and
    /// nothing changed, if they leave the buffer.
    fn set_frame(&mut self, offset: u16, len: u16) -> bool;

    /// Has the NIC that sends the frame finish its checksum, in whose field is the sum of the
    /// pseudo-header.
    fn leave_checksum(&mut self, left: LeftChecksum);
}

/// What a worker works on.
pub trait Io {
    /// Its buffers.
    type Buf: Buf;

    /// Receives from NIC port `nic` as many packets as fit into `burst`; tells how many.
    fn rx_burst(&mut self, nic: usize, burst: &mut Bufs<Self::Buf>) -> usize;

    /// Packets of NIC port `nic` that [`rx_burst`](Self::rx_burst) had to drop, so far: the driver
    /// spread them over several buffers, or shares their buffers.
    fn unfit(&self, nic: usize) -> u64;

    /// Sends through NIC port `nic` from the front of `burst`; what it does not take stays. Tells
    /// how many went.
    fn tx_burst(&mut self, nic: usize, burst: &mut Bufs<Self::Buf>) -> usize;

    /// A fresh buffer, with an empty frame.
    fn alloc(&mut self) -> Option<Self::Buf>;

    /// A fresh buffer with a copy of `frame`, if it fits.
    fn copy(&mut self, frame: &[u8]) -> Option<Self::Buf>;

    /// Gives buffers back to the pool.
    fn free(&mut self, bufs: &mut Bufs<Self::Buf>);

    /// Lends a buffer to a vport.
    fn lend(&mut self, buf: Self::Buf, owner: Owner) -> Lent;

    /// Takes back what this worker lent to `owner`; None if it did not.
    fn take_back(&mut self, index: u32, owner: Owner) -> Option<Self::Buf>;

    /// Milliseconds since some moment in the past.
    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// Nanoseconds since that moment. No system call (vDSO), but some 20 ns: not for each packet.
    fn now_ns(&self) -> u64;

    /// Gives the pool what this worker lent to `vport`, among `max` buffers from index `from` on.
    fn reclaim(&mut self, vport: NonZeroU16, from: u32, max: u32) -> Reclaimed;
}

impl Buf for Mbuf {
    #[inline]
    fn frame(&self) -> &[u8] {
        self.data()
    }

    #[inline]
    fn frame_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }

    #[inline]
    fn l4_checksum(&self) -> Checksum {
        Mbuf::l4_checksum(self)
    }

    #[inline]
    fn set_frame(&mut self, offset: u16, len: u16) -> bool {
        self.set_data(offset, len)
    }

    fn leave_checksum(&mut self, left: LeftChecksum) {
        Mbuf::leave_checksum(self, left);
    }
}

/// The real thing: DPDK's ports and pool.
pub struct DpdkIo {
    pool: Arc<Mempool>,
    ledger: WorkerLedger,
    rx: Vec<Option<RxQueue>>,
    tx: Vec<TxQueue>,
    start: Instant,
}

impl DpdkIo {
    /// One worker's share: a TX queue of every port, and an RX queue of each that has one for it.
    /// None if the ledger's handle for `worker` is taken.
    pub fn new(
        pool: Arc<Mempool>,
        ledger: &Ledger,
        worker: u8,
        rx: Vec<Option<RxQueue>>,
        tx: Vec<TxQueue>,
    ) -> Option<Self> {
        Some(Self {
            pool,
            ledger: ledger.worker(worker)?,
            rx,
            tx,
            start: Instant::now(),
        })
    }
}

impl Io for DpdkIo {
    type Buf = Mbuf;

    #[inline]
    fn rx_burst(&mut self, nic: usize, burst: &mut Burst) -> usize {
        let Some(queue) = &mut self.rx[nic] else {
            return 0;
        };
        let received = queue.rx_burst(burst);
        for mbuf in burst.iter() {
            self.ledger.prefetch(mbuf);
        }
        received
    }

    fn unfit(&self, nic: usize) -> u64 {
        self.rx[nic].as_ref().map_or(0, RxQueue::unfit)
    }

    #[inline]
    fn tx_burst(&mut self, nic: usize, burst: &mut Burst) -> usize {
        self.tx[nic].tx_burst(burst)
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn copy(&mut self, frame: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.pool.alloc()?;
        mbuf.append(frame).then_some(mbuf)
    }

    #[inline]
    fn free(&mut self, bufs: &mut Burst) {
        dpdk::free_bulk(bufs);
    }

    #[inline]
    fn lend(&mut self, buf: Mbuf, owner: Owner) -> Lent {
        self.ledger.lend(buf, owner)
    }

    #[inline]
    fn take_back(&mut self, index: u32, owner: Owner) -> Option<Mbuf> {
        self.ledger.take_back(index, owner)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn reclaim(&mut self, vport: NonZeroU16, from: u32, max: u32) -> Reclaimed {
        self.ledger.reclaim(vport, from, max)
    }
}
