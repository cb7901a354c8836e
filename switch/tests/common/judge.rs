//! Who may get a frame and who may send it, by the [`Model`] alone.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use switch::verdict::Owner;
use wire::{Body, Fragment, MacAddr, NdKind, Origin, Other, Parsed, Vlan, parse};

use super::model::{Model, Packet};

/// The packet that a fragment is of.
type Whole = (IpAddr, IpAddr, u32, Option<u8>, Vlan, u8);

/// The claims, and whose fragments are under way.
#[derive(Default)]
pub struct Judge {
    pub model: Model,
    /// Those who had a packet when its first fragment came.
    receiving: HashMap<Whole, BTreeSet<u16>>,
    /// Those who sent the first fragment of a packet.
    sending: HashMap<Whole, BTreeSet<u16>>,
}

/// A unicast packet with both its ports, as it is in the frame: source first.
fn whole(parsed: &Parsed) -> Option<([SocketAddr; 2], u8)> {
    match &parsed.body {
        Body::V4(l4) => {
            let src = SocketAddr::from((l4.tuple.src.to_be_bytes(), l4.tuple.src_port));
            let dst = SocketAddr::from((l4.tuple.dst.to_be_bytes(), l4.tuple.dst_port));
            Some(([src, dst], l4.tuple.proto))
        }
        Body::V6(l4) => {
            let src = SocketAddr::from((l4.tuple.src.to_be_bytes(), l4.tuple.src_port));
            let dst = SocketAddr::from((l4.tuple.dst.to_be_bytes(), l4.tuple.dst_port));
            Some(([src, dst], l4.tuple.proto))
        }
        Body::Other(_) => None,
    }
}

fn packet_of(fragment: &Fragment, vlan: Vlan, nic: u8) -> Whole {
    let proto = fragment.src.is_ipv4().then_some(fragment.proto);
    (fragment.src, fragment.dst, fragment.id, proto, vlan, nic)
}

const fn is_error(kind: u8, is_v4: bool) -> bool {
    if is_v4 {
        matches!(kind, 3 | 11 | 12)
    } else {
        matches!(kind, 1..=4)
    }
}

impl Judge {
    /// A vport has lost a claim, or is gone.
    pub fn forget(&mut self, slot: u16) {
        for slots in self.receiving.values_mut().chain(self.sending.values_mut()) {
            slots.remove(&slot);
        }
    }

    fn portless(&self, local: IpAddr, remote: IpAddr, proto: u8, vlan: Vlan, nic: u8) -> Packet {
        let _ = self;
        Packet {
            proto,
            local,
            remote,
            ports: None,
            vlan,
            nic,
        }
    }

    fn first(&self, fragment: &Fragment, sends: bool, vlan: Vlan, nic: u8) -> Packet {
        let (local, remote) = if sends {
            (fragment.src, fragment.dst)
        } else {
            (fragment.dst, fragment.src)
        };
        let ports = fragment.ports;
        Packet {
            ports: ports.map(|(from, to)| if sends { (from, to) } else { (to, from) }),
            ..self.portless(local, remote, fragment.proto, vlan, nic)
        }
    }

    /// The one owner of a whole unicast packet, if this is one.
    pub fn owner(&self, parsed: &Parsed, nic: u8) -> Option<Owner> {
        let ([src, dst], proto) = whole(parsed)?;
        let packet = Packet {
            ports: Some((dst.port(), src.port())),
            ..self.portless(dst.ip(), src.ip(), proto, parsed.vlan, nic)
        };
        let holder = self.model.owner(&packet);
        Some(holder.map_or(Owner::Host, |holder| Owner::Vport(holder.vport)))
    }

    /// Takes note of a first fragment that comes to `nic`.
    pub fn note(&mut self, frame: &[u8], origin: Origin, nic: u8) {
        if let Ok(Parsed {
            vlan,
            body: Body::Other(Other::Fragment(fragment)),
        }) = parse(frame, origin)
            && fragment.offset == 0
            && let Some(holder) = self.model.owner(&self.first(&fragment, false, vlan, nic))
        {
            let slots = self.receiving.entry(packet_of(&fragment, vlan, nic));
            slots.or_default().insert(holder.vport);
        }
    }

