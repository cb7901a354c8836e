use core::net::IpAddr;

use super::{Eth, ip, l4_checksum};
use crate::{checksum, ethernet, ethertype, proto, vlan};

const HEADER_LEN: usize = 8;

/// An ICMP message over IPv4, or an `ICMPv6` message over IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    /// Ethernet addresses.
    pub eth: Eth,
    /// IP source.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// The type field.
    pub kind: u8,
    /// The code field.
    pub code: u8,
    /// Bytes 4 to 8: identifier and sequence number, an MTU, a pointer, or nothing.
    pub rest: u32,
    /// What follows these 8 bytes; for an error message see [`quote`].
    pub body: &'a [u8],
}

impl Icmp<'_> {
    /// Builds the frame. See the [module](super).
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let proto = match self.src {
            IpAddr::V4(_) => proto::ICMP,
            IpAddr::V6(_) => proto::ICMPV6,
        };
        let ends = (self.src, self.dst);
        let len = HEADER_LEN + self.body.len();
        let (end, message) = ip(buf, self.eth, ends, proto, len)?;
        let (header, body) = message.split_first_chunk_mut::<HEADER_LEN>()?;
        header[0..4].copy_from_slice(&[self.kind, self.code, 0, 0]);
        header[4..8].copy_from_slice(&self.rest.to_be_bytes());
        body.copy_from_slice(self.body);
        let sum = match self.src {
            IpAddr::V4(_) => checksum::internet(message),
            IpAddr::V6(_) => l4_checksum(ends, proto, message)?,
        };
        message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
        Some(end)
    }
}

/// What an ICMP error about the IP packet in `frame` quotes of it: as much as fits into 576 bytes
/// for IPv4 (RFC 1812 section 4.3.2.3) and 1280 for IPv6 (RFC 4443 section 2.4), headers of the
/// error included. `None` if there is no IP header in the frame.
pub fn quote(frame: &[u8]) -> Option<&[u8]> {
    let header = ethernet(frame)?;
    let tags = vlan::tags(header.ethertype, frame.get(super::ETHERNET_LEN..)?).ok()?;
    let packet = tags.packet;
    let (len, most) = match tags.ethertype {
        ethertype::IPV4 => {
            let header = packet.first_chunk::<20>()?;
            let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
            (len, 576 - 20 - HEADER_LEN)
        }
        ethertype::IPV6 => {
            let header = packet.first_chunk::<40>()?;
            let len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
            (len, 1280 - 40 - HEADER_LEN)
        }
        _ => return None,
    };
    packet.get(..len.min(most).min(packet.len()))
}
