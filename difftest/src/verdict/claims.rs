//! Claims that fit a capture: on what was seen in it, by fixed steps.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use port_api::{ClaimSpec, Protocol};
use switch::classify::Broadcasts;
use wire::{MacAddr, Vlan};

use super::reading::{Flow, Reading, Shape, is_group};

/// Ends of each kind that are kept of one capture, the first ones.
const MAX_ENDS: usize = 20_000;

/// Claims of each sort; there are seven, and groups have two members.
const MAX_CLAIMS: usize = 1250;

/// The vports that have them, in turn.
const VPORTS: [u16; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

/// Of this machine and in no capture: for ports that are only broadcast to (RFC 2544).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));

/// A claim and who has it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// What is claimed.
    pub spec: ClaimSpec,
    /// NIC port, which counts for link-local addresses.
    pub nic: u8,
    /// Who has it.
    pub vport: u16,
}

/// What a capture's packets go to and come from.
#[derive(Debug, Default)]
pub struct Ends {
    flows: BTreeSet<(Vlan, Flow)>,
    /// Beside those of the flows.
    addresses: BTreeSet<(Vlan, IpAddr)>,
    groups: BTreeSet<(Vlan, SocketAddr)>,
    broadcast_ports: BTreeSet<(Vlan, u16)>,
    /// What UDP over IPv4 went to in link-layer broadcasts.
    subnet_broadcasts: BTreeSet<Ipv4Addr>,
}

fn keep<T: Ord>(set: &mut BTreeSet<T>, item: T) {
    if set.len() < MAX_ENDS {
        set.insert(item);
    }
}

impl Ends {
    /// Takes note of a frame, if it is well-formed.
    pub fn see(&mut self, frame: &[u8]) {
        let Some(Reading {
            vlan, shape, mac, ..
        }) = Reading::of(frame)
        else {
            return;
        };
        match shape {
            Shape::NotIp => {}
            Shape::Arp { sender, target, .. } => {
                for ip in [sender, target]
                    .into_iter()
                    .filter(|ip| !ip.is_unspecified())
                {
                    keep(&mut self.addresses, (vlan, ip.into()));
                }
            }
            Shape::Neighbour { dst, target, .. } => {
                for ip in [dst, target] {
                    if !ip.is_multicast() && !ip.is_unspecified() {
                        keep(&mut self.addresses, (vlan, ip.into()));
                    }
                }
            }
            Shape::Fragment { flow, .. } | Shape::Group(flow)
                if is_group(flow.dst) || flow.src.is_unspecified() =>
            {
                self.see_group(&flow, vlan);
            }
            Shape::Whole(flow) if mac == MacAddr::BROADCAST => {
                if let (17, IpAddr::V4(ip), Some((_, port))) = (flow.proto, flow.dst, flow.ports) {
                    keep(&mut self.subnet_broadcasts, ip);
                    keep(&mut self.broadcast_ports, (vlan, port));
                }
            }
            Shape::Icmp { flow, about } => {
                keep(&mut self.flows, (vlan, flow));
                if let Some(about) = about {
                    keep(&mut self.flows, (vlan, about.reversed()));
                }
            }
            Shape::Whole(flow) | Shape::Fragment { flow, .. } | Shape::Group(flow) => {
                keep(&mut self.flows, (vlan, flow));
            }
        }
    }

    fn see_group(&mut self, flow: &Flow, vlan: Vlan) {
        match flow.ports {
            Some((_, port)) if flow.dst.is_multicast() && port != 0 => {
                keep(&mut self.groups, (vlan, SocketAddr::new(flow.dst, port)));
            }
            Some((_, port)) => keep(&mut self.broadcast_ports, (vlan, port)),
            None => {}
        }
    }

    /// Every second of the addresses that look like those of subnets' broadcasts.
    pub fn broadcasts(&self) -> Broadcasts {
        let found = self.subnet_broadcasts.iter().step_by(2);
        let found = found.map(|ip| ip.to_bits());
        found.take(Broadcasts::new_const().capacity()).collect()
    }

    /// The claims; with some on any address if `wide`.
    pub fn claims(&self, wide: bool) -> Vec<Claim> {
        let connections: BTreeSet<_> = self.flows.iter().filter_map(connection).collect();
        let locals = connections.iter();
        let tuples: BTreeSet<_> = locals.map(|(at, local, _)| (*at, *local)).collect();
        let ports: BTreeSet<_> = (tuples.iter())
            .map(|(at, local)| (*at, SocketAddr::new(any(local.ip()), local.port())))
            .collect();
        let flows = self.flows.iter();
        let protocols: BTreeSet<_> = flows
            .map(|(vlan, flow)| (*vlan, flow.dst, flow.proto))
            .collect();
        let homes = protocols.iter().map(|(vlan, addr, _)| (*vlan, *addr));
        let addresses: BTreeSet<_> = homes.chain(self.addresses.iter().copied()).collect();

        let mut claims = Claims::default();
        for ((vlan, proto), local, remote) in every(5, &connections) {
            claims.add(ClaimSpec::connection(proto, local, remote).on_vlan(vlan));
        }
        for ((vlan, proto), local) in every(2, &tuples) {
            claims.add(ClaimSpec::tuple(proto, local).on_vlan(vlan));
        }
        for ((vlan, proto), local) in every(3, &ports).filter(|_| wide) {
            claims.add(ClaimSpec::tuple(proto, local).on_vlan(vlan));
        }
        for (vlan, addr, proto) in every(11, &protocols) {
            claims.add(ClaimSpec::protocol(proto, addr).on_vlan(vlan));
        }
        for (vlan, addr) in every(7, &addresses) {
            claims.add(ClaimSpec::address(addr).on_vlan(vlan));
        }
        for (vlan, port) in every(2, &self.broadcast_ports) {
            let local = SocketAddr::new(ELSEWHERE, port);
            claims.add(ClaimSpec::tuple(Protocol::Udp, local).on_vlan(vlan));
        }
        for (vlan, group) in every(2, &self.groups) {
            let spec = ClaimSpec::tuple(Protocol::Udp, group).on_vlan(vlan);
            claims.join(spec);
            claims.join(spec);
        }
        claims.all
    }
}

/// Protocol and VLAN, local end, remote end.
type Connection = ((Vlan, Protocol), SocketAddr, SocketAddr);

fn connection((vlan, flow): &(Vlan, Flow)) -> Option<Connection> {
    let (from, to) = flow.ports?;
    let proto = match flow.proto {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => Protocol::Sctp,
    };
    let local = SocketAddr::new(flow.dst, to);
    let remote = SocketAddr::new(flow.src, from);
    Some(((*vlan, proto), local, remote))
}

/// The unspecified address of the same family.
fn any(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The first and then every `step`th, or fewer if that were too many.
fn every<T: Copy>(step: usize, items: &BTreeSet<T>) -> impl Iterator<Item = T> {
    let step = step.max(items.len().div_ceil(MAX_CLAIMS));
    items.iter().copied().step_by(step)
}

#[derive(Default)]
struct Claims {
    all: Vec<Claim>,
    known: HashSet<ClaimSpec>,
}

impl Claims {
    fn add(&mut self, spec: ClaimSpec) {
        if self.known.insert(spec) {
            self.join(spec);
        }
    }

    /// As [`add`](Self::add), but others may have the same.
    fn join(&mut self, spec: ClaimSpec) {
        let count = self.all.len();
        self.all.push(Claim {
            spec: ClaimSpec {
                verify: count % 3 == 1,
                ..spec
            },
            nic: u8::from(count % 5 == 4),
            vport: VPORTS[count % VPORTS.len()],
        });
    }
}
