//! A trace in words.

use std::fmt::Write;

use port_api::protocol::Traced;
use wire::{About, Body, Checksum, Fragment, Other, Parsed};

use crate::command::{Fate, Trace};
use crate::tables::Holder;
use crate::trace::Note;
use crate::verdict::{Copies, Owner, Verdict};

/// Who is who.
pub struct Names<'a> {
    /// The name of what is on a vport.
    pub of: &'a dyn Fn(u16) -> Option<String>,
    /// The host's netdev.
    pub host: &'a str,
    /// The vport that sends, if one does.
    pub sender: Option<u16>,
}

impl Names<'_> {
    fn vport(&self, slot: u16) -> String {
        match (self.of)(slot) {
            Some(name) => format!("vport {slot} ({name})"),
            None => format!("vport {slot}"),
        }
    }
}

/// What a worker has said of a frame, a line for each step. None if it has not said how it ends.
pub fn explain(trace: &Trace, names: &Names<'_>) -> Option<Traced> {
    let fate = trace.fate.as_ref()?;
    let mut steps = vec![match names.sender {
        None => format!("{} bytes from the wire", trace.frame.len()),
        Some(slot) => format!("{} bytes from {}", trace.frame.len(), names.vport(slot)),
    }];
    steps.extend(ethernet(&trace.frame));
    steps.extend(trace.notes.0.iter().map(|note| step(note, names)));
    let verdict = match fate {
        Fate::Received(verdict, owner) => received(verdict, *owner, names),
        Fate::Refused(reason) => format!("drop: {}", reason.name()),
        Fate::Passed => "to the wire".to_owned(),
        Fate::Switched(here) => {
            format!("stays on this machine: {}", received(here, None, names))
        }
        Fate::Copied { here, to_host } => copied(here.as_ref(), *to_host, names),
    };
    Some(Traced { steps, verdict })
}

fn ethernet(frame: &[u8]) -> Option<String> {
    let ethernet = wire::ethernet(frame)?;
    Some(format!("ethernet: {} > {}", ethernet.src, ethernet.dst))
}

fn step(note: &Note, names: &Names<'_>) -> String {
    match note {
        Note::Parsed(parsed) => format!("well-formed: {}", packet(parsed)),
        Note::LookedUp(kind, None) => format!("claims by {}: none fits", kind.name()),
        Note::LookedUp(kind, Some(holder)) => {
            format!("claims by {}: {}", kind.name(), held(*holder, names))
        }
        Note::Verified(checksum) => format!(
            "layer 4 checksum: {}",
            match checksum {
                Some(Checksum::Good) => "right",
                Some(Checksum::Bad) => "wrong",
                Some(Checksum::Absent) => "none, as UDP over IPv4 may have",
                None => "this has none",
            }
        ),
    }
}

fn held(holder: Holder, names: &Names<'_>) -> String {
    let mut text = names.vport(holder.vport);
    if let Some(before) = holder.before {
        // Writing to a string does not fail.
        let _ = write!(text, ", taken over from {}", names.vport(before));
    }
    text
}

/// The packet in words.
pub fn packet(parsed: &Parsed) -> String {
    let mut text = match &parsed.body {
        Body::V4(l4) => ends(
            l4.tuple.proto,
            (
                std::net::Ipv4Addr::from_bits(l4.tuple.src),
                l4.tuple.src_port,
            ),
            (
                std::net::Ipv4Addr::from_bits(l4.tuple.dst),
                l4.tuple.dst_port,
            ),
        ),
        Body::V6(l4) => ends(
            l4.tuple.proto,
            (
                std::net::Ipv6Addr::from_bits(l4.tuple.src),
                l4.tuple.src_port,
            ),
            (
                std::net::Ipv6Addr::from_bits(l4.tuple.dst),
                l4.tuple.dst_port,
            ),
        ),
        Body::Other(other) => self::other(other),
    };
    if !parsed.vlan.is_none() {
        let _ = write!(text, ", VLAN {}", parsed.vlan);
    }
    text
}

fn ends(
    proto: u8,
    (src, src_port): (impl Into<std::net::IpAddr>, u16),
    (dst, dst_port): (impl Into<std::net::IpAddr>, u16),
) -> String {
    let (src, dst) = (src.into(), dst.into());
    let src = std::net::SocketAddr::new(src, src_port);
    let dst = std::net::SocketAddr::new(dst, dst_port);
    format!("{} {src} > {dst}", protocol(proto))
}

