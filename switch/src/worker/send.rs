//! The other half of the data path, from the vports: what stacks and the host send, through the egress
//! check, to a NIC or to another vport.

use wire::LANES;

use super::state::Hand;
use super::{BURSTS, Judge, Worker, local, shut};
use crate::egress::{self, Permit, Towards};
use crate::io::{BURST, Buf, Io};
use crate::key::Connection4;
use crate::verdict::DropReason;
use crate::vport::{Peer, Sent};

impl<I: Io> Worker<I> {
    /// A burst of each vport that rang, and then, in turns, of those that have more: as many in all as
    /// the NIC may bring in a round, so that an echo keeps up.
    pub(super) fn serve_vports(&mut self, hand: &mut Hand<I::Buf>) -> bool {
        let mut worked = false;
        for word in 0..self.pending.len() {
            let rang = self.doorbells.answer(word) | std::mem::take(&mut self.pending[word]);
            worked |= self.serve_each(word, rang, hand) > 0;
        }
        let mut left = BURSTS;
        while left > 0 {
            let before = left;
            for word in 0..self.pending.len() {
                let more = std::mem::take(&mut self.pending[word]);
                left = left.saturating_sub(self.serve_each(word, more, hand));
            }
            if left == before {
                break;
            }
        }
        if worked {
            self.publish();
        }
        worked
    }

    /// Serves these vports of a word of doorbells; tells how many had something to send.
    fn serve_each(&mut self, word: usize, mut vports: u64, hand: &mut Hand<I::Buf>) -> usize {
        let mut served = 0;
        while vports != 0 {
            let bit = vports.trailing_zeros() as usize;
            vports &= vports - 1;
            served += usize::from(self.serve(word * 64 + bit, hand));
        }
        served
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
            && vport.replenish(&mut self.io, &mut self.freed).is_err()
        {
            shut(vport, &self.channels.events);
        }
    }

    /// Sends what a vport has put into its `tx` ring, a burst at most, and refills it.
    fn serve(&mut self, slot: usize, hand: &mut Hand<I::Buf>) -> bool {
        let Some(Some(vport)) = self.vports.get_mut(slot) else {
            return false;
        };
        if vport.is_shut() {
            return false;
        }
        let served = vport
            .take_sent(&mut self.io, &mut hand.sent)
            .and_then(|more| Ok((more, vport.replenish(&mut self.io, &mut self.freed)?)));
        match served {
            Ok((false, true)) => {}
            Ok(_) => self.pending[slot / 64] |= 1 << (slot % 64),
            Err(_) => shut(vport, &self.channels.events),
        }
        if hand.sent.is_empty() {
            return false;
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
        true
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
        let (tables, count) = (&self.tables, hand.sent.len());
        for (group, sent) in hand.groups.iter_mut().zip(hand.sent.chunks_mut(LANES)) {
            for (lane, sent) in (0..LANES).zip(sent) {
                if sent.desc.checksum && sent.in_bounds {
                    local::fill_checksum(sent.buf.frame_mut());
                    sent.desc.checksum = false;
                }
                group.load_sent(lane, sent.buf.frame());
            }
        }
        let groups = &mut hand.groups[..count.div_ceil(LANES)];
        self.cpu.run(Judge {
            groups: &mut *groups,
            mac: self.nics[nic].nic.mac,
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
            Peer::Stack => {
                let at = self
                    .nics
                    .iter()
                    .position(|state| state.nic.id == sent.desc.port);
                let at = at.ok_or(DropReason::TxPort)?;
                if sent.desc.checksum {
                    local::fill_checksum(sent.buf.frame_mut());
                }
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

    #[inline]
    fn queue(&mut self, slot: usize, nic: usize, buf: I::Buf) {
        let fit = |number| u16::try_from(number).unwrap_or(u16::MAX);
        let from = (fit(slot), fit(buf.frame().len()));
        if self.nics[nic].tx.is_full() {
            self.flush(nic);
        }
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

    /// Hands what has collected for a NIC to it, and counts what it took.
    pub(super) fn flush(&mut self, nic: usize) {
        let state = &mut self.nics[nic];
        if state.tx.is_empty() {
            return;
        }
        let taken = self.io.tx_burst(nic, &mut state.tx);
        let (sent, refused) = state.tx_from.split_at(taken);
        let bytes: u64 = sent.iter().map(|(_, len)| u64::from(*len)).sum();
        state.counters.tx_packets += sent.len() as u64;
        state.counters.tx_bytes += bytes;
        state.counters.tx_full += refused.len() as u64;
        // Vports send in bursts, so these runs are long.
        for run in sent.chunk_by(|one, next| one.0 == next.0) {
            if let Some(vport) = &mut self.vports[usize::from(run[0].0)] {
                vport.counters.tx_wire += run.len() as u64;
            }
        }
        for (slot, _) in refused {
            if let Some(vport) = &mut self.vports[usize::from(*slot)] {
                vport.counters.tx_full += 1;
            }
        }
        state.tx_from.clear();
        self.io.free(&mut state.tx);
    }
}
