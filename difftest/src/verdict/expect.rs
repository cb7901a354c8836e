//! What is to become of a frame: the table in docs/ARCHITECTURE.md, "What a received packet
//! becomes", row by row.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use port_api::Kind;
use switch::classify::Nic;
use wire::MacAddr;

use super::{
    Fate,
    book::{Book, Whose},
    reading::{Flow, Reading, Shape, is_group},
    sum,
};

/// What is to become of a frame, and by which row.
#[derive(Debug)]
pub struct Expected {
    /// Who gets it.
    pub fate: Fate,
    /// One of [`ROWS`].
    pub row: &'static str,
}

macro_rules! rows {
    ($($name:ident = $text:literal;)*) => {
        $(const $name: &str = $text;)*

        /// The rows that there are.
        pub const ROWS: &[&str] = &[$($text,)*];
    };
}

rows! {
    MALFORMED = "drop: malformed";
    CHECKSUM = "drop: checksum";
    CONNECTION = "vport: connection";
    TUPLE = "vport: tuple";
    ANY_ADDRESS = "vport: any address";
    PROTOCOL = "vport: protocol";
    ADDRESS = "vport: address";
    ERROR = "vport: icmp error";
    NEIGHBOUR = "vport: arp or neighbour discovery";
    WHOLE_ADDRESS = "vport: fragment";
    ASKERS = "host and copies: neighbour answer";
    MEMBERS = "host and copies: multicast";
    BROADCAST = "host and copies: broadcast";
    FIRST_TO_VPORT = "first fragment: vport";
    FIRST_TO_HOST = "first fragment: host";
    LATER = "later fragment";
    NOT_IP = "host: not ip";
    OTHER_MAC = "host: other mac";
    GROUP = "host: group";
    HOST_FRAGMENT = "host: fragment";
    HOST_NEIGHBOUR = "host: neighbour";
    UNCLAIMED = "host: unclaimed";
}

fn expected(fate: Fate, row: &'static str) -> Expected {
    Expected { fate, row }
}

fn host(row: &'static str) -> Expected {
    expected(Fate::Host, row)
}

/// To `vport`, with nothing said of checksums.
fn to(vport: u16, row: &'static str) -> Expected {
    let checksum = false;
    expected(Fate::Vport { vport, checksum }, row)
}

/// The host and `to`, or else the host alone.
fn copies(to: BTreeSet<u16>, row: &'static str, host_row: &'static str) -> Expected {
    if to.is_empty() {
        return host(host_row);
    }
    expected(Fate::HostAndCopies(to), row)
}

/// `reading` is `None` for a frame that breaks a rule.
pub fn expect(reading: Option<&Reading>, nic: &Nic, book: &Book) -> Expected {
    let Some(reading) = reading else {
        return expected(Fate::Malformed, MALFORMED);
    };
    let at = At { reading, nic, book };
    let to_us = reading.mac == nic.mac;
    let to_many = reading.mac.0[0] & 1 == 1;
    match reading.shape {
        Shape::NotIp => host(NOT_IP),
        _ if !to_us && !to_many => host(OTHER_MAC),
        Shape::Arp {
            op,
            sender,
            target_mac,
            target,
        } => {
            // The answer to a probe names only who sends it.
            let addr = if target.is_unspecified() {
                sender
            } else {
                target
            };
            at.neighbour(addr.into(), op == 2 && target_mac == nic.mac)
        }
        // Solicitations, advertisements to all, and to one.
        Shape::Neighbour { kind, dst, target } => match kind {
            135 => at.neighbour(target.into(), false),
            136 if dst.is_multicast() => at.neighbour(target.into(), false),
            136 => at.neighbour(dst.into(), true),
            _ => host(HOST_NEIGHBOUR),
        },
        Shape::Group(flow) => at.group(&flow),
        Shape::Whole(flow) if !to_us => at.in_broadcast(&flow),
        Shape::Fragment { .. } | Shape::Icmp { .. } if !to_us => host(OTHER_MAC),
        Shape::Fragment { flow, first } => at.fragment(&flow, first),
        Shape::Whole(flow) => at.owned(&flow, &flow, None),
        Shape::Icmp { flow, about } => match about.filter(|about| about.src == flow.dst) {
            Some(about) => at.owned(&about.reversed(), &flow, Some(ERROR)),
            None => at.owned(&flow, &flow, None),
        },
    }
}

