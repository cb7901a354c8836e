//! A stack that writes what it likes into its part of the shared memory, against the worker; and two other
//! stacks that do as they should, and are not to notice.

use std::net::SocketAddr;

use port_api::geometry::RingOffsets;
use port_api::{ClaimSpec, Desc, Protocol};
use switch::command::{Command, Event};
use switch::key::Subject;
use switch::tables::Holder;
use switch::verdict::DropReason;
use wire::MacAddr;
use wire::emit::{Eth, Udp};

use super::cursors::{Cursors, Shuts};
use super::{Bench, GEOMETRY, slot_of, vport};
use crate::input::Input;
use crate::io::{BUFFERS, HEADROOM};
use crate::world::{ADDRS, MACS};

mod write;

const HOSTILE: u16 = slot_of(1);
const OTHERS: [u16; 2] = [slot_of(2), slot_of(3)];

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const IN: Eth = Eth {
    dst: MACS[0],
    src: CLIENT,
};
const OUT: Eth = Eth {
    dst: CLIENT,
    src: MACS[0],
};
const HERE: Eth = Eth {
    dst: MACS[0],
    src: MACS[0],
};

/// Another machine.
const REMOTE: SocketAddr = SocketAddr::new(ADDRS[2], 5000);
/// What the stacks have claimed, by slot.
const CLAIMS: [(u16, SocketAddr); 3] = [
    (HOSTILE, SocketAddr::new(ADDRS[0], 7)),
    (OTHERS[0], SocketAddr::new(ADDRS[0], 53)),
    (OTHERS[1], SocketAddr::new(ADDRS[1], 53)),
];

/// Packets that one of the others keeps at most.
const KEPT: usize = 6;

/// The worker, and all three.
pub struct Hostile {
    bench: Bench,
    at: RingOffsets,
    cursors: Cursors,
    /// The worker has said that its rings are broken.
    shut: bool,
    /// Of each of the others: what it has received and not given back.
    kept: [Vec<(Desc, Vec<u8>)>; 2],
    /// So that no frame is like another.
    number: u64,
}

impl Hostile {
    /// All is well so far.
    pub fn new() -> Self {
        let mut bench = Bench::new();
        for (slot, local) in CLAIMS {
            claim(&mut bench, slot, local);
        }
        let at = bench.region.geometry().rings(HOSTILE, 0);
        let mut all = Self {
            cursors: Cursors::seen(&bench.region, at),
            bench,
            at,
            shut: false,
            kept: Default::default(),
            number: 0,
        };
        all.behave();
        all
    }

    /// Some words of its part of the memory, a ring at its doorbell, and a round.
    pub fn attack(&mut self, input: &mut Input<'_>) {
        for _ in 0..=input.byte() % 8 {
            self.write(input);
        }
        self.bench.doorbells.ring(HOSTILE);
        let verdict = self.cursors.judge(&self.bench.region);
        self.bench.worker.step();
        self.hear(verdict);
        if !self.shut {
            self.cursors.look(&self.bench.region);
        }
        let sent = self.sent();
        assert!(sent.is_empty(), "not the hostile stack's: {sent:02x?}");
    }

    /// So many packets come for it.
    pub fn flood(&mut self, count: u8) {
        let frames: Vec<_> = (0..count)
            .map(|_| self.frame(IN, REMOTE, CLAIMS[0].1))
            .collect();
        let before = self.bench.count();
        self.bench.memory.borrow_mut().arriving[0].extend(frames);
        let overfull = u32::from(count) > GEOMETRY.ring_size;
        let verdict = self.cursors.judge_rx(&self.bench.region, overfull);
        self.bench.worker.step();
        let was_shut = self.shut;
        self.hear(verdict);
        let after = self.bench.count();
        let dropped = |counts| {
            let vport = vport(counts, HOSTILE);
            [
                DropReason::VportShut,
                DropReason::RingFull,
                DropReason::Quota,
            ]
            .map(|reason| vport.rx_dropped.0[reason.index()])
        };
        let (is, was) = (dropped(&after), dropped(&before));
        let dropped: u64 = is.iter().sum::<u64>() - was.iter().sum::<u64>();
        let got = vport(&after, HOSTILE).rx_packets - vport(&before, HOSTILE).rx_packets;
        assert_eq!(got + dropped, u64::from(count));
        if was_shut {
            assert_eq!(is[0] - was[0], u64::from(count));
        }
        assert_eq!(self.sent(), Vec::<Vec<u8>>::new());
    }

