//! A whole worker on the data path tests' mock of NICs, pool and ledger, with the far sides of its
//! vports' rings in the fuzzer's hands.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use kni_fallback::Waker;
use port_api::geometry::Geometry;
use port_api::{Desc, Region, StackRings, SwitchSide};
use switch::command::{Answer, Changes, Command, Event, Fate, Trace};
use switch::counters::{Drops, NicCounters, Snapshot, VportCounters};
use switch::tables::Tables;
use switch::trace::Notes;
use switch::verdict::{DropReason, Owner, Verdict};
use switch::vport::{Limits, Peer, Vport};
use switch::worker::{Channels, NicSetup, Worker};

use crate::io::{BUFFERS, HEADROOM, MockIo, NICS, World as Memory};
use crate::judge::{self, What};
use crate::model::Model;
use crate::world::{SEED, VPORTS, draw, nic};

mod cursors;
pub mod hostile;

/// Longest frame that may be sent.
const MAX_FRAME: usize = 1518;

const LIMITS: Limits = Limits {
    quota: 24,
    fill_level: 8,
};

const GEOMETRY: Geometry = Geometry {
    workers: 1,
    slots: 8,
    ring_size: 16,
    free_size: 32,
};

/// The vports of the hosts behind the two NIC ports.
const HOSTS: [u16; NICS] = [0, 1];

/// One worker, and everything around it.
pub struct Bench {
    worker: Worker<MockIo>,
    memory: Rc<RefCell<Memory>>,
    region: Region,
    doorbells: ring::Doorbells,
    commands: Sender<Command>,
    answers: Receiver<Answer>,
    events: Receiver<Event>,
    far: Vec<Option<StackRings>>,
    generation: u8,
    model: Model,
}

/// Reasons that depend on who receives, not on the packet.
const OVERLOAD: [DropReason; 3] = [
    DropReason::RingFull,
    DropReason::Quota,
    DropReason::VportShut,
];

impl Bench {
    /// A worker with two NIC ports, the hosts behind them, and three stacks.
    pub fn new() -> Self {
        let memory = Rc::new(RefCell::new(Memory::new()));
        let region = Region::on_heap(GEOMETRY).expect("a heap");
        let (commands, command_receiver) = bounded(1);
        let (answer_sender, answers) = bounded(1);
        let (event_sender, events) = bounded(16);
        let setup = |id: u8| NicSetup {
            nic: nic(id),
            host: HOSTS[usize::from(id)],
            max_frame: MAX_FRAME,
            finishes_checksums: id == 1,
        };
        let doorbells = region.doorbells(0);
        let channels = Channels {
            commands: command_receiver,
            answers: answer_sender,
            events: event_sender,
        };
        let worker = Worker::new(
            MockIo(memory.clone()),
            &[0, 1].map(setup),
            Tables::new(32, SEED),
            GEOMETRY.slots,
            region.doorbells(0),
            channels,
            true,
        );
        let mut bench = Self {
            worker,
            memory,
            region,
            doorbells,
            commands,
            answers,
            events,
            far: (0..GEOMETRY.slots).map(|_| None).collect(),
            generation: 1,
            model: Model::default(),
        };
        for (nic, slot) in HOSTS.into_iter().enumerate() {
            let waker = Waker::new().expect("an eventfd");
            bench.open(slot, Peer::Host { nic, waker });
        }
        for stack in VPORTS {
            bench.open(slot_of(stack), Peer::Stack);
        }
        bench
    }

    fn open(&mut self, slot: u16, peer: Peer) {
        let rings = SwitchSide::new(&self.region, slot, 0);
        let vport = Vport::new(slot, self.generation, peer, rings, LIMITS, Arc::default());
        self.obey(Command::Add(Box::new(vport)));
        self.worker.step();
        self.far[usize::from(slot)] = Some(self.region.stack_rings(slot, 0));
    }

