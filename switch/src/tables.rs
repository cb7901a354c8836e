//! Who has claimed what: one worker's tables. All workers have the same, and so has the control
//! thread, which changes them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use port_api::{Kind, Protocol, What};
use wire::{Vlan, proto};

use crate::flow_table::{FlowTable, Full, Home, Seed};
use crate::key::{
    Connection4, Connection6, Ends, Ends4, Ends6, Place, Subject, Tuple4, Tuple6, Wide,
};
use crate::shares::{Shares, take_share, vports};
use crate::trace::Observer;

/// Who has a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The vport that receives and may send.
    pub vport: u16,
    /// The vport that had it before a hand-over: it may still send.
    pub before: Option<u16>,
    /// Layer 4 checksums are to be verified.
    pub verify: bool,
}

impl Holder {
    /// One that has not taken over from another.
    pub const fn new(vport: u16, verify: bool) -> Self {
        Self {
            vport,
            before: None,
            verify,
        }
    }

    /// Whether `vport` may send from what is claimed.
    #[inline]
    pub fn lets_send(&self, vport: u16) -> bool {
        self.vport == vport || self.before == Some(vport)
    }
}

/// An address on one VLAN, with the zone of link-local ones.
type Site = (IpAddr, u8, Vlan);
/// Family (true for IPv6), port, VLAN.
type UdpPort = (bool, u16, Vlan);

/// Claims of a kind beyond which the CPU's first cache does not hold what lookups read.
const LARGE: u32 = 256;

/// The claims, by kind.
pub struct Tables {
    seed: Seed,
    connections4: FlowTable<Connection4, Holder>,
    connections6: FlowTable<Connection6, Holder>,
    tuples4: FlowTable<Tuple4, Holder>,
    tuples6: FlowTable<Tuple6, Holder>,
    wide: FlowTable<Wide, Holder>,
    /// How many of each kind are in `wide`: what no one has is not looked up.
    any_addresses: u32,
    protocols: u32,
    addresses: u32,
    /// Members of multicast groups, by group, port and site.
    groups: HashMap<(SocketAddr, Vlan), Shares>,
    /// Vports with a claim on an address. Read for what is not unicast with ports.
    on_address: HashMap<Site, Shares>,
    /// Vports with a claim on a UDP port, for broadcasts.
    on_port: HashMap<UdpPort, Shares>,
}

impl Tables {
    /// Empty tables for up to `claims` claims of each kind and family.
    pub fn new(claims: u32, seed: Seed) -> Self {
        Self {
            seed,
            connections4: FlowTable::new(claims, seed),
            connections6: FlowTable::new(claims, seed),
            tuples4: FlowTable::new(claims, seed),
            tuples6: FlowTable::new(claims, seed),
            wide: FlowTable::new(claims, seed),
            any_addresses: 0,
            protocols: 0,
            addresses: 0,
            groups: HashMap::new(),
            on_address: HashMap::new(),
            on_port: HashMap::new(),
        }
    }

    /// The secret of the tables' hashes.
    pub const fn seed(&self) -> Seed {
        self.seed
    }

