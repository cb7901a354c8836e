//! A pool, a ledger and two NIC ports in ordinary memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::rc::Rc;

use dpdk::ledger::Reclaimed;
use dpdk::mbuf::{Checksum, LeftChecksum};
use dpdk::{Lent, Owner};
use port_api::Desc;
use switch::io::{Buf, Bufs, Io};

pub const HEADROOM: usize = 128;
pub const BUF_LEN: usize = 2176;
pub const BUFFERS: usize = 1024;
pub const NICS: usize = 2;

/// A buffer: taken from the pool, to be given back exactly once.
pub struct MockBuf {
    index: u32,
    bytes: Box<[u8]>,
    offset: usize,
    len: usize,
    checksum: Checksum,
    left: Option<LeftChecksum>,
}

impl MockBuf {
    /// As a NIC does: with the sum from layer 4 to the end.
    fn finish(&mut self, left: LeftChecksum) {
        let l4 = &mut self.frame_mut()[usize::from(left.l2_len + left.l3_len)..];
        let field = if left.is_tcp { 16 } else { 6 };
        let sum = match wire::checksum::internet(l4) {
            0 if !left.is_tcp => u16::MAX,
            sum => sum,
        };
        l4[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

impl Buf for MockBuf {
    fn frame(&self) -> &[u8] {
        &self.bytes[self.offset..][..self.len]
    }

    fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.offset..][..self.len]
    }

    fn l4_checksum(&self) -> Checksum {
        self.checksum
    }

    fn set_frame(&mut self, offset: u16, len: u16) -> bool {
        let (offset, len) = (usize::from(offset), usize::from(len));
        if offset + len > BUF_LEN {
            return false;
        }
        (self.offset, self.len) = (offset, len);
        self.left = None;
        true
    }

    fn leave_checksum(&mut self, left: LeftChecksum) {
        self.left = Some(left);
    }
}

enum Place {
    Pool(Box<[u8]>),
    InHand,
    Lent(Owner, Box<[u8]>),
}

/// All that the far sides can look at.
pub struct World {
    places: Vec<Place>,
    free: Vec<usize>,
    /// By NIC port: frames that come in.
    pub arriving: [VecDeque<Vec<u8>>; NICS],
    /// By NIC port: frames that went out.
    pub sent: [Vec<Vec<u8>>; NICS],
    /// Packets whose checksum was left to a NIC.
    pub finished: usize,
    /// How many packets the NICs take before their queues are full.
    pub tx_room: usize,
    /// What the NICs say of the checksum of all that comes in.
    pub hardware: Checksum,
    pub now_ms: u64,
}

impl World {
    pub fn new() -> Self {
        let empty = || Place::Pool(vec![0; BUF_LEN].into());
        Self {
            places: (0..BUFFERS).map(|_| empty()).collect(),
            free: (0..BUFFERS).rev().collect(),
            arriving: Default::default(),
            sent: Default::default(),
            finished: 0,
            tx_room: usize::MAX / 2,
            hardware: Checksum::Unknown,
            now_ms: 0,
        }
    }

    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Buffers that the worker has.
    pub fn in_hand(&self) -> usize {
        let is_in_hand = |place: &&Place| matches!(place, Place::InHand);
        self.places.iter().filter(is_in_hand).count()
    }

    /// Whether the vport in `slot` has this buffer.
    pub fn is_lent(&self, index: u32, slot: u16) -> bool {
        let place = self.places.get(index as usize);
        matches!(place, Some(Place::Lent(owner, _)) if owner.vport() == u32::from(slot) + 1)
    }

    /// The stack writes into a buffer it has.
    pub fn write(&mut self, index: u32, offset: usize, frame: &[u8]) {
        match &mut self.places[index as usize] {
            Place::Lent(_, bytes) => bytes[offset..][..frame.len()].copy_from_slice(frame),
            _ => panic!("buffer {index} is not lent"),
        }
    }

    /// The stack reads a buffer it has.
    pub fn read(&self, desc: Desc) -> Vec<u8> {
        match &self.places[desc.index as usize] {
            Place::Lent(_, bytes) => bytes[desc.offset.into()..][..desc.len.into()].to_vec(),
            _ => panic!("buffer {} is not lent", desc.index),
        }
    }

