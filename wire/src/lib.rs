//! From the bytes of an Ethernet frame to checked facts.
//!
//! [`parse`] is the one entrance: it believes no length that a header claims, never reads past
//! the frame, never panics, does not allocate, and ends in a [`Parsed`] or in the name of the
//! rule that the frame breaks ([`Malformed`]).
//!
//! Layer 4 checksums are not verified, except for neighbour discovery: they are the business of
//! whoever the packet is for, and often the NIC's.
//!
//! Read in this order: `lib.rs`, `ipv4.rs`, `l4.rs`, `ipv6.rs`, `nd.rs`.

#![no_std]
#![forbid(unsafe_code)]

mod arp;
mod bytes;
pub mod checksum;
pub mod echo;
pub mod emit;
mod ethernet;
mod ipv4;
mod ipv6;
mod l4;
mod malformed;
mod nd;

use core::net::{Ipv4Addr, Ipv6Addr};

pub use arp::{Arp, REPLY as ARP_REPLY, REQUEST as ARP_REQUEST};
pub use ethernet::{
    Ethernet, HEADER_LEN as ETHERNET_HEADER_LEN, MacAddr, ParseMacAddrError, ethernet, ethertype,
};
pub use ipv6::MAX_EXTENSION_HEADERS;
pub use malformed::Malformed;
pub use nd::{MAX_OPTIONS as MAX_ND_OPTIONS, NdKind, NeighborDiscovery};

/// IP protocol numbers and IPv6 next headers (IANA "Assigned Internet Protocol Numbers").
pub mod proto {
    /// IPv6 Hop-by-Hop Options header (RFC 8200 section 4.3).
    pub const HOPOPTS: u8 = 0;
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// IPv6 Routing header (RFC 8200 section 4.4).
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication Header (RFC 4302).
    pub const AH: u8 = 51;
    /// `ICMPv6` (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// No next header (RFC 8200 section 4.7).
    pub const NO_NEXT: u8 = 59;
    /// IPv6 Destination Options header (RFC 8200 section 4.6).
    pub const DSTOPTS: u8 = 60;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
}

/// The two ends and the protocol of an IPv4 packet. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleV4 {
    /// Source address.
    pub src: u32,
    /// Destination address.
    pub dst: u32,
    /// Source port; 0 only for UDP.
    pub src_port: u16,
    /// Destination port, never 0.
    pub dst_port: u16,
    /// [`proto::TCP`] or [`proto::UDP`].
    pub proto: u8,
}

/// The two ends and the protocol of an IPv6 packet. Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleV6 {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port; 0 only for UDP.
    pub src_port: u16,
    /// Destination port, never 0.
    pub dst_port: u16,
    /// [`proto::TCP`] or [`proto::UDP`].
    pub proto: u8,
}

/// A whole TCP or UDP packet to a unicast address. All offsets are in bytes from the start of
/// the frame, and `l3_offset < l4_offset < payload_offset <= end <= frame.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4<T> {
    /// Who talks to whom.
    pub tuple: T,
    /// Where the IP header starts.
    pub l3_offset: u16,
    /// Where the TCP or UDP header starts.
    pub l4_offset: u16,
    /// Where the TCP or UDP payload starts.
    pub payload_offset: u16,
    /// End of the IP packet; what follows is Ethernet padding.
    pub end: u16,
}

/// A well-formed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Unfragmented TCP or UDP over IPv4.
    V4(L4<TupleV4>),
    /// Unfragmented TCP or UDP over IPv6.
    V6(L4<TupleV6>),
    /// Well-formed, but nothing with ports to look up.
    Other(Other),
}

