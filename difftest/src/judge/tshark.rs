//! Wireshark's reading: one `tshark` over many frames.

use std::{
    io::{self, Write},
    net::IpAddr,
    process::{Command, Stdio},
    thread,
};

use super::Verdict;
use crate::seen::{Ip, Part, Seen};

/// Fields in the order of the columns. All occurrences, as tunnels and ICMP errors repeat them.
const FIELDS: [&str; 29] = [
    "frame.number",
    "frame.protocols",
    "vlan.id",
    "ieee8021ad.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.id",
    "ip.frag_offset",
    "ip.flags.mf",
    "ip.checksum.status",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.hopopts.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.ident",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "udp.port",
    "tcp.port",
    "sctp.port",
    "udp.checksum.status",
    "tcp.checksum.status",
    "sctp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
];

/// Comes last: its text may be anything.
const MALFORMED: &str = "_ws.malformed";

/// Verify what is off by default; leave fragments and streams apart; know no tag that we do not.
const PREFERENCES: [&str; 9] = [
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "ip.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "sctp.checksum:CRC-32C",
    "vlan.qinq_ethertype:0x0",
    "tcp.desegment_tcp_streams:FALSE",
    "ip.tso_support:FALSE",
];

/// Whether there is a `tshark` to ask.
pub fn installed() -> bool {
    Command::new("tshark")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Judges Ethernet frames; one verdict for each, in order.
///
/// # Errors
/// `tshark` cannot be started or does not answer for every frame.
pub fn judge(frames: &[Vec<u8>]) -> io::Result<Vec<Verdict>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", "-", "-T", "fields", "-E", "occurrence=a"]);
    for preference in PREFERENCES {
        command.args(["-o", preference]);
    }
    for field in FIELDS.iter().chain([&MALFORMED]) {
        command.args(["-e", field]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let capture = pcap(frames);
    let stdin = child.stdin.take();
    let output = thread::scope(|scope| {
        // If tshark stops reading, its missing answers tell.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&capture)));
        child.wait_with_output()
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let verdicts: Vec<_> = text.lines().map(verdict).collect();
    if verdicts.len() != frames.len() {
        let (got, sent) = (verdicts.len(), frames.len());
        return Err(io::Error::other(format!(
            "tshark judged {got} of {sent} frames"
        )));
    }
    Ok(verdicts)
}

/// A capture of Ethernet frames.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 1 << 18, 1] {
        bytes.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [0, 0, len, len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    bytes
}

/// One line of the output.
struct Line<'a> {
    columns: Vec<&'a str>,
    /// The dissectors in the order they ran.
    layers: Vec<&'a str>,
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let columns: Vec<_> = line.splitn(FIELDS.len() + 1, '\t').collect();
        let layers = columns
            .get(1)
            .map_or_else(Vec::new, |it| it.split(':').collect());
        Self { columns, layers }
    }

    /// The occurrences of a field.
    fn all(&self, field: &str) -> impl Iterator<Item = &'a str> {
        let at = FIELDS.iter().position(|it| *it == field);
        let column = at.and_then(|at| self.columns.get(at)).copied();
        column
            .unwrap_or_default()
            .split(',')
            .filter(|it| !it.is_empty())
    }

    fn first(&self, field: &str) -> Option<&'a str> {
        self.all(field).next()
    }

    fn number(&self, field: &str) -> Option<u32> {
        number(self.first(field)?)
    }
}

/// Decimal, hexadecimal or a flag.
fn number(text: &str) -> Option<u32> {
    match text {
        "True" => Some(1),
        "False" => Some(0),
        _ => match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
    }
}

fn verdict(line: &str) -> Verdict {
    let line = Line::new(line);
    // Up to here the layers are the outermost ones of their kind.
    let start = (line.layers.iter()).position(|it| matches!(*it, "ip" | "ipv6"));
    let (below, net) = line.layers.split_at(start.unwrap_or(line.layers.len()));
    let malformed = line.columns.get(FIELDS.len());
    if malformed.is_some_and(|it| !it.is_empty())
        && let Some(layer) = blamed(below, net)
    {
        return Verdict::Refuses(layer.to_owned());
    }
    let vlans = vlans(&line, below);
    let behind_other = below.iter().any(|it| !is_link(it));
    let ip = match net.first() {
        Some(&"ip") if !behind_other => v4(&line, net),
        Some(&"ipv6") if !behind_other => v6(&line, net),
        _ => return Verdict::Reads(Seen { vlans, ip: None }),
    };
    if net[0] == "ip" && line.first("ip.checksum.status") == Some("0") {
        return Verdict::Refuses("ip checksum".to_owned());
    }
    match ip {
        Some(ip) => Verdict::Reads(Seen {
            vlans,
            ip: Some(ip),
        }),
        None => Verdict::Refuses(net[0].to_owned()),
    }
}

