//! Building frames with right lengths and checksums: for tests, benchmarks and small stacks.
//!
//! Every `write` puts one frame at the start of the caller's buffer and returns its length in
//! bytes, without padding to Ethernet's minimum and without FCS. It returns `None`, and the
//! buffer's content is then unspecified, if the buffer is too small, the packet would not fit
//! the 16 bits of an IP length, or the two ends are of different address families.

mod fragment;
mod icmp;
mod neighbor;
mod sctp;
mod tag;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::{ARP_REQUEST, Arp, MacAddr, arp, checksum, ethertype, proto};

pub use fragment::fragment;
pub use icmp::{Icmp, quote};
pub use sctp::Sctp;
pub use tag::{insert_tag, tag};

/// TTL or hop limit of what is built: RFC 1340's recommended default.
const HOP_LIMIT: u8 = 64;

const ETHERNET_LEN: usize = 14;
const UDP_LEN: usize = 8;
const TCP_LEN: usize = 20;

/// The Ethernet addresses of a frame; its ethertype follows from what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eth {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
}

/// IP source and destination.
type Ends = (IpAddr, IpAddr);

/// A UDP packet over IPv4 or IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Udp<'a> {
    /// Ethernet addresses.
    pub eth: Eth,
    /// IP source and port.
    pub src: SocketAddr,
    /// IP destination and port.
    pub dst: SocketAddr,
    /// What the packet carries.
    pub payload: &'a [u8],
}

impl Udp<'_> {
    /// Builds the frame. See the [module](self).
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let len = UDP_LEN + self.payload.len();
        let (end, segment) = ip(buf, self.eth, self.ends(), proto::UDP, len)?;
        let (header, payload) = segment.split_first_chunk_mut::<UDP_LEN>()?;
        header[0..2].copy_from_slice(&self.src.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.dst.port().to_be_bytes());
        header[4..6].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
        header[6..8].fill(0);
        payload.copy_from_slice(self.payload);
        // RFC 768: a computed zero is sent as all ones; zero means no checksum.
        let sum = match l4_checksum(self.ends(), proto::UDP, segment)? {
            0 => u16::MAX,
            sum => sum,
        };
        segment.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
        Some(end)
    }

    fn ends(&self) -> Ends {
        (self.src.ip(), self.dst.ip())
    }
}

/// TCP flag bits (RFC 9293 section 3.1), to be or-ed.
pub mod tcp_flags {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push function.
    pub const PSH: u8 = 0x08;
    /// Acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
}

/// A TCP segment without options over IPv4 or IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Ethernet addresses.
    pub eth: Eth,
    /// IP source and port.
    pub src: SocketAddr,
    /// IP destination and port.
    pub dst: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// See [`tcp_flags`].
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// What the segment carries.
    pub payload: &'a [u8],
}

impl Tcp<'_> {
    /// Builds the frame. See the [module](self).
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let len = TCP_LEN + self.payload.len();
        let (end, segment) = ip(buf, self.eth, self.ends(), proto::TCP, len)?;
        let (header, payload) = segment.split_first_chunk_mut::<TCP_LEN>()?;
        header[0..2].copy_from_slice(&self.src.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.dst.port().to_be_bytes());
        header[4..8].copy_from_slice(&self.seq.to_be_bytes());
        header[8..12].copy_from_slice(&self.ack.to_be_bytes());
        header[12] = 5 << 4;
        header[13] = self.flags;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..20].fill(0);
        payload.copy_from_slice(self.payload);
        let sum = l4_checksum(self.ends(), proto::TCP, segment)?;
        segment.get_mut(16..18)?.copy_from_slice(&sum.to_be_bytes());
        Some(end)
    }

    fn ends(&self) -> Ends {
        (self.src.ip(), self.dst.ip())
    }
}

impl Arp {
    /// Builds the frame around this packet. See the [module](self).
    pub fn write(&self, eth: Eth, buf: &mut [u8]) -> Option<usize> {
        let (header, rest) = buf.split_first_chunk_mut::<ETHERNET_LEN>()?;
        ethernet_header(header, eth, ethertype::ARP);
        let packet = rest.first_chunk_mut::<{ arp::LEN }>()?;
        packet[0..2].copy_from_slice(&arp::HARDWARE_ETHERNET.to_be_bytes());
        packet[2..4].copy_from_slice(&ethertype::IPV4.to_be_bytes());
        packet[4..6].copy_from_slice(&[6, 4]);
        packet[6..8].copy_from_slice(&self.op.to_be_bytes());
        packet[8..14].copy_from_slice(&self.sender_mac.0);
        packet[14..18].copy_from_slice(&self.sender_ip.octets());
        packet[18..24].copy_from_slice(&self.target_mac.0);
        packet[24..28].copy_from_slice(&self.target_ip.octets());
        Some(ETHERNET_LEN + arp::LEN)
    }
}

/// Builds a broadcast request: who has `target`? See the [module](self).
pub fn arp_request(
    mac: MacAddr,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    buf: &mut [u8],
) -> Option<usize> {
    let request = Arp {
        op: ARP_REQUEST,
        sender_mac: mac,
        sender_ip: sender,
        target_mac: MacAddr::default(),
        target_ip: target,
    };
    request.write(
        Eth {
            dst: MacAddr::BROADCAST,
            src: mac,
        },
        buf,
    )
}

/// Writes the Ethernet and IP headers for a segment of `len` bytes. Returns the frame's length
/// and the segment's place.
fn ip(buf: &mut [u8], eth: Eth, ends: Ends, proto: u8, len: usize) -> Option<(usize, &mut [u8])> {
    let (header, rest) = buf.split_first_chunk_mut::<ETHERNET_LEN>()?;
    match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ethernet_header(header, eth, ethertype::IPV4);
            let (ip, rest) = rest.split_first_chunk_mut::<20>()?;
            // DF and no identification: an atomic datagram (RFC 6864 section 4).
            *ip = [
                0x45, 0, 0, 0, 0, 0, 0x40, 0, HOP_LIMIT, proto, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ];
            ip[2..4].copy_from_slice(&u16::try_from(20 + len).ok()?.to_be_bytes());
            ip[12..16].copy_from_slice(&src.octets());
            ip[16..20].copy_from_slice(&dst.octets());
            let sum = checksum::internet(ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            Some((ETHERNET_LEN + 20 + len, rest.get_mut(..len)?))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            ethernet_header(header, eth, ethertype::IPV6);
            let (ip, rest) = rest.split_first_chunk_mut::<40>()?;
            ip[0..4].copy_from_slice(&[0x60, 0, 0, 0]);
            ip[4..6].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
            ip[6..8].copy_from_slice(&[proto, HOP_LIMIT]);
            ip[8..24].copy_from_slice(&src.octets());
            ip[24..40].copy_from_slice(&dst.octets());
            Some((ETHERNET_LEN + 40 + len, rest.get_mut(..len)?))
        }
        _ => None,
    }
}

fn ethernet_header(header: &mut [u8; ETHERNET_LEN], eth: Eth, ethertype: u16) {
    header[0..6].copy_from_slice(&eth.dst.0);
    header[6..12].copy_from_slice(&eth.src.0);
    header[12..14].copy_from_slice(&ethertype.to_be_bytes());
}

fn l4_checksum(ends: Ends, proto: u8, segment: &[u8]) -> Option<u16> {
    match ends {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Some(checksum::l4_v4(src, dst, proto, segment)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Some(checksum::l4_v6(src, dst, proto, segment)),
        _ => None,
    }
}
