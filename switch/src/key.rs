//! The keys of the claim tables: what is claimed, packed into a few words.

use std::net::{IpAddr, SocketAddr};

use port_api::{ClaimSpec, Kind, Protocol, What};
use wire::{TupleWords, Vlan};

use crate::flow_table::{Key, Seed};

/// Both ends of a packet, seen from this machine: what is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<A> {
    /// Address on this machine.
    pub local: A,
    /// Address of the other end.
    pub remote: A,
    /// Port on this machine.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
    /// IANA protocol number.
    pub proto: u8,
    /// VLAN tags.
    pub vlan: Vlan,
    /// Of IPv6 link-local addresses, the NIC port; see [`zone`].
    pub zone: u8,
}

impl<A> Ends<A> {
    /// The same ports, protocol and place with other addresses.
    pub const fn with<B: Copy>(&self, local: B, remote: B) -> Ends<B> {
        Ends {
            local,
            remote,
            local_port: self.local_port,
            remote_port: self.remote_port,
            proto: self.proto,
            vlan: self.vlan,
            zone: self.zone,
        }
    }
}

/// Both ends of an IPv4 packet, in host byte order.
pub type Ends4 = Ends<u32>;
/// Both ends of an IPv6 packet, in host byte order.
pub type Ends6 = Ends<u128>;

impl Ends4 {
    pub(crate) fn widened(&self) -> Ends<IpAddr> {
        self.with(
            IpAddr::V4(self.local.into()),
            IpAddr::V4(self.remote.into()),
        )
    }
}

impl Ends6 {
    pub(crate) fn widened(&self) -> Ends<IpAddr> {
        self.with(
            IpAddr::V6(self.local.into()),
            IpAddr::V6(self.remote.into()),
        )
    }
}

/// What tells link-local addresses apart, which each NIC port has for itself (RFC 4007); 0 for
/// all others.
#[inline]
pub const fn zone(addr: u128, nic: u8) -> u8 {
    if addr >> 118 == 0xfe80 >> 6 {
        nic + 1
    } else {
        0
    }
}

/// Of any address.
pub fn zone_of(addr: IpAddr, nic: u8) -> u8 {
    match addr {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) => zone(ip.to_bits(), nic),
    }
}

/// Protocol and VLAN in 32 bits.
#[inline]
const fn proto_and_vlan(proto: u8, vlan: Vlan) -> u64 {
    (proto as u64) << 24 | vlan.bits() as u64
}

/// A connection over IPv4: addresses; ports, protocol and VLAN. All that [`Ends4`] say, in two words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection4([u64; 2]);

/// A connection over IPv6: addresses; ports, protocol and VLAN; zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection6 {
    local: u128,
    remote: u128,
    rest: u64,
    zone: u8,
}

/// A tuple at an IPv4 address: address and port, protocol and VLAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple4([u64; 2]);

/// A tuple at an IPv6 address: port, protocol, zone and VLAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple6 {
    addr: u128,
    rest: u64,
}

/// A tuple at any address, a protocol at an address, or an address; IPv4 addresses are mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    addr: u128,
    rest: u64,
}

impl Connection4 {
    #[inline]
    pub(crate) const fn new(ends: &Ends4) -> Self {
        Self([
            (ends.local as u64) << 32 | ends.remote as u64,
            (ends.local_port as u64) << 48
                | (ends.remote_port as u64) << 32
                | proto_and_vlan(ends.proto, ends.vlan),
        ])
    }

    /// Of an untagged packet.
    #[inline(always)]
    pub(crate) const fn untagged(TupleWords { addresses, ports }: TupleWords) -> Self {
        Self([addresses, ports | Vlan::NONE.bits() as u64])
    }

    /// What it was made of.
    #[allow(clippy::cast_possible_truncation)] // fields of the words
    pub(crate) const fn ends(self) -> Ends4 {
        let Self([addresses, rest]) = self;
        Ends {
            local: (addresses >> 32) as u32,
            remote: addresses as u32,
            local_port: (rest >> 48) as u16,
            remote_port: (rest >> 32) as u16,
            proto: (rest >> 24) as u8,
            vlan: Vlan::from_bits(rest as u32),
            zone: 0,
        }
    }
}

impl Connection6 {
    #[inline]
    pub(crate) const fn new(ends: &Ends6) -> Self {
        Self {
            local: ends.local,
            remote: ends.remote,
            rest: (ends.local_port as u64) << 48
                | (ends.remote_port as u64) << 32
                | proto_and_vlan(ends.proto, ends.vlan),
            zone: ends.zone,
        }
    }
}

impl Tuple4 {
    #[inline]
    pub(crate) const fn new(ends: &Ends4) -> Self {
        Self::of(Connection4::new(ends))
    }

    /// The tuple at this end of a connection.
    #[inline(always)]
    pub(crate) const fn of(Connection4([addresses, rest]): Connection4) -> Self {
        Self([
            addresses & 0xffff_ffff_0000_0000 | rest >> 48,
            rest & 0xffff_ffff,
        ])
    }
}

impl Tuple6 {
    #[inline]
    pub(crate) const fn new(ends: &Ends6) -> Self {
        Self {
            addr: ends.local,
            rest: (ends.local_port as u64) << 48
                | (ends.zone as u64) << 32
                | proto_and_vlan(ends.proto, ends.vlan),
        }
    }
}

