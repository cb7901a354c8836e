//! A second reading of frames: by offsets, lenient, and without looking at `wire`'s code. What is
//! too short gives None.

use std::net::IpAddr;

use wire::MacAddr;

use crate::sums;

/// A frame.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Destination.
    pub dst_mac: MacAddr,
    /// Source.
    pub src_mac: MacAddr,
    /// Outer and inner VLAN id, as [`wire::Vlan`] wants them.
    pub vlan: (u16, u16),
    /// What is inside.
    pub what: What,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Neither of the others.
    NotIp,
    /// RFC 826.
    Arp {
        /// The operation.
        op: u16,
        /// Sender's hardware address.
        sender_mac: MacAddr,
        /// Sender's protocol address.
        sender: IpAddr,
        /// Target's hardware address.
        target_mac: MacAddr,
        /// Target's protocol address.
        target: IpAddr,
    },
    /// IPv4 or IPv6.
    Ip(Ip),
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    /// Source.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// The protocol; for IPv6 where the chain of headers leads to.
    pub proto: u8,
    /// Where it starts in the frame.
    pub l3: usize,
    /// Where `proto`'s header starts in the frame.
    pub l4: usize,
    /// Where the packet ends in the frame.
    pub end: usize,
    /// If it is one.
    pub part: Option<Part>,
    /// Of TCP, UDP and SCTP.
    pub ports: Option<(u16, u16)>,
}

/// A fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Identification.
    pub id: u32,
    /// In bytes.
    pub offset: u16,
    /// Another one follows.
    pub more: bool,
    /// Where its bytes start in the frame.
    pub start: usize,
}

