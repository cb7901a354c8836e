//! From the bytes of an Ethernet frame to checked facts.
//!
//! [`parse`] is the one entrance: it believes no length that a header claims, never reads past
//! the frame, never panics, does not allocate, and ends in a [`Parsed`] or in the name of the
//! rule that the frame breaks ([`Malformed`]).
//!
//! Layer 4 checksums are not verified on the way, except for neighbour discovery: often the NIC
//! did it. [`verify_l4`] does it for whoever asks.
//!
//! Read in this order: `lib.rs`, `parsed.rs`, `ipv4.rs`, `l4.rs`, `ipv6.rs`, `extensions.rs`,
//! `fragment.rs`, `icmp.rs`, `nd.rs`.

#![no_std]
#![forbid(unsafe_code)]

mod arp;
mod bytes;
pub mod checksum;
mod common;
pub mod echo;
pub mod emit;
mod ethernet;
mod extensions;
mod fragment;
mod group;
mod icmp;
mod ipv4;
mod ipv6;
mod l4;
mod malformed;
mod nd;
mod parsed;
mod upper;
mod verify;
mod vlan;

pub use arp::{Arp, REPLY as ARP_REPLY, REQUEST as ARP_REQUEST};
pub use common::{common_v4, common_v6};
pub use ethernet::{
    Ethernet, HEADER_LEN as ETHERNET_HEADER_LEN, MacAddr, ParseMacAddrError, ethernet, ethertype,
};
pub use extensions::MAX_EXTENSION_HEADERS;
pub use fragment::Fragment;
pub use group::{GroupV4, LANES, SHORTEST_IN_GROUP, TupleWords};
pub use icmp::{About, Icmp};
pub use malformed::Malformed;
pub use nd::{MAX_OPTIONS as MAX_ND_OPTIONS, NdKind, NeighborDiscovery};
pub use parsed::{Body, Group, L4, Origin, Other, Parsed, Proto, TupleV4, TupleV6};
pub use verify::{Checksum, Unfinished, fill_l4, verify_l4};
pub use vlan::{ParseVlanError, Vlan};

use vlan::Tags;

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

/// Checks a frame, without its FCS, and says what it is.
///
/// # Errors
/// The first rule that the frame breaks, from the outer header to the inner.
#[inline(always)]
#[expect(clippy::inline_always, reason = "so that `origin` is a constant")]
pub fn parse(frame: &[u8], origin: Origin) -> Result<Parsed, Malformed> {
    if frame.len() > usize::from(u16::MAX) {
        return Err(Malformed::Oversize);
    }
    let (header, packet) = frame.split_first_chunk::<14>().ok_or(Malformed::Runt)?;
    if header[6] & 1 != 0 {
        return Err(Malformed::SourceMac);
    }
    match bytes::be16(header, 12) {
        ethertype::IPV4 => ipv4::parse(packet, origin),
        ethertype::IPV6 => ipv6::parse(packet, origin),
        ethertype => uncommon(ethertype, packet, origin),
    }
}

/// Tagged, or not IP. Out of [`parse`]'s way: rare.
#[cold]
fn uncommon(ethertype: u16, packet: &[u8], origin: Origin) -> Result<Parsed, Malformed> {
    let Tags {
        vlan,
        ethertype,
        packet,
        l3_offset,
    } = vlan::tags(ethertype, packet)?;
    let body = match ethertype {
        ethertype::IPV4 => return ipv4::uncommon(packet, l3_offset, vlan, origin),
        ethertype::IPV6 => return ipv6::uncommon(packet, l3_offset, vlan, origin),
        ethertype::ARP => Body::Other(Other::Arp(arp::parse(packet)?)),
        _ => Body::Other(Other::NotIp { ethertype }),
    };
    Ok(Parsed { vlan, body })
}
