//! May this stack send this frame?
//!
//! A stack speaks only for what it has claimed: the *source* must be a claim of this very vport.
//! It may ask for its neighbours' MACs in the name of a claimed address, answer for an address
//! that is wholly its own, and report errors about packets that came to it.

use std::net::IpAddr;

use wire::{
    Arp, Body, Fragment, Group, Icmp, NdKind, NeighborDiscovery, Origin, Other, TupleV4, TupleV6,
    Vlan, common_v4, common_v6, parse, proto,
};

use crate::classify::{Nic, icmp_proto, portless};
use crate::key::{Ends, Ends4, Ends6, zone, zone_of};
use crate::tables::{Holder, Tables, has_ports};
use crate::trace::Observer;
use crate::verdict::DropReason;

/// What a frame that may be sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// A packet from what the stack has claimed.
    Packet,
    /// A question about a neighbour: the answer is to be copied to the stack.
    Question,
    /// A fragment: a first one is from a claimed tuple, the others must follow it.
    Fragment(Fragment, Vlan),
}

/// Where a frame goes, by its destination MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// To another machine.
    Wire,
    /// To the port's own MAC: to another vport behind it.
    Local,
    /// To a group or broadcast: both.
    Both,
}

/// Tells by the destination MAC where a frame goes.
#[inline(always)]
pub fn towards(frame: &[u8], nic: &Nic) -> Towards {
    if frame.starts_with(&nic.mac.0) {
        Towards::Local
    } else if frame.first().is_some_and(|octet| octet & 1 != 0) {
        Towards::Both
    } else {
        Towards::Wire
    }
}

/// Whether a frame is no longer than `longest`, a frame without VLAN tags; each tag adds to it.
#[inline]
pub fn fits(frame: &[u8], longest: usize) -> bool {
    frame.len() <= longest || frame.len() <= longest + tags_len(frame)
}

/// Bytes that VLAN tags take: two tags at most.
#[cold]
fn tags_len(frame: &[u8]) -> usize {
    let is_tag = |at: usize| {
        let tpid = frame.get(at..at + 2);
        tpid == Some(&wire::ethertype::VLAN.to_be_bytes())
            || tpid == Some(&wire::ethertype::SERVICE_VLAN.to_be_bytes())
    };
    match (is_tag(12), is_tag(16)) {
        (true, true) => 8,
        (true, false) => 4,
        (false, _) => 0,
    }
}

/// Decides on a frame that `vport` wants to send through `nic`. Never panics.
///
/// # Errors
/// The rule that forbids it.
#[inline(always)]
pub fn check(
    frame: &[u8],
    nic: &Nic,
    vport: u16,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Result<Permit, DropReason> {
    let towards = towards(frame, nic);
    let origin = match towards {
        Towards::Local => Origin::Local,
        Towards::Wire | Towards::Both => Origin::Wire,
    };
    observer.begins(frame, origin);
    let found = if let Some(tuple) = common_v4(frame) {
        tables.find4(&ends_v4(&tuple, Vlan::NONE), observer)
    } else if let Some(tuple) = common_v6(frame) {
        tables.find6(&ends_v6(&tuple, Vlan::NONE, nic), observer)
    } else {
        let sender = Sender {
            nic,
            vport,
            vlan: Vlan::NONE,
            tables,
        };
        return sender.check_uncommon(frame, origin, towards, observer);
    };
    check_source_mac(frame, nic)?;
    if tables.has_any_address() {
        check_source_address(frame, origin, nic, tables)?;
    }
    permit_unicast(found, vport, towards)
}

/// A tuple at any address stands for those on this machine: the host's, and those with claims.
#[cold]
fn check_source_address(
    frame: &[u8],
    origin: Origin,
    nic: &Nic,
    tables: &Tables,
) -> Result<(), DropReason> {
    let parsed = parse(frame, origin)?;
    let src = match &parsed.body {
        Body::V4(l4) => IpAddr::V4(l4.tuple.src.into()),
        Body::V6(l4) => IpAddr::V6(l4.tuple.src.into()),
        Body::Other(Other::Group(group)) => group.src,
        Body::Other(Other::Fragment(fragment)) => fragment.src,
        Body::Other(Other::Icmp(icmp)) => icmp.src,
        // The others are from an address with a claim, or nothing.
        Body::Other(_) => return Ok(()),
    };
    let zone = zone_of(src, nic.id);
    let is_here = nic.hosts.contains(&src)
        || tables.on_address(src, zone, parsed.vlan).len() > 0
        || src.is_unspecified();
    if is_here {
        Ok(())
    } else {
        Err(DropReason::TxNotClaimed)
    }
}

#[inline(always)]
fn check_source_mac(frame: &[u8], nic: &Nic) -> Result<(), DropReason> {
    match frame.get(6..12) {
        Some(mac) if mac == nic.mac.0 => Ok(()),
        _ => Err(DropReason::TxSourceMac),
    }
}

/// The ends of a packet to be sent: its source is on this machine.
#[inline(always)]
fn ends_v4(tuple: &TupleV4, vlan: Vlan) -> Ends4 {
    Ends {
        local: tuple.src,
        remote: tuple.dst,
        local_port: tuple.src_port,
        remote_port: tuple.dst_port,
        proto: tuple.proto,
        vlan,
        zone: 0,
    }
}

#[inline(always)]
fn ends_v6(tuple: &TupleV6, vlan: Vlan, nic: &Nic) -> Ends6 {
    Ends {
        local: tuple.src,
        remote: tuple.dst,
        local_port: tuple.src_port,
        remote_port: tuple.dst_port,
        proto: tuple.proto,
        vlan,
        zone: zone(tuple.src, nic.id),
    }
}

/// Whether a whole packet with ports to a unicast address may be sent.
#[inline(always)]
fn permit_unicast(
    found: Option<Holder>,
    vport: u16,
    towards: Towards,
) -> Result<Permit, DropReason> {
    permit(found, vport)?;
    if towards == Towards::Both {
        return Err(DropReason::TxGroupMac);
    }
    Ok(Permit::Packet)
}

#[inline(always)]
fn permit(found: Option<Holder>, vport: u16) -> Result<Permit, DropReason> {
    match found {
        Some(holder) if holder.lets_send(vport) => Ok(Permit::Packet),
        Some(_) => Err(DropReason::TxForeign),
        None => Err(DropReason::TxNotClaimed),
    }
}

/// Who wants to send what is rare, and where.
struct Sender<'a> {
    nic: &'a Nic,
    vport: u16,
    vlan: Vlan,
    tables: &'a Tables,
}

