//! Layer 4 checksums of parsed frames: verifying them, and making them right.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use crate::{Body, Other, Parsed, checksum, proto};

/// Where the checksum is in a TCP header (RFC 9293 section 3.1), and in a UDP header (RFC 768), in bytes.
const TCP_FIELD: u16 = 16;
const UDP_FIELD: u16 = 6;

/// What verifying a layer 4 checksum gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// As it must be.
    Good,
    /// The packet was damaged, or its sender left the checksum to a NIC. Also UDP over IPv6
    /// without one, which RFC 8200 section 8.1 wants discarded.
    Bad,
    /// UDP over IPv4 without one (RFC 768).
    Absent,
}

/// Verifies the checksum of a whole TCP, UDP, SCTP, ICMP or `ICMPv6` packet, to whatever address.
/// `parsed` is what [`parse`](crate::parse) said of `frame`. `None` if there is nothing to verify:
/// a fragment, another protocol, no IP, or a `parsed` of another frame.
pub fn verify_l4(frame: &[u8], parsed: &Parsed) -> Option<Checksum> {
    if let Body::Other(Other::Neighbor(_)) = parsed.body {
        // It would not have been parsed with a wrong one.
        return Some(Checksum::Good);
    }
    let segment = Segment::of(parsed)?;
    let bytes = segment.covered(frame.get(segment.start..segment.end)?)?;
    let no_checksum = segment.proto == proto::UDP && bytes.get(6..8)? == [0, 0];
    if no_checksum && segment.src.is_ipv4() {
        return Some(Checksum::Absent);
    }
    let good = match segment.proto {
        proto::SCTP => checksum::sctp(bytes)?.to_le_bytes() == bytes.get(8..12)?,
        _ => segment.internet(bytes)? == 0 && !no_checksum,
    };
    Some(if good { Checksum::Good } else { Checksum::Bad })
}

/// Writes the right checksum into a whole TCP, UDP, SCTP, ICMP or `ICMPv6` packet. `parsed` is
/// what [`parse`](crate::parse) said of `frame`. False, and the frame is untouched, where
/// [`verify_l4`] gives `None`.
pub fn fill_l4(frame: &mut [u8], parsed: &Parsed) -> bool {
    if let Body::Other(Other::Neighbor(_)) = parsed.body {
        return true;
    }
    fill(frame, parsed).is_some()
}

fn fill(frame: &mut [u8], parsed: &Parsed) -> Option<()> {
    let segment = Segment::of(parsed)?;
    let len = {
        let bytes = frame.get(segment.start..segment.end)?;
        segment.covered(bytes)?.len()
    };
    let bytes = frame.get_mut(segment.start..segment.start + len)?;
    if segment.proto == proto::SCTP {
        let sum = checksum::sctp(bytes)?.to_le_bytes();
        bytes.get_mut(8..12)?.copy_from_slice(&sum);
        return Some(());
    }
    let field = segment.field();
    bytes.get_mut(field.clone())?.fill(0);
    let sum = match segment.internet(bytes)? {
        // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        0 if segment.proto == proto::UDP => u16::MAX,
        sum => sum,
    };
    bytes.get_mut(field)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// A TCP or UDP packet whose checksum a NIC can finish, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes of Ethernet header, tags included.
    pub l2_len: u16,
    /// Bytes of IP header.
    pub l3_len: u16,
    /// Of IPv4; else of IPv6.
    pub is_ipv4: bool,
    /// TCP; else UDP.
    pub is_tcp: bool,
    /// The sum of the pseudo-header, not inverted.
    begun: u16,
}

impl Unfinished {
    /// A whole TCP or UDP packet to a unicast address. `parsed` is what [`parse`](crate::parse) said of
    /// `frame`. `None` if it is another one, or such that NICs might not sum up the same bytes: with IPv6
    /// extension headers, with some that UDP's own length leaves out (RFC 9868), or with padding.
    pub fn of(frame: &[u8], parsed: &Parsed) -> Option<Self> {
        const IPV6_HEADER_LEN: u16 = 40;
        let (l3, l4) = match parsed.body {
            Body::V4(at) => (at.l3_offset, at.l4_offset),
            Body::V6(at) if at.l4_offset - at.l3_offset == IPV6_HEADER_LEN => {
                (at.l3_offset, at.l4_offset)
            }
            _ => return None,
        };
        let segment = Segment::of(parsed)?;
        let bytes = frame.get(segment.start..)?;
        let is_whole = segment.end == frame.len() && segment.covered(bytes)?.len() == bytes.len();
        if !is_whole || !matches!(segment.proto, proto::TCP | proto::UDP) {
            return None;
        }
        Some(Self {
            l2_len: l3,
            l3_len: l4 - l3,
            is_ipv4: segment.src.is_ipv4(),
            is_tcp: segment.proto == proto::TCP,
            begun: segment.begun(bytes.len())?,
        })
    }

