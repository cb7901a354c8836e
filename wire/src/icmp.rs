//! ICMP (RFC 792) and `ICMPv6` (RFC 4443), and the packet that an error message is about.

use core::net::IpAddr;

use crate::{Malformed, Origin, ipv4, ipv6};

/// Bytes before the packet that an error message quotes.
const HEADER_LEN: usize = 8;

/// Least payload that a quoted packet must have: "The internet header plus the first 64 bits of
/// the original datagram's data" (RFC 792).
pub(crate) const MIN_QUOTED: usize = 8;

/// An ICMP or `ICMPv6` message to a unicast address; which of the two, the addresses say. The 8
/// bytes from `l4_offset` on lie inside the packet. Its checksum has not been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// IP source: for an error message any router on the path.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// The type field.
    pub kind: u8,
    /// The code field.
    pub code: u8,
    /// Where the ICMP header starts in the frame.
    pub l4_offset: u16,
    /// End of the IP packet in the frame.
    pub end: u16,
    /// For an error message that means its reader to act for one flow (ICMP 3, 11 and 12,
    /// `ICMPv6` 1 to 4): the packet it is about, if what is quoted of it is sound.
    pub about: Option<About>,
}

/// The packet that an error message is about, as its sender sent it: `src` is the machine that
/// the error comes back to. It must keep to the rules for addresses and ports of a received
/// packet; an IPv4 header must have its right checksum; at least 8 bytes behind the headers must
/// be quoted. Its own length may exceed what is quoted. That `src` is the address the error was
/// sent to is for the reader to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// IP source.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// See [`proto`](crate::proto); for IPv6 behind the extension headers.
    pub proto: u8,
    /// Source and destination port of TCP, UDP or SCTP; `None` for other protocols and for a
    /// fragment that is not the first.
    pub ports: Option<(u16, u16)>,
}

impl Icmp {
    /// Whether this reports an error: ICMP 3, 4, 5, 11 and 12 (RFC 1122 section 3.2.2), `ICMPv6`
    /// below 128 (RFC 4443 section 2.1).
    pub const fn is_error(&self) -> bool {
        match self.src {
            IpAddr::V4(_) => matches!(self.kind, 3 | 4 | 5 | 11 | 12),
            IpAddr::V6(_) => self.kind < 128,
        }
    }
}

/// `message` is the IP payload, without Ethernet padding, that ends at `end` in the frame.
pub(crate) fn parse(
    (src, dst): (IpAddr, IpAddr),
    message: &[u8],
    (l4_offset, end): (u16, u16),
    origin: Origin,
) -> Result<Icmp, Malformed> {
    // Every message that RFC 792 and RFC 4443 define has at least 8 bytes.
    let (header, quoted) = message
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(Malformed::L4Truncated)?;
    let [kind, code, ..] = *header;
    let about = match (src, kind) {
        (IpAddr::V4(_), 3 | 11 | 12) => ipv4::quoted(quoted, origin),
        (IpAddr::V6(_), 1..=4) => ipv6::quoted(quoted, origin),
        _ => None,
    };
    Ok(Icmp {
        src,
        dst,
        kind,
        code,
        l4_offset,
        end,
        about,
    })
}
