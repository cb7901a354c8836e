//! One worker with two NIC ports, a pool and a ledger without DPDK, and the far sides of its vports'
//! rings: for tests of the data path with no root and no hugepages.

pub mod frames;
pub mod groups;
pub mod io;
pub mod judge;
pub mod model;
pub mod recipe;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use kni_fallback::Waker;
use port_api::geometry::Geometry;
use port_api::protocol::Traced;
use port_api::{ClaimSpec, Desc, Protocol, Region, StackRings, SwitchSide};
use switch::classify::{Broadcasts, Nic};
use switch::command::{Answer, Command, Event, Fate, Trace};
use switch::counters::{NicCounters, Snapshot, VportCounters};
use switch::explain::{Names, explain};
use switch::flow_table::Seed;
use switch::key::Subject;
use switch::meter::Meters;
use switch::tables::{Holder, Tables};
use switch::trace::Notes;
use switch::verdict::DropReason;
use switch::vport::{Limits, Peer, Vport};
use switch::worker::{Channels, NicSetup, Worker};
use wire::{MacAddr, Vlan};

pub use io::BUFFERS;
use io::{HEADROOM, MockIo, NICS, World};

/// The NIC ports' MACs.
pub const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const MAC1: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Another machine's.
pub const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
pub const SEED: Seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);
/// Longest frame that may be sent.
pub const MAX_FRAME: usize = 1522;
/// The host's vport behind the first port; that behind the second is 1.
pub const HOST: u16 = 0;
/// The broadcast address of the host's subnet on the first port.
pub const BROADCAST: [u8; 4] = [192, 0, 2, 255];

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

/// One worker, and everything around it.
pub struct Bench {
    pub worker: Worker<MockIo>,
    pub world: Rc<RefCell<World>>,
    pub region: Region,
    pub doorbells: ring::Doorbells,
    pub commands: Sender<Command>,
    pub answers: Receiver<Answer>,
    pub events: Receiver<Event>,
    /// The far side of each vport in service, the host's included.
    pub far: [Option<StackRings>; GEOMETRY.slots as usize],
    /// The limits of each vport, in service or not.
    pub meters: [Arc<Meters>; GEOMETRY.slots as usize],
}

/// The host's addresses.
pub const HOSTS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1"];

/// NIC ports as the tests have them.
pub fn nics() -> [Nic; NICS] {
    let broadcast = Broadcasts::from_iter([u32::from_be_bytes(BROADCAST)]);
    [(0, MAC, broadcast), (1, MAC1, Broadcasts::new())].map(|(id, mac, broadcasts)| Nic {
        id,
        mac,
        broadcasts,
        hosts: HOSTS.iter().map(|ip| ip.parse().unwrap()).collect(),
    })
}

impl Bench {
    pub fn new() -> Self {
        let world = Rc::new(RefCell::new(World::new()));
        let region = Region::on_heap(GEOMETRY).unwrap();
        let (commands, command_receiver) = bounded(1);
        let (answer_sender, answers) = bounded(1);
        let (event_sender, events) = bounded(16);
        let setups: Vec<_> = (0..)
            .zip(nics())
            .map(|(host, nic)| NicSetup {
                // The second one does.
                finishes_checksums: nic.id == 1,
                nic,
                host,
                max_frame: MAX_FRAME,
            })
            .collect();
        let worker = Worker::new(
            MockIo(world.clone()),
            &setups,
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
            far: Default::default(),
            meters: Default::default(),
        };
        for (slot, nic) in [(0, 0), (1, 1)] {
            let waker = Waker::new().unwrap();
            bench.open(slot, 1, Peer::Host { nic, waker });
        }
        bench
    }

    /// A bench with stacks on these vports.
    pub fn with_stacks<const N: usize>(slots: [u16; N]) -> Self {
        let mut bench = Self::new();
        for slot in slots {
            bench.attach(slot, 1);
        }
        bench
    }

    /// Puts a stack's vport into service.
    pub fn attach(&mut self, slot: u16, generation: u8) {
        self.open(slot, generation, Peer::Stack);
    }

    pub fn open(&mut self, slot: u16, generation: u8, peer: Peer) {
        let rings = SwitchSide::new(&self.region, slot, 0);
        let meters = self.meters[usize::from(slot)].clone();
        let vport = Vport::new(slot, generation, peer, rings, LIMITS, meters);
        self.obey(Command::Add(Box::new(vport)));
        self.worker.step();
        self.far[usize::from(slot)] = Some(self.region.stack_rings(slot, 0));
    }

