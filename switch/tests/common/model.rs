//! Who owns what, written down once more: a list of claims, searched from front to back.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use port_api::What;
use switch::key::Subject;
use switch::tables::Holder;
use wire::Vlan;

/// A packet, seen from this machine.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub proto: u8,
    pub local: IpAddr,
    pub remote: IpAddr,
    /// Local and remote.
    pub ports: Option<(u16, u16)>,
    pub vlan: Vlan,
    pub nic: u8,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub claims: Vec<(Subject, Holder)>,
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

/// Whether a claim at `addr` on NIC port `nic` is for `other` on NIC port `other_nic`.
fn same_place(addr: IpAddr, nic: u8, other: IpAddr, other_nic: u8) -> bool {
    addr == other && (!is_link_local(addr) || nic == other_nic)
}

fn is_group(subject: &Subject) -> bool {
    matches!(subject.spec.what, What::Tuple { local, .. } if local.ip().is_multicast())
}

fn is_same(a: &Subject, b: &Subject) -> bool {
    let same_nic = a.nic == b.nic || !is_link_local(a.spec.what.addr());
    a.spec.what == b.spec.what && a.spec.vlan == b.spec.vlan && same_nic
}

/// How specific a claim is for a packet; None if it is not for it at all.
pub fn fit(subject: &Subject, packet: &Packet) -> Option<u8> {
    if subject.spec.vlan != packet.vlan {
        return None;
    }
    let at = |addr| same_place(addr, subject.nic, packet.local, packet.nic);
    let ports = packet.ports;
    match subject.spec.what {
        What::Connection {
            protocol,
            local,
            remote,
        } => {
            let fits = protocol.number() == packet.proto
                && at(local.ip())
                && remote.ip() == packet.remote
                && ports == Some((local.port(), remote.port()));
            fits.then_some(5)
        }
        What::Tuple { protocol, local } => {
            let is_any =
                local.ip() == IpAddr::from([0; 4]) || local.ip() == IpAddr::from([0u16; 8]);
            let fits = protocol.number() == packet.proto
                && ports.is_some_and(|(port, _)| port == local.port())
                && !local.ip().is_multicast()
                && if is_any {
                    local.is_ipv4() == packet.local.is_ipv4()
                } else {
                    at(local.ip())
                };
            fits.then_some(if is_any { 3 } else { 4 })
        }
        What::Protocol { proto, addr } => (proto == packet.proto && at(addr)).then_some(2),
        What::Address { addr } => at(addr).then_some(1),
    }
}

impl Model {
    pub fn insert(&mut self, subject: Subject, holder: Holder) -> Option<Holder> {
        if !is_group(&subject)
            && let Some(claim) = self.claims.iter_mut().find(|(s, _)| is_same(s, &subject))
        {
            return Some(std::mem::replace(claim, (subject, holder)).1);
        }
        self.claims.push((subject, holder));
        None
    }

    pub fn remove(&mut self, subject: &Subject, vport: u16) -> Option<Holder> {
        let is_it = |(s, holder): &(Subject, Holder)| {
            is_same(s, subject) && (!is_group(s) || holder.vport == vport)
        };
        let at = self.claims.iter().position(is_it)?;
        Some(self.claims.remove(at).1)
    }

    pub fn owner(&self, packet: &Packet) -> Option<Holder> {
        let fits = self
            .claims
            .iter()
            .filter_map(|(subject, holder)| Some((fit(subject, packet)?, *holder)));
        fits.max_by_key(|(rank, _)| *rank).map(|(_, holder)| holder)
    }

    pub fn owner_of_address(&self, addr: IpAddr, vlan: Vlan, nic: u8) -> Option<u16> {
        let is_it = |(subject, _): &&(Subject, Holder)| {
            matches!(subject.spec.what, What::Address { addr: ours }
                if same_place(ours, subject.nic, addr, nic))
                && subject.spec.vlan == vlan
        };
        self.claims
            .iter()
            .find(is_it)
            .map(|(_, holder)| holder.vport)
    }

    pub fn on_address(&self, addr: IpAddr, vlan: Vlan, nic: u8) -> BTreeSet<u16> {
        self.vports(|subject| {
            let ours = subject.spec.what.addr();
            let counts = !ours.is_unspecified() && !is_group(subject);
            counts && subject.spec.vlan == vlan && same_place(ours, subject.nic, addr, nic)
        })
    }

    pub fn members(&self, group: SocketAddr, vlan: Vlan) -> BTreeSet<u16> {
        self.vports(|subject| {
            let local = subject.spec.what.local().map(|(_, local)| local);
            is_group(subject) && local == Some(group) && subject.spec.vlan == vlan
        })
    }

    pub fn on_udp_port(&self, port: u16, vlan: Vlan) -> BTreeSet<u16> {
        self.vports(|subject| match subject.spec.what {
            What::Tuple { protocol, local } => {
                protocol.number() == 17
                    && local.is_ipv4()
                    && local.port() == port
                    && subject.spec.vlan == vlan
                    && !is_group(subject)
            }
            _ => false,
        })
    }

    fn vports(&self, of: impl Fn(&Subject) -> bool) -> BTreeSet<u16> {
        let fitting = self.claims.iter().filter(|(subject, _)| of(subject));
        fitting.map(|(_, holder)| holder.vport).collect()
    }
}