/// A checksum in an IP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// As it must be.
    Good,
    /// Not so.
    Bad,
    /// Left out, as UDP over IPv4 may.
    Absent,
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn mac(bytes: &[u8], at: usize) -> Option<MacAddr> {
    Some(MacAddr(bytes.get(at..at + 6)?.try_into().ok()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

pub(crate) fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

/// Reads a frame.
pub fn read(frame: &[u8]) -> Option<Seen> {
    let mut ids = vec![];
    let mut at = 12;
    while matches!(word(frame, at)?, 0x8100 | 0x88a8) {
        ids.push(word(frame, at + 2)? & 0xfff);
        at += 4;
    }
    let vlan = match ids.as_slice() {
        [] | [0] | [0, 0] => (0, 0),
        [id] | [0, id] => (*id, 0),
        [outer, inner] => (*outer, *inner),
        _ => return None,
    };
    let l3 = at + 2;
    let what = match word(frame, at)? {
        0x0800 => What::Ip(ipv4(frame, l3, false)?),
        0x86dd => What::Ip(ipv6(frame, l3, false)?),
        0x0806 => What::Arp {
            op: word(frame, l3 + 6)?,
            sender_mac: mac(frame, l3 + 8)?,
            sender: v4(frame, l3 + 14)?,
            target_mac: mac(frame, l3 + 18)?,
            target: v4(frame, l3 + 24)?,
        },
        _ => What::NotIp,
    };
    Some(Seen {
        dst_mac: mac(frame, 0)?,
        src_mac: mac(frame, 6)?,
        vlan,
        what,
    })
}

/// `cut`: the frame ends before the packet does.
fn ipv4(frame: &[u8], l3: usize, cut: bool) -> Option<Ip> {
    let l4 = l3 + usize::from(frame.get(l3)? & 15) * 4;
    let end = l3 + usize::from(word(frame, l3 + 2)?);
    let end = if cut { end.min(frame.len()) } else { end };
    let flags = word(frame, l3 + 6)?;
    let (offset, more) = (flags % 0x2000 * 8, flags & 0x2000 != 0);
    let part = (offset > 0 || more).then_some(Part {
        id: word(frame, l3 + 4)?.into(),
        offset,
        more,
        start: l4,
    });
    let ip = Ip {
        src: v4(frame, l3 + 12)?,
        dst: v4(frame, l3 + 16)?,
        proto: *frame.get(l3 + 9)?,
        l3,
        l4,
        end,
        part,
        ports: None,
    };
    Some(ip.with_ports(frame))
}

fn ipv6(frame: &[u8], l3: usize, cut: bool) -> Option<Ip> {
    let end = l3 + 40 + usize::from(word(frame, l3 + 4)?);
    let end = if cut { end.min(frame.len()) } else { end };
    let (mut proto, mut at) = (*frame.get(l3 + 6)?, l3 + 40);
    let mut part = None;
    while matches!(proto, 0 | 43 | 44 | 60) {
        let header = frame.get(at..end)?;
        if proto == 43 && *header.get(3)? > 0 {
            break;
        }
        if proto == 44 {
            let (offset, more) = (word(header, 2)? & !7, word(header, 2)? & 1 == 1);
            // A fragment of a fragment; but one that is whole (RFC 6946) is nothing.
            if part.is_some() && (offset > 0 || more) {
                break;
            }
            let id = u32::from(word(header, 4)?) << 16 | u32::from(word(header, 6)?);
            if offset > 0 || more {
                part = Some(Part {
                    id,
                    offset,
                    more,
                    start: at + 8,
                });
            }
            at += 8;
        } else {
            at += usize::from(*header.get(1)?) * 8 + 8;
        }
        proto = *header.first()?;
        if part.is_some_and(|part| part.offset > 0) {
            break;
        }
    }
    let ip = Ip {
        src: v6(frame, l3 + 8)?,
        dst: v6(frame, l3 + 24)?,
        proto,
        l3,
        l4: at,
        end,
        part,
        ports: None,
    };
    Some(ip.with_ports(frame))
}

impl Ip {
    fn with_ports(mut self, frame: &[u8]) -> Self {
        if matches!(self.proto, 6 | 17 | 132) && self.part.is_none_or(|part| part.offset == 0) {
            let segment = frame.get(self.l4..self.end);
            self.ports = segment.and_then(|s| Some((word(s, 0)?, word(s, 2)?)));
        }
        self
    }

    /// To a group or everyone, or from no one.
    pub fn is_group(&self) -> bool {
        let dst = match self.dst {
            IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        dst || self.src.is_unspecified()
    }

    /// Of whole ICMP and `ICMPv6`: the type.
    pub fn icmp_type(&self, frame: &[u8]) -> Option<u8> {
        let is_icmp = self.proto == if self.src.is_ipv4() { 1 } else { 58 };
        if !is_icmp || self.part.is_some() {
            return None;
        }
        frame.get(self.l4..self.end)?.first().copied()
    }

    /// Of neighbour discovery: the type and, where there is one, the target.
    pub fn neighbour(&self, frame: &[u8]) -> Option<(u8, Option<IpAddr>)> {
        let kind = self.icmp_type(frame)?;
        if self.src.is_ipv4() || !(133..=137).contains(&kind) {
            return None;
        }
        Some((kind, v6(frame, self.l4 + 8)))
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self, frame: &[u8]) -> Option<Self> {
        let quoted = frame.get(..self.end)?;
        match (self.src, self.icmp_type(frame)?) {
            (IpAddr::V4(_), 3 | 11 | 12) => ipv4(quoted, self.l4 + 8, true),
            (IpAddr::V6(_), 1..=4) => ipv6(quoted, self.l4 + 8, true),
            _ => None,
        }
    }

    /// The checksum of a whole packet, and where it is in the frame; None if it has none.
    pub fn sum(&self, frame: &[u8]) -> Option<(Sum, usize)> {
        if self.part.is_some() {
            return None;
        }
        let segment = frame.get(self.l4..self.end)?;
        let (at, segment) = match (self.proto, self.src) {
            (6, _) => (16, segment),
            (17, _) => (6, segment.get(..word(segment, 4)?.into())?),
            (132, _) => (8, segment),
            (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)) => (2, segment),
            _ => return None,
        };
        let before = segment.get(..at)?;
        let sum = if self.proto == 132 {
            let crc = sums::crc32c(&[before, &[0; 4], segment.get(12..)?]);
            crc.to_le_bytes() == segment[8..12]
        } else {
            let pseudo = sums::pseudo(self.src, self.dst, self.proto, segment.len());
            let pseudo = if self.proto == 1 { &[][..] } else { &pseudo };
            let expected = sums::internet(&[pseudo, before, &[0; 2], segment.get(at + 2..)?]);
            let found = word(segment, at)?;
            if self.proto == 17 && found == 0 {
                let absent = if self.src.is_ipv4() {
                    Sum::Absent
                } else {
                    Sum::Bad
                };
                return Some((absent, self.l4 + at));
            }
            // One's complement has two zeros: added to all else, 0xffff changes nothing.
            found == expected || (found, expected) == (0xffff, 0)
        };
        Some((if sum { Sum::Good } else { Sum::Bad }, self.l4 + at))
    }
}
