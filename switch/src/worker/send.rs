//! The other half of the data path, from the vports: what stacks and the host send, through the egress
//! check, to a NIC or to another vport.

use wire::LANES;

use super::checksum::settle;
use super::state::Hand;
use super::{Judge, Worker, shut};
use crate::egress::{self, Permit, Towards};
use crate::io::{BURST, Buf, Io};
use crate::key::Connection4;
use crate::verdict::DropReason;
use crate::vport::{Peer, Sent, Turn};

/// For how long a NIC may take nothing until what is for it is dropped, in ms.
const PATIENCE_MS: u64 = 2;
/// For how many rounds of turns no one sends more than its turn is for after several have sent, so that
/// the next packet of one that sends little does not find another in the midst of a burst: some 100 µs.
const COMPANY: u32 = 64;
/// No vport's number.
const NO_ONE: u16 = u16::MAX;

impl<I: Io> Worker<I> {
    /// A turn of each vport that rang or has more, until as many packets are sent as the NICs have brought in
    /// this round, so that an echo keeps up, and at least a burst. Who rings meanwhile has a turn before anyone
    /// has another.
    pub(super) fn serve_vports(&mut self, received: usize, hand: &mut Hand<I::Buf>) -> bool {
        let mut sent = 0;
        loop {
            self.see_who_sends();
            let waiting: u32 = self.pending.iter().map(|word| word.count_ones()).sum();
            let is_contended = waiting > 1 || self.company > 0;
            self.company = self.company.saturating_sub(1);
            let mut served = 0;
            for are_new in [true, false] {
                let some = self.give_turns(are_new, is_contended, hand);
                if some > 0 {
                    self.publish();
                }
                served += some;
                if self.was_cut_short {
                    break;
                }
            }
            sent += served;
            if served == 0 || sent >= received.max(BURST) {
                break;
            }
        }
        sent > 0
    }

    /// Adds who has rung to those who wait for a turn, and notes who has waited before: as if all had, if the last
    /// turns were cut short, so that whoever comes new each time is not first each time.
    fn see_who_sends(&mut self) {
        if self.was_cut_short {
            self.was_cut_short = false;
            self.waited.fill(u64::MAX);
        } else {
            self.waited.copy_from_slice(&self.pending);
        }
        self.poll_guests();
        for word in 0..self.pending.len() {
            self.pending[word] |= self.doorbells.answer(word);
        }
    }

    /// A turn for each vport that waits for one, of those who are new or of the others, from where this ended
    /// the last time for want of room; tells how many packets they have sent.
    fn give_turns(&mut self, are_new: bool, is_contended: bool, hand: &mut Hand<I::Buf>) -> usize {
        let (mut word, from) = (self.next_turn / 64, u64::MAX << (self.next_turn % 64));
        let words = self.pending.len();
        let mut sent = 0;
        for at in 0..=words {
            // The first word comes in two parts, its upper one first.
            let part = match at {
                0 => from,
                at if at == words => !from,
                _ => u64::MAX,
            };
            let of_those = if are_new {
                !self.waited[word]
            } else {
                self.waited[word]
            };
            let mut vports = self.pending[word] & part & of_those;
            self.pending[word] &= !vports;
            while vports != 0 {
                let slot = word * 64 + vports.trailing_zeros() as usize;
                let packets = self.tx_room();
                if packets == 0 {
                    self.pending[word] |= vports;
                    self.next_turn = slot;
                    self.was_cut_short = true;
                    return sent;
                }
                let turn = Turn {
                    packets,
                    is_contended,
                };
                let served = self.serve(slot, turn, hand);
                if served > 0
                    && self
                        .last_sender
                        .replace(slot)
                        .is_some_and(|last| last != slot)
                {
                    self.company = COMPANY;
                }
                sent += served;
                let vport = self.vports.get(slot).and_then(Option::as_ref);
                if !vport.is_some_and(|vport| vport.is_interrupted()) {
                    vports &= vports - 1;
                }
            }
            word = if word + 1 < words { word + 1 } else { 0 };
        }
        sent
    }

    /// Packets that may be taken from a vport, wherever they go, so that a NIC that has no room for them
    /// now costs none.
    fn tx_room(&mut self) -> usize {
        let mut room = BURST;
        for nic in 0..self.nics.len() {
            if self.nics[nic].tx.is_full() {
                self.flush(nic);
            }
            room = room.min(self.nics[nic].tx.remaining_capacity());
        }
        room
    }

    /// Takes back what stacks gave up without ringing: one vport's turn, so that idle ones cost
    /// nothing, and yet none keeps for long what it no longer has.
    pub(super) fn sweep(&mut self) {
        self.swept = if self.swept + 1 < self.vports.len() {
            self.swept + 1
        } else {
            0
        };
        if let Some(vport) = &mut self.vports[self.swept]
            && !vport.is_shut()
            && !vport.is_guest
            && vport.replenish(&mut self.io, &mut self.freed).is_err()
        {
            shut(vport, &self.channels.events);
        }
    }

