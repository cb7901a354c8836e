//! From a received frame to its verdict.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use dpdk::mbuf::Checksum as Hardware;
use wire::{
    Arp, Body, Checksum, Fragment, Group, MacAddr, NdKind, NeighborDiscovery, Origin, Other,
    TupleV4, TupleV6, Vlan, parse, proto, verify_l4,
};

use crate::key::{Ends, Ends4, Ends6, zone, zone_of};
use crate::quick::{Quick, quick};
use crate::tables::{Holder, Tables, has_ports};
use crate::trace::Observer;
use crate::verdict::{Copies, DropReason, FragmentOf, HostReason, Owner, Verdict};

/// Most broadcast addresses of a port: one per IPv4 subnet that the host has on it.
pub const MAX_BROADCASTS: usize = 16;

/// Most addresses of the host's on a port.
pub const MAX_HOSTS: usize = 32;

/// Addresses of the host's.
pub type Hosts = ArrayVec<IpAddr, MAX_HOSTS>;

/// Broadcast addresses, in host byte order.
pub type Broadcasts = ArrayVec<u32, MAX_BROADCASTS>;

/// A NIC port, as far as classification needs it.
#[derive(Clone, Debug)]
pub struct Nic {
    /// DPDK port id.
    pub id: u8,
    /// Its MAC.
    pub mac: MacAddr,
    /// The broadcast addresses of the host's IPv4 subnets on it (RFC 919), in host byte order.
    pub broadcasts: Broadcasts,
    /// The host's own addresses on it.
    pub hosts: Hosts,
}

/// A frame on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Without FCS.
    pub frame: &'a [u8],
    /// From the NIC, or from this machine.
    pub origin: Origin,
    /// What the NIC says about the layer 4 checksum.
    pub checksum: Hardware,
}

/// Decides on a received frame. Reads nothing but the frame and the tables; never panics.
pub fn classify(
    arrival: &Arrival<'_>,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    observer.begins(arrival.frame, arrival.origin);
    let quick = quick(arrival.frame, nic, tables, observer);
    conclude(quick, arrival, nic, tables, observer)
}

/// The verdict, after the short cut.
#[inline(always)]
pub fn conclude(
    quick: Quick,
    arrival: &Arrival<'_>,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    match quick {
        Quick::Claimed { slot, verify } => to_holder(slot, verify, arrival, observer),
        Quick::Unclaimed => Verdict::Host(HostReason::Unclaimed),
        Quick::Uncommon | Quick::Begun => uncommon(arrival, nic, tables, observer),
    }
}

/// Tags, options, extension headers, anything without ports, what is not to the port's MAC, and all
/// that is malformed.
#[cold]
fn uncommon(
    arrival: &Arrival<'_>,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    let parsed = match parse(arrival.frame, arrival.origin) {
        Ok(parsed) => parsed,
        Err(rule) => return Verdict::Drop(rule.into()),
    };
    let found = match &parsed.body {
        Body::V4(l4) => tables.find4(&ends_v4(&l4.tuple, parsed.vlan), observer),
        Body::V6(l4) => tables.find6(&ends_v6(&l4.tuple, parsed.vlan, nic), observer),
        Body::Other(other) => {
            return other_verdict(arrival, other, parsed.vlan, nic, tables, observer);
        }
    };
    settle(found, arrival, nic, tables, observer)
}

/// The ends of a received packet: its destination is on this machine.
#[inline(always)]
pub(crate) fn ends_v4(tuple: &TupleV4, vlan: Vlan) -> Ends4 {
    Ends {
        local: tuple.dst,
        remote: tuple.src,
        local_port: tuple.dst_port,
        remote_port: tuple.src_port,
        proto: tuple.proto,
        vlan,
        zone: 0,
    }
}

#[inline(always)]
pub(crate) fn ends_v6(tuple: &TupleV6, vlan: Vlan, nic: &Nic) -> Ends6 {
    Ends {
        local: tuple.dst,
        remote: tuple.src,
        local_port: tuple.dst_port,
        remote_port: tuple.src_port,
        proto: tuple.proto,
        vlan,
        zone: zone(tuple.dst, nic.id),
    }
}

/// The verdict on a whole packet with ports, of which it is known who has claimed it.
fn settle(
    found: Option<Holder>,
    arrival: &Arrival<'_>,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    // The NIC may be promiscuous, and IP unicast may come in a link-layer broadcast.
    if !arrival.frame.starts_with(&nic.mac.0) {
        return not_to_us(arrival, nic, tables, found.is_some());
    }
    match found {
        None => Verdict::Host(HostReason::Unclaimed),
        Some(holder) => to_holder(holder.vport, holder.verify, arrival, observer),
    }
}

