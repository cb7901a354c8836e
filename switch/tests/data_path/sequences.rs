//! Anything that NICs, stacks and the control thread do, in any order.

use port_api::Desc;
use proptest::prelude::*;
use proptest::sample::Index;
use switch::command::Fate;
use switch::key::Subject;
use switch::tables::Holder;
use switch::verdict::{Owner, Verdict};
use wire::{Origin, parse};

use crate::common::io::{HEADROOM, NICS};
use crate::common::judge::Judge;
use crate::common::recipe::{Way, aimed};
use crate::common::{Bench, HOST, nics};
use crate::steps::{STACKS, Step, step};

struct Run {
    bench: Bench,
    judge: Judge,
    generation: u8,
}

/// What each vport has received, and what went out.
struct Seen {
    here: Vec<(u16, Vec<u8>)>,
    out: [Vec<Vec<u8>>; NICS],
}

impl Seen {
    fn got(&self, slot: u16, frame: &[u8]) -> bool {
        self.here
            .iter()
            .any(|(at, got)| *at == slot && got == frame)
    }
}

impl Run {
    fn new() -> Self {
        Self {
            bench: Bench::with_stacks(STACKS),
            judge: Judge::default(),
            generation: 1,
        }
    }

    fn look(&mut self) -> Seen {
        let out = std::mem::take(&mut self.bench.world.borrow_mut().sent);
        let mut here = vec![];
        for slot in [HOST, 1].into_iter().chain(STACKS) {
            let received = self.bench.drain(slot).into_iter();
            here.extend(received.map(|frame| (slot, frame)));
        }
        Seen { here, out }
    }

    /// No stack has got anything that was not its own.
    fn check_here(&self, seen: &Seen, nic: u8) {
        for (slot, frame) in seen.here.iter().filter(|(slot, _)| STACKS.contains(slot)) {
            let may = self.judge.may_receive(*slot, frame, nic);
            assert!(may, "vport {slot} got {:?}", parse(frame, Origin::Local));
        }
    }

    fn receive(&mut self, nic: usize, frame: &[u8]) {
        let id = nics()[nic].id;
        let fate = self.bench.trace(nic, None, frame);
        let before = self.bench.count().nics[nic];
        self.judge.note(frame, Origin::Wire, id);
        self.bench.receive_at(nic, &[frame.to_vec()]);
        let seen = self.look();
        let after = self.bench.count().nics[nic];
        self.check_here(&seen, id);
        assert!(seen.out.iter().all(Vec::is_empty), "received, not sent");
        let host = u16::from(id);
        let Fate::Received(verdict, owner) = fate else {
            panic!("{fate:?}")
        };
        let as_told = match (verdict, owner) {
            (Verdict::Vport { slot, .. }, _) | (Verdict::Fragment(_), Some(Owner::Vport(slot))) => {
                seen.got(slot, frame)
            }
            (Verdict::Host(_) | Verdict::HostAndCopies(..), _)
            | (Verdict::Fragment(_), Some(Owner::Host)) => seen.got(host, frame),
            (Verdict::Fragment(_), None) => after.waiting == before.waiting + 1,
            (Verdict::Drop(reason), _) => {
                let at = reason.index();
                after.dropped.0[at] == before.dropped.0[at] + 1 && seen.here.is_empty()
            }
        };
        assert!(as_told, "{verdict:?} {owner:?}, but: {:?}", seen.here);
        // Independently of what the worker says: a whole packet to this port goes to its owner.
        if let Ok(parsed) = parse(frame, Origin::Wire)
            && let Some(owner) = self.judge.owner(&parsed, id)
            && frame.starts_with(&nics()[nic].mac.0)
            && after.dropped.sum() == before.dropped.sum()
        {
            let got: Vec<_> = seen.here.iter().map(|(slot, _)| *slot).collect();
            let owner = match owner {
                Owner::Vport(slot) => slot,
                Owner::Host => host,
            };
            assert_eq!(got, [owner], "{parsed:?}");
        }
    }

    fn send(&mut self, slot: u16, nic: u8, fill: bool, frame: &[u8]) {
        let fill_ring = &mut self.bench.rings(slot).fill;
        fill_ring.refresh().unwrap();
        let Some(index) = fill_ring.take() else {
            return;
        };
        fill_ring.release();
        // It may have given the buffer back by a scribble.
        if !self.bench.world.borrow().is_lent(index, slot) {
            return;
        }
        let is_host = slot < 2;
        let nic = if is_host {
            u8::try_from(slot).unwrap()
        } else {
            nic
        };
        let fate = self.bench.trace(nic.into(), Some(slot), frame);
        let before = self.bench.vport(slot);
        self.bench.world.borrow_mut().write(index, HEADROOM, frame);
        let desc = Desc {
            index,
            offset: 128,
            len: u16::try_from(frame.len()).unwrap(),
            port: nic,
            checksum: fill,
        };
        let mut sent = frame.to_vec();
        if fill
            && !is_host
            && let Ok(parsed) = parse(frame, Origin::Local)
        {
            wire::fill_l4(&mut sent, &parsed);
        }
        let may = is_host
            || self
                .judge
                .may_send(slot, &sent, nics()[usize::from(nic)].mac, nic);
        if may {
            self.judge.note(&sent, Origin::Local, nic);
        }
        self.bench.send_desc(slot, desc);
        let seen = self.look();
        let after = self.bench.vport(slot);
        self.check_here(&seen, nic);
        let out = &seen.out[usize::from(nic)];
        if !may {
            assert!(seen.here.is_empty() && out.is_empty(), "spoofed: {fate:?}");
        }
        let went_out = out.contains(&sent);
        let as_told = match &fate {
            _ if sent != frame => true,
            Fate::Received(..) => false,
            Fate::Refused(reason) => {
                let at = reason.index();
                !went_out && after.tx_dropped.0[at] == before.tx_dropped.0[at] + 1
            }
            Fate::Passed => went_out && seen.here.is_empty(),
            Fate::Switched(Verdict::Vport { slot, .. }) => !went_out && seen.got(*slot, frame),
            Fate::Switched(_) => !went_out && seen.got(nic.into(), frame),
            Fate::Copied { here, to_host } => {
                let to_one = match here {
                    Some(Verdict::Vport { slot, .. }) => seen.got(*slot, frame),
                    _ => true,
                };
                went_out && to_one && seen.got(nic.into(), frame) == *to_host
            }
        };
        assert!(as_told, "{fate:?}, but: {:?} {out:?}", seen.here);
    }