    fn put(&mut self, index: usize, bytes: Box<[u8]>) {
        self.places[index] = Place::Pool(bytes);
        self.free.push(index);
    }
}

#[derive(Clone)]
pub struct MockIo(pub Rc<RefCell<World>>);

impl MockIo {
    fn put(&self, buf: MockBuf) {
        let mut world = self.0.borrow_mut();
        let index = buf.index as usize;
        let is_in_hand = matches!(world.places[index], Place::InHand);
        assert!(is_in_hand, "buffer {index} freed twice");
        world.put(index, buf.bytes);
    }
}

impl Io for MockIo {
    type Buf = MockBuf;

    fn rx_burst(&mut self, nic: usize, burst: &mut Bufs<MockBuf>) -> usize {
        let mut count = 0;
        while !burst.is_full() {
            let Some(frame) = self.0.borrow_mut().arriving[nic].pop_front() else {
                break;
            };
            let mut buf = self
                .copy(&frame)
                .expect("the pool has a buffer for the NIC");
            buf.checksum = self.0.borrow().hardware;
            burst.push(buf);
            count += 1;
        }
        count
    }

    fn unfit(&self, _nic: usize) -> u64 {
        0
    }

    fn tx_burst(&mut self, nic: usize, burst: &mut Bufs<MockBuf>) -> usize {
        let count = burst.len().min(self.0.borrow().tx_room);
        for mut buf in burst.drain(..count) {
            if let Some(left) = buf.left {
                buf.finish(left);
                self.0.borrow_mut().finished += 1;
            }
            self.0.borrow_mut().sent[nic].push(buf.frame().to_vec());
            self.put(buf);
        }
        self.0.borrow_mut().tx_room -= count;
        count
    }

    fn alloc(&mut self) -> Option<MockBuf> {
        let mut world = self.0.borrow_mut();
        let index = world.free.pop()?;
        let Place::Pool(bytes) = std::mem::replace(&mut world.places[index], Place::InHand) else {
            panic!("buffer {index} is not in the pool")
        };
        Some(MockBuf {
            index: u32::try_from(index).unwrap(),
            bytes,
            offset: HEADROOM,
            len: 0,
            checksum: Checksum::Unknown,
            left: None,
        })
    }

    fn copy(&mut self, frame: &[u8]) -> Option<MockBuf> {
        let mut buf = self.alloc()?;
        buf.bytes[HEADROOM..][..frame.len()].copy_from_slice(frame);
        buf.len = frame.len();
        Some(buf)
    }

    fn free(&mut self, bufs: &mut Bufs<MockBuf>) {
        for buf in bufs.drain(..) {
            self.put(buf);
        }
    }

    fn lend(&mut self, buf: MockBuf, owner: Owner) -> Lent {
        let lent = Lent {
            index: buf.index,
            offset: u16::try_from(buf.offset).unwrap(),
            len: u16::try_from(buf.len).unwrap(),
        };
        let place = &mut self.0.borrow_mut().places[buf.index as usize];
        assert!(matches!(place, Place::InHand));
        *place = Place::Lent(owner, buf.bytes);
        lent
    }

    fn take_back(&mut self, index: u32, owner: Owner) -> Option<MockBuf> {
        let mut world = self.0.borrow_mut();
        let place = world.places.get_mut(index as usize)?;
        match std::mem::replace(place, Place::InHand) {
            Place::Lent(to, bytes) if to == owner => Some(MockBuf {
                index,
                bytes,
                offset: HEADROOM,
                len: 0,
                checksum: Checksum::Unknown,
                left: None,
            }),
            other => {
                *place = other;
                None
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.0.borrow().now_ms * 1_000_000
    }

    fn reclaim(&mut self, vport: NonZeroU16, from: u32, max: u32) -> Reclaimed {
        let mut world = self.0.borrow_mut();
        let total = u32::try_from(world.places.len()).unwrap();
        let to = total.min(from + max);
        let mut freed = 0;
        for index in from as usize..to as usize {
            let place = &mut world.places[index];
            if matches!(place, Place::Lent(owner, _) if owner.vport() == u32::from(vport.get()))
                && let Place::Lent(_, bytes) = std::mem::replace(place, Place::InHand)
            {
                world.put(index, bytes);
                freed += 1;
            }
        }
        Reclaimed {
            freed,
            next: (to < total).then_some(to),
        }
    }
}
