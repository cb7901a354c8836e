//! A NIC, a pool and a ledger without DPDK, and the stack's side of a vport's rings: for tests of
//! the data path with no root and no hugepages.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::rc::Rc;

use crossbeam_channel::{Receiver, Sender, bounded};
use dpdk::ledger::Reclaimed;
use dpdk::{Lent, Owner};
use port_api::geometry::Geometry;
use port_api::{Desc, Region, StackRings, SwitchSide};
use switch::classify::{Local, Nic, Tables};
use switch::command::{Answer, Command, Event};
use switch::counters::Snapshot;
use switch::flow_table::Seed;
use switch::io::{Buf, Bufs, Io};
use switch::verdict::DropReason;
use switch::vport::{Limits, Peer, Vport};
use switch::worker::{Channels, NicSetup, Worker};
use wire::MacAddr;

pub const HEADROOM: usize = 128;
pub const BUF_LEN: usize = 2176;
pub const BUFFERS: usize = 1024;
pub const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
pub const SEED: Seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);

/// A buffer: taken from the pool, to be given back exactly once.
pub struct MockBuf {
    index: u32,
    bytes: Box<[u8]>,
    offset: usize,
    len: usize,
}

impl Buf for MockBuf {
    fn frame(&self) -> &[u8] {
        &self.bytes[self.offset..][..self.len]
    }

    fn set_frame(&mut self, offset: u16, len: u16) -> bool {
        let (offset, len) = (usize::from(offset), usize::from(len));
        if offset + len > BUF_LEN {
            return false;
        }
        (self.offset, self.len) = (offset, len);
        true
    }

    fn prefetch(&self) {}
}

enum Place {
    Pool(Box<[u8]>),
    InHand,
    Lent(Owner, Box<[u8]>),
}

/// All that the far sides can look at.
#[derive(Default)]
pub struct World {
    places: Vec<Place>,
    pub arriving: VecDeque<Vec<u8>>,
    pub wire: Vec<Vec<u8>>,
    /// How many packets the NIC takes before its queue is full.
    pub tx_room: usize,
}

impl World {
    pub fn available(&self) -> usize {
        let in_pool = |place: &&Place| matches!(place, Place::Pool(_));
        self.places.iter().filter(in_pool).count()
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
}

#[derive(Clone)]
pub struct MockIo(pub Rc<RefCell<World>>);

impl MockIo {
    fn put(&self, buf: MockBuf) {
        let place = &mut self.0.borrow_mut().places[buf.index as usize];
        assert!(
            matches!(place, Place::InHand),
            "buffer {} freed twice",
            buf.index
        );
        *place = Place::Pool(buf.bytes);
    }
}

impl Io for MockIo {
    type Buf = MockBuf;

    fn rx_burst(&mut self, _nic: usize, burst: &mut Bufs<MockBuf>) -> usize {
        let mut count = 0;
        while !burst.is_full() {
            let Some(frame) = self.0.borrow_mut().arriving.pop_front() else {
                break;
            };
            let buf = self
                .copy(&frame)
                .expect("the pool has a buffer for the NIC");
            burst.push(buf);
            count += 1;
        }
        count
    }

    fn unfit(&self, _nic: usize) -> u64 {
        0
    }

    fn tx_burst(&mut self, _nic: usize, burst: &mut Bufs<MockBuf>) -> usize {
        let count = burst.len().min(self.0.borrow().tx_room);
        for buf in burst.drain(..count) {
            self.0.borrow_mut().wire.push(buf.frame().to_vec());
            self.put(buf);
        }
        self.0.borrow_mut().tx_room -= count;
        count
    }

    fn alloc(&mut self) -> Option<MockBuf> {
        let mut world = self.0.borrow_mut();
        let index = world
            .places
            .iter()
            .position(|place| matches!(place, Place::Pool(_)))?;
        let Place::Pool(bytes) = std::mem::replace(&mut world.places[index], Place::InHand) else {
            unreachable!()
        };
        Some(MockBuf {
            index: u32::try_from(index).unwrap(),
            bytes,
            offset: HEADROOM,
            len: 0,
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
            }),
            other => {
                *place = other;
                None
            }
        }
    }

    fn reclaim(&mut self, vport: NonZeroU16, from: u32, max: u32) -> Reclaimed {
        let mut world = self.0.borrow_mut();
        let total = u32::try_from(world.places.len()).unwrap();
        let to = total.min(from + max);
        let mut freed = 0;
        for place in &mut world.places[from as usize..to as usize] {
            if matches!(place, Place::Lent(owner, _) if owner.vport == vport) {
                let Place::Lent(_, bytes) = std::mem::replace(place, Place::InHand) else {
                    unreachable!()
                };
                *place = Place::Pool(bytes);
                freed += 1;
            }
        }
        Reclaimed {
            freed,
            next: (to < total).then_some(to),
        }
    }
}

/// A stack, down to its rings.
pub struct Stack {
    pub slot: u16,
    pub rings: StackRings,
}

/// One worker with one port, the host on slot 0, and everything around it.
pub struct Bench {
    pub worker: Worker<MockIo>,
    pub world: Rc<RefCell<World>>,
    pub region: Region,
    pub doorbells: ring::Doorbells,
    pub commands: Sender<Command>,
    pub answers: Receiver<Answer>,
    pub events: Receiver<Event>,
}

pub const LIMITS: Limits = Limits {
    quota: 64,
    fill_level: 8,
};
pub const GEOMETRY: Geometry = Geometry {
    workers: 1,
    slots: 8,
    ring_size: 32,
    free_size: 64,
};

