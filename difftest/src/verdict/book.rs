//! Claims as the judge keeps them: a plain map for every kind.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use port_api::{Kind, What};
use wire::Vlan;

use super::{
    claims::Claim,
    reading::{Flow, has_ports},
};

/// An address on one VLAN; a link-local one is another on every NIC port (RFC 4007).
type Site = (Vlan, Option<u8>, IpAddr);

/// Whose a packet is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Vport.
    pub vport: u16,
    /// Wants layer 4 checksums verified.
    pub verify: bool,
    /// Of the claim that decides.
    pub kind: Kind,
}

/// Whose a fragment is.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// This vport's, like all packets of its kind.
    Vport(u16),
    /// The host's, likewise.
    Host,
    /// That depends on the first one.
    OfTheFirst,
}

/// The claims.
#[derive(Debug, Default)]
pub struct Book {
    connections: HashMap<(Site, u8, u16, SocketAddr), Owner>,
    tuples: HashMap<(Site, u8, u16), Owner>,
    /// By family: true for IPv4.
    any_addresses: HashMap<(Vlan, bool, u8, u16), Owner>,
    protocols: HashMap<(Site, u8), Owner>,
    addresses: HashMap<Site, Owner>,
    members: HashMap<(Vlan, SocketAddr), BTreeSet<u16>>,
    /// Vports with any claim at an address.
    present: HashMap<Site, BTreeSet<u16>>,
    /// Vports with a UDP tuple over IPv4, at whatever address.
    udp4: HashMap<(Vlan, u16), BTreeSet<u16>>,
}

fn site(addr: IpAddr, vlan: Vlan, nic: u8) -> Site {
    let link_local = matches!(addr, IpAddr::V6(ip) if ip.is_unicast_link_local());
    (vlan, link_local.then_some(nic), addr)
}

impl Book {
    /// Of claims no two of which are for the same, but for groups.
    pub fn new(claims: &[Claim]) -> Self {
        let mut book = Self::default();
        for claim in claims {
            book.add(claim);
        }
        book
    }

    fn add(&mut self, claim: &Claim) {
        let Claim { spec, nic, vport } = *claim;
        let (vlan, verify) = (spec.vlan, spec.verify);
        #[rustfmt::skip]
        let owner = |kind| Owner { vport, verify, kind };
        let at = |addr: IpAddr| site(addr, vlan, nic);
        if let What::Tuple { protocol, local } = spec.what {
            if local.ip().is_multicast() {
                self.members.entry((vlan, local)).or_default().insert(vport);
                return;
            }
            if protocol.number() == 17 && local.is_ipv4() {
                let key = (vlan, local.port());
                self.udp4.entry(key).or_default().insert(vport);
            }
        }
        let home = match spec.what {
            What::Connection {
                protocol,
                local,
                remote,
            } => {
                let key = (at(local.ip()), protocol.number(), local.port(), remote);
                self.connections.insert(key, owner(Kind::Connection));
                local.ip()
            }
            What::Tuple { protocol, local } if local.ip().is_unspecified() => {
                let key = (vlan, local.is_ipv4(), protocol.number(), local.port());
                self.any_addresses.insert(key, owner(Kind::AnyAddress));
                return;
            }
            What::Tuple { protocol, local } => {
                let key = (at(local.ip()), protocol.number(), local.port());
                self.tuples.insert(key, owner(Kind::Tuple));
                local.ip()
            }
            What::Protocol { proto, addr } => {
                self.protocols
                    .insert((at(addr), proto), owner(Kind::Protocol));
                addr
            }
            What::Address { addr } => {
                self.addresses.insert(at(addr), owner(Kind::Address));
                addr
            }
        };
        self.present.entry(at(home)).or_default().insert(vport);
    }

    /// Whose a packet is that came to `nic`: by the most specific claim, and without ports by
    /// protocol or address.
    pub fn owner(&self, flow: &Flow, vlan: Vlan, nic: u8) -> Option<Owner> {
        let here = site(flow.dst, vlan, nic);
        let by_port = flow.ports.and_then(|(src_port, dst_port)| {
            let remote = SocketAddr::new(flow.src, src_port);
            let any = (vlan, flow.dst.is_ipv4(), flow.proto, dst_port);
            (self.connections.get(&(here, flow.proto, dst_port, remote)))
                .or_else(|| self.tuples.get(&(here, flow.proto, dst_port)))
                .or_else(|| self.any_addresses.get(&any))
        });
        by_port
            .or_else(|| self.protocols.get(&(here, flow.proto)))
            .or_else(|| self.addresses.get(&here))
            .copied()
    }

    /// Who has all of an address.
    pub fn owner_of_address(&self, addr: IpAddr, vlan: Vlan, nic: u8) -> Option<u16> {
        let owner = self.addresses.get(&site(addr, vlan, nic))?;
        Some(owner.vport)
    }

    /// Who has a claim at an address.
    pub fn present(&self, addr: IpAddr, vlan: Vlan, nic: u8) -> BTreeSet<u16> {
        let found = self.present.get(&site(addr, vlan, nic));
        found.cloned().unwrap_or_default()
    }

    /// Who is in a multicast group.
    pub fn members(&self, group: SocketAddr, vlan: Vlan) -> BTreeSet<u16> {
        let found = self.members.get(&(vlan, group));
        found.cloned().unwrap_or_default()
    }

    /// Who gets a broadcast to a UDP port over IPv4.
    pub fn on_port(&self, port: u16, vlan: Vlan) -> BTreeSet<u16> {
        let found = self.udp4.get(&(vlan, port));
        found.cloned().unwrap_or_default()
    }

    /// Whose a fragment is, as far as that can be told without the first one.
    pub fn owner_of_fragment(&self, flow: &Flow, vlan: Vlan, nic: u8) -> Whose {
        if flow.dst.is_ipv4() && !has_ports(flow.proto) {
            let owner = self.owner(flow, vlan, nic);
            return owner.map_or(Whose::Host, |owner| Whose::Vport(owner.vport));
        }
        // The switch does not look which ports those are.
        if !self.any_addresses.is_empty() {
            return Whose::OfTheFirst;
        }
        let present = self.present(flow.dst, vlan, nic);
        match self.owner_of_address(flow.dst, vlan, nic) {
            _ if present.is_empty() => Whose::Host,
            Some(vport) if present == [vport].into() => Whose::Vport(vport),
            _ => Whose::OfTheFirst,
        }
    }
}