    /// Takes a vport out of service, with its buffers.
    pub fn detach(&mut self, slot: u16) {
        self.far[usize::from(slot)] = None;
        let reclaim = true;
        self.obey(Command::Remove { slot, reclaim });
    }

    /// Gives what `spec` says to `slot`.
    pub fn claim(&mut self, spec: &str, slot: u16) -> Subject {
        self.claim_as(spec_of(spec), slot)
    }

    pub fn claim_as(&mut self, spec: ClaimSpec, slot: u16) -> Subject {
        let subject = Subject { spec, nic: 0 };
        self.give(subject, Holder::new(slot, spec.verify));
        subject
    }

    pub fn give(&mut self, subject: Subject, holder: Holder) {
        self.obey(Command::Claim(vec![(subject, holder)]));
    }

    pub fn release(&mut self, subject: Subject, slot: u16) {
        let holder = Holder::new(slot, subject.spec.verify);
        self.obey(Command::Release(vec![(subject, holder)]));
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

    /// Frames come in at the first port, and a round is done with them.
    pub fn receive(&mut self, frames: &[Vec<u8>]) {
        self.receive_at(0, frames);
    }

    pub fn receive_at(&mut self, nic: usize, frames: &[Vec<u8>]) {
        let frames = frames.iter().cloned();
        self.world.borrow_mut().arriving[nic].extend(frames);
        self.worker.step();
    }

    pub fn rings(&mut self, slot: u16) -> &mut StackRings {
        self.far[usize::from(slot)].as_mut().expect("in service")
    }

    /// A buffer from the vport's fill ring.
    pub fn take_empty(&mut self, slot: u16) -> u32 {
        let fill = &mut self.rings(slot).fill;
        fill.refresh().unwrap();
        let index = fill.take().expect("an empty buffer");
        fill.release();
        index
    }

    /// A vport sends a frame through the first port.
    pub fn send(&mut self, slot: u16, frame: &[u8]) {
        self.send_with(slot, 0, false, frame);
    }

    pub fn send_with(&mut self, slot: u16, port: u8, checksum: bool, frame: &[u8]) {
        let index = self.take_empty(slot);
        self.world.borrow_mut().write(index, HEADROOM, frame);
        let desc = Desc {
            index,
            offset: 128,
            len: u16::try_from(frame.len()).unwrap(),
            port,
            checksum,
        };
        self.send_desc(slot, desc);
    }

    /// Puts a frame into a vport's tx ring, without ringing. False if there is no room for it, or no empty
    /// buffer.
    pub fn try_stage(&mut self, slot: u16, frame: &[u8]) -> bool {
        let rings = self.rings(slot);
        rings.fill.refresh().unwrap();
        if rings.tx.refresh() == Ok(0) {
            return false;
        }
        let Some(index) = rings.fill.take() else {
            return false;
        };
        rings.fill.release();
        self.world.borrow_mut().write(index, HEADROOM, frame);
        let desc = Desc {
            index,
            offset: 128,
            len: u16::try_from(frame.len()).unwrap(),
            port: 0,
            checksum: false,
        };
        assert_eq!(self.rings(slot).tx.push(&[desc.pack()]), Ok(1));
        true
    }

    /// Rings for a vport.
    pub fn ring(&self, slot: u16) {
        self.doorbells.ring(slot);
    }

    pub fn send_desc(&mut self, slot: u16, desc: Desc) {
        assert_eq!(self.rings(slot).tx.push(&[desc.pack()]), Ok(1));
        self.doorbells.ring(slot);
        self.worker.step();
    }

    /// All that a vport has received, given back at once.
    pub fn drain(&mut self, slot: u16) -> Vec<Vec<u8>> {
        let received = self.drain_descs(slot);
        received.into_iter().map(|(_, frame)| frame).collect()
    }

    pub fn drain_descs(&mut self, slot: u16) -> Vec<(Desc, Vec<u8>)> {
        let world = self.world.clone();
        let rings = self.rings(slot);
        let mut received = vec![];
        rings.rx.refresh().unwrap();
        while let Some(raw) = rings.rx.take() {
            let desc = Desc::unpack(raw).unwrap();
            received.push((desc, world.borrow().read(desc)));
            assert_eq!(rings.free.push(&[desc.index]), Ok(1));
        }
        rings.rx.release();
        self.doorbells.ring(slot);
        self.worker.step();
        received
    }

    /// All that went out through the first port.
    pub fn wire(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.world.borrow_mut().sent[0])
    }

    pub fn set_time(&mut self, now_ms: u64) {
        self.world.borrow_mut().now_ms = now_ms;
    }