    /// A packet for one of the others, which gets it.
    pub fn deliver(&mut self, who: usize, keep: bool) {
        // There may be some from the hostile stack, which may send to whom it likes.
        for (desc, _) in self.receive(who) {
            self.give_back(who, desc);
        }
        let frame = self.frame(IN, REMOTE, CLAIMS[1 + who].1);
        self.bench.memory.borrow_mut().arriving[0].push_back(frame.clone());
        self.bench.worker.step();
        self.hear(Shuts::No);
        let mut received = self.receive(who);
        assert_eq!(received.len(), 1);
        let (desc, got) = received.remove(0);
        assert_eq!(got, frame);
        self.kept[who].push((desc, frame));
        if !keep || self.kept[who].len() > KEPT {
            for (desc, _) in std::mem::take(&mut self.kept[who]) {
                self.give_back(who, desc);
            }
        }
    }

    fn receive(&mut self, who: usize) -> Vec<(Desc, Vec<u8>)> {
        let far = self.bench.far[usize::from(OTHERS[who])].as_mut();
        let rx = &mut far.expect("in service").rx;
        rx.refresh().expect("the worker's cursor");
        let memory = self.bench.memory.borrow();
        let received = std::iter::from_fn(|| rx.take())
            .map(|raw| Desc::unpack(raw).expect("the worker's descriptor"))
            .map(|desc| (desc, memory.read(desc)))
            .collect();
        rx.release();
        received
    }

    fn give_back(&mut self, who: usize, desc: Desc) {
        let far = self.bench.far[usize::from(OTHERS[who])].as_mut();
        let pushed = far.expect("in service").free.push(&[desc.index]);
        assert_eq!(pushed, Ok(1));
    }

    /// One of the others sends a packet, and it goes out.
    pub fn send(&mut self, who: usize) {
        self.send_from(OTHERS[who]);
        self.hear(Shuts::No);
    }

    fn send_from(&mut self, slot: u16) {
        // Fills its ring, if that is empty.
        self.bench.doorbells.ring(slot);
        self.bench.worker.step();
        let index = self.bench.empty(slot).expect("an empty buffer");
        let local = CLAIMS
            .iter()
            .find(|(of, _)| *of == slot)
            .expect("a stack")
            .1;
        let frame = self.frame(OUT, local, REMOTE);
        self.bench
            .memory
            .borrow_mut()
            .write(index, HEADROOM, &frame);
        self.bench.push(slot, desc(index, &frame).pack());
        let out = std::mem::take(&mut self.bench.memory.borrow_mut().sent[0]);
        assert_eq!(out, [frame]);
    }

    /// Rounds with nothing to do but what is done now and then.
    pub fn idle(&mut self) {
        for _ in 0..GEOMETRY.slots {
            self.bench.worker.step();
        }
        self.hear(Shuts::No);
    }

