//! What would become of a frame, for `msctl trace`: decided by the very code that decides on packets,
//! and nothing changes.

use dpdk::mbuf::Checksum;
use wire::{Fragment, Origin, Vlan};

use super::Worker;
use crate::classify::{Arrival, classify};
use crate::command::{Fate, Trace};
use crate::egress::{self, Permit, Towards};
use crate::fragments::PacketId;
use crate::io::Io;
use crate::trace::Notes;
use crate::verdict::{DropReason, FragmentOf, HostReason, Owner, Verdict};

impl<I: Io> Worker<I> {
    /// None if there is no such NIC port.
    pub(super) fn fate(&self, trace: &mut Trace) -> Option<Fate> {
        let nic = trace.nic;
        let state = self.nics.get(nic)?;
        let (frame, notes) = (&trace.frame, &mut trace.notes);
        if let Some(sender) = trace.from {
            let sent = self.sent(nic, sender, frame, notes);
            return Some(sent.unwrap_or_else(Fate::Refused));
        }
        let arrival = Arrival {
            frame,
            origin: Origin::Wire,
            checksum: Checksum::Unknown,
        };
        let verdict = classify(&arrival, &state.nic, &self.tables, notes);
        let Verdict::Fragment(of) = &verdict else {
            return Some(Fate::Received(verdict, None));
        };
        Some(match self.foresee(nic, of) {
            Some(Ok(owner)) => Fate::Received(verdict, Some(owner)),
            Some(Err(reason)) => Fate::Received(Verdict::Drop(reason), None),
            None => Fate::Received(verdict, None),
        })
    }

    fn sent(
        &self,
        nic: usize,
        sender: u16,
        frame: &[u8],
        notes: &mut Notes,
    ) -> Result<Fate, DropReason> {
        // The host behind a port sends through that port only, and is not checked.
        let behind = self.nics.iter().position(|state| state.host == sender);
        let state = &self.nics[behind.unwrap_or(nic)];
        let permit = match behind {
            Some(_) => Permit::Packet,
            None => egress::check(frame, &state.nic, sender, &self.tables, notes)?,
        };
        if !egress::fits(frame, state.max_frame) {
            return Err(DropReason::TxBounds);
        }
        if let Permit::Fragment(fragment, vlan) = &permit {
            self.foresee_permit(sender, state.nic.id, fragment, *vlan)?;
        }
        let nic = behind.unwrap_or(nic);
        match egress::towards(frame, &state.nic) {
            Towards::Wire => Ok(Fate::Passed),
            Towards::Both => {
                let (here, to_host) = self.copies_here(sender.into(), nic, frame, notes);
                Ok(Fate::Copied { here, to_host })
            }
            Towards::Local => {
                let verdict = self.local_verdict(nic, frame, notes);
                self.switched(nic, verdict, behind.is_some())
            }
        }
    }

    fn switched(&self, nic: usize, verdict: Verdict, is_host: bool) -> Result<Fate, DropReason> {
        let verdict = match verdict {
            Verdict::Drop(reason) => return Err(reason),
            Verdict::Fragment(of) => match self.foresee(nic, &of) {
                Some(Ok(Owner::Vport(slot))) => Verdict::Vport {
                    slot,
                    checksum: false,
                },
                Some(Ok(Owner::Host)) => Verdict::Host(HostReason::Fragment),
                Some(Err(reason)) => return Err(reason),
                None => return Err(DropReason::FragmentTimeout),
            },
            verdict => verdict,
        };
        match verdict {
            Verdict::Host(_) | Verdict::HostAndCopies(..) if is_host => Err(DropReason::TxLocal),
            verdict => Ok(Fate::Switched(verdict)),
        }
    }

    /// Who gets a fragment, or why no one does; None if its first one has not come.
    fn foresee(&self, nic: usize, of: &FragmentOf) -> Option<Result<Owner, DropReason>> {
        let id = PacketId::new(&of.fragment, of.vlan, self.nics[nic].nic.id);
        let known = self
            .rx_fragments
            .foresee(&id, &of.fragment, self.io.now_ms());
        known.or_else(|| of.owner.map(Ok))
    }

    /// What [`permit_fragment`](Self::permit_fragment) would say.
    fn foresee_permit(
        &self,
        sender: u16,
        nic: u8,
        fragment: &Fragment,
        vlan: Vlan,
    ) -> Result<(), DropReason> {
        let now_ms = self.io.now_ms();
        let id = PacketId::new(fragment, vlan, nic);
        let known = self.tx_fragments.owner(&id, now_ms);
        if known.is_some_and(|owner| owner != Owner::Vport(sender)) {
            return Err(DropReason::TxForeign);
        }
        match self.tx_fragments.foresee(&id, fragment, now_ms) {
            Some(passed) => passed.map(|_| ()),
            None if fragment.offset == 0 => Ok(()),
            None => Err(DropReason::TxFragment),
        }
    }
}
