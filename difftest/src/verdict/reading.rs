//! What a well-formed frame is, as far as its verdict depends on it. Nothing here is from
//! [`wire::parse`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{MacAddr, Malformed, Vlan};

use super::quote::quoted;
use crate::{
    packet::{Packet, be16},
    rules,
};

/// A well-formed frame.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Where to on the link.
    pub mac: MacAddr,
    /// The tags, without those of VLAN 0.
    pub vlan: Vlan,
    /// What it carries.
    pub shape: Shape,
    /// What IP carries.
    pub payload: &'a [u8],
}

/// Source, destination, protocol and, where the frame shows them, ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IANA number, for IPv6 behind the extension headers.
    pub proto: u8,
    /// Source and destination port of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
}

/// What a frame carries. Where several fit, the earlier one.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Neither IP nor ARP.
    NotIp,
    /// RFC 826.
    Arp {
        /// Request or reply.
        op: u16,
        /// Protocol address of who sends it.
        sender: Ipv4Addr,
        /// Hardware address of whom it is for.
        target_mac: MacAddr,
        /// Protocol address of whom it is for.
        target: Ipv4Addr,
    },
    /// A part of a packet.
    Fragment {
        /// Ports only in the first one.
        flow: Flow,
        /// At offset 0.
        first: bool,
    },
    /// RFC 4861.
    Neighbour {
        /// Type of the message.
        kind: u8,
        /// IP destination.
        dst: Ipv6Addr,
        /// Target address, of those messages that have one.
        target: Ipv6Addr,
    },
    /// To a group or broadcast, or from an unspecified address.
    Group(Flow),
    /// To one address.
    Icmp {
        /// Of the message itself.
        flow: Flow,
        /// The packet that an error is about, as its sender sent it.
        about: Option<Flow>,
    },
    /// Anything else to one address.
    Whole(Flow),
}

impl Flow {
    /// The other way round.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            proto: self.proto,
            ports: self.ports.map(|(src, dst)| (dst, src)),
        }
    }
}

impl<'a> Reading<'a> {
    /// `None` if the frame breaks a rule.
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        if (Malformed::ALL.into_iter()).any(|rule| rules::breaks(rule, frame)) {
            return None;
        }
        let packet = Packet::of(frame);
        let mut ids = packet.tags.iter().flatten().filter(|id| **id != 0);
        let vlan = match (ids.next(), ids.next()) {
            (Some(outer), inner) => Vlan::new(*outer, *inner.unwrap_or(&0))?,
            (None, _) => Vlan::NONE,
        };
        Some(Self {
            mac: mac(frame, 0)?,
            vlan,
            shape: shape(&packet)?,
            payload: packet.payload,
        })
    }
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    Some(MacAddr(bytes.get(at..at + 6)?.try_into().ok()?))
}

/// TCP, UDP and SCTP.
pub(super) const fn has_ports(proto: u8) -> bool {
    matches!(proto, 6 | 17 | 132)
}

/// A group or broadcast of IP alone: one of a subnet looks like any other address.
pub(super) fn is_group(addr: IpAddr) -> bool {
    addr.is_multicast() || addr == Ipv4Addr::BROADCAST || addr == Ipv4Addr::UNSPECIFIED
}

fn shape(packet: &Packet) -> Option<Shape> {
    if packet.ethertype == Some(0x0806) {
        return arp(packet.rest);
    }
    let Some((src, dst)) = packet.ends() else {
        return Some(Shape::NotIp);
    };
    let proto = packet.proto;
    let bytes = packet.payload;
    let first = packet.part.is_none_or(|part| part.offset == 0);
    let ports = (first && has_ports(proto)).then(|| (be16(bytes, 0), be16(bytes, 2)));
    #[rustfmt::skip]
    let flow = Flow { src, dst, proto, ports };
    if packet.part.is_some() {
        return Some(Shape::Fragment { flow, first });
    }
    if let (58, Some(kind @ 133..=137), IpAddr::V6(dst)) = (proto, bytes.first().copied(), dst) {
        let octets: [u8; 16] = match bytes.get(8..24) {
            Some(octets) => octets.try_into().ok()?,
            None => [0; 16],
        };
        let target = Ipv6Addr::from(octets);
        return Some(Shape::Neighbour { kind, dst, target });
    }
    if is_group(dst) || src.is_unspecified() {
        return Some(Shape::Group(flow));
    }
    if !packet.is_icmp() {
        return Some(Shape::Whole(flow));
    }
    let is_error = match (src, bytes.first()?) {
        (IpAddr::V4(_), kind) => matches!(kind, 3 | 11 | 12),
        (IpAddr::V6(_), kind) => matches!(kind, 1..=4),
    };
    let about = match bytes.get(8..) {
        Some(bytes) if is_error => quoted(packet.ethertype?, bytes),
        _ => None,
    };
    Some(Shape::Icmp { flow, about })
}

fn arp(packet: &[u8]) -> Option<Shape> {
    let ip = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some(Shape::Arp {
        op: be16(packet, 6),
        sender: ip(14)?,
        target_mac: mac(packet, 18)?,
        target: ip(24)?,
    })
}