#[inline(always)]
fn to_holder(
    slot: u16,
    verify: bool,
    arrival: &Arrival<'_>,
    observer: &mut impl Observer,
) -> Verdict {
    let is_good = arrival.checksum == Hardware::Good;
    if verify && !is_good {
        return verified(slot, arrival, observer);
    }
    Verdict::Vport {
        slot,
        checksum: is_good,
    }
}

/// For a claim that asks for it: with the layer 4 checksum verified.
#[cold]
fn verified(slot: u16, arrival: &Arrival<'_>, observer: &mut impl Observer) -> Verdict {
    let parsed = parse(arrival.frame, arrival.origin).ok();
    let checksum = parsed.and_then(|parsed| verify_l4(arrival.frame, &parsed));
    observer.verified(checksum);
    if checksum == Some(Checksum::Bad) {
        return Verdict::Drop(DropReason::L4Checksum);
    }
    Verdict::Vport {
        slot,
        checksum: checksum == Some(Checksum::Good),
    }
}

/// A whole packet with ports in a frame to another MAC: a subnet's broadcast, or none of ours.
#[cold]
fn not_to_us(arrival: &Arrival<'_>, nic: &Nic, tables: &Tables, is_claimed: bool) -> Verdict {
    let is_broadcast = arrival.frame.starts_with(&MacAddr::BROADCAST.0);
    if is_broadcast
        && let Ok(parsed) = parse(arrival.frame, arrival.origin)
        && let Body::V4(l4) = &parsed.body
        && nic.broadcasts.contains(&l4.tuple.dst)
    {
        return to_port(l4.tuple.proto, l4.tuple.dst_port, parsed.vlan, tables);
    }
    Verdict::Host(if is_claimed || !is_broadcast {
        HostReason::OtherMac
    } else {
        HostReason::Unclaimed
    })
}

#[cold]
fn other_verdict(
    arrival: &Arrival<'_>,
    other: &Other,
    vlan: Vlan,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    let is_others = !arrival.frame.starts_with(&nic.mac.0)
        && arrival.frame.first().is_some_and(|octet| octet & 1 == 0);
    let found = match other {
        Other::NotIp { .. } => return Verdict::Host(HostReason::NotIp),
        // The NIC may be promiscuous.
        _ if is_others => return Verdict::Host(HostReason::OtherMac),
        Other::Arp(arp) => return arp_verdict(arp, vlan, nic, tables),
        Other::Neighbor(nd) => return neighbour_verdict(nd, vlan, nic, tables),
        Other::Group(group) => return group_verdict(group, vlan, nic, tables),
        Other::Fragment(fragment) => {
            let to_us = arrival.frame.starts_with(&nic.mac.0);
            return fragment_verdict(fragment, vlan, to_us, nic, tables, observer);
        }
        // An error comes back to the sender of the packet that it is about.
        Other::Icmp(icmp) => match icmp.about {
            Some(about) if about.src == icmp.dst => {
                let ports = about.ports.unwrap_or_default();
                let ends = Ends {
                    local: about.src,
                    remote: about.dst,
                    local_port: ports.0,
                    remote_port: ports.1,
                    proto: about.proto,
                    vlan,
                    zone: zone_of(about.src, nic.id),
                };
                (
                    tables.find(&ends, about.ports.is_some(), observer),
                    HostReason::Icmp,
                )
            }
            _ => {
                let ends = portless(icmp.dst, icmp.src, icmp_proto(icmp.dst), vlan, nic);
                (tables.find(&ends, false, observer), HostReason::Icmp)
            }
        },
        Other::Proto(packet) => {
            let ends = portless(packet.dst, packet.src, packet.proto, vlan, nic);
            (
                tables.find(&ends, false, observer),
                HostReason::OtherProtocol,
            )
        }
    };
    match found {
        (None, reason) => Verdict::Host(reason),
        (Some(_), _) if !arrival.frame.starts_with(&nic.mac.0) => {
            Verdict::Host(HostReason::OtherMac)
        }
        (Some(holder), _) => to_holder(holder.vport, holder.verify, arrival, observer),
    }
}

/// ICMP or `ICMPv6`, whichever goes with the address.
pub(crate) const fn icmp_proto(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => proto::ICMP,
        IpAddr::V6(_) => proto::ICMPV6,
    }
}

/// What is looked up of a packet without ports.
pub(crate) fn portless(
    local: IpAddr,
    remote: IpAddr,
    proto: u8,
    vlan: Vlan,
    nic: &Nic,
) -> Ends<IpAddr> {
    Ends {
        local,
        remote,
        local_port: 0,
        remote_port: 0,
        proto,
        vlan,
        zone: zone_of(local, nic.id),
    }
}

