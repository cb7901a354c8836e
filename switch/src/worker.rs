//! The data path. One worker runs on one lcore, and this is what it does, top to bottom; from the vports
//! on in `worker/send.rs`:
//!
//! ```text
//! round:  NIC  --rx_burst--> classify --> a vport's rx ring, the host's, or a drop
//!         vports that rang  --tx ring--> egress check --> NIC, another vport, or a drop
//!         commands of the control thread
//! ```
//!
//! Nothing on the way of a packet allocates, locks, logs, divides by a variable or makes a system
//! call; the one exception is waking the exception path's thread when it sleeps, once per burst.

use std::mem;

use crossbeam_channel::{Sender, TryRecvError};
use dpdk::cpu::Kernel;
use dpdk::mbuf::Checksum;
use port_api::sharpen_sleeps;
use wire::{GroupV4, LANES, MacAddr, Origin};

use crate::classify::{Arrival, conclude};
use crate::command::{Command, Event};
use crate::io::{BURST, Buf, Io};
use crate::key::Connection4;
use crate::quick::{self, Quick};
use crate::stages::Stage;
use crate::verdict::{DropReason, HostReason, Verdict};
use crate::vport::{Unstaged, Vport};

/// Bursts of one NIC in a round, if it has that many waiting; and after which a stack has been shown
/// what has come for it.
const BURSTS: usize = 16;
/// Bursts in a round where there are guests: what one echoes must find room in its queue, which often has
/// 256 entries, until it has its turn.
const GUEST_BURSTS: usize = 2;
/// Rounds from one vport's turn in [`Worker::sweep`] to the next vport's, if they are busy ones.
const SWEEP_ROUNDS: u64 = 64;
/// Stacks that wait to be shown packets from which on a burst has few for each.
const MANY: usize = 8;

mod checksum;
mod fate;
mod fragment;
mod guests;
mod local;
mod obey;
mod send;
mod state;

use state::Hand;
pub use state::{Channels, NicSetup, Worker};

impl<I: Io> Worker<I> {
    /// Works until told to stop, or until the control thread is gone. Gives back what it worked
    /// on.
    pub fn run(mut self) -> I {
        sharpen_sleeps();
        while self.step() {}
        self.publish();
        for nic in 0..self.nics.len() {
            self.flush(nic);
            self.give_up(nic);
        }
        self.stages.report();
        self.io
    }

    /// A round, a step of what is to be reclaimed, a command, and a pause if there was nothing to
    /// do. False when told to stop.
    pub fn step(&mut self) -> bool {
        let worked = self.round();
        self.rounds += 1;
        self.busy_rounds += u64::from(worked);
        self.continue_reclaim();
        self.dismiss_late_fragments();
        match self.channels.commands.try_recv() {
            Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            Ok(command) => self.obey(command),
            Err(TryRecvError::Empty) => {}
        }
        self.backoff.after_poll(worked || self.reclaim.is_some());
        true
    }

    /// Everything that waits, once. True if there was any.
    fn round(&mut self) -> bool {
        let Some(mut hand) = self.hand.take() else {
            return false;
        };
        let mut received = 0;
        for nic in 0..self.receiving {
            received += self.receive(nic, &mut hand);
        }
        let mut worked = received > 0;
        worked |= self.serve_vports(received, &mut hand);
        self.hand = Some(hand);
        self.stages.lap(Stage::Serve);
        for nic in 0..self.nics.len() {
            self.flush(nic);
            worked |= !self.nics[nic].tx.is_empty();
        }
        self.stages.lap(Stage::Flush);
        if !worked || self.rounds.is_multiple_of(SWEEP_ROUNDS) {
            self.sweep();
        }
        self.io.free(&mut self.freed);
        worked
    }

    // ---- from the NIC ----

    /// Most bursts of one NIC in a round.
    const fn bursts(&self) -> usize {
        if self.guest_slots.is_empty() {
            BURSTS
        } else {
            GUEST_BURSTS
        }
    }

    /// Bursts, as long as they are full ones; tells how many packets those had.
    fn receive(&mut self, nic: usize, hand: &mut Hand<I::Buf>) -> usize {
        let mut received = 0;
        for _ in 0..self.bursts() {
            let count = self.receive_burst(nic, hand);
            received += count;
            if count < BURST {
                self.publish();
                break;
            }
            self.publish_some();
            self.stages.lap(Stage::Publish);
        }
        self.stages.lap(Stage::Publish);
        received
    }

    /// Step by step, each for all packets: what one packet's step waits for, the CPU fetches while it
    /// is at the others'.
    fn receive_burst(&mut self, nic: usize, hand: &mut Hand<I::Buf>) -> usize {
        self.stages.lap(Stage::Rest);
        let received = self.io.rx_burst(nic, &mut hand.burst);
        self.stages.lap(Stage::Receive);
        if received == 0 {
            return 0;
        }
        self.stages.packets(received);
        let bytes = self.begin(nic, hand);
        self.stages.lap(Stage::Begin);
        self.look_up(hand);
        self.stages.lap(Stage::LookUp);
        self.deal_out(nic, hand);
        self.stages.lap(Stage::DealOut);
        let counters = &mut self.nics[nic].counters;
        counters.rx_packets += received as u64;
        counters.rx_bytes += bytes;
        received
    }

