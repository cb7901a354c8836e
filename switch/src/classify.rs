//! From a received frame to its verdict, and the tables that say who has claimed what.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use port_api::Protocol;
use wire::{MacAddr, NdKind, Other, Parsed, TupleV4, TupleV6, parse};

use crate::flow_table::{FlowTable, Full, Key, Seed};
use crate::verdict::{HostReason, Verdict};

/// A local IPv4 address, port and protocol, packed: the key of a 3-tuple claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local4(u64);

/// A local IPv6 address with zone, port and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local6 {
    addr: u128,
    rest: u64,
}

impl Local4 {
    #[inline]
    const fn new(addr: u32, port: u16, proto: u8) -> Self {
        Self((addr as u64) << 32 | (port as u64) << 16 | proto as u64)
    }
}

impl Local6 {
    /// `nic` tells link-local addresses apart, which each port has for itself (RFC 4007).
    #[inline]
    const fn new(addr: u128, port: u16, proto: u8, nic: u8) -> Self {
        let zone = if addr >> 118 == 0xfe80 >> 6 {
            nic as u64 + 1
        } else {
            0
        };
        Self {
            addr,
            rest: zone << 32 | (port as u64) << 16 | proto as u64,
        }
    }
}

impl Key for Local4 {
    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        seed.fold(self.0, self.0.rotate_left(32))
    }
}

impl Key for Local6 {
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // both halves are used
    fn hash(&self, seed: Seed) -> u64 {
        let upper = seed.fold((self.addr >> 64) as u64, self.rest);
        seed.fold(self.addr as u64, upper)
    }
}

/// What a stack can claim so far: a 3-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Local address and port.
    pub addr: SocketAddr,
    /// The NIC port; counts only for link-local addresses.
    pub nic: u8,
}

/// One worker's knowledge of who has claimed what. All workers have the same.
pub struct Tables {
    v4: FlowTable<Local4>,
    v6: FlowTable<Local6>,
    /// Vports with a claim on an address, once per claim. Read for ARP and ND only.
    addresses: HashMap<IpAddr, Vec<u16>>,
}

impl Tables {
    /// Empty tables for up to `claims` claims of each family.
    pub fn new(claims: u32, seed: Seed) -> Self {
        Self {
            v4: FlowTable::new(claims, seed),
            v6: FlowTable::new(claims, seed),
            addresses: HashMap::new(),
        }
    }

    /// Gives `local`, which no one has, to `vport`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn insert(&mut self, local: &Local, vport: u16) -> Result<(), Full> {
        match local.addr {
            SocketAddr::V4(_) => self.v4.insert(local.key4(), vport)?,
            SocketAddr::V6(_) => self.v6.insert(local.key6(), vport)?,
        };
        self.addresses
            .entry(local.addr.ip())
            .or_default()
            .push(vport);
        Ok(())
    }

    /// Takes `local` back. None if no one had it.
    pub fn remove(&mut self, local: &Local) -> Option<u16> {
        let vport = match local.addr {
            SocketAddr::V4(_) => self.v4.remove(&local.key4()),
            SocketAddr::V6(_) => self.v6.remove(&local.key6()),
        }?;
        let ip = local.addr.ip();
        if let Some(vports) = self.addresses.get_mut(&ip) {
            if let Some(at) = vports.iter().position(|&v| v == vport) {
                vports.swap_remove(at);
            }
            if vports.is_empty() {
                self.addresses.remove(&ip);
            }
        }
        Some(vport)
    }

    /// The vport that has `local`.
    pub fn owner(&self, local: &Local) -> Option<u16> {
        match local.addr {
            SocketAddr::V4(_) => self.v4.get(&local.key4()),
            SocketAddr::V6(_) => self.v6.get(&local.key6()),
        }
    }

    /// The vport that has claimed `addr`, `port` of the packet's protocol.
    #[inline]
    pub(crate) fn local4(&self, addr: u32, port: u16, proto: u8) -> Option<u16> {
        self.v4.get(&Local4::new(addr, port, proto))
    }

    /// As [`local4`](Self::local4), on NIC port `nic`.
    #[inline]
    pub(crate) fn local6(&self, addr: u128, port: u16, proto: u8, nic: u8) -> Option<u16> {
        self.v6.get(&Local6::new(addr, port, proto, nic))
    }

    /// The vports that have a claim on `addr`; one that has several comes several times.
    pub fn on_address(&self, addr: IpAddr) -> &[u16] {
        self.addresses.get(&addr).map_or(&[], Vec::as_slice)
    }
}

impl Local {
    fn key4(&self) -> Local4 {
        let IpAddr::V4(ip) = self.addr.ip() else {
            unreachable!("asked for IPv4 only")
        };
        Local4::new(ip.to_bits(), self.addr.port(), self.protocol.number())
    }

    fn key6(&self) -> Local6 {
        let IpAddr::V6(ip) = self.addr.ip() else {
            unreachable!("asked for IPv6 only")
        };
        Local6::new(
            ip.to_bits(),
            self.addr.port(),
            self.protocol.number(),
            self.nic,
        )
    }
}

/// A NIC port, as far as classification needs it.
#[derive(Clone, Copy, Debug)]
pub struct Nic {
    /// DPDK port id.
    pub id: u8,
    /// Its MAC.
    pub mac: MacAddr,
}

/// Decides on a received frame. Reads nothing but the frame and the tables; never panics.
#[inline]
pub fn classify(frame: &[u8], nic: Nic, tables: &Tables) -> Verdict {
    let owner = match parse(frame) {
        Ok(Parsed::V4(l4)) => {
            let TupleV4 {
                dst,
                dst_port,
                proto,
                ..
            } = l4.tuple;
            tables.local4(dst, dst_port, proto)
        }
        Ok(Parsed::V6(l4)) => {
            let TupleV6 {
                dst,
                dst_port,
                proto,
                ..
            } = l4.tuple;
            tables.local6(dst, dst_port, proto, nic.id)
        }
        Ok(Parsed::Other(other)) => return other_verdict(&other, nic, tables),
        Err(rule) => return Verdict::Drop(rule.into()),
    };
    match owner {
        None => Verdict::Host(HostReason::Unclaimed),
        // The NIC may be promiscuous, and IP unicast may come in a link-layer broadcast.
        Some(_) if !frame.starts_with(&nic.mac.0) => Verdict::Host(HostReason::OtherMac),
        Some(vport) => Verdict::Vport(vport),
    }
}

#[cold]
fn other_verdict(other: &Other, nic: Nic, tables: &Tables) -> Verdict {
    let asked = match other {
        Other::Arp(arp) if arp.op == wire::ARP_REPLY && arp.target_mac == nic.mac => {
            Some(IpAddr::V4(arp.target_ip))
        }
        Other::Neighbor(nd) if nd.kind == NdKind::Advertisement => Some(IpAddr::V6(nd.dst)),
        _ => None,
    };
    if let Some(addr) = asked
        && !tables.on_address(addr).is_empty()
    {
        return Verdict::HostAndAskers(addr);
    }
    Verdict::Host(match other {
        Other::NotIp { .. } => HostReason::NotIp,
        Other::Vlan { .. } => HostReason::Vlan,
        Other::Arp(_) | Other::Neighbor(_) => HostReason::Neighbour,
        Other::Fragment => HostReason::Fragment,
        Other::Icmp(_) | Other::Icmpv6(_) => HostReason::Icmp,
        Other::Multicast => HostReason::Multicast,
        Other::OtherProto { .. } => HostReason::OtherProtocol,
        Other::UnspecifiedSource => HostReason::UnspecifiedSource,
    })
}
