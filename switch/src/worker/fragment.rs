//! Fragments: with the first one of their packet, or not at all.

use wire::{Body, Fragment, Origin, Other, Vlan, parse};

use super::Worker;
use crate::fragments::{PacketId, Unknown, Waiting};
use crate::io::Io;
use crate::verdict::{DropReason, FragmentOf, HostReason, Owner};

/// Rounds between two looks for fragments that have waited too long: a power of two.
const LOOK_EVERY: u64 = 1024;

impl<I: Io> Worker<I> {
    /// A fragment from the wire that may be a stack's.
    #[cold]
    pub(super) fn receive_fragment(&mut self, nic: usize, of: &FragmentOf, buf: I::Buf) {
        let now_ms = self.io.now_ms();
        let fragment = &of.fragment;
        let id = PacketId::new(fragment, of.vlan, self.nics[nic].nic.id);
        let Some(owner) = of.owner else {
            return match self.rx_fragments.next(&id, fragment, now_ms) {
                Ok(passed) => self.pass_fragment(nic, passed, buf),
                Err(Unknown) => self.await_first(nic, id, fragment, now_ms, buf),
            };
        };
        let passed = self.rx_fragments.first(&id, fragment, owner, now_ms);
        self.pass_fragment(nic, passed, buf);
        while let Some(waiting) = self.waiting.call(&id) {
            let passed = self.rx_fragments.next(&id, &waiting.fragment, now_ms);
            // The packet is whole already.
            let passed = passed.unwrap_or(Err(DropReason::FragmentDuplicate));
            self.pass_fragment(waiting.nic, passed, waiting.buf);
        }
    }

    fn pass_fragment(&mut self, nic: usize, passed: Result<Owner, DropReason>, buf: I::Buf) {
        match passed {
            Ok(Owner::Vport(slot)) => self.deliver_uncommon(nic, slot, false, buf),
            Ok(Owner::Host) => self.deliver_to_host(nic, HostReason::Fragment, buf),
            Err(reason) => self.drop_received(nic, reason, buf),
        }
    }

    fn await_first(
        &mut self,
        nic: usize,
        id: PacketId,
        fragment: &Fragment,
        since_ms: u64,
        buf: I::Buf,
    ) {
        let pushed_out = self.waiting.admit(Waiting {
            buf,
            id,
            fragment: *fragment,
            nic,
            since_ms,
        });
        if let Some(oldest) = pushed_out {
            self.drop_received(oldest.nic, DropReason::FragmentFlood, oldest.buf);
        }
    }

    pub(super) fn dismiss_late_fragments(&mut self) {
        if self.waiting.is_empty() || !self.rounds.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let now_ms = self.io.now_ms();
        while let Some(late) = self.waiting.late(now_ms) {
            self.drop_received(late.nic, DropReason::FragmentTimeout, late.buf);
        }
        self.publish();
    }

    /// Whether a vport may send a fragment: a first one that has passed the check, or one that
    /// follows it.
    #[cold]
    pub(super) fn permit_fragment(
        &mut self,
        slot: usize,
        nic: usize,
        fragment: &Fragment,
        vlan: Vlan,
    ) -> Result<(), DropReason> {
        let now_ms = self.io.now_ms();
        let id = PacketId::new(fragment, vlan, self.nics[nic].nic.id);
        let sender = Owner::Vport(u16::try_from(slot).map_err(|_| DropReason::TxForeign)?);
        let known = self.tx_fragments.owner(&id, now_ms);
        if known.is_some_and(|owner| owner != sender) {
            return Err(DropReason::TxForeign);
        }
        if fragment.offset == 0 {
            self.tx_fragments.first(&id, fragment, sender, now_ms)?;
            return Ok(());
        }
        match self.tx_fragments.next(&id, fragment, now_ms) {
            Ok(passed) => passed.map(|_| ()),
            Err(Unknown) => Err(DropReason::TxFragment),
        }
    }

    /// Remembers the host's fragments, so that no stack adds to its packets. They pass in any case.
    #[inline]
    pub(super) fn note_host_fragment(&mut self, nic: usize, frame: &[u8]) {
        if may_be_fragment(frame) && !self.tables.is_empty() {
            self.note_fragment(nic, frame);
        }
    }

    #[cold]
    fn note_fragment(&mut self, nic: usize, frame: &[u8]) {
        let Ok(parsed) = parse(frame, Origin::Local) else {
            return;
        };
        if let Body::Other(Other::Fragment(fragment)) = &parsed.body {
            let id = PacketId::new(fragment, parsed.vlan, self.nics[nic].nic.id);
            let now_ms = self.io.now_ms();
            if fragment.offset == 0 {
                let _ = self.tx_fragments.first(&id, fragment, Owner::Host, now_ms);
            } else {
                let _ = self.tx_fragments.next(&id, fragment, now_ms);
            }
        }
    }

    pub(super) fn forget_fragments(&mut self, slot: u16) {
        self.rx_fragments.forget(slot);
        self.tx_fragments.forget(slot);
    }
}

/// Cheap, and true for too much: whether it is worth parsing a frame of the host's.
#[inline]
fn may_be_fragment(frame: &[u8]) -> bool {
    let Some(head) = frame.first_chunk::<22>() else {
        return false;
    };
    match (head[12], head[13]) {
        (0x08, 0x00) => head[20] & 0x3f != 0 || head[21] != 0,
        (0x86, 0xdd) => ![wire::proto::TCP, wire::proto::UDP].contains(&head[20]),
        (0x81, 0x00) | (0x88, 0xa8) => true,
        _ => false,
    }
}