    /// From frames to what is to be looked up, and where. Tells how many bytes there are.
    #[inline(never)]
    fn begin(&self, nic: usize, hand: &mut Hand<I::Buf>) -> u64 {
        let mut bytes = 0;
        let (port, tables) = (&self.nics[nic].nic, &self.tables);
        let count = hand.burst.len().div_ceil(LANES);
        for (group, bufs) in hand.groups.iter_mut().zip(hand.burst.chunks(LANES)) {
            for (lane, buf) in (0..LANES).zip(bufs) {
                let frame = buf.frame();
                bytes += frame.len() as u64;
                group.load(lane, frame);
            }
        }
        self.cpu.run(Judge {
            groups: &mut hand.groups[..count],
            mac: port.mac,
        });
        let places = hand
            .quick
            .chunks_mut(LANES)
            .zip(hand.homes.chunks_mut(LANES));
        let groups = hand.groups.iter().zip(hand.burst.chunks(LANES));
        for ((group, bufs), (quick, homes)) in groups.zip(places) {
            for (lane, buf) in (0..LANES).zip(bufs) {
                if let Some(words) = group.tuple(lane) {
                    homes[lane] = tables.home4(Connection4::untagged(words));
                    quick[lane] = Quick::Begun;
                } else {
                    quick[lane] = quick::ungrouped(buf.frame(), port, tables);
                }
            }
        }
        if tables.is_large() {
            for home in &hand.homes[..hand.burst.len()] {
                tables.prefetch4(*home);
            }
        }
        bytes
    }

    /// From there to who has claimed it.
    #[inline(never)]
    fn look_up(&self, hand: &mut Hand<I::Buf>) {
        let (tables, count) = (&self.tables, hand.burst.len());
        if tables.is_large() {
            for home in &hand.homes[..count] {
                tables.prefetch4_slot(*home);
            }
        }
        let places = hand.quick.chunks_mut(LANES).zip(hand.homes.chunks(LANES));
        let groups = hand.groups[..count.div_ceil(LANES)].iter();
        for (group, (quick, homes)) in groups.zip(places) {
            for (lane, (quick, home)) in (0..LANES).zip(quick.iter_mut().zip(homes)) {
                // Beyond the burst's end nothing has begun.
                if *quick == Quick::Begun
                    && let Some(words) = group.tuple(lane)
                {
                    *quick = quick::finish(Connection4::untagged(words), *home, tables, &mut ());
                }
            }
        }
    }

    /// To each packet's owner.
    #[inline(never)]
    fn deal_out(&mut self, nic: usize, hand: &mut Hand<I::Buf>) {
        self.is_spread = self.touched.len() >= MANY;
        if self.is_spread {
            self.expect_packets(hand);
        }
        let port = self.nics[nic].nic.id;
        let mut others = 0;
        let received = hand.burst.len();
        for (buf, quick) in hand.burst.drain(..).zip(&hand.quick) {
            if let Quick::Claimed {
                slot,
                verify: false,
            } = *quick
            {
                let checksum = buf.l4_checksum() == Checksum::Good;
                let Err((buf, reason)) = self.stage(port, slot, checksum, buf) else {
                    continue;
                };
                self.drop_for_vport(nic, slot, reason, buf);
            } else if *quick == Quick::Unclaimed {
                self.deliver_to_host(nic, HostReason::Unclaimed, buf);
            } else {
                self.receive_uncommon(nic, *quick, buf);
            }
            others += 1;
        }
        self.nics[nic].counters.to_vports += (received - others) as u64;
    }

    /// Asks for what a burst for many stacks is written to: what comes next for a stack lies in a line of its
    /// ring that its core may have read since.
    #[inline(always)]
    fn expect_packets(&self, hand: &Hand<I::Buf>) {
        for quick in &hand.quick[..hand.burst.len()] {
            if let Quick::Claimed { slot, .. } = *quick
                && let Some(vport) = &self.vports[usize::from(slot)]
            {
                vport.expect_packet();
            }
        }
    }

    #[inline(never)]
    fn receive_uncommon(&mut self, nic: usize, quick: Quick, buf: I::Buf) {
        let arrival = Arrival {
            frame: buf.frame(),
            origin: Origin::Wire,
            checksum: buf.l4_checksum(),
        };
        match conclude(quick, &arrival, &self.nics[nic].nic, &self.tables, &mut ()) {
            Verdict::Vport { slot, checksum } => self.deliver_uncommon(nic, slot, checksum, buf),
            Verdict::Host(reason) => self.deliver_to_host(nic, reason, buf),
            Verdict::HostAndCopies(reason, copies) => {
                self.copy_to(nic, &copies, None, buf.frame());
                self.deliver_to_host(nic, reason, buf);
            }
            Verdict::Fragment(of) => self.receive_fragment(nic, &of, buf),
            Verdict::Drop(reason) => self.drop_received(nic, reason, buf),
        }
    }