    /// As many rounds as it takes.
    fn obey(&mut self, command: Command) -> Answer {
        self.commands.send(command).expect("a worker");
        loop {
            assert!(self.worker.step());
            if let Ok(answer) = self.answers.try_recv() {
                return answer;
            }
        }
    }

    /// A stack dies, and another one takes its place.
    pub fn replace(&mut self, stack: u16) {
        let slot = slot_of(stack);
        self.release_all(slot);
        let reclaim = true;
        self.obey(Command::Remove { slot, reclaim });
        self.succeed(slot);
    }

    /// The next stack in a slot that has none.
    fn succeed(&mut self, slot: u16) {
        self.generation = self.generation.wrapping_add(1).max(1);
        self.open(slot, Peer::Stack);
    }

    /// Everything that a vport has claimed, and may have back.
    fn release_all(&mut self, slot: u16) {
        let is_its = |(_, holder): &&(_, switch::tables::Holder)| holder.vport == slot;
        let ended: Changes = self.model.0.iter().filter(is_its).copied().collect();
        self.model.0.retain(|(_, holder)| holder.vport != slot);
        self.obey(Command::Release(ended));
        let mut changed = Changes::new();
        for (subject, holder) in &mut self.model.0 {
            if holder.before == Some(slot) {
                holder.before = None;
                changed.push((*subject, *holder));
            }
        }
        self.obey(Command::Claim(changed));
    }

    /// A claim, or a release, by the next bytes.
    pub fn claim(&mut self, input: &mut crate::input::Input<'_>) {
        match draw(input) {
            None => {
                let at = usize::from(input.byte());
                if at < self.model.0.len() {
                    let ended = self.model.0.swap_remove(at);
                    self.obey(Command::Release(vec![ended]));
                }
            }
            Some((subject, mut holder)) if self.model.0.len() < 8 => {
                holder.vport = slot_of(holder.vport);
                holder.before = holder.before.map(slot_of);
                self.model.insert(subject, holder);
                self.obey(Command::Claim(vec![(subject, holder)]));
            }
            Some(_) => {}
        }
    }

    /// A frame comes in, and becomes what a trace said.
    pub fn receive(&mut self, nic: usize, frame: &[u8]) {
        let fate = self.trace(nic, None, frame);
        let before = self.count();
        let arrived = frame.to_vec();
        self.memory.borrow_mut().arriving[nic].push_back(arrived);
        self.worker.step();
        let after = self.count();
        let (was, is) = (&before.nics[nic], &after.nics[nic]);
        assert_eq!(is.rx_packets, was.rx_packets + 1);
        let Some(Fate::Received(verdict, owner)) = fate else {
            panic!("{fate:?}")
        };
        if is_fragment(frame) && before.nics.iter().any(|nic| nic.waiting > 0) {
            // Others may go with it, or have to.
            return;
        }
        match receiver(nic, &verdict, owner) {
            Ok(Some(slot)) => {
                let overload = overload(&was.dropped, &is.dropped);
                assert_eq!(got(&after, slot), got(&before, slot) + 1 - overload);
                assert_eq!(delivered(is), delivered(was) + 1 - overload);
            }
            Ok(None) => assert_eq!(is.waiting, was.waiting + 1),
            Err(reason) => {
                let at = reason.index();
                assert_eq!(is.dropped.0[at], was.dropped.0[at] + 1, "{reason:?}");
            }
        }
    }