    /// The hostile stack is taken out of service and dies, and its slot gets one that does as it should.
    /// `evict`: it lives on for a while.
    pub fn fall(&mut self, evict: bool, input: &mut Input<'_>) {
        self.bench.release_all(HOSTILE);
        self.bench.obey(Command::Remove {
            slot: HOSTILE,
            reclaim: !evict,
        });
        // What was said before it was taken out concerns no one any more.
        self.hear(Shuts::Perhaps);
        if evict {
            let held: Vec<u32> = self.lent(HOSTILE).collect();
            self.write(input);
            self.bench.doorbells.ring(HOSTILE);
            self.bench.worker.step();
            assert!(self.lent(HOSTILE).eq(held));
            assert!(self.bench.events.is_empty());
            self.bench.obey(Command::Reclaim(HOSTILE));
        }
        assert_eq!(self.lent(HOSTILE).count(), 0);
        self.bench.succeed(HOSTILE);
        claim(&mut self.bench, HOSTILE, CLAIMS[0].1);
        self.behave();
    }

    /// A new stack does as it should, and nothing of the last one is in its way.
    fn behave(&mut self) {
        self.send_from(HOSTILE);
        self.bench.doorbells.ring(HOSTILE);
        self.bench.worker.step();
        self.cursors = Cursors::seen(&self.bench.region, self.at);
        self.shut = false;
        self.hear(Shuts::No);
    }

    /// Only this vport is ever shut, once, and if its cursors say so.
    fn hear(&mut self, verdict: Shuts) {
        let said: Vec<_> = self.bench.events.try_iter().collect();
        if said.is_empty() {
            assert!(self.shut || verdict != Shuts::Yes, "not seen");
        } else {
            assert_eq!(said, [Event::Corrupt(HOSTILE)]);
            assert!(!self.shut && verdict != Shuts::No, "for no reason");
            self.shut = true;
        }
    }

    /// What has gone out and does not come from the hostile stack's own claim.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let (_, local) = CLAIMS[0];
        let own = self.frame(OUT, local, REMOTE);
        let is_own =
            |frame: &[u8]| frame.get(..14) == own.get(..14) && frame.get(26..36) == own.get(26..36);
        let sent = &mut self.bench.memory.borrow_mut().sent;
        let out = sent.iter_mut().flat_map(std::mem::take);
        out.filter(|frame| !is_own(frame)).collect()
    }

    fn lent(&self, slot: u16) -> impl Iterator<Item = u32> {
        let memory = self.bench.memory.borrow();
        (0..)
            .take(BUFFERS)
            .filter(move |index| memory.is_lent(*index, slot))
    }

    fn frame(&mut self, eth: Eth, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
        self.number += 1;
        let payload = &self.number.to_be_bytes();
        let mut frame = vec![0; 60];
        let len = Udp {
            eth,
            src,
            dst,
            payload,
        }
        .write(&mut frame);
        frame.truncate(len.expect("a short frame"));
        frame
    }

    /// All packets and buffers are where they should be, and those of the others untouched.
    pub fn assert_conserved(&mut self) {
        self.bench.assert_conserved();
        let counts = self.bench.count();
        for (slot, _, held) in &counts.vports {
            assert_eq!(self.lent(*slot).count(), *held as usize, "vport {slot}");
        }
        let memory = self.bench.memory.borrow();
        for ((slot, _), kept) in CLAIMS[1..].iter().zip(&self.kept) {
            for (desc, frame) in kept {
                assert!(memory.is_lent(desc.index, *slot));
                assert_eq!(memory.read(*desc), *frame);
            }
        }
    }
}

impl Default for Hostile {
    fn default() -> Self {
        Self::new()
    }
}

fn claim(bench: &mut Bench, slot: u16, local: SocketAddr) {
    let subject = Subject {
        spec: ClaimSpec::tuple(Protocol::Udp, local),
        nic: 0,
    };
    let holder = Holder::new(slot, false);
    bench.model.insert(subject, holder);
    bench.obey(Command::Claim(vec![(subject, holder)]));
}

/// A frame behind its buffer's headroom, for the first port.
fn desc(index: u32, frame: &[u8]) -> Desc {
    Desc {
        index,
        offset: 128,
        len: u16::try_from(frame.len()).expect("a short frame"),
        port: 0,
        checksum: false,
    }
}