    /// Whether a stack may get this frame.
    pub fn may_receive(&self, slot: u16, frame: &[u8], nic: u8) -> bool {
        let Ok(parsed) = parse(frame, Origin::Local) else {
            return false;
        };
        let vlan = parsed.vlan;
        let is_owner = |packet: &Packet| {
            let owner = self.model.owner(packet);
            owner.is_some_and(|holder| holder.vport == slot)
        };
        let Body::Other(other) = &parsed.body else {
            let broadcast = frame.starts_with(&MacAddr::BROADCAST.0)
                && whole(&parsed).is_some_and(|([_, dst], proto)| {
                    proto == 17 && self.model.on_udp_port(dst.port(), vlan).contains(&slot)
                });
            return broadcast || self.owner(&parsed, nic) == Some(Owner::Vport(slot));
        };
        let is_on = |addr: IpAddr| self.model.on_address(addr, vlan, nic).contains(&slot);
        match other {
            Other::NotIp { .. } => false,
            Other::Arp(arp) => is_on(arp.target_ip.into()) || is_on(arp.sender_ip.into()),
            Other::Neighbor(nd) => {
                is_on(nd.dst.into()) || nd.target.is_some_and(|target| is_on(target.into()))
            }
            Other::Group(group) => group.ports.is_some_and(|(_, port)| {
                let members = self.model.members((group.dst, port).into(), vlan);
                let on_port = self.model.on_udp_port(port, vlan);
                group.proto == 17 && (members.contains(&slot) || on_port.contains(&slot))
            }),
            Other::Icmp(icmp) => {
                let proto = if icmp.dst.is_ipv4() { 1 } else { 58 };
                let plain = self.portless(icmp.dst, icmp.src, proto, vlan, nic);
                match icmp.about.filter(|about| about.src == icmp.dst) {
                    None => is_owner(&plain),
                    Some(about) => is_owner(&Packet {
                        ports: about.ports,
                        ..self.portless(about.src, about.dst, about.proto, vlan, nic)
                    }),
                }
            }
            Other::Proto(p) => is_owner(&self.portless(p.dst, p.src, p.proto, vlan, nic)),
            Other::Fragment(fragment) => {
                let packet = packet_of(fragment, vlan, nic);
                let receiving = self.receiving.get(&packet);
                receiving.is_some_and(|slots| slots.contains(&slot))
                    || is_owner(&self.portless(
                        fragment.dst,
                        fragment.src,
                        fragment.proto,
                        vlan,
                        nic,
                    ))
            }
        }
    }

    /// Whether a stack may send this frame through the port with `mac`; takes note of a first fragment.
    pub fn may_send(&mut self, slot: u16, frame: &[u8], mac: MacAddr, nic: u8) -> bool {
        let Ok(parsed) = parse(frame, Origin::Local) else {
            return false;
        };
        let vlan = parsed.vlan;
        let lets = |packet: &Packet| {
            let owner = self.model.owner(packet);
            owner.is_some_and(|holder| holder.vport == slot || holder.before == Some(slot))
        };
        let to_many = frame[0] & 1 != 0;
        if frame[6..12] != mac.0 {
            return false;
        }
        let Body::Other(other) = &parsed.body else {
            let Some(([src, dst], proto)) = whole(&parsed) else {
                return false;
            };
            return !to_many
                && lets(&Packet {
                    ports: Some((src.port(), dst.port())),
                    ..self.portless(src.ip(), dst.ip(), proto, vlan, nic)
                });
        };
        let owns = |addr: IpAddr| self.model.owner_of_address(addr, vlan, nic) == Some(slot);
        let is_on = |addr: IpAddr| self.model.on_address(addr, vlan, nic).contains(&slot);
        match other {
            Other::NotIp { .. } => false,
            Other::Arp(arp) => {
                let (sender, target) = (arp.sender_ip.into(), arp.target_ip.into());
                let asks = arp.op == 1 && (is_on(sender) || owns(target));
                arp.sender_mac == mac && (asks || owns(sender))
            }
            Other::Neighbor(nd) => match (nd.kind, nd.target) {
                (NdKind::Solicitation, Some(target)) => {
                    is_on(nd.src.into()) || nd.src.is_unspecified() && owns(target.into())
                }
                (NdKind::Advertisement, Some(target)) => owns(target.into()),
                _ => false,
            },
            Other::Group(group) => group.ports.is_some_and(|ports| {
                group.proto == 17
                    && lets(&Packet {
                        ports: Some(ports),
                        ..self.portless(group.src, group.dst, 17, vlan, nic)
                    })
            }),
            Other::Icmp(icmp) => {
                let is_v4 = icmp.src.is_ipv4();
                let proto = if is_v4 { 1 } else { 58 };
                let plain = self.portless(icmp.src, icmp.dst, proto, vlan, nic);
                let Some(about) = icmp.about else {
                    return !is_error(icmp.kind, is_v4) && lets(&plain);
                };
                let answered = Packet {
                    ports: about.ports.map(|(from, to)| (to, from)),
                    ..self.portless(about.dst, about.src, about.proto, vlan, nic)
                };
                icmp.src == about.dst && icmp.dst == about.src && lets(&answered)
            }
            Other::Proto(p) => lets(&self.portless(p.src, p.dst, p.proto, vlan, nic)),
            Other::Fragment(fragment) => {
                let packet = packet_of(fragment, vlan, nic);
                let first = self.first(fragment, true, vlan, nic);
                if fragment.offset == 0 {
                    if !lets(&first) {
                        return false;
                    }
                    self.sending.entry(packet).or_default().insert(slot);
                    return true;
                }
                let sending = self.sending.get(&packet);
                sending.is_some_and(|slots| slots.contains(&slot))
                    || lets(&Packet {
                        ports: None,
                        ..first
                    })
            }
        }
    }
}