/// The layer that a complaint is about, if its header is ours to read too. The last one that ran
/// complained; what comes behind the first transport layer, or in a tunnel, is payload.
fn blamed<'a>(below: &[&'a str], net: &[&'a str]) -> Option<&'a str> {
    if net.is_empty() {
        return (below.last().copied()).filter(|it| is_link(it) || *it == "arp");
    }
    let v6 = net[0] == "ipv6";
    let above = net.iter().skip(1).position(|it| !(v6 && is_extension(it)));
    match above.map(|at| &net[at + 1..]) {
        None => net.last().copied(),
        Some(&[only]) => Some(only).filter(|it| is_transport(it)),
        Some(_) => None,
    }
}

fn is_extension(layer: &str) -> bool {
    matches!(
        layer,
        "ipv6.hopopts" | "ipv6.dstopts" | "ipv6.routing" | "ipv6.fraghdr"
    )
}

fn is_transport(layer: &str) -> bool {
    matches!(layer, "udp" | "tcp" | "sctp" | "icmp" | "icmpv6")
}

/// What stands before IP in a frame that carries it directly.
fn is_link(layer: &str) -> bool {
    matches!(layer, "eth" | "ethertype" | "vlan" | "ieee8021ad")
}

fn vlans(line: &Line, below: &[&str]) -> Vec<u16> {
    let (mut customer, mut service) = (line.all("vlan.id"), line.all("ieee8021ad.id"));
    let ids = below.iter().filter_map(|layer| match *layer {
        "vlan" => customer.next(),
        "ieee8021ad" => service.next(),
        _ => None,
    });
    ids.filter_map(|id| id.parse().ok())
        .filter(|id| *id != 0)
        .collect()
}

fn v4(line: &Line, net: &[&str]) -> Option<Ip> {
    let offset = bytes(line.number("ip.frag_offset")?)?;
    let more = line.number("ip.flags.mf")? != 0;
    let part = (offset != 0 || more).then_some(Part {
        id: line.number("ip.id")?,
        offset,
        more,
    });
    let proto = u8::try_from(line.number("ip.proto")?).ok()?;
    let ends = (line.first("ip.src")?, line.first("ip.dst")?);
    let above = net.get(1).copied().unwrap_or_default();
    ip(line, ends, Some(proto), part, above)
}

/// Offsets are in units of 8.
fn bytes(units: u32) -> Option<u16> {
    u16::try_from(units * 8).ok()
}

fn v6(line: &Line, net: &[&str]) -> Option<Ip> {
    let mut proto = line.number("ipv6.nxt");
    let mut part = None;
    let mut above = "";
    let mut seen: Vec<&str> = Vec::new();
    for layer in &net[1..] {
        if !is_extension(layer) {
            above = layer;
            break;
        }
        // The n-th header of a kind has the n-th value of its field.
        let nth = seen.iter().filter(|it| *it == layer).count();
        seen.push(layer);
        proto = line.all(&format!("{layer}.nxt")).nth(nth).and_then(number);
        if *layer == "ipv6.fraghdr" && part.is_none() {
            let field = |name| line.all(name).nth(nth).and_then(number);
            let offset = bytes(field("ipv6.fraghdr.offset")?)?;
            let more = field("ipv6.fraghdr.more")? != 0;
            part = (offset != 0 || more).then_some(Part {
                id: field("ipv6.fraghdr.ident")?,
                offset,
                more,
            });
        }
    }
    let ends = (line.first("ipv6.src")?, line.first("ipv6.dst")?);
    let proto = proto.and_then(|it| u8::try_from(it).ok());
    ip(line, ends, proto, part, above)
}

/// `above`: the layer on top of the outermost IP.
fn ip(
    line: &Line,
    (src, dst): (&str, &str),
    proto: Option<u8>,
    part: Option<Part>,
    above: &str,
) -> Option<Ip> {
    let ports = match above {
        "udp" | "tcp" | "sctp" => {
            let field = format!("{above}.port");
            let mut ports = line.all(&field).filter_map(|it| it.parse().ok());
            ports.next().zip(ports.next())
        }
        _ => None,
    };
    let status = is_transport(above)
        .then(|| line.first(&format!("{above}.checksum.status")))
        .flatten();
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    Some(Ip {
        src: parse(src)?,
        dst: parse(dst)?,
        proto,
        ports,
        part,
        start: None,
        payload: None,
        sum_ok: match status {
            Some("0") => Some(false),
            Some("1") => Some(true),
            _ => None,
        },
    })
}
