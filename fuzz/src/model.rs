//! Who has what, the slow way: a list of all claims, gone through for every question.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use port_api::{Kind, Protocol, What};
use switch::key::Subject;
use switch::tables::Holder;
use wire::Vlan;

/// A packet as the stack that has its local end sees it.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// On this machine.
    pub local: IpAddr,
    /// The other end.
    pub remote: IpAddr,
    /// Local and remote, if it has ports.
    pub ports: Option<(u16, u16)>,
    /// IANA protocol number.
    pub proto: u8,
}

/// Where a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// VLAN.
    pub vlan: Vlan,
    /// NIC port.
    pub nic: u8,
}

/// All claims.
#[derive(Debug, Default)]
pub struct Model(pub Vec<(Subject, Holder)>);

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn is_at(subject: &Subject, place: Place) -> bool {
    let apart = is_link_local(subject.spec.what.addr()) && subject.nic != place.nic;
    subject.spec.vlan == place.vlan && !apart
}

fn is_same(a: &Subject, b: &Subject) -> bool {
    let place = Place {
        vlan: a.spec.vlan,
        nic: a.nic,
    };
    a.spec.what == b.spec.what && is_at(b, place)
}

fn covers(what: &What, of: &Question) -> bool {
    let ends = of.ports.map(|(local, remote)| {
        let local = SocketAddr::new(of.local, local);
        (local, SocketAddr::new(of.remote, remote))
    });
    match (*what, ends) {
        (
            What::Connection {
                protocol,
                local,
                remote,
            },
            Some(ends),
        ) => protocol.number() == of.proto && (local, remote) == ends,
        (What::Tuple { protocol, local }, Some((to, _))) => {
            let any = local.ip().is_unspecified() && local.is_ipv4() == to.is_ipv4();
            protocol.number() == of.proto
                && local.port() == to.port()
                && (any || local.ip() == to.ip())
                && !local.ip().is_multicast()
        }
        (What::Protocol { proto, addr }, _) => proto == of.proto && addr == of.local,
        (What::Address { addr }, _) => addr == of.local,
        (_, None) => false,
    }
}

impl Model {
    /// As [`switch::tables::Tables::insert`].
    pub fn insert(&mut self, subject: Subject, holder: Holder) -> Option<Holder> {
        let is_group = subject.spec.what.kind() == Kind::Group;
        let known = self.0.iter_mut().find(|(s, _)| is_same(s, &subject));
        match known {
            Some((_, held)) if !is_group => Some(std::mem::replace(held, holder)),
            _ => {
                self.0.push((subject, holder));
                None
            }
        }
    }

    /// Who owns a packet.
    pub fn owner(&self, of: &Question, place: Place) -> Option<Holder> {
        let claims = self.0.iter().filter(|(s, _)| is_at(s, place));
        claims
            .filter(|(s, _)| covers(&s.spec.what, of))
            .min_by_key(|(s, _)| s.spec.what.kind())
            .map(|(_, holder)| *holder)
    }

    fn vports(&self, place: Place, fits: impl Fn(&What) -> bool) -> BTreeSet<u16> {
        let claims = self.0.iter().filter(|(s, _)| is_at(s, place));
        claims
            .filter(|(s, _)| fits(&s.spec.what))
            .map(|(_, holder)| holder.vport)
            .collect()
    }

    /// Who has an address as a whole.
    pub fn owner_of_address(&self, addr: IpAddr, place: Place) -> Option<u16> {
        let vports = self.vports(place, |what| *what == What::Address { addr });
        vports.first().copied()
    }

    /// Who has an address as a whole, if no one else can own any packet to it.
    pub fn sole_owner(&self, addr: IpAddr, place: Place) -> Option<u16> {
        let owner = self.owner_of_address(addr, place)?;
        let vports = self.vports(place, |what| {
            let any = what.kind() == Kind::AnyAddress && what.addr().is_ipv4() == addr.is_ipv4();
            any || what.addr() == addr
        });
        vports.iter().all(|vport| *vport == owner).then_some(owner)
    }

    /// Who has any claim on an address.
    pub fn on_address(&self, addr: IpAddr, place: Place) -> BTreeSet<u16> {
        self.vports(place, |what| {
            what.addr() == addr && !matches!(what.kind(), Kind::AnyAddress | Kind::Group)
        })
    }

    /// Who is in a group.
    pub fn members(&self, group: SocketAddr, place: Place) -> BTreeSet<u16> {
        self.vports(place, |what| {
            what.kind() == Kind::Group && what.local() == Some((Protocol::Udp, group))
        })
    }

    /// Who gets what is broadcast, over IPv4, to a UDP port.
    pub fn on_port(&self, port: u16, place: Place) -> BTreeSet<u16> {
        self.vports(place, |what| match what {
            What::Tuple {
                protocol: Protocol::Udp,
                local,
            } => local.is_ipv4() && local.port() == port && !local.ip().is_multicast(),
            _ => false,
        })
    }

    /// Whether anyone has a claim of a kind.
    pub fn has(&self, kind: Kind) -> bool {
        self.0.iter().any(|(s, _)| s.spec.what.kind() == kind)
    }
}