    /// Rounds enough for everything that is done now and then.
    pub fn idle(&mut self) {
        for _ in 0..1024 {
            self.worker.step();
        }
    }

    pub fn count(&mut self) -> Snapshot {
        let room = Box::new(Snapshot::with_room(NICS, GEOMETRY.slots.into()));
        match self.obey(Command::Count(room)) {
            Answer::Counted(snapshot) => *snapshot,
            _ => panic!("not a count"),
        }
    }

    pub fn nic(&mut self) -> NicCounters {
        self.count().nics[0]
    }

    pub fn vport(&mut self, slot: u16) -> VportCounters {
        let counts = self.count();
        let vport = counts.vports.iter().find(|(at, ..)| *at == slot);
        vport.expect("in service").1
    }

    /// Packets received at the first port and dropped under `reason`.
    pub fn rx_dropped(&mut self, reason: impl Into<DropReason>) -> u64 {
        self.nic().dropped.0[reason.into().index()]
    }

    /// Packets of a vport's that were refused under `reason`.
    pub fn tx_dropped(&mut self, slot: u16, reason: impl Into<DropReason>) -> u64 {
        self.vport(slot).tx_dropped.0[reason.into().index()]
    }

    /// What the worker says would become of a frame.
    pub fn trace(&mut self, nic: usize, from: Option<u16>, frame: &[u8]) -> Fate {
        self.trace_told(nic, from, frame).0
    }

    /// The same, and in words.
    pub fn trace_told(&mut self, nic: usize, from: Option<u16>, frame: &[u8]) -> (Fate, Traced) {
        let trace = Box::new(Trace {
            nic,
            from,
            frame: frame.to_vec(),
            notes: Notes::default(),
            fate: None,
        });
        let Answer::Traced(trace) = self.obey(Command::Trace(trace)) else {
            panic!("not a trace")
        };
        let names = Names {
            of: &|slot| Some(format!("stack{slot}")),
            host: "msh0",
            sender: from,
        };
        let told = explain(&trace, &names).expect("an end");
        (trace.fate.unwrap(), told)
    }

    /// Every packet is accounted for, and every buffer.
    pub fn assert_conserved(&mut self) {
        let counts = loop {
            let counts = self.count();
            // What was dismissed after a round goes back to the pool in the next one.
            if !counts.rounds.is_multiple_of(1024) {
                break counts;
            }
        };
        let mut waiting = 0;
        for nic in &counts.nics {
            let out = nic.to_vports + nic.to_host + nic.waiting + nic.dropped.sum();
            assert_eq!(nic.rx_packets, out, "{nic:?}");
            waiting += usize::try_from(nic.waiting + nic.tx_waiting).unwrap();
        }
        let mut held = 0;
        for (slot, vport, lent) in &counts.vports {
            let passed = vport.tx_wire + vport.tx_local + vport.tx_waiting + vport.tx_full;
            let out = passed + vport.tx_dropped.sum();
            assert_eq!(vport.tx_packets, out, "vport {slot}");
            held += *lent as usize;
        }
        let world = self.world.borrow();
        assert_eq!(world.in_hand(), waiting);
        assert_eq!(world.available() + held + waiting, BUFFERS);
    }
}

/// `udp 192.0.2.1:7`, `tcp 192.0.2.1:7 192.0.2.9:5000` (a connection), `47 192.0.2.1` (a protocol),
/// `all 192.0.2.1`; behind it `%100.200` for a VLAN and `!` for verified checksums.
pub fn spec_of(text: &str) -> ClaimSpec {
    let (text, verify) = match text.strip_suffix('!') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (text, vlan) = match text.split_once('%') {
        Some((text, vlan)) => (text, vlan.parse().unwrap()),
        None => (text, Vlan::NONE),
    };
    let words: Vec<_> = text.split(' ').collect();
    let protocol = words[0].parse::<Protocol>();
    let mut spec = match (protocol, words.as_slice()) {
        (Ok(protocol), [_, local]) => ClaimSpec::tuple(protocol, local.parse().unwrap()),
        (Ok(protocol), [_, local, remote]) => {
            ClaimSpec::connection(protocol, local.parse().unwrap(), remote.parse().unwrap())
        }
        (_, ["all", addr]) => ClaimSpec::address(addr.parse().unwrap()),
        (_, [proto, addr]) => ClaimSpec::protocol(proto.parse().unwrap(), addr.parse().unwrap()),
        _ => panic!("{text:?} is no claim"),
    };
    spec.verify = verify;
    spec.on_vlan(vlan)
}