    /// Where the checksum is, in bytes from the start of the TCP or UDP header.
    pub const fn field(&self) -> u16 {
        if self.is_tcp { TCP_FIELD } else { UDP_FIELD }
    }

    /// Has the checksum's field hold what DPDK's drivers want there: the sum of the pseudo-header.
    pub fn begin(&self, frame: &mut [u8]) {
        let at = usize::from(self.l2_len + self.l3_len + self.field());
        if let Some(field) = frame.get_mut(at..at + 2) {
            field.copy_from_slice(&self.begun.to_be_bytes());
        }
    }
}

/// An IP payload with a checksum in it.
struct Segment {
    src: IpAddr,
    dst: IpAddr,
    /// TCP, UDP, SCTP, or the ICMP of the addresses' IP version.
    proto: u8,
    /// In the frame.
    start: usize,
    end: usize,
}

impl Segment {
    fn of(parsed: &Parsed) -> Option<Self> {
        let (src, dst, proto, start, end) = match parsed.body {
            Body::V4(l4) => {
                let (src, dst) = (l4.tuple.src, l4.tuple.dst);
                let src = IpAddr::V4(Ipv4Addr::from_bits(src));
                let dst = IpAddr::V4(Ipv4Addr::from_bits(dst));
                (src, dst, l4.tuple.proto, l4.l4_offset, l4.end)
            }
            Body::V6(l4) => {
                let (src, dst) = (l4.tuple.src, l4.tuple.dst);
                let src = IpAddr::V6(Ipv6Addr::from_bits(src));
                let dst = IpAddr::V6(Ipv6Addr::from_bits(dst));
                (src, dst, l4.tuple.proto, l4.l4_offset, l4.end)
            }
            Body::Other(Other::Group(g)) if has_checksum(g.proto, g.src) => {
                (g.src, g.dst, g.proto, g.l4_offset, g.end)
            }
            Body::Other(Other::Icmp(i)) => (i.src, i.dst, icmp(i.src), i.l4_offset, i.end),
            Body::Other(_) => return None,
        };
        Some(Self {
            src,
            dst,
            proto,
            start: usize::from(start),
            end: usize::from(end),
        })
    }

    /// Where the checksum is, of all but SCTP's.
    fn field(&self) -> Range<usize> {
        let at = match self.proto {
            proto::TCP => TCP_FIELD.into(),
            proto::UDP => UDP_FIELD.into(),
            _ => 2,
        };
        at..at + 2
    }

    /// The part of the IP payload that the checksum covers: UDP has a length of its own, which may
    /// be less (RFC 9868).
    fn covered<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let header = bytes.first_chunk::<8>()?;
        match self.proto {
            proto::UDP => {
                let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
                bytes.get(..len)
            }
            _ => Some(bytes),
        }
    }

    /// The sum of the pseudo-header of a segment of `len` bytes.
    fn begun(&self, len: usize) -> Option<u16> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Some(checksum::begun_v4(src, dst, self.proto, len))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Some(checksum::begun_v6(src, dst, self.proto, len))
            }
            _ => None,
        }
    }

    /// The Internet checksum, with the pseudo-header that the protocol has.
    fn internet(&self, bytes: &[u8]) -> Option<u16> {
        match (self.src, self.dst) {
            (IpAddr::V4(_), IpAddr::V4(_)) if self.proto == proto::ICMP => {
                Some(checksum::internet(bytes))
            }
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Some(checksum::l4_v4(src, dst, self.proto, bytes))
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Some(checksum::l4_v6(src, dst, self.proto, bytes))
            }
            _ => None,
        }
    }
}

fn has_checksum(proto: u8, src: IpAddr) -> bool {
    matches!(proto, proto::TCP | proto::UDP | proto::SCTP) || proto == icmp(src)
}

/// ICMP's protocol number for the IP version of `addr`.
const fn icmp(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => proto::ICMP,
        IpAddr::V6(_) => proto::ICMPV6,
    }
}