    fn scribble(&mut self, slot: u16, descs: &[u64], frees: &[u32]) {
        let rings = self.bench.rings(slot);
        rings.tx.push(descs).unwrap();
        rings.free.push(frees).unwrap();
        self.bench.doorbells.ring(slot);
        self.bench.worker.step();
        let seen = self.look();
        for (nic, frames) in nics().iter().zip(&seen.out) {
            for frame in frames {
                assert!(self.judge.may_send(slot, frame, nic.mac, nic.id));
            }
        }
    }

    fn claim(&mut self, subject: Subject, slot: u16) {
        let holder = Holder::new(slot, subject.spec.verify);
        self.give(subject, holder);
    }

    fn give(&mut self, subject: Subject, holder: Holder) {
        self.judge.model.insert(subject, holder);
        self.bench.give(subject, holder);
    }

    fn pick(&self, claim: Index) -> Option<(Subject, Holder)> {
        let claims = &self.judge.model.claims;
        (!claims.is_empty()).then(|| *claim.get(claims))
    }

    fn release(&mut self, subject: Subject, slot: u16) {
        self.judge.model.remove(&subject, slot);
        self.judge.forget(slot);
        self.bench.release(subject, slot);
    }

    /// As the control thread does when a stack dies and another one attaches.
    fn replace(&mut self, slot: u16) {
        let claims = self.judge.model.claims.clone();
        for (subject, holder) in claims {
            if holder.vport == slot {
                self.release(subject, slot);
            } else if holder.before == Some(slot) {
                self.give(
                    subject,
                    Holder {
                        before: None,
                        ..holder
                    },
                );
            }
        }
        self.judge.forget(slot);
        self.bench.detach(slot);
        self.generation += 1;
        self.bench.attach(slot, self.generation);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Receive { nic, frame } => self.receive(*nic, frame),
            Step::Send {
                slot,
                nic,
                fill,
                frame,
            } => self.send(*slot, *nic, *fill, frame),
            Step::Aim { claims, way, part } => {
                let [aim, other] = claims.map(|claim| self.pick(claim));
                if let (Some((subject, holder)), Some((other, _))) = (aim, other) {
                    let frame = aimed(&subject, &other, *way, *part);
                    match way {
                        Way::In => self.receive(0, &frame),
                        _ => self.send(holder.vport, 0, false, &frame),
                    }
                }
            }
            Step::Scribble { slot, descs, frees } => self.scribble(*slot, descs, frees),
            Step::Claim { subject, slot } => self.claim(*subject, *slot),
            Step::Release(claim) => {
                if let Some((subject, holder)) = self.pick(*claim) {
                    self.release(subject, holder.vport);
                }
            }
            Step::HandOver { claim, to } => {
                if let Some((subject, holder)) = self.pick(*claim)
                    && !subject.spec.what.addr().is_multicast()
                {
                    let before = (holder.vport != *to).then_some(holder.vport);
                    let vport = *to;
                    self.give(
                        subject,
                        Holder {
                            vport,
                            before,
                            ..holder
                        },
                    );
                }
            }
            Step::EndFormer(claim) => {
                if let Some((subject, holder)) = self.pick(*claim)
                    && holder.before.is_some()
                {
                    self.give(
                        subject,
                        Holder {
                            before: None,
                            ..holder
                        },
                    );
                }
            }
            Step::Replace(slot) => self.replace(*slot),
            Step::Wait { ms } => {
                self.bench.world.borrow_mut().now_ms += ms;
                self.bench.idle();
            }
        }
    }
}

proptest! {
    #[test]
    fn every_step_keeps_to_the_claims_and_loses_nothing(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
            run.bench.assert_conserved();
        }
    }
}

#[test]
fn the_judge_judges() {
    // If these frames were all refused or unclaimed, the property above would say nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut to_stacks, mut sent, mut local) = (0, 0, 0);
    for _ in 0..200 {
        let steps = prop::collection::vec(step(), 60);
        let steps = steps.new_tree(&mut runner).unwrap();
        let mut run = Run::new();
        for step in &proptest::strategy::ValueTree::current(&steps) {
            run.take(step);
        }
        let counts = run.bench.count();
        to_stacks += counts.nics[0].to_vports;
        for (_, vport, _) in counts
            .vports
            .iter()
            .filter(|(slot, ..)| STACKS.contains(slot))
        {
            sent += vport.tx_wire;
            local += vport.tx_local;
        }
    }
    assert!(
        to_stacks > 300 && sent > 100 && local > 100,
        "{to_stacks} {sent} {local}"
    );
}