    /// Sends what a vport has put into its `tx` ring, as much as its turn is for, and refills it. Tells how
    /// many packets that were.
    fn serve(&mut self, slot: usize, turn: Turn, hand: &mut Hand<I::Buf>) -> usize {
        let Some(Some(vport)) = self.vports.get_mut(slot) else {
            return 0;
        };
        if vport.is_shut() {
            return 0;
        }
        let waits = if vport.is_guest {
            self.take_copies(slot, turn, hand)
        } else {
            let served = vport
                .take_sent(&mut self.io, &mut hand.sent, turn)
                .and_then(|more| Ok(more | !vport.replenish(&mut self.io, &mut self.freed)?));
            served.unwrap_or_else(|_| {
                shut(vport, &self.channels.events);
                false
            })
        };
        if waits {
            self.pending[slot / 64] |= 1 << (slot % 64);
        }
        let count = hand.sent.len();
        if count == 0 {
            return 0;
        }
        for sent in &mut hand.sent {
            sent.place();
        }
        let nic = self.permit_common(slot, hand);
        for (sent, permitted) in hand.sent.drain(..).zip(hand.permitted) {
            if permitted {
                self.queue(slot, nic, sent.buf);
            } else {
                self.send(slot, sent);
            }
        }
        count
    }

    /// The short cut through the egress check, for what nearly all packets are: untagged TCP and UDP over
    /// IPv4, out to the wire. What it does not permit is for [`permit`](Self::permit) to decide. Step by
    /// step, as in [`receive_burst`](Self::receive_burst). Tells through which NIC they go.
    #[inline(never)]
    fn permit_common(&self, slot: usize, hand: &mut Hand<I::Buf>) -> usize {
        hand.permitted = [false; BURST];
        // One NIC for all of a burst, which nearly always is so.
        let wanted = hand.sent.first().map(|sent| sent.desc.port);
        let nic = self.nics.iter().position(|nic| Some(nic.nic.id) == wanted);
        let vport = self.vports[slot].as_ref();
        let vport = vport.filter(|vport| vport.peer.is_stack() && !self.tables.has_any_address());
        if let (Some(nic), Some(vport)) = (nic, vport) {
            self.begin_sent(nic, hand);
            self.look_up_sent(nic, vport.slot, hand);
        }
        nic.unwrap_or(0)
    }

    /// From frames to what is to be looked up, and where.
    #[inline(always)]
    fn begin_sent(&self, nic: usize, hand: &mut Hand<I::Buf>) {
        let (tables, count, state) = (&self.tables, hand.sent.len(), &self.nics[nic]);
        for (group, sent) in hand.groups.iter_mut().zip(hand.sent.chunks_mut(LANES)) {
            for (lane, sent) in (0..LANES).zip(sent) {
                if sent.desc.port == state.nic.id {
                    settle(sent, state);
                }
                group.load_sent(lane, sent.buf.frame());
            }
        }
        let groups = &mut hand.groups[..count.div_ceil(LANES)];
        self.cpu.run(Judge {
            groups: &mut *groups,
            mac: state.nic.mac,
        });
        for (group, homes) in groups.iter().zip(hand.homes.chunks_mut(LANES)) {
            for (lane, home) in homes.iter_mut().enumerate() {
                if let Some(words) = group.tuple(lane) {
                    *home = tables.home4(Connection4::untagged(words.reversed()));
                }
            }
        }
        if tables.is_large() {
            for home in &hand.homes[..count] {
                tables.prefetch4(*home);
            }
            for home in &hand.homes[..count] {
                tables.prefetch4_slot(*home);
            }
        }
    }

    /// From there to whether their sources are claims of `vport`'s.
    #[inline(always)]
    fn look_up_sent(&self, nic: usize, vport: u16, hand: &mut Hand<I::Buf>) {
        let (nic, longest) = (&self.nics[nic].nic, self.nics[nic].max_frame);
        for (at, sent) in hand.sent.iter().enumerate() {
            let frame = sent.buf.frame();
            if let Some(words) = hand.groups[at / LANES].tuple(at % LANES)
                && sent.in_bounds
                && sent.desc.port == nic.id
                && frame.len() <= longest
                && egress::towards(frame, nic) == Towards::Wire
            {
                let key = Connection4::untagged(words.reversed());
                let found = self.tables.find4_at(key, hand.homes[at], &mut ());
                hand.permitted[at] = found.is_some_and(|holder| holder.lets_send(vport));
            }
        }
    }

    #[inline]
    fn send(&mut self, slot: usize, mut sent: Sent<I::Buf>) {
        let (nic, permit) = match self.permit(slot, &mut sent) {
            Ok(permitted) => permitted,
            Err(reason) => return self.drop_sent(slot, reason, sent.buf),
        };
        if permit == Permit::Question
            && let Some(vport) = &mut self.vports[slot]
        {
            vport.asked();
        }
        match egress::towards(sent.buf.frame(), &self.nics[nic].nic) {
            Towards::Wire => {}
            Towards::Both => self.copy_locally(slot, nic, sent.buf.frame()),
            Towards::Local => return self.switch_locally(slot, nic, sent.buf),
        }
        self.queue(slot, nic, sent.buf);
    }