    /// While there is more to receive, stacks are shown what has come for them in turns: each once in
    /// [`BURSTS`] bursts, so that it is worth the cache lines that both cores need for it, and a few
    /// after each burst, so that buffers come back as evenly as they go, and the CPU has them in its
    /// cache when they are used again.
    fn publish_some(&mut self) {
        self.collect();
        let count = self.touched.len().div_ceil(BURSTS);
        for slot in self.touched.iter().take(count) {
            if let Some(vport) = &self.vports[usize::from(*slot)] {
                vport.expect_show();
            }
        }
        for _ in 0..count {
            self.show_next();
        }
    }

    /// Shows the stacks all that has come for them.
    pub(super) fn publish(&mut self) {
        while self.show_next() {}
        self.collect();
    }

    /// Shows the stack that has waited longest what has come for it.
    fn show_next(&mut self) -> bool {
        let Some(slot) = self.touched.pop_front() else {
            return false;
        };
        if let Some(vport) = &mut self.vports[usize::from(slot)] {
            if vport.is_guest {
                self.deliver(slot);
            } else if vport.show() {
                self.shown.push(slot);
            }
        }
        true
    }

    /// Takes back what stacks are done with. A stack has answered by the time that the next ones are shown
    /// theirs; only then its ring is asked for, as the answer would take the line away again, and
    /// looked at the next time.
    fn collect(&mut self) {
        for slot in self.due.drain(..) {
            if let Some(vport) = &mut self.vports[usize::from(slot)]
                && !vport.is_shut()
                && vport.drain_free(&mut self.io, &mut self.freed).is_err()
            {
                shut(vport, &self.channels.events);
            }
        }
        for slot in &self.shown {
            if let Some(vport) = &self.vports[usize::from(*slot)] {
                vport.expect_free();
            }
        }
        mem::swap(&mut self.shown, &mut self.due);
    }

    fn deliver_uncommon(&mut self, nic: usize, slot: u16, checksum: bool, buf: I::Buf) {
        let port = self.nics[nic].nic.id;
        match self.stage(port, slot, checksum, buf) {
            Ok(()) => self.nics[nic].counters.to_vports += 1,
            Err((buf, reason)) => self.drop_for_vport(nic, slot, reason, buf),
        }
    }

    fn deliver_to_host(&mut self, nic: usize, reason: HostReason, buf: I::Buf) {
        let state = &mut self.nics[nic];
        state.counters.host_reasons[reason as usize] += 1;
        let (port, slot) = (state.nic.id, state.host);
        match self.stage(port, slot, false, buf) {
            Ok(()) => self.nics[nic].counters.to_host += 1,
            Err((buf, reason)) => self.drop_for_vport(nic, slot, reason, buf),
        }
    }

    /// Puts a packet that came in at NIC port `port`, by DPDK's number, into a vport's `rx` ring, to be
    /// shown to the stack when its turn comes.
    #[inline(always)]
    fn stage(
        &mut self,
        port: u8,
        slot: u16,
        checksum: bool,
        buf: I::Buf,
    ) -> Result<(), (I::Buf, DropReason)> {
        let Some(vport) = &mut self.vports[usize::from(slot)] else {
            return Err((buf, DropReason::VportShut));
        };
        if !vport.touched {
            vport.touched = true;
            self.touched.push_back(slot);
        }
        if vport.is_guest {
            return self.stage_copy(slot, checksum, buf);
        }
        let has_more = !self.is_spread;
        match vport.stage(&mut self.io, &mut self.freed, buf, port, checksum, has_more) {
            Ok(()) => Ok(()),
            Err((buf, Unstaged::Full(reason))) => Err((buf, reason)),
            Err((buf, Unstaged::Corrupt)) => {
                shut(vport, &self.channels.events);
                Err((buf, DropReason::VportShut))
            }
        }
    }

    #[cold]
    fn drop_for_vport(&mut self, nic: usize, slot: u16, reason: DropReason, buf: I::Buf) {
        if let Some(vport) = &mut self.vports[usize::from(slot)] {
            vport.drop_received(reason);
        }
        self.drop_received(nic, reason, buf);
    }

    fn drop_received(&mut self, nic: usize, reason: DropReason, buf: I::Buf) {
        self.nics[nic].counters.dropped.0[reason.index()] += 1;
        self.discard(buf);
    }

    fn discard(&mut self, buf: I::Buf) {
        if self.freed.is_full() {
            self.io.free(&mut self.freed);
        }
        self.freed.push(buf);
    }
}

/// Which of the frames are of the common shape.
struct Judge<'a> {
    groups: &'a mut [GroupV4],
    mac: MacAddr,
}

impl Kernel for Judge<'_> {
    #[inline(always)]
    fn run(self) {
        for group in self.groups {
            group.judge(self.mac);
        }
    }
}

#[cold]
fn shut(vport: &mut Vport, events: &Sender<Event>) {
    vport.shut();
    // A full channel means that the control thread has enough to do; it finds the vport shut when
    // it takes it out.
    let _ = events.try_send(Event::Corrupt(vport.slot));
}
