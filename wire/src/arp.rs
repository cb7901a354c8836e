//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::{MacAddr, Malformed, bytes::be16, ethernet::ethertype};

/// Length of an IPv4-over-Ethernet ARP packet in bytes.
pub(crate) const LEN: usize = 28;

/// ar$hrd for Ethernet.
pub(crate) const HARDWARE_ETHERNET: u16 = 1;

/// Asks who has `target_ip`.
pub const REQUEST: u16 = 1;

/// Answers a request.
pub const REPLY: u16 = 2;

/// An ARP packet for IPv4 over Ethernet. What the addresses claim is not checked: the Ethernet
/// source may differ from `sender_mac` (a proxy), and `sender_ip` may be 0.0.0.0 (a probe, RFC
/// 5227).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// [`REQUEST`], [`REPLY`], or one that IANA added later.
    pub op: u16,
    /// Who sends this.
    pub sender_mac: MacAddr,
    /// The address that the sender says is its own.
    pub sender_ip: Ipv4Addr,
    /// Whom it is for; without meaning in a request.
    pub target_mac: MacAddr,
    /// The address asked for, or that of the one who asked.
    pub target_ip: Ipv4Addr,
}

/// `packet` starts behind the Ethernet header.
pub(crate) fn parse(packet: &[u8]) -> Result<Arp, Malformed> {
    let p = packet.first_chunk::<LEN>().ok_or(Malformed::ArpMalformed)?;
    if be16(p, 0) != HARDWARE_ETHERNET || be16(p, 2) != ethertype::IPV4 || p[4] != 6 || p[5] != 4 {
        return Err(Malformed::ArpMalformed);
    }
    Ok(Arp {
        op: be16(p, 6),
        sender_mac: MacAddr([p[8], p[9], p[10], p[11], p[12], p[13]]),
        sender_ip: Ipv4Addr::new(p[14], p[15], p[16], p[17]),
        target_mac: MacAddr([p[18], p[19], p[20], p[21], p[22], p[23]]),
        target_ip: Ipv4Addr::new(p[24], p[25], p[26], p[27]),
    })
}