/// What is about an address that is wholly a stack's goes to that stack; answers to the host's
/// addresses also to the stacks that asked.
fn arp_verdict(arp: &Arp, vlan: Vlan, nic: &Nic, tables: &Tables) -> Verdict {
    // The answer to a probe (RFC 5227) names no one that it is for: the one who probes has none yet.
    let addr = if arp.target_ip.is_unspecified() {
        IpAddr::V4(arp.sender_ip)
    } else {
        IpAddr::V4(arp.target_ip)
    };
    if let Some(slot) = tables.owner_of_address(addr, 0, vlan) {
        return to_vport(slot);
    }
    let answers = arp.op == wire::ARP_REPLY && arp.target_mac == nic.mac;
    host_and_askers(answers, addr, 0, vlan, tables)
}

fn neighbour_verdict(nd: &NeighborDiscovery, vlan: Vlan, nic: &Nic, tables: &Tables) -> Verdict {
    let (addr, answers) = match (nd.kind, nd.target) {
        (NdKind::Solicitation, Some(target)) => (IpAddr::V6(target), false),
        // To all: whoever probes for the target has to know (RFC 4862 section 5.4.4).
        (NdKind::Advertisement, Some(target)) if nd.dst.is_multicast() => {
            (IpAddr::V6(target), false)
        }
        (NdKind::Advertisement, _) => (IpAddr::V6(nd.dst), true),
        _ => return Verdict::Host(HostReason::Neighbour),
    };
    let zone = zone_of(addr, nic.id);
    if let Some(slot) = tables.owner_of_address(addr, zone, vlan) {
        return to_vport(slot);
    }
    host_and_askers(answers, addr, zone, vlan, tables)
}

const fn to_vport(slot: u16) -> Verdict {
    Verdict::Vport {
        slot,
        checksum: false,
    }
}

fn host_and_askers(answers: bool, addr: IpAddr, zone: u8, vlan: Vlan, tables: &Tables) -> Verdict {
    if answers && tables.on_address(addr, zone, vlan).len() > 0 {
        return Verdict::HostAndCopies(HostReason::Neighbour, Copies::Askers { addr, zone, vlan });
    }
    Verdict::Host(HostReason::Neighbour)
}

fn group_verdict(group: &Group, vlan: Vlan, nic: &Nic, tables: &Tables) -> Verdict {
    let Some((_, port)) = group.ports.filter(|_| group.proto == proto::UDP) else {
        return Verdict::Host(HostReason::Group);
    };
    if !group.dst.is_multicast() {
        // What is only from an unspecified address is for one.
        let is_broadcast = matches!(group.dst, IpAddr::V4(ip) if ip.is_broadcast()
            || ip.is_unspecified()
            || nic.broadcasts.contains(&ip.to_bits()));
        if !is_broadcast {
            return Verdict::Host(HostReason::Group);
        }
        return to_port(group.proto, port, vlan, tables);
    }
    let to = SocketAddr::new(group.dst, port);
    if tables.members(to, vlan).len() == 0 {
        return Verdict::Host(HostReason::Group);
    }
    Verdict::HostAndCopies(HostReason::Group, Copies::Members { group: to, vlan })
}

/// An IPv4 broadcast.
fn to_port(proto: u8, port: u16, vlan: Vlan, tables: &Tables) -> Verdict {
    if proto != proto::UDP || tables.on_port(false, port, vlan).len() == 0 {
        return Verdict::Host(HostReason::Group);
    }
    Verdict::HostAndCopies(HostReason::Group, Copies::Port { port, vlan })
}

fn fragment_verdict(
    fragment: &Fragment,
    vlan: Vlan,
    to_us: bool,
    nic: &Nic,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Verdict {
    let Fragment { src, dst, .. } = *fragment;
    let to_group = dst.is_multicast() || dst.is_unspecified() || dst == IpAddr::from([255; 4]);
    if src.is_unspecified() || to_group || !to_us {
        return Verdict::Host(HostReason::Fragment);
    }
    let zone = zone_of(dst, nic.id);
    // One stack has all there is at the address: no table is needed to tell whose this is.
    if let Some(slot) = tables.sole_owner(dst, zone, vlan) {
        return to_vport(slot);
    }
    if !tables.concerns(dst, zone, vlan) {
        return Verdict::Host(HostReason::Fragment);
    }
    let (remote_port, local_port) = fragment.ports.unwrap_or_default();
    let ends = Ends {
        local: dst,
        remote: src,
        local_port,
        remote_port,
        proto: fragment.proto,
        vlan,
        zone,
    };
    let mut owner_of = |ends| match tables.find(ends, fragment.ports.is_some(), observer) {
        Some(holder) => Owner::Vport(holder.vport),
        None => Owner::Host,
    };
    if dst.is_ipv4() && !has_ports(fragment.proto) {
        return match owner_of(&ends) {
            Owner::Vport(slot) => to_vport(slot),
            Owner::Host => Verdict::Host(HostReason::Fragment),
        };
    }
    Verdict::Fragment(FragmentOf {
        fragment: *fragment,
        vlan,
        owner: (fragment.offset == 0).then(|| owner_of(&ends)),
    })
}
