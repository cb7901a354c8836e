//! From one vport to another on this machine, by the same rules as from the wire; and copies.

use dpdk::mbuf::Checksum;
use wire::{Body, Origin, Other, parse};

use super::Worker;
use crate::classify::{Arrival, classify};
use crate::fragments::{PacketId, Unknown};
use crate::io::{Buf, Io};
use crate::trace::Observer;
use crate::verdict::{Copies, DropReason, FragmentOf, HostReason, Owner, Verdict};

impl<I: Io> Worker<I> {
    /// What a vport sends to the port's own MAC is for another vport behind that port.
    pub(super) fn switch_locally(&mut self, sender: usize, nic: usize, buf: I::Buf) {
        let owner = match self.local_verdict(nic, buf.frame(), &mut ()) {
            Verdict::Vport { slot, checksum } => Ok((Owner::Vport(slot), checksum)),
            Verdict::Host(_) => Ok((Owner::Host, false)),
            Verdict::HostAndCopies(_, copies) => {
                self.copy_to(nic, &copies, Some(sender), buf.frame());
                Ok((Owner::Host, false))
            }
            Verdict::Fragment(of) => self.local_fragment(nic, &of).map(|owner| (owner, false)),
            Verdict::Drop(reason) => Err(reason),
        };
        let (to, checksum) = match owner {
            Ok((Owner::Vport(slot), checksum)) => (slot, checksum),
            Ok((Owner::Host, _)) if usize::from(self.nics[nic].host) == sender => {
                return self.drop_sent(sender, DropReason::TxLocal, buf);
            }
            Ok((Owner::Host, _)) => (self.nics[nic].host, false),
            Err(reason) => return self.drop_sent(sender, reason, buf),
        };
        let port = self.nics[nic].nic.id;
        match self.stage(port, to, checksum, buf) {
            Ok(()) => {
                if let Some(vport) = &mut self.vports[sender] {
                    vport.counters.tx_local += 1;
                }
            }
            Err((buf, reason)) => {
                if let Some(vport) = &mut self.vports[usize::from(to)] {
                    vport.drop_received(reason);
                }
                self.drop_sent(sender, reason, buf);
            }
        }
    }

    pub(super) fn local_verdict(
        &self,
        nic: usize,
        frame: &[u8],
        observer: &mut impl Observer,
    ) -> Verdict {
        let arrival = Arrival {
            frame,
            origin: Origin::Local,
            checksum: Checksum::Unknown,
        };
        classify(&arrival, &self.nics[nic].nic, &self.tables, observer)
    }

    /// The sender's first fragment has passed before the others, so that none has to wait.
    fn local_fragment(&mut self, nic: usize, of: &FragmentOf) -> Result<Owner, DropReason> {
        let now_ms = self.io.now_ms();
        let id = PacketId::new(&of.fragment, of.vlan, self.nics[nic].nic.id);
        match of.owner {
            Some(owner) => self.rx_fragments.first(&id, &of.fragment, owner, now_ms),
            None => match self.rx_fragments.next(&id, &of.fragment, now_ms) {
                Ok(passed) => passed,
                Err(Unknown) => Err(DropReason::FragmentTimeout),
            },
        }
    }

    /// What a vport sends to a group or broadcast goes to the wire, and in copies to those on this
    /// machine who would get it from there.
    #[cold]
    pub(super) fn copy_locally(&mut self, sender: usize, nic: usize, frame: &[u8]) {
        let (here, to_host) = self.copies_here(sender, nic, frame, &mut ());
        match here {
            Some(Verdict::Vport { slot, .. }) => self.copy(nic, slot, frame),
            Some(Verdict::HostAndCopies(_, copies)) => {
                self.copy_to(nic, &copies, Some(sender), frame);
            }
            _ => {}
        }
        if to_host {
            self.copy(nic, self.nics[nic].host, frame);
        }
    }

    /// Which stacks on this machine get a copy of what `sender` sends to a group or broadcast, and
    /// whether the host does.
    #[cold]
    pub(super) fn copies_here(
        &self,
        sender: usize,
        nic: usize,
        frame: &[u8],
        observer: &mut impl Observer,
    ) -> (Option<Verdict>, bool) {
        if self.tables.is_empty() {
            return (None, false);
        }
        let verdict = self.local_verdict(nic, frame, observer);
        let (here, to_host) = match verdict {
            Verdict::Vport { slot, .. } => (usize::from(slot) != sender, false),
            Verdict::HostAndCopies(..) => (true, true),
            Verdict::Host(reason) => (false, reason != HostReason::OtherMac),
            Verdict::Fragment(_) | Verdict::Drop(_) => (false, false),
        };
        // The kernel would take what comes from one of its own addresses for a forgery.
        let to_host = to_host
            && usize::from(self.nics[nic].host) != sender
            && self.has_own_address(sender, nic, frame);
        (here.then_some(verdict), to_host)
    }

    /// Whether a frame's source is an address that is wholly the sender's.
    fn has_own_address(&self, sender: usize, nic: usize, frame: &[u8]) -> bool {
        let Ok(parsed) = parse(frame, Origin::Local) else {
            return false;
        };
        let src = match &parsed.body {
            Body::Other(Other::Arp(arp)) => arp.sender_ip.into(),
            Body::Other(Other::Neighbor(nd)) => nd.src.into(),
            Body::Other(Other::Group(group)) => group.src,
            _ => return false,
        };
        let zone = crate::key::zone_of(src, self.nics[nic].nic.id);
        let owner = self.tables.owner_of_address(src, zone, parsed.vlan);
        owner.is_some_and(|slot| usize::from(slot) == sender)
    }

    /// Gives copies to all that have a part in a frame, save its sender.
    #[cold]
    pub(super) fn copy_to(
        &mut self,
        nic: usize,
        copies: &Copies,
        sender: Option<usize>,
        frame: &[u8],
    ) {
        for at in 0.. {
            let slot = match *copies {
                Copies::Askers { addr, zone, vlan } => {
                    self.tables.on_address(addr, zone, vlan).nth(at)
                }
                Copies::Members { group, vlan } => self.tables.members(group, vlan).nth(at),
                Copies::Port { port, vlan } => self.tables.on_port(false, port, vlan).nth(at),
            };
            let Some(slot) = slot else { break };
            let asked = matches!(copies, Copies::Askers { .. });
            let wants = match &mut self.vports[usize::from(slot)] {
                Some(vport) if asked => vport.wants_answer(),
                Some(_) => sender != Some(usize::from(slot)),
                None => false,
            };
            if wants {
                self.copy(nic, slot, frame);
            }
        }
    }

    fn was_copy(&mut self, slot: u16, len: usize) {
        if let Some(vport) = &mut self.vports[usize::from(slot)] {
            vport.was_copy(len);
        }
    }

    fn copy(&mut self, nic: usize, slot: u16, frame: &[u8]) {
        let Some(copy) = self.io.copy(frame) else {
            return;
        };
        let port = self.nics[nic].nic.id;
        match self.stage(port, slot, false, copy) {
            Ok(()) => {
                match &mut self.guests[usize::from(slot)] {
                    Some(guest) => guest.was_copy(),
                    None => self.was_copy(slot, frame.len()),
                }
                self.nics[nic].counters.copies += 1;
            }
            // The original is accounted for: a copy is not counted as dropped.
            Err((copy, _)) => self.discard(copy),
        }
    }
}