    /// A vport sends a frame, if it has a buffer for it, and it becomes what a trace said. `fill`: its
    /// checksum is left to the switch.
    pub fn send(&mut self, slot: u16, nic: u8, fill: bool, frame: &[u8]) {
        let host = HOSTS.iter().position(|host| *host == slot);
        let nic = host.map_or(nic, |nic| u8::try_from(nic).unwrap_or(0));
        let Some(index) = self.empty(slot) else {
            return;
        };
        let fate = self.trace(nic.into(), Some(slot), frame);
        let before = self.count();
        let wire = self.wire(nic);
        self.memory.borrow_mut().write(index, HEADROOM, frame);
        let desc = Desc {
            index,
            offset: 128,
            len: u16::try_from(frame.len()).expect("a short frame"),
            port: nic,
            checksum: fill,
        };
        self.push(slot, desc.pack());
        if fill {
            // A trace takes checksums as they are.
            return;
        }
        let after = self.count();
        let (was, is) = (vport(&before, slot), vport(&after, slot));
        assert_eq!(is.tx_packets, was.tx_packets + 1);
        let passed = |vport: &VportCounters| vport.tx_wire + vport.tx_waiting + vport.tx_full;
        let sent = passed(&is) - passed(&was);
        // What waited for the NIC may have gone as well.
        let at = usize::from(nic);
        let taken = after
            .nics
            .get(at)
            .map_or(0, |is| is.tx_packets - before.nics[at].tx_packets);
        let wire = wire + usize::try_from(taken).unwrap_or(0);
        match fate.expect("there is such a NIC port") {
            Fate::Refused(reason) => {
                let at = reason.index();
                let dropped = is.tx_dropped.0[at] - was.tx_dropped.0[at];
                assert_eq!((dropped, sent), (1, 0), "{reason:?}");
                assert_eq!(self.wire(nic), wire, "refused, and sent");
            }
            Fate::Passed | Fate::Copied { .. } => {
                assert_eq!(sent, 1);
                assert_eq!(self.wire(nic), wire);
            }
            Fate::Switched(verdict) => {
                let overload = overload(&was.tx_dropped, &is.tx_dropped);
                assert_eq!((is.tx_local - was.tx_local, sent), (1 - overload, 0));
                let to = receiver(nic.into(), &verdict, None).expect("one who gets it");
                let to = to.expect("no fragment");
                assert_eq!(got(&after, to), got(&before, to) + 1 - overload);
                assert_eq!(self.wire(nic), wire, "local, and sent");
            }
            Fate::Received(..) => panic!("it was sent"),
        }
    }

    fn wire(&self, nic: u8) -> usize {
        self.memory.borrow().sent[usize::from(nic)].len()
    }

    /// An empty buffer from a vport's fill ring, if it has not given that back out of turn.
    fn empty(&mut self, slot: u16) -> Option<u32> {
        let fill = &mut self.far[usize::from(slot)].as_mut()?.fill;
        fill.refresh().ok()?;
        let index = fill.take()?;
        fill.release();
        let is_lent = self.memory.borrow().is_lent(index, slot);
        is_lent.then_some(index)
    }

    /// Anything, as a descriptor of what to send.
    pub fn push(&mut self, slot: u16, raw: u64) {
        if let Some(far) = &mut self.far[usize::from(slot)] {
            // A full ring takes none.
            let _ = far.tx.push(&[raw]);
        }
        self.doorbells.ring(slot);
        self.worker.step();
    }

    /// Anything, as the index of a buffer to give back.
    pub fn give_back(&mut self, slot: u16, index: u32) {
        if let Some(far) = &mut self.far[usize::from(slot)] {
            let _ = far.free.push(&[index]);
        }
        self.doorbells.ring(slot);
        self.worker.step();
    }

    /// A vport takes what it has received; and gives it back, or keeps it.
    pub fn drain(&mut self, slot: u16, keep: bool) {
        let Some(far) = &mut self.far[usize::from(slot)] else {
            return;
        };
        if far.rx.refresh().is_err() {
            return;
        }
        while let Some(raw) = far.rx.take() {
            let desc = Desc::unpack(raw).expect("the switch's own descriptor");
            if !keep {
                let _ = far.free.push(&[desc.index]);
            }
        }
        far.rx.release();
        self.doorbells.ring(slot);
        self.worker.step();
    }