impl Bench {
    pub fn new() -> Self {
        let world = Rc::new(RefCell::new(World {
            places: (0..BUFFERS)
                .map(|_| Place::Pool(vec![0; BUF_LEN].into()))
                .collect(),
            tx_room: usize::MAX / 2,
            ..World::default()
        }));
        let region = Region::on_heap(GEOMETRY).unwrap();
        let (commands, command_receiver) = bounded(1);
        let (answer_sender, answers) = bounded(1);
        let (event_sender, events) = bounded(16);
        let nic = NicSetup {
            nic: Nic { id: 0, mac: MAC },
            host: 0,
            max_frame: 1518,
        };
        let worker = Worker::new(
            MockIo(world.clone()),
            &[nic],
            Tables::new(64, SEED),
            GEOMETRY.slots,
            region.doorbells(0),
            Channels {
                commands: command_receiver,
                answers: answer_sender,
                events: event_sender,
            },
            true,
        );
        let doorbells = region.doorbells(0);
        let mut bench = Self {
            worker,
            world,
            region,
            doorbells,
            commands,
            answers,
            events,
        };
        bench.attach(0);
        bench
    }

    /// Puts a vport into service and gives the stack's side of it.
    pub fn attach(&mut self, slot: u16) -> Stack {
        self.attach_as(slot, 1)
    }

    pub fn attach_as(&mut self, slot: u16, generation: u8) -> Stack {
        let rings = SwitchSide::new(&self.region, slot, 0);
        let vport = Vport::new(slot, generation, Peer::Stack, rings, LIMITS);
        self.obey(Command::Add(Box::new(vport)));
        self.worker.step();
        Stack {
            slot,
            rings: self.region.stack_rings(slot, 0),
        }
    }

    pub fn claim(&mut self, claim: &str, slot: u16) -> Local {
        let (protocol, addr) = claim.split_once(' ').unwrap();
        let local = Local {
            protocol: protocol.parse().unwrap(),
            addr: addr.parse().unwrap(),
            nic: 0,
        };
        self.obey(Command::Claim(local, slot));
        local
    }

    /// Has the worker obey, however many rounds that takes.
    pub fn obey(&mut self, command: Command) -> Answer {
        self.commands.send(command).unwrap();
        loop {
            assert!(self.worker.step());
            if let Ok(answer) = self.answers.try_recv() {
                return answer;
            }
        }
    }

    /// Frames come in, and a round is done with them.
    pub fn receive(&mut self, frames: &[Vec<u8>]) {
        self.world
            .borrow_mut()
            .arriving
            .extend(frames.iter().cloned());
        self.worker.step();
    }

    /// The stack sends a frame from a buffer of its fill ring.
    pub fn send(&mut self, stack: &mut Stack, frame: &[u8]) {
        stack.rings.fill.refresh().unwrap();
        let index = stack.rings.fill.take().expect("an empty buffer");
        stack.rings.fill.release();
        self.world.borrow_mut().write(index, HEADROOM, frame);
        self.send_desc(
            stack,
            Desc {
                index,
                offset: 128,
                len: u16::try_from(frame.len()).unwrap(),
                port: 0,
            },
        );
    }

    pub fn send_desc(&mut self, stack: &mut Stack, desc: Desc) {
        assert_eq!(stack.rings.tx.push(&[desc.pack()]), Ok(1));
        self.doorbells.ring(stack.slot);
        self.worker.step();
    }

    /// All that the stack has received, given back at once.
    pub fn drain(&mut self, stack: &mut Stack) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        stack.rings.rx.refresh().unwrap();
        while let Some(raw) = stack.rings.rx.take() {
            let desc = Desc::unpack(raw).unwrap();
            frames.push(self.world.borrow().read(desc));
            assert_eq!(stack.rings.free.push(&[desc.index]), Ok(1));
        }
        stack.rings.rx.release();
        self.doorbells.ring(stack.slot);
        self.worker.step();
        frames
    }

    pub fn count(&mut self) -> Snapshot {
        let room = Box::new(Snapshot::with_room(1, GEOMETRY.slots.into()));
        match self.obey(Command::Count(room)) {
            Answer::Counted(snapshot) => *snapshot,
            _ => panic!("not a count"),
        }
    }

    /// Every packet is accounted for, and every buffer.
    pub fn assert_conserved(&mut self) {
        let counts = self.count();
        let nic = &counts.nics[0];
        assert_eq!(
            nic.rx_packets,
            nic.to_vports + nic.to_host + nic.dropped.sum()
        );
        let mut held = 0;
        for (slot, vport, lent) in &counts.vports {
            let out = vport.tx_wire + vport.tx_full + vport.tx_dropped.sum();
            assert_eq!(vport.tx_packets, out, "vport {slot}");
            held += *lent as usize;
        }
        assert_eq!(self.world.borrow().available() + held, BUFFERS);
    }
}

/// The count under `reason` of a vport's refused packets.
pub fn tx_dropped(bench: &mut Bench, slot: u16, reason: DropReason) -> u64 {
    let counts = bench.count();
    let vport = counts.vports.iter().find(|(at, ..)| *at == slot).unwrap();
    vport.1.tx_dropped.0[reason.index()]
}

pub fn udp(from: &str, to: &str) -> Vec<u8> {
    frame(CLIENT_MAC, MAC, from, to)
}

/// What a stack would send.
pub fn udp_out(from: &str, to: &str) -> Vec<u8> {
    frame(MAC, CLIENT_MAC, from, to)
}

pub fn frame(src: MacAddr, dst: MacAddr, from: &str, to: &str) -> Vec<u8> {
    let mut buf = [0; 256];
    let packet = wire::emit::Udp {
        eth: wire::emit::Eth { dst, src },
        src: from.parse().unwrap(),
        dst: to.parse().unwrap(),
        payload: b"eighteen bytes....",
    };
    let len = packet.write(&mut buf).unwrap();
    buf[..len].to_vec()
}