impl Wide {
    /// `any` is an address of the family that is meant.
    pub(crate) fn any_address(any: IpAddr, proto: u8, port: u16, vlan: Vlan) -> Self {
        Self {
            addr: u128::from(any.is_ipv6()),
            rest: Self::rest(Kind::AnyAddress, port, proto, 0, vlan),
        }
    }

    pub(crate) fn protocol(addr: IpAddr, proto: u8, zone: u8, vlan: Vlan) -> Self {
        Self {
            addr: mapped(addr),
            rest: Self::rest(Kind::Protocol, 0, proto, zone, vlan),
        }
    }

    pub(crate) fn address(addr: IpAddr, zone: u8, vlan: Vlan) -> Self {
        Self {
            addr: mapped(addr),
            rest: Self::rest(Kind::Address, 0, 0, zone, vlan),
        }
    }

    const fn rest(kind: Kind, port: u16, proto: u8, zone: u8, vlan: Vlan) -> u64 {
        (kind as u64) << 61
            | (zone as u64) << 48
            | (port as u64) << 32
            | proto_and_vlan(proto, vlan)
    }
}

fn mapped(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Key for Connection4 {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        seed.fold(self.0[0], self.0[1])
    }
}

impl Key for Connection6 {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        let (local, remote) = (halves(self.local), halves(self.remote));
        let rest = self.rest ^ u64::from(self.zone) << 24;
        let upper = seed.fold(local.0, seed.fold(remote.0, rest));
        seed.fold(local.1, seed.fold(remote.1, upper))
    }
}

impl Key for Tuple4 {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        seed.fold(self.0[0], self.0[1])
    }
}

impl Key for Tuple6 {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        hash_address(self.addr, self.rest, seed)
    }
}

impl Key for Wide {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        hash_address(self.addr, self.rest, seed)
    }
}

#[inline]
fn hash_address(addr: u128, rest: u64, seed: Seed) -> u64 {
    let (upper, lower) = halves(addr);
    seed.fold(lower, seed.fold(upper, rest))
}

#[inline]
#[allow(clippy::cast_possible_truncation)] // both halves are used
const fn halves(addr: u128) -> (u64, u64) {
    ((addr >> 64) as u64, addr as u64)
}

/// What a claim is for, as the tables need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What is claimed.
    pub spec: ClaimSpec,
    /// The NIC port; counts only for link-local addresses.
    pub nic: u8,
}

/// Where a subject is kept.
pub(crate) enum Place {
    Connection4(Connection4),
    Connection6(Connection6),
    Tuple4(Tuple4),
    Tuple6(Tuple6),
    Wide(Wide),
    /// Shared, and not in a table of keys.
    Group(SocketAddr),
}

impl Subject {
    /// What tells link-local addresses apart.
    pub(crate) fn zone(&self) -> u8 {
        zone_of(self.spec.what.addr(), self.nic)
    }

    pub(crate) fn place(&self) -> Place {
        let (vlan, zone) = (self.spec.vlan, self.zone());
        match self.spec.what {
            What::Connection {
                protocol,
                local,
                remote,
            } => {
                let ports = (local.port(), remote.port());
                match pair(local.ip(), remote.ip()) {
                    Pair::V4(local, remote) => Place::Connection4(Connection4::new(&self.ends(
                        [local, remote],
                        ports,
                        protocol,
                    ))),
                    Pair::V6(local, remote) => Place::Connection6(Connection6::new(&self.ends(
                        [local, remote],
                        ports,
                        protocol,
                    ))),
                }
            }
            What::Tuple { protocol, local } if local.ip().is_unspecified() => Place::Wide(
                Wide::any_address(local.ip(), protocol.number(), local.port(), vlan),
            ),
            What::Tuple { local, .. } if local.ip().is_multicast() => Place::Group(local),
            What::Tuple { protocol, local } => {
                let ports = (local.port(), 0);
                match local.ip() {
                    IpAddr::V4(ip) => {
                        Place::Tuple4(Tuple4::new(&self.ends([ip.to_bits(), 0], ports, protocol)))
                    }
                    IpAddr::V6(ip) => {
                        Place::Tuple6(Tuple6::new(&self.ends([ip.to_bits(), 0], ports, protocol)))
                    }
                }
            }
            What::Protocol { proto, addr } => Place::Wide(Wide::protocol(addr, proto, zone, vlan)),
            What::Address { addr } => Place::Wide(Wide::address(addr, zone, vlan)),
        }
    }

    fn ends<A>(&self, [local, remote]: [A; 2], ports: (u16, u16), protocol: Protocol) -> Ends<A> {
        Ends {
            local,
            remote,
            local_port: ports.0,
            remote_port: ports.1,
            proto: protocol.number(),
            vlan: self.spec.vlan,
            zone: self.zone(),
        }
    }
}

enum Pair {
    V4(u32, u32),
    V6(u128, u128),
}

/// The addresses of a connection; those of two families, which no claim has, both as IPv6.
fn pair(local: IpAddr, remote: IpAddr) -> Pair {
    match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => Pair::V4(local.to_bits(), remote.to_bits()),
        (local, remote) => Pair::V6(mapped(local), mapped(remote)),
    }
}
