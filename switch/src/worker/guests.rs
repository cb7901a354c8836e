//! Guests: vports whose packets are copied, to and from virtqueues that this worker polls.

use wire::ETHERNET_HEADER_LEN;

use super::Worker;
use super::state::Hand;
use crate::io::Io;
use crate::verdict::DropReason;
use crate::vport::{Guest, Peer, Turn, Vport};

impl<I: Io> Worker<I> {
    /// Sets up the worker's end of a guest's port, if `vport` is one's.
    pub(super) fn admit_guest(&mut self, vport: &Vport) {
        let Peer::Guest { port, pair, nic } = &vport.peer else {
            return;
        };
        let state = self.nics.iter().find(|state| state.nic.id == *nic);
        let mtu = state.map_or(0, |state| {
            state.max_frame - usize::from(ETHERNET_HEADER_LEN)
        });
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let nic_finishes = state.is_some_and(|state| state.finishes_checksums);
        let guest = Guest::new(port.clone(), *pair, *nic, mtu, nic_finishes);
        self.guests[usize::from(vport.slot)] = Some(Box::new(guest));
        self.guest_slots.push(vport.slot);
    }

    /// Lets go of it.
    pub(super) fn dismiss_guest(&mut self, slot: u16) {
        self.guest_slots.retain(|guest| *guest != slot);
        if let Some(mut guest) = self.guests[usize::from(slot)].take() {
            guest.give_up(&mut self.io, &mut self.freed);
        }
    }

    /// Sees which guests have something to send: their queues have no doorbells here. And copies what some
    /// had no buffers for before.
    pub(super) fn poll_guests(&mut self) {
        for at in 0..self.guest_slots.len() {
            let slot = usize::from(self.guest_slots[at]);
            let (Some(vport), Some(guest)) = (&mut self.vports[slot], &mut self.guests[slot])
            else {
                continue;
            };
            if guest.waiting() > 0 && !vport.touched {
                vport.deliver(&mut self.io, &mut self.freed, guest);
            }
            if guest.has_sent() {
                self.pending[slot / 64] |= 1 << (slot % 64);
            }
        }
    }

    /// As [`stage`](Self::stage), for a guest.
    pub(super) fn stage_copy(
        &mut self,
        slot: u16,
        checksum: bool,
        buf: I::Buf,
    ) -> Result<(), (I::Buf, DropReason)> {
        let at = usize::from(slot);
        match (&mut self.vports[at], &mut self.guests[at]) {
            (Some(vport), Some(guest)) => {
                vport.stage_copy(&mut self.io, &mut self.freed, guest, buf, checksum)
            }
            _ => Err((buf, DropReason::VportShut)),
        }
    }

    /// Copies to a guest what has come for it.
    pub(super) fn deliver(&mut self, slot: u16) {
        let at = usize::from(slot);
        if let (Some(vport), Some(guest)) = (&mut self.vports[at], &mut self.guests[at]) {
            vport.deliver(&mut self.io, &mut self.freed, guest);
            vport.end_copies();
        }
    }

    /// Copies what a guest may send in its turn. True if more waits.
    pub(super) fn take_copies(&mut self, slot: usize, turn: Turn, hand: &mut Hand<I::Buf>) -> bool {
        match (&mut self.vports[slot], &mut self.guests[slot]) {
            (Some(vport), Some(guest)) => {
                vport.take_copies(&mut self.io, guest, &mut hand.sent, turn)
            }
            _ => false,
        }
    }
}
