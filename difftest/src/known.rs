//! Differences that are meant: where we are stricter or looser than a judge, and by which rule.

use wire::{Body, Malformed, Other, Parsed};

use crate::{judge::Judge, packet::Packet};

/// A difference that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// Short, for counting.
    pub name: &'static str,
    /// The rule.
    pub why: &'static str,
}

/// How a judge differs from us on a frame that we take for well-formed.
#[derive(Clone, Copy, Debug)]
pub enum Difference {
    /// It reads something else in this field; see [`differences`](crate::seen::differences).
    Field(&'static str),
    /// It refuses the frame.
    Refusal,
}

macro_rules! known {
    ($($name:ident: $text:literal, $why:literal;)*) => {
        $(const $name: Known = Known { name: $text, why: $why };)*
    };
}

known! {
    AUTHENTICATION: "stops at AH",
        "RFC 4302 section 3.4: what follows counts once its ICV is verified, which is the host's \
         to do; etherparse and tshark read on.";
    SEGMENTS_LEFT: "stops at a routing header",
        "RFC 8200 section 4.4: with segments left the destination in the IPv6 header is not the \
         final one; etherparse and tshark read on.";
    FRAGMENT_CHAIN: "later fragments have no headers",
        "RFC 8200 section 4.5: extension headers behind the Fragment header are in the first \
         fragment; etherparse reads them in every one.";
    NESTED: "a fragment inside a fragment is payload",
        "RFC 8200 section 4.5: the outer one has to be put together first; etherparse and tshark \
         read on.";
    LINK: "other link headers are not IP",
        "RFC 894, RFC 2464 and IEEE 802.1Q: IP stands behind 0x0800, 0x86dd and the tags 0x8100 \
         and 0x88a8; judges follow 0x9100, MACsec, PPPoE, MPLS and LLC too.";
    MESSAGE: "payload is not read",
        "RFC 1122 section 3.2.2, RFC 4443 section 2.4: what is inside ICMP messages, behind SCTP's \
         common header and in TCP's options is for whoever the packet is for, and so are all other \
         protocols and, to a group, ICMP.";
    OPTIONS: "options are walked, not read",
        "RFC 1122 section 3.2.1.8, RFC 8200 sections 4.2 and 4.4: what an option or a routing \
         header asks for is for the destination, and without segments left a routing header asks for nothing; tshark reads \
         those that it knows.";
    OTHER_FAMILY: "each IP version has its own ICMP",
        "RFC 4443 section 2.1: ICMPv6 is next header 58 of IPv6, and RFC 792's ICMP protocol 1 of \
         IPv4; judges read both in both.";
}

/// The rule that we refused a frame for. That the frame breaks it is checked elsewhere.
pub const fn stricter(rule: Malformed) -> Known {
    let why = match rule {
        Malformed::Runt => "IEEE 802.3: 14 bytes of header.",
        Malformed::Oversize => "Offsets have 16 bits, as DPDK's data_len.",
        Malformed::SourceMac => "IEEE 802.3 section 3.2.3: no group is a source.",
        Malformed::VlanTruncated => "IEEE 802.1Q: a tag has 4 bytes.",
        Malformed::VlanDepth => "IEEE 802.1ad: a service and a customer tag.",
        Malformed::VlanId => "IEEE 802.1Q: VLAN id 4095 is reserved.",
        Malformed::ArpMalformed => "RFC 826: hardware type and protocol have to be spoken.",
        Malformed::Ipv4Truncated => "RFC 791 section 3.1: at least 20 bytes.",
        Malformed::Ipv4Version => "RFC 1122 section 3.2.1.1: discard other versions.",
        Malformed::Ipv4HeaderLength => "RFC 791 section 3.1: IHL is at least 5.",
        Malformed::Ipv4TotalLength => "RFC 791 section 3.1: length of the datagram.",
        Malformed::Ipv4Checksum => "RFC 1122 section 3.2.1.2: verify, and discard if bad.",
        Malformed::Ipv4Options => "RFC 791 section 3.1: lengths of options.",
        Malformed::Ipv4SourceRoute => "RFC 7126 sections 4.3 and 4.4: drop by default.",
        Malformed::FragmentLength => "RFC 791 section 3.2, RFC 8200 section 4.5: units of 8 bytes.",
        Malformed::FragmentTooLong => "RFC 8200 section 4.5: at most 65535 bytes.",
        Malformed::FragmentTiny => "RFC 1858 sections 3 and 4, RFC 7112.",
        Malformed::Ipv6Truncated => "RFC 8200 section 3: 40 bytes.",
        Malformed::Ipv6Version => "RFC 8200 section 3: version 6.",
        Malformed::Ipv6PayloadLength => "RFC 8200 section 3, RFC 2675 section 3.",
        Malformed::Ipv6ExtensionHeaders => "RFC 8200 section 4.2; a bound, as in RFC 8883.",
        Malformed::Ipv6HopByHopNotFirst => "RFC 8200 section 4.1: only behind the IPv6 header.",
        Malformed::Ipv6RoutingType0 => "RFC 5095 section 3: not to be acted on.",
        Malformed::MartianSource => "RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.",
        Malformed::MartianDestination => "RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3.",
        Malformed::Land => "CERT CA-1997-28.",
        Malformed::L4Truncated => "RFC 9293, RFC 768, RFC 9260, RFC 792, RFC 4443: fixed headers.",
        Malformed::UdpLength => "RFC 768: at least 8; RFC 1122: not past the datagram.",
        Malformed::TcpDataOffset => "RFC 9293 section 3.1: at least 5 words.",
        Malformed::TcpToGroup => "RFC 9293 section 3.9.2.3: discard.",
        Malformed::ZeroPort => "RFC 6335 section 6: port 0 is reserved.",
        Malformed::NdMalformed => "RFC 4861 sections 6.1, 7.1 and 8.1, RFC 6980 section 5.",
    };
    Known {
        name: rule.name(),
        why,
    }
}

/// Why a judge differs on a frame that we take for `parsed`, if it may.
pub fn explain(
    judge: Judge,
    frame: &[u8],
    parsed: &Parsed,
    difference: Difference,
) -> Option<Known> {
    let packet = Packet::of(frame);
    let proto = match parsed.body {
        Body::V4(l4) => l4.tuple.proto,
        Body::V6(l4) => l4.tuple.proto,
        Body::Other(Other::Proto(it)) => it.proto,
        Body::Other(Other::Group(it)) => it.proto,
        Body::Other(Other::Fragment(it)) => it.proto,
        Body::Other(Other::Icmp(_) | Other::Neighbor(_)) => packet.proto,
        Body::Other(Other::Arp(_)) => return None,
        Body::Other(Other::NotIp { .. }) => return Some(LINK),
    };
    let v6 = packet.ethertype == Some(0x86dd);
    let later = v6 && packet.part.is_some_and(|part| part.offset > 0);
    match proto {
        51 => return Some(AUTHENTICATION),
        43 if v6 && !later => return Some(SEGMENTS_LEFT),
        44 if v6 && packet.part.is_some() => return Some(NESTED),
        _ => {}
    }
    match difference {
        Difference::Field("checksum") => other_family(&packet, proto),
        Difference::Field("protocol" | "ports") if later && is_extension(proto) => {
            Some(FRAGMENT_CHAIN)
        }
        Difference::Field(_) => None,
        Difference::Refusal if later && is_extension(proto) => Some(FRAGMENT_CHAIN),
        Difference::Refusal => refusal(judge, &packet, proto),
    }
}

fn refusal(judge: Judge, packet: &Packet, proto: u8) -> Option<Known> {
    let ours = matches!(proto, 6 | 17 | 132);
    match judge {
        Judge::Tshark if packet.has_options() => Some(OPTIONS),
        // TCP's options and SCTP's chunks; UDP has nothing to complain of.
        Judge::Tshark if proto != 17 => Some(MESSAGE),
        _ if ours => None,
        _ => other_family(packet, proto).or(matches!(proto, 1 | 2 | 58).then_some(MESSAGE)),
    }
}

fn other_family(packet: &Packet, proto: u8) -> Option<Known> {
    (matches!(proto, 1 | 58) && !packet.is_icmp()).then_some(OTHER_FAMILY)
}

fn is_extension(proto: u8) -> bool {
    matches!(proto, 0 | 43 | 44 | 60)
}