impl Sender<'_> {
    #[cold]
    fn check_uncommon(
        mut self,
        frame: &[u8],
        origin: Origin,
        towards: Towards,
        observer: &mut impl Observer,
    ) -> Result<Permit, DropReason> {
        let parsed = parse(frame, origin)?;
        check_source_mac(frame, self.nic)?;
        if self.tables.has_any_address() {
            check_source_address(frame, origin, self.nic, self.tables)?;
        }
        self.vlan = parsed.vlan;
        let found = match &parsed.body {
            Body::V4(l4) => self.tables.find4(&ends_v4(&l4.tuple, self.vlan), observer),
            Body::V6(l4) => self
                .tables
                .find6(&ends_v6(&l4.tuple, self.vlan, self.nic), observer),
            Body::Other(other) => return self.check(other, towards, observer),
        };
        permit_unicast(found, self.vport, towards)
    }

    #[cold]
    fn check(
        &self,
        other: &Other,
        towards: Towards,
        observer: &mut impl Observer,
    ) -> Result<Permit, DropReason> {
        let to_group = match other {
            Other::NotIp { .. } => return Err(DropReason::TxNotIp),
            Other::Arp(arp) => return self.check_arp(arp),
            Other::Neighbor(nd) => return self.check_neighbour(nd),
            Other::Group(group) => return self.check_group(group, observer),
            Other::Fragment(fragment) => fragment.dst.is_multicast(),
            Other::Icmp(_) | Other::Proto(_) => false,
        };
        let permit = match other {
            Other::Fragment(fragment) => self.check_fragment(fragment, observer),
            Other::Icmp(icmp) => self.check_icmp(icmp, observer),
            Other::Proto(packet) => {
                let ends = portless(packet.src, packet.dst, packet.proto, self.vlan, self.nic);
                permit(self.tables.find(&ends, false, observer), self.vport)
            }
            _ => Err(DropReason::TxNotIp),
        }?;
        if towards == Towards::Both && !to_group {
            return Err(DropReason::TxGroupMac);
        }
        Ok(permit)
    }

    /// Whether this stack has all of an address.
    fn owns(&self, addr: IpAddr) -> bool {
        let zone = zone_of(addr, self.nic.id);
        self.tables.owner_of_address(addr, zone, self.vlan) == Some(self.vport)
    }

    /// Whether this stack has a claim on an address.
    fn is_on(&self, addr: IpAddr) -> bool {
        let zone = zone_of(addr, self.nic.id);
        let mut vports = self.tables.on_address(addr, zone, self.vlan);
        vports.any(|vport| vport == self.vport)
    }

    fn check_arp(&self, arp: &Arp) -> Result<Permit, DropReason> {
        let sender = IpAddr::V4(arp.sender_ip);
        if arp.sender_mac != self.nic.mac {
            return Err(DropReason::TxArp);
        }
        // A probe (RFC 5227) has no sender yet, and asks for what is to be its own.
        let probes = arp.sender_ip.is_unspecified() && self.owns(IpAddr::V4(arp.target_ip));
        let is_question = arp.op == wire::ARP_REQUEST && arp.sender_ip != arp.target_ip;
        if is_question && (probes || self.is_on(sender)) {
            return Ok(Permit::Question);
        }
        // Replies and announcements speak for the address as a whole.
        let speaks = arp.op == wire::ARP_REPLY || arp.op == wire::ARP_REQUEST;
        if speaks && self.owns(sender) {
            return Ok(Permit::Packet);
        }
        Err(DropReason::TxArp)
    }

    fn check_neighbour(&self, nd: &NeighborDiscovery) -> Result<Permit, DropReason> {
        let src = IpAddr::V6(nd.src);
        let names_port = nd.link_layer.is_none_or(|mac| mac == self.nic.mac);
        match (nd.kind, nd.target.map(IpAddr::V6)) {
            (NdKind::Solicitation, Some(target)) if names_port => {
                // Duplicate address detection (RFC 4862 section 5.4).
                let probes = nd.src.is_unspecified() && self.owns(target);
                if probes || (target != src && self.is_on(src)) {
                    return Ok(Permit::Question);
                }
            }
            (NdKind::Advertisement, Some(target))
                if names_port && self.owns(target) && (target == src || self.is_on(src)) =>
            {
                return Ok(Permit::Packet);
            }
            _ => {}
        }
        Err(DropReason::TxNeighbour)
    }

    fn check_group(
        &self,
        group: &Group,
        observer: &mut impl Observer,
    ) -> Result<Permit, DropReason> {
        if group.src.is_unspecified() {
            return Err(DropReason::TxUnspecifiedSource);
        }
        let Some((local_port, remote_port)) = group.ports.filter(|_| group.proto == proto::UDP)
        else {
            return Err(DropReason::TxMulticast);
        };
        let ends = Ends {
            local: group.src,
            remote: group.dst,
            local_port,
            remote_port,
            proto: group.proto,
            vlan: self.vlan,
            zone: zone_of(group.src, self.nic.id),
        };
        permit(self.tables.find(&ends, true, observer), self.vport)
    }

    /// An error is about a packet that came to this stack, and comes from where that went.
    fn check_icmp(&self, icmp: &Icmp, observer: &mut impl Observer) -> Result<Permit, DropReason> {
        if let Some(about) = icmp.about {
            let ports = about.ports.unwrap_or_default();
            let ends = Ends {
                local: about.dst,
                remote: about.src,
                local_port: ports.1,
                remote_port: ports.0,
                proto: about.proto,
                vlan: self.vlan,
                zone: zone_of(about.dst, self.nic.id),
            };
            let found = self.tables.find(&ends, about.ports.is_some(), observer);
            let answers = icmp.src == about.dst && icmp.dst == about.src;
            return match found {
                Some(holder) if answers && holder.lets_send(self.vport) => Ok(Permit::Packet),
                _ => Err(DropReason::TxIcmp),
            };
        }
        // Echo request and reply; nothing else is harmless in another's hands.
        let is_echo = match icmp.src {
            IpAddr::V4(_) => matches!(icmp.kind, 0 | 8),
            IpAddr::V6(_) => matches!(icmp.kind, 128 | 129),
        };
        let ends = portless(
            icmp.src,
            icmp.dst,
            icmp_proto(icmp.src),
            self.vlan,
            self.nic,
        );
        match self.tables.find(&ends, false, observer) {
            Some(holder) if is_echo && holder.lets_send(self.vport) => Ok(Permit::Packet),
            _ => Err(DropReason::TxIcmp),
        }
    }

    fn check_fragment(
        &self,
        fragment: &Fragment,
        observer: &mut impl Observer,
    ) -> Result<Permit, DropReason> {
        if fragment.src.is_unspecified() {
            return Err(DropReason::TxUnspecifiedSource);
        }
        let zone = zone_of(fragment.src, self.nic.id);
        if self.tables.sole_owner(fragment.src, zone, self.vlan) == Some(self.vport) {
            return Ok(Permit::Packet);
        }
        let is_first = fragment.offset == 0;
        // IPv4 reassembles by protocol (RFC 791 section 3.2), so fragments of one without ports
        // cannot end up in another's packet; IPv6 does not look at it.
        let is_apart = fragment.src.is_ipv4() && !has_ports(fragment.proto);
        if is_first || is_apart {
            let ports = fragment.ports.unwrap_or_default();
            let ends = Ends {
                local: fragment.src,
                remote: fragment.dst,
                local_port: ports.0,
                remote_port: ports.1,
                proto: fragment.proto,
                vlan: self.vlan,
                zone,
            };
            let found = self.tables.find(&ends, fragment.ports.is_some(), observer);
            permit(found, self.vport)?;
        }
        if is_apart {
            return Ok(Permit::Packet);
        }
        Ok(Permit::Fragment(*fragment, self.vlan))
    }
}