/// What a frame without ports is. Where several fit, the earlier rule wins: fragment, neighbour
/// discovery, unspecified source, multicast, protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Neither IP nor ARP nor tagged. Below 0x0600 the ethertype is an IEEE 802.3 length.
    NotIp {
        /// As in the frame, host byte order.
        ethertype: u16,
    },
    /// Tagged; what is inside has not been looked at.
    Vlan {
        /// [`ethertype::VLAN`] or [`ethertype::SERVICE_VLAN`].
        tpid: u16,
        /// Priority (3 bits), drop eligible (1 bit), VLAN id (12 bits).
        tci: u16,
        /// What the tag is followed by.
        inner_ethertype: u16,
    },
    /// ARP for IPv4 over Ethernet.
    Arp(Arp),
    /// A fragment of an IP packet, the first one and IPv6 "atomic" ones included.
    Fragment,
    /// ICMP to a unicast address.
    Icmp(Icmp),
    /// `ICMPv6` to a unicast address, other than neighbour discovery.
    Icmpv6(Icmpv6),
    /// Neighbour discovery, to whatever address.
    Neighbor(NeighborDiscovery),
    /// To a multicast group, to 255.255.255.255 or to 0.0.0.0 (4.2BSD's broadcast). Nothing
    /// behind the IP header has been checked. A directed broadcast cannot be told from unicast
    /// here.
    Multicast,
    /// IP to a unicast address whose payload is none of the above. For IPv6 with extension
    /// headers it is the last of the chain; [`proto::ROUTING`] if the packet has segments left
    /// to visit.
    OtherProto {
        /// See [`proto`].
        proto: u8,
    },
    /// From 0.0.0.0 or ::, as DHCP and duplicate address detection send. Nothing behind the IP
    /// header has been checked.
    UnspecifiedSource,
}

/// An ICMP message (RFC 792). The 8 bytes from `l4_offset` on lie inside the packet; for an error
/// message the packet that it is about follows them, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// IP source.
    pub src: Ipv4Addr,
    /// IP destination.
    pub dst: Ipv4Addr,
    /// The type field.
    pub kind: u8,
    /// The code field.
    pub code: u8,
    /// Where the ICMP header starts in the frame.
    pub l4_offset: u16,
    /// End of the IP packet in the frame.
    pub end: u16,
}

/// An `ICMPv6` message (RFC 4443). The 8 bytes from `l4_offset` on lie inside the packet; for an
/// error message the packet that it is about follows them, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6 {
    /// IP source.
    pub src: Ipv6Addr,
    /// IP destination.
    pub dst: Ipv6Addr,
    /// The type field; 127 and below are errors.
    pub kind: u8,
    /// The code field.
    pub code: u8,
    /// Where the `ICMPv6` header starts in the frame.
    pub l4_offset: u16,
    /// End of the IP packet in the frame.
    pub end: u16,
}

/// Checks a frame, without its FCS, and says what it is.
///
/// # Errors
/// The first rule that the frame breaks, from the outer header to the inner.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Parsed, Malformed> {
    if frame.len() > usize::from(u16::MAX) {
        return Err(Malformed::Oversize);
    }
    let (header, packet) = frame.split_first_chunk::<14>().ok_or(Malformed::Runt)?;
    match bytes::be16(header, 12) {
        ethertype::IPV4 => ipv4::parse(packet, ethernet::HEADER_LEN),
        ethertype::IPV6 => ipv6::parse(packet, ethernet::HEADER_LEN),
        ethertype => not_ip(ethertype, packet),
    }
}

/// Out of [`parse`]'s way: rare.
#[cold]
fn not_ip(ethertype: u16, packet: &[u8]) -> Result<Parsed, Malformed> {
    let other = match ethertype {
        ethertype::ARP => Other::Arp(arp::parse(packet)?),
        ethertype::VLAN | ethertype::SERVICE_VLAN => {
            let tag = packet.first_chunk::<4>().ok_or(Malformed::VlanTruncated)?;
            Other::Vlan {
                tpid: ethertype,
                tci: bytes::be16(tag, 0),
                inner_ethertype: bytes::be16(tag, 2),
            }
        }
        _ => Other::NotIp { ethertype },
    };
    Ok(Parsed::Other(other))
}
