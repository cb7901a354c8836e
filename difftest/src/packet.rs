//! A frame taken apart the slow way, for [`rules`](crate::rules).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame, as far as it can be followed.
#[derive(Debug, Default)]
pub struct Packet<'a> {
    /// VLAN ids; `None` for a tag that is not all there.
    pub tags: Vec<Option<u16>>,
    /// Behind the tags.
    pub ethertype: Option<u16>,
    /// Behind that.
    pub rest: &'a [u8],
    /// IPv6 extension headers that are all there.
    pub chain: Vec<Extension<'a>>,
    /// The chain ends in an extension header that is not all there.
    pub cut: bool,
    /// If it is a fragment.
    pub part: Option<Part>,
    /// What `payload` is; for a fragment without its own header the word of the header before.
    pub proto: u8,
    /// What IP carries.
    pub payload: &'a [u8],
}

/// An IPv6 extension header.
#[derive(Debug)]
pub struct Extension<'a> {
    /// The next header value that announced it.
    pub kind: u8,
    /// All of it.
    pub bytes: &'a [u8],
}

/// A fragment.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// In bytes.
    pub offset: u16,
    /// More follow.
    pub more: bool,
    /// Bytes of payload.
    pub len: usize,
    /// Bytes of header that count against 65535.
    pub overhead: usize,
}

/// 0 where there is nothing.
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

impl<'a> Packet<'a> {
    /// Takes a frame apart.
    pub fn of(frame: &'a [u8]) -> Self {
        let mut packet = Self::default();
        let mut at = 12;
        while matches!(be16(frame, at), 0x8100 | 0x88a8) {
            let whole = frame.len() >= at + 6;
            packet.tags.push(whole.then(|| be16(frame, at + 2) & 0xfff));
            at += 4;
        }
        if frame.len() < at + 2 {
            return packet;
        }
        packet.ethertype = Some(be16(frame, at));
        packet.rest = &frame[at + 2..];
        match packet.ethertype {
            Some(0x0800) => packet.v4(),
            Some(0x86dd) => packet.v6(),
            _ => {}
        }
        packet
    }

    fn v4(&mut self) {
        let ip = self.rest;
        let header_len = ip.first().map_or(0, |first| usize::from(first & 15) * 4);
        let total_len = usize::from(be16(ip, 2));
        let Some(payload) = ip.get(header_len..total_len).filter(|_| header_len >= 20) else {
            return;
        };
        self.proto = ip[9];
        self.payload = payload;
        let word = be16(ip, 6);
        let (offset, more) = ((word & 0x1fff) * 8, word & 0x2000 != 0);
        self.part = (offset > 0 || more).then_some(Part {
            offset,
            more,
            len: payload.len(),
            overhead: header_len,
        });
    }

    fn v6(&mut self) {
        let ip = self.rest;
        let end = 40 + usize::from(be16(ip, 4));
        let Some(mut left) = ip.get(40..end) else {
            return;
        };
        let whole_len = left.len();
        self.proto = ip[6];
        while let 0 | 43 | 44 | 60 = self.proto {
            let len = match (self.proto, left.get(1)) {
                (44, _) | (_, None) => 8,
                (_, Some(units)) => (usize::from(*units) + 1) * 8,
            };
            let Some((header, rest)) = left.split_at_checked(len) else {
                self.cut = true;
                break;
            };
            let kind = self.proto;
            let bytes = header;
            if kind == 44 && fragments(header) && self.part.is_some() {
                // Inside another fragment it is payload.
                self.chain.push(Extension { kind, bytes });
                break;
            }
            self.chain.push(Extension { kind, bytes });
            if kind == 43 && header[3] != 0 {
                break;
            }
            self.proto = header[0];
            left = rest;
            if kind == 44 && fragments(header) {
                self.part = Some(Part {
                    offset: be16(header, 2) & 0xfff8,
                    more: header[3] & 1 == 1,
                    len: rest.len(),
                    overhead: whole_len - rest.len() - 8,
                });
                if be16(header, 2) & 0xfff8 != 0 {
                    break;
                }
            }
        }
        self.payload = left;
    }

    /// Source and destination address, if there is a header.
    pub fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        let four = |at: usize| {
            let octets: [u8; 4] = self.rest.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        };
        let six = |at: usize| {
            let octets: [u8; 16] = self.rest.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        };
        match self.ethertype? {
            0x0800 => Some((four(12)?, four(16)?)),
            0x86dd => Some((six(8)?, six(24)?)),
            _ => None,
        }
    }

    /// IPv4 options or IPv6 extension headers.
    pub fn has_options(&self) -> bool {
        match self.ethertype {
            Some(0x0800) => self.rest.first().is_some_and(|first| first & 15 > 5),
            _ => !self.chain.is_empty(),
        }
    }

    /// ICMP of this IP version.
    pub fn is_icmp(&self) -> bool {
        matches!(
            (self.ethertype, self.proto),
            (Some(0x0800), 1) | (Some(0x86dd), 58)
        )
    }

    /// Whether the payload starts with at least `len` bytes of its header.
    pub fn shows_header(&self, len: usize) -> bool {
        let first = self.part.is_none_or(|part| part.offset == 0);
        first && self.payload.len() >= len
    }
}

/// Not for an atomic fragment (RFC 6946).
fn fragments(header: &[u8]) -> bool {
    be16(header, 2) & 0xfff9 != 0
}

impl Extension<'_> {
    /// Whether every option ends inside the header (RFC 8200 section 4.2).
    pub fn options_ok(&self) -> bool {
        let mut at = 2;
        while at < self.bytes.len() {
            at += match (self.bytes[at], self.bytes.get(at + 1)) {
                (0, _) => 1,
                (_, Some(len)) => 2 + usize::from(*len),
                (_, None) => return false,
            };
        }
        at == self.bytes.len()
    }
}
