//! May this stack send this frame?
//!
//! A stack speaks only for what it has claimed: the *source* tuple must be a claim of this very
//! vport. It may ask for its neighbours' MACs in the name of a claimed address, and nothing else.

use std::net::IpAddr;

use wire::{Arp, NdKind, NeighborDiscovery, Other, Parsed, TupleV4, TupleV6, parse};

use crate::classify::{Nic, Tables};
use crate::verdict::DropReason;

/// What a frame that may be sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// A packet from a claimed tuple.
    Packet,
    /// A question about a neighbour: the answer is to be copied to the stack.
    Question,
}

/// Decides on a frame that `vport` wants to send through `nic`. Never panics.
///
/// # Errors
/// The rule that forbids it.
#[inline]
pub fn check(frame: &[u8], nic: Nic, vport: u16, tables: &Tables) -> Result<Permit, DropReason> {
    let parsed = parse(frame)?;
    if frame.get(6..12) != Some(&nic.mac.0[..]) {
        return Err(DropReason::TxSourceMac);
    }
    let owner = match parsed {
        Parsed::V4(l4) => {
            let TupleV4 {
                src,
                src_port,
                proto,
                ..
            } = l4.tuple;
            tables.local4(src, src_port, proto)
        }
        Parsed::V6(l4) => {
            let TupleV6 {
                src,
                src_port,
                proto,
                ..
            } = l4.tuple;
            tables.local6(src, src_port, proto, nic.id)
        }
        Parsed::Other(other) => return check_other(&other, nic, vport, tables),
    };
    match owner {
        Some(owner) if owner == vport => Ok(Permit::Packet),
        Some(_) => Err(DropReason::TxForeign),
        None => Err(DropReason::TxNotClaimed),
    }
}

#[cold]
fn check_other(other: &Other, nic: Nic, vport: u16, tables: &Tables) -> Result<Permit, DropReason> {
    let (question, refusal) = match other {
        Other::Arp(arp) => (is_own_request(arp, nic, vport, tables), DropReason::TxArp),
        Other::Neighbor(nd) => (
            is_own_solicitation(nd, nic, vport, tables),
            DropReason::TxNeighbour,
        ),
        Other::NotIp { .. } => (false, DropReason::TxNotIp),
        Other::Vlan { .. } => (false, DropReason::TxVlan),
        Other::Fragment => (false, DropReason::TxFragment),
        Other::Icmp(_) | Other::Icmpv6(_) => (false, DropReason::TxIcmp),
        Other::Multicast => (false, DropReason::TxMulticast),
        Other::OtherProto { .. } => (false, DropReason::TxProtocol),
        Other::UnspecifiedSource => (false, DropReason::TxUnspecifiedSource),
    };
    if question {
        Ok(Permit::Question)
    } else {
        Err(refusal)
    }
}

fn is_own_request(arp: &Arp, nic: Nic, vport: u16, tables: &Tables) -> bool {
    arp.op == wire::ARP_REQUEST
        && arp.sender_mac == nic.mac
        // Asking for the address itself would be an announcement (RFC 5227).
        && arp.sender_ip != arp.target_ip
        && tables.on_address(IpAddr::V4(arp.sender_ip)).contains(&vport)
}

fn is_own_solicitation(nd: &NeighborDiscovery, nic: Nic, vport: u16, tables: &Tables) -> bool {
    nd.kind == NdKind::Solicitation
        && nd.link_layer.is_none_or(|mac| mac == nic.mac)
        && nd.target != Some(nd.src)
        && tables.on_address(IpAddr::V6(nd.src)).contains(&vport)
}