    /// Time passes, and everything is done that is done now and then.
    pub fn wait(&mut self, ms: u64) {
        self.memory.borrow_mut().now_ms += ms;
        for _ in 0..1024 {
            self.worker.step();
        }
    }

    /// The NICs take no more than so many packets.
    pub fn set_tx_room(&mut self, room: usize) {
        self.memory.borrow_mut().tx_room = room;
    }

    fn trace(&mut self, nic: usize, from: Option<u16>, frame: &[u8]) -> Option<Fate> {
        let trace = Box::new(Trace {
            nic,
            from,
            frame: frame.to_vec(),
            notes: Notes::default(),
            fate: None,
        });
        match self.obey(Command::Trace(trace)) {
            Answer::Traced(trace) => trace.fate,
            _ => panic!("not a trace"),
        }
    }

    fn count(&mut self) -> Snapshot {
        let room = Box::new(Snapshot::with_room(NICS, GEOMETRY.slots.into()));
        match self.obey(Command::Count(room)) {
            Answer::Counted(snapshot) => *snapshot,
            _ => panic!("not a count"),
        }
    }

    /// Every packet is accounted for, and every buffer.
    pub fn assert_conserved(&mut self) {
        // What was dismissed after a round goes back to the pool in the next one.
        self.worker.step();
        let mut counts = self.count();
        if counts.rounds.is_multiple_of(1024) {
            counts = self.count();
        }
        let mut waiting = 0;
        for nic in &counts.nics {
            let out = delivered(nic) + nic.waiting + nic.dropped.sum();
            assert_eq!(nic.rx_packets, out);
            waiting += usize::try_from(nic.waiting + nic.tx_waiting).unwrap_or(0);
        }
        let mut held = 0;
        for (slot, vport, lent) in &counts.vports {
            let passed = vport.tx_wire + vport.tx_local + vport.tx_waiting + vport.tx_full;
            let out = passed + vport.tx_dropped.sum();
            assert_eq!(vport.tx_packets, out, "vport {slot}");
            assert!(*lent <= LIMITS.quota, "vport {slot} has {lent}");
            held += *lent as usize;
        }
        let memory = self.memory.borrow();
        assert_eq!(memory.in_hand(), waiting);
        assert_eq!(memory.available() + held + waiting, BUFFERS);
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// The vport of a stack, which [`VPORTS`] counts from 1: the hosts have the first two.
pub const fn slot_of(stack: u16) -> u16 {
    stack + 1
}

/// Who gets a frame that came in at, or stays behind, a NIC port; None if it waits.
fn receiver(
    nic: usize,
    verdict: &Verdict,
    owner: Option<Owner>,
) -> Result<Option<u16>, DropReason> {
    match (*verdict, owner) {
        (Verdict::Drop(reason), _) => Err(reason),
        (Verdict::Vport { slot, .. }, _) | (Verdict::Fragment(_), Some(Owner::Vport(slot))) => {
            Ok(Some(slot))
        }
        (Verdict::Fragment(_), None) => Ok(None),
        _ => Ok(Some(HOSTS[nic])),
    }
}

fn is_fragment(frame: &[u8]) -> bool {
    let seen = judge::read(frame).map(|seen| seen.what);
    matches!(seen, Some(What::Ip(ip)) if ip.part.is_some())
}

fn delivered(nic: &NicCounters) -> u64 {
    nic.to_vports + nic.to_host
}

fn vport(counts: &Snapshot, slot: u16) -> VportCounters {
    let vport = counts.vports.iter().find(|(at, ..)| *at == slot);
    vport.expect("in service").1
}

fn got(counts: &Snapshot, slot: u16) -> u64 {
    vport(counts, slot).rx_packets
}

fn overload(before: &Drops, after: &Drops) -> u64 {
    let count = |drops: &Drops| OVERLOAD.iter().map(|r| drops.0[r.index()]).sum::<u64>();
    count(after) - count(before)
}