fn protocol(proto: u8) -> String {
    match proto {
        wire::proto::TCP => "tcp".to_owned(),
        wire::proto::UDP => "udp".to_owned(),
        wire::proto::SCTP => "sctp".to_owned(),
        wire::proto::ICMP => "icmp".to_owned(),
        wire::proto::ICMPV6 => "icmpv6".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn other(other: &Other) -> String {
    match other {
        Other::NotIp { ethertype } => format!("ethertype {ethertype:#06x}"),
        Other::Arp(arp) => {
            let op = match arp.op {
                wire::ARP_REQUEST => "request".to_owned(),
                wire::ARP_REPLY => "reply".to_owned(),
                op => format!("operation {op}"),
            };
            format!(
                "arp {op}, {} ({}) > {} ({})",
                arp.sender_ip, arp.sender_mac, arp.target_ip, arp.target_mac
            )
        }
        Other::Neighbor(nd) => match nd.target {
            Some(target) => format!("{:?} for {target}, {} > {}", nd.kind, nd.src, nd.dst),
            None => format!("{:?}, {} > {}", nd.kind, nd.src, nd.dst),
        },
        Other::Fragment(fragment) => self::fragment(fragment),
        Other::Icmp(icmp) => {
            let head = format!(
                "icmp type {} code {}, {} > {}",
                icmp.kind, icmp.code, icmp.src, icmp.dst
            );
            match &icmp.about {
                Some(about) => format!("{head}, about {}", self::about(about)),
                None => head,
            }
        }
        Other::Group(group) => match group.ports {
            Some((from, to)) => ends(group.proto, (group.src, from), (group.dst, to)),
            None => format!("{} {} > {}", protocol(group.proto), group.src, group.dst),
        },
        Other::Proto(p) => format!("{} {} > {}", protocol(p.proto), p.src, p.dst),
    }
}

fn about(about: &About) -> String {
    match about.ports {
        Some((from, to)) => ends(about.proto, (about.src, from), (about.dst, to)),
        None => format!("{} {} > {}", protocol(about.proto), about.src, about.dst),
    }
}

fn fragment(fragment: &Fragment) -> String {
    let Fragment {
        src,
        dst,
        proto,
        id,
        offset,
        len,
        more,
        ..
    } = fragment;
    let ports = match fragment.ports {
        Some((from, to)) => ends(*proto, (*src, from), (*dst, to)),
        None => format!("{} {src} > {dst}", protocol(*proto)),
    };
    let last = if *more { "more follow" } else { "the last" };
    format!("fragment of {ports}, id {id}, {len} bytes at {offset}, {last}")
}

fn received(verdict: &Verdict, owner: Option<Owner>, names: &Names<'_>) -> String {
    match verdict {
        Verdict::Vport { slot, .. } => format!("to {}", names.vport(*slot)),
        Verdict::Host(reason) => format!("to the host, {}: {}", names.host, reason.name()),
        Verdict::HostAndCopies(reason, copies) => {
            format!(
                "to the host, {}: {}, and copies to the {}",
                names.host,
                reason.name(),
                who(copies)
            )
        }
        Verdict::Fragment(_) => match owner {
            Some(Owner::Vport(slot)) => format!("with its packet to {}", names.vport(slot)),
            Some(Owner::Host) => format!("with its packet to the host, {}", names.host),
            None => "waits for the first fragment of its packet".to_owned(),
        },
        Verdict::Drop(reason) => format!("drop: {}", reason.name()),
    }
}

fn who(copies: &Copies) -> String {
    match copies {
        Copies::Askers { addr, .. } => format!("stacks on {addr} that have asked"),
        Copies::Members { group, .. } => format!("members of {group}"),
        Copies::Port { port, .. } => format!("stacks on UDP port {port}"),
    }
}

/// Of what goes to the wire too.
fn copied(here: Option<&Verdict>, to_host: bool, names: &Names<'_>) -> String {
    let stacks = here.map(|verdict| match verdict {
        Verdict::HostAndCopies(_, copies) => format!("to the {}", who(copies)),
        verdict => received(verdict, None, names),
    });
    let host = to_host.then(|| format!("to the host, {}", names.host));
    let to: Vec<_> = stacks.into_iter().chain(host).collect();
    if to.is_empty() {
        return "to the wire".to_owned();
    }
    format!(
        "to the wire; as a copy, save to its sender: {}",
        to.join(", and ")
    )
}