    /// Whether a vport may send a packet, and through which NIC. What the host's kernel sends is
    /// checked for its length only.
    #[inline]
    fn permit(
        &mut self,
        slot: usize,
        sent: &mut Sent<I::Buf>,
    ) -> Result<(usize, Permit), DropReason> {
        if !sent.in_bounds {
            return Err(DropReason::TxBounds);
        }
        let vport = self.vports[slot].as_ref().ok_or(DropReason::VportShut)?;
        let (nic, permit) = match &vport.peer {
            Peer::Host { nic, .. } => {
                let nic = *nic;
                self.note_host_fragment(nic, sent.buf.frame());
                (nic, Permit::Packet)
            }
            Peer::Stack | Peer::Guest { .. } => {
                let at = self
                    .nics
                    .iter()
                    .position(|state| state.nic.id == sent.desc.port);
                let at = at.ok_or(DropReason::TxPort)?;
                settle(sent, &self.nics[at]);
                let (frame, nic) = (sent.buf.frame(), &self.nics[at].nic);
                let permit = egress::check(frame, nic, vport.slot, &self.tables, &mut ())?;
                (at, permit)
            }
        };
        if !egress::fits(sent.buf.frame(), self.nics[nic].max_frame) {
            return Err(DropReason::TxBounds);
        }
        if let Permit::Fragment(fragment, vlan) = &permit {
            self.permit_fragment(slot, nic, fragment, *vlan)?;
        }
        Ok((nic, permit))
    }

    /// Puts a packet among those that wait for a NIC, for which [`tx_room`](Self::tx_room) has seen room.
    #[inline]
    fn queue(&mut self, slot: usize, nic: usize, buf: I::Buf) {
        let fit = |number| u16::try_from(number).unwrap_or(u16::MAX);
        let from = (fit(slot), fit(buf.frame().len()));
        self.nics[nic].tx.push(buf);
        self.nics[nic].tx_from.push(from);
    }

    #[cold]
    pub(super) fn drop_sent(&mut self, slot: usize, reason: DropReason, buf: I::Buf) {
        if let Some(vport) = &mut self.vports[slot] {
            vport.drop_sent(reason);
        }
        self.discard(buf);
    }

    /// Hands what has collected for a NIC to it, and counts what it took. What it has no room for waits:
    /// meanwhile no one sends, and so everyone's share of a NIC that is too slow for all is what their
    /// turns are for.
    pub(super) fn flush(&mut self, nic: usize) {
        let state = &mut self.nics[nic];
        if state.tx.is_empty() {
            return;
        }
        let taken = self.io.tx_burst(nic, &mut state.tx);
        let sent = &state.tx_from[..taken];
        let bytes: u64 = sent.iter().map(|(_, len)| u64::from(*len)).sum();
        state.counters.tx_packets += sent.len() as u64;
        state.counters.tx_bytes += bytes;
        // Vports send in bursts, so these runs are long.
        for run in sent.chunk_by(|one, next| one.0 == next.0) {
            if let Some(Some(vport)) = self.vports.get_mut(usize::from(run[0].0)) {
                vport.counters.tx_wire += run.len() as u64;
            }
        }
        state.tx_from.drain(..taken);
        if state.tx.is_empty() {
            state.stalled_since = None;
        } else {
            self.wait_for_room(nic, taken > 0);
        }
    }

    /// A NIC that has taken nothing for some time, as one without a link does, is not waited for: the
    /// others' packets would wait with its own.
    #[cold]
    fn wait_for_room(&mut self, nic: usize, has_taken: bool) {
        let now = self.io.now_ms();
        let state = &mut self.nics[nic];
        let since = state.stalled_since.filter(|_| !has_taken).unwrap_or(now);
        state.stalled_since = Some(since);
        if now - since >= PATIENCE_MS {
            self.give_up(nic);
        }
    }

    /// Drops what a NIC has had no room for.
    pub(super) fn give_up(&mut self, nic: usize) {
        let state = &mut self.nics[nic];
        state.counters.tx_full += state.tx_from.len() as u64;
        for (slot, _) in state.tx_from.drain(..) {
            if let Some(Some(vport)) = self.vports.get_mut(usize::from(slot)) {
                vport.counters.tx_full += 1;
            }
        }
        self.io.free(&mut state.tx);
    }

    /// Has no one, and not the next stack of this slot, be the sender of what waits for NICs.
    pub(super) fn disown_sent(&mut self, slot: u16) {
        let waiting = self.nics.iter_mut().flat_map(|nic| &mut nic.tx_from);
        for (from, _) in waiting.filter(|(from, _)| *from == slot) {
            *from = NO_ONE;
        }
    }
}