    /// Gives `subject` to `holder`, whoever had it before; groups get one more member. Tells who
    /// had it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn insert(&mut self, subject: &Subject, holder: Holder) -> Result<Option<Holder>, Full> {
        let before = match subject.place() {
            Place::Connection4(key) => self.connections4.insert(key, holder)?,
            Place::Connection6(key) => self.connections6.insert(key, holder)?,
            Place::Tuple4(key) => self.tuples4.insert(key, holder)?,
            Place::Tuple6(key) => self.tuples6.insert(key, holder)?,
            Place::Wide(key) => self.wide.insert(key, holder)?,
            Place::Group(group) => {
                let members = self.groups.entry((group, subject.spec.vlan)).or_default();
                members.add(holder.vport);
                return Ok(None);
            }
        };
        match before {
            Some(before) => self.uncount(subject, before.vport),
            None => self.count_kind(subject, 1),
        }
        self.count(subject, holder.vport);
        Ok(before)
    }

    /// Takes `subject` from `vport`. None if no one had it.
    pub fn remove(&mut self, subject: &Subject, vport: u16) -> Option<Holder> {
        let holder = match subject.place() {
            Place::Connection4(key) => self.connections4.remove(&key),
            Place::Connection6(key) => self.connections6.remove(&key),
            Place::Tuple4(key) => self.tuples4.remove(&key),
            Place::Tuple6(key) => self.tuples6.remove(&key),
            Place::Wide(key) => self.wide.remove(&key),
            Place::Group(group) => {
                let key = (group, subject.spec.vlan);
                let members = self.groups.get_mut(&key)?;
                members.remove(vport);
                if members.is_empty() {
                    self.groups.remove(&key);
                }
                return Some(Holder::new(vport, subject.spec.verify));
            }
        }?;
        self.count_kind(subject, -1);
        self.uncount(subject, holder.vport);
        Some(holder)
    }

    fn count_kind(&mut self, subject: &Subject, by: i32) {
        let count = match subject.spec.what.kind() {
            Kind::AnyAddress => &mut self.any_addresses,
            Kind::Protocol => &mut self.protocols,
            Kind::Address => &mut self.addresses,
            Kind::Connection | Kind::Tuple | Kind::Group => return,
        };
        *count = count.saturating_add_signed(by);
    }

    fn count(&mut self, subject: &Subject, vport: u16) {
        if let Some(site) = site_of(subject) {
            self.on_address.entry(site).or_default().add(vport);
        }
        if let Some(port) = udp_port_of(subject) {
            self.on_port.entry(port).or_default().add(vport);
        }
    }

    fn uncount(&mut self, subject: &Subject, vport: u16) {
        if let Some(site) = site_of(subject) {
            take_share(&mut self.on_address, &site, vport);
        }
        if let Some(port) = udp_port_of(subject) {
            take_share(&mut self.on_port, &port, vport);
        }
    }

    /// Who has exactly this: not something wider that covers it.
    pub fn exact(&self, subject: &Subject) -> Option<Holder> {
        match subject.place() {
            Place::Connection4(key) => self.connections4.get(&key),
            Place::Connection6(key) => self.connections6.get(&key),
            Place::Tuple4(key) => self.tuples4.get(&key),
            Place::Tuple6(key) => self.tuples6.get(&key),
            Place::Wide(key) => self.wide.get(&key),
            Place::Group(_) => None,
        }
    }

    /// Who owns a packet of TCP, UDP or SCTP over IPv4.
    #[inline(always)]
    pub fn find4(&self, ends: &Ends4, observer: &mut impl Observer) -> Option<Holder> {
        let key = Connection4::new(ends);
        self.find4_at(key, self.home4(key), observer)
    }

    /// Where [`find4_at`](Self::find4_at) will look first.
    #[inline(always)]
    pub fn home4(&self, key: Connection4) -> Home {
        if self.connections4.is_empty() {
            self.tuples4.home(&Tuple4::of(key))
        } else {
            self.connections4.home(&key)
        }
    }

    /// Asks the CPU to fetch what [`find4_at`](Self::find4_at) will read first.
    #[inline(always)]
    pub fn prefetch4(&self, home: Home) {
        if self.connections4.is_empty() {
            self.tuples4.prefetch_bucket(home);
        } else {
            self.connections4.prefetch_bucket(home);
        }
    }

    /// Asks the CPU to fetch what [`find4_at`](Self::find4_at) will read then.
    #[inline(always)]
    pub fn prefetch4_slot(&self, home: Home) {
        if self.connections4.is_empty() {
            self.tuples4.prefetch_slot(home);
        } else {
            self.connections4.prefetch_slot(home);
        }
    }

    /// Whether there are so many claims that [`prefetch4`](Self::prefetch4) and
    /// [`prefetch4_slot`](Self::prefetch4_slot) are worth a call for each packet.
    #[inline]
    pub const fn is_large(&self) -> bool {
        self.connections4.len() > LARGE || self.tuples4.len() > LARGE
    }

    /// As [`find4`](Self::find4), with what [`home4`](Self::home4) has said.
    #[inline(always)]
    pub fn find4_at(
        &self,
        key: Connection4,
        home: Home,
        observer: &mut impl Observer,
    ) -> Option<Holder> {
        if self.connections4.is_empty() {
            let found = self.tuples4.get_at(&Tuple4::of(key), home);
            observer.looked_up(Kind::Tuple, found);
            return found.or_else(|| self.find4_wide(key, observer));
        }
        let found = self.connections4.get_at(&key, home);
        observer.looked_up(Kind::Connection, found);
        found.or_else(|| {
            let found = self.tuples4.get(&Tuple4::of(key));
            observer.looked_up(Kind::Tuple, found);
            found.or_else(|| self.find4_wide(key, observer))
        })
    }

    #[inline(always)]
    fn find4_wide(&self, key: Connection4, observer: &mut impl Observer) -> Option<Holder> {
        if self.wide.is_empty() {
            return None;
        }
        self.find_wide(&key.ends().widened(), true, observer)
    }

    /// Who owns a packet of TCP, UDP or SCTP over IPv6.
    #[inline(always)]
    pub fn find6(&self, ends: &Ends6, observer: &mut impl Observer) -> Option<Holder> {
        if !self.connections6.is_empty() {
            let found = self.connections6.get(&Connection6::new(ends));
            observer.looked_up(Kind::Connection, found);
            if found.is_some() {
                return found;
            }
        }
        if !self.tuples6.is_empty() {
            let found = self.tuples6.get(&Tuple6::new(ends));
            observer.looked_up(Kind::Tuple, found);
            if found.is_some() {
                return found;
            }
        }
        if self.wide.is_empty() {
            return None;
        }
        self.find_wide(&ends.widened(), true, observer)
    }

    /// As [`find4`](Self::find4) and [`find6`](Self::find6), for what is rare; without ports
    /// only a protocol or an address can be claimed.
    pub fn find(
        &self,
        ends: &Ends<IpAddr>,
        has_ports: bool,
        observer: &mut impl Observer,
    ) -> Option<Holder> {
        if !has_ports {
            return self.find_wide(ends, false, observer);
        }
        match (ends.local, ends.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                self.find4(&ends.with(local.to_bits(), remote.to_bits()), observer)
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                self.find6(&ends.with(local.to_bits(), remote.to_bits()), observer)
            }
            _ => None,
        }
    }

    #[cold]
    fn find_wide(
        &self,
        ends: &Ends<IpAddr>,
        has_ports: bool,
        observer: &mut impl Observer,
    ) -> Option<Holder> {
        let Ends {
            local,
            local_port,
            proto,
            vlan,
            zone,
            ..
        } = *ends;
        let mut look = |kind, held: u32, key: Wide| {
            if held == 0 {
                return None;
            }
            let found = self.wide.get(&key);
            observer.looked_up(kind, found);
            found
        };
        let any = if has_ports { self.any_addresses } else { 0 };
        look(
            Kind::AnyAddress,
            any,
            Wide::any_address(local, proto, local_port, vlan),
        )
        .or_else(|| {
            let key = Wide::protocol(local, proto, zone, vlan);
            look(Kind::Protocol, self.protocols, key)
        })
        .or_else(|| {
            look(
                Kind::Address,
                self.addresses,
                Wide::address(local, zone, vlan),
            )
        })
    }

    /// The vport that has claimed all of an address.
    pub fn owner_of_address(&self, addr: IpAddr, zone: u8, vlan: Vlan) -> Option<u16> {
        if self.addresses == 0 {
            return None;
        }
        let holder = self.wide.get(&Wide::address(addr, zone, vlan))?;
        Some(holder.vport)
    }

    /// The vport that gets whatever goes to `addr`: it has claimed all of it, and no one else has
    /// something more specific there, such as a tuple that it has handed over.
    pub fn sole_owner(&self, addr: IpAddr, zone: u8, vlan: Vlan) -> Option<u16> {
        let owner = self.owner_of_address(addr, zone, vlan)?;
        let is_sole = self.any_addresses == 0 && self.on_address(addr, zone, vlan).len() == 1;
        is_sole.then_some(owner)
    }

    /// The vports that have a claim on `addr`, each once.
    pub fn on_address(
        &self,
        addr: IpAddr,
        zone: u8,
        vlan: Vlan,
    ) -> impl ExactSizeIterator<Item = u16> + '_ {
        vports(self.on_address.get(&(addr, zone, vlan)))
    }

    /// Whether anyone has claimed a tuple at any address.
    #[inline]
    pub const fn has_any_address(&self) -> bool {
        self.any_addresses > 0
    }

    /// Whether anyone could own a packet to `addr`.
    pub fn concerns(&self, addr: IpAddr, zone: u8, vlan: Vlan) -> bool {
        self.any_addresses > 0 || self.on_address.contains_key(&(addr, zone, vlan))
    }

    /// The members of a multicast group's UDP port, each once.
    pub fn members(
        &self,
        group: SocketAddr,
        vlan: Vlan,
    ) -> impl ExactSizeIterator<Item = u16> + '_ {
        vports(self.groups.get(&(group, vlan)))
    }

    /// The vports that have a claim on a UDP port at any one address, each once: they get what is
    /// broadcast to it.
    pub fn on_port(
        &self,
        is_v6: bool,
        port: u16,
        vlan: Vlan,
    ) -> impl ExactSizeIterator<Item = u16> + '_ {
        vports(self.on_port.get(&(is_v6, port, vlan)))
    }

    /// True if no one has claimed anything.
    pub fn is_empty(&self) -> bool {
        self.on_address.is_empty() && self.groups.is_empty() && self.any_addresses == 0
    }
}

fn site_of(subject: &Subject) -> Option<Site> {
    let kind = subject.spec.what.kind();
    let at_one = !matches!(kind, Kind::AnyAddress | Kind::Group);
    at_one.then(|| (subject.spec.what.addr(), subject.zone(), subject.spec.vlan))
}

fn udp_port_of(subject: &Subject) -> Option<UdpPort> {
    match subject.spec.what {
        What::Tuple {
            protocol: Protocol::Udp,
            local,
        } => Some((local.is_ipv6(), local.port(), subject.spec.vlan)),
        _ => None,
    }
}

/// Whether packets of `proto` have ports that can be claimed.
pub const fn has_ports(proto: u8) -> bool {
    matches!(proto, proto::TCP | proto::UDP | proto::SCTP)
}