struct At<'a> {
    reading: &'a Reading<'a>,
    nic: &'a Nic,
    book: &'a Book,
}

impl At<'_> {
    /// A packet to whoever has `flow`; `packet` is what its own checksum is over.
    fn owned(&self, flow: &Flow, packet: &Flow, row: Option<&'static str>) -> Expected {
        let vlan = self.reading.vlan;
        let Some(owner) = self.book.owner(flow, vlan, self.nic.id) else {
            return host(UNCLAIMED);
        };
        let row = row.unwrap_or(match owner.kind {
            Kind::Connection => CONNECTION,
            Kind::Tuple | Kind::Group => TUPLE,
            Kind::AnyAddress => ANY_ADDRESS,
            Kind::Protocol => PROTOCOL,
            Kind::Address => ADDRESS,
        });
        let right = if owner.verify {
            sum::is_right(packet, self.reading.payload)
        } else {
            None
        };
        if right == Some(false) {
            return expected(Fate::BadChecksum, CHECKSUM);
        }
        let vport = owner.vport;
        let checksum = right.is_some();
        expected(Fate::Vport { vport, checksum }, row)
    }

    /// ARP and neighbour discovery about `addr`; `answers` if it is an answer to this machine.
    fn neighbour(&self, addr: IpAddr, answers: bool) -> Expected {
        let (vlan, nic) = (self.reading.vlan, self.nic.id);
        if let Some(vport) = self.book.owner_of_address(addr, vlan, nic) {
            return to(vport, NEIGHBOUR);
        }
        if !answers {
            return host(HOST_NEIGHBOUR);
        }
        match self.book.present(addr, vlan, nic) {
            some if !some.is_empty() => expected(Fate::HostAndAskers(some), ASKERS),
            _ => host(HOST_NEIGHBOUR),
        }
    }

    fn is_broadcast(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(ip) => {
                // The latter is 4.2BSD's (RFC 1122 section 3.3.6).
                ip == Ipv4Addr::BROADCAST
                    || ip == Ipv4Addr::UNSPECIFIED
                    || self.nic.broadcasts.contains(&ip.to_bits())
            }
            IpAddr::V6(_) => false,
        }
    }

    fn group(&self, flow: &Flow) -> Expected {
        let vlan = self.reading.vlan;
        match flow.ports {
            Some((_, port)) if flow.proto == 17 && flow.dst.is_multicast() => {
                let group = SocketAddr::new(flow.dst, port);
                copies(self.book.members(group, vlan), MEMBERS, GROUP)
            }
            Some((_, port)) if flow.proto == 17 && self.is_broadcast(flow.dst) => {
                copies(self.book.on_port(port, vlan), BROADCAST, GROUP)
            }
            _ => host(GROUP),
        }
    }

    /// To an address that is, if anything, a subnet's broadcast: the frame is to several.
    fn in_broadcast(&self, flow: &Flow) -> Expected {
        if self.reading.mac == MacAddr::BROADCAST && self.is_broadcast(flow.dst) {
            return self.group(flow);
        }
        host(OTHER_MAC)
    }

    fn fragment(&self, flow: &Flow, first: bool) -> Expected {
        let (vlan, nic) = (self.reading.vlan, self.nic.id);
        if is_group(flow.dst) || flow.src.is_unspecified() {
            return host(HOST_FRAGMENT);
        }
        match self.book.owner_of_fragment(flow, vlan, nic) {
            Whose::Vport(vport) => to(vport, WHOLE_ADDRESS),
            Whose::Host => host(HOST_FRAGMENT),
            Whose::OfTheFirst if !first => expected(Fate::LaterFragment, LATER),
            Whose::OfTheFirst => match self.book.owner(flow, vlan, nic) {
                Some(owner) => expected(Fate::FirstFragment(Some(owner.vport)), FIRST_TO_VPORT),
                None => expected(Fate::FirstFragment(None), FIRST_TO_HOST),
            },
        }
    }
}
