//! The common form of what every reader, ours and the judges, makes of a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{Body, Checksum, Other, Parsed, proto, verify_l4};

/// A frame that a reader takes for well-formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// VLAN ids of the tags, outer first, without 0.
    pub vlans: Vec<u16>,
    /// `None` for what is no IP.
    pub ip: Option<Ip>,
}

/// An IP packet. What is `None` but for `ports` and `part` the reader does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The protocol, for IPv6 behind the extension headers.
    pub proto: Option<u8>,
    /// Of UDP, TCP and SCTP.
    pub ports: Option<(u16, u16)>,
    /// If it is a fragment.
    pub part: Option<Part>,
    /// Where that protocol's header starts in the frame.
    pub start: Option<usize>,
    /// Where the payload of TCP or UDP starts in the frame.
    pub payload: Option<usize>,
    /// Whether the checksum in that header is right.
    pub sum_ok: Option<bool>,
}

/// A fragment's place in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Identification.
    pub id: u32,
    /// In bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// Our own reading.
pub fn ours(frame: &[u8], parsed: &Parsed) -> Seen {
    let vlan = parsed.vlan;
    let mut seen = Seen {
        vlans: vec![vlan.outer(), vlan.inner()],
        ip: ip(&parsed.body),
    };
    seen.vlans.retain(|id| *id != 0);
    if let Some(ip) = &mut seen.ip {
        ip.sum_ok = match verify_l4(frame, parsed) {
            Some(Checksum::Good) => Some(true),
            Some(Checksum::Bad) => Some(false),
            Some(Checksum::Absent) | None => None,
        };
    }
    seen
}

fn ip(body: &Body) -> Option<Ip> {
    let bare = |src, dst, proto, start: u16| Ip {
        src,
        dst,
        proto: Some(proto),
        ports: None,
        part: None,
        start: Some(usize::from(start)),
        payload: None,
        sum_ok: None,
    };
    Some(match *body {
        Body::V4(l4) => {
            let tuple = l4.tuple;
            let (src, dst) = (
                Ipv4Addr::from_bits(tuple.src),
                Ipv4Addr::from_bits(tuple.dst),
            );
            Ip {
                ports: Some((tuple.src_port, tuple.dst_port)),
                payload: Some(usize::from(l4.payload_offset)),
                ..bare(src.into(), dst.into(), tuple.proto, l4.l4_offset)
            }
        }
        Body::V6(l4) => {
            let tuple = l4.tuple;
            let (src, dst) = (
                Ipv6Addr::from_bits(tuple.src),
                Ipv6Addr::from_bits(tuple.dst),
            );
            Ip {
                ports: Some((tuple.src_port, tuple.dst_port)),
                payload: Some(usize::from(l4.payload_offset)),
                ..bare(src.into(), dst.into(), tuple.proto, l4.l4_offset)
            }
        }
        Body::Other(Other::Fragment(it)) => Ip {
            ports: it.ports,
            part: Some(Part {
                id: it.id,
                offset: it.offset,
                more: it.more,
            }),
            start: None,
            ..bare(it.src, it.dst, it.proto, 0)
        },
        Body::Other(Other::Group(it)) => Ip {
            ports: it.ports,
            ..bare(it.src, it.dst, it.proto, it.l4_offset)
        },
        Body::Other(Other::Proto(it)) => bare(it.src, it.dst, it.proto, it.l4_offset),
        Body::Other(Other::Icmp(it)) => {
            let number = if it.src.is_ipv4() {
                proto::ICMP
            } else {
                proto::ICMPV6
            };
            bare(it.src, it.dst, number, it.l4_offset)
        }
        Body::Other(Other::Neighbor(it)) => Ip {
            start: None,
            ..bare(it.src.into(), it.dst.into(), proto::ICMPV6, 0)
        },
        Body::Other(Other::Arp(_) | Other::NotIp { .. }) => return None,
    })
}

/// The names of what the two tell differently.
pub fn differences(ours: &Seen, theirs: &Seen) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut note = |name, differ: bool| {
        if differ {
            names.push(name);
        }
    };
    note("vlans", ours.vlans != theirs.vlans);
    match (&ours.ip, &theirs.ip) {
        (Some(a), Some(b)) => {
            note("source", a.src != b.src);
            note("destination", a.dst != b.dst);
            note("protocol", unlike(a.proto, b.proto));
            note("ports", a.ports != b.ports);
            note("fragment", a.part != b.part);
            note("offset", unlike(a.start, b.start));
            note("payload offset", unlike(a.payload, b.payload));
            note("checksum", unlike(a.sum_ok, b.sum_ok));
        }
        (a, b) => note("is IP", a.is_some() != b.is_some()),
    }
    names
}

/// Whether both say something, and not the same.
fn unlike<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a != b)
}
