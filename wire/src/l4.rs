//! TCP, UDP and SCTP: what can be read from the fixed headers.

use crate::{Malformed, bytes::be16, proto};

/// The ports of a segment and where its payload starts.
pub(crate) struct Ports {
    pub src: u16,
    pub dst: u16,
    /// Bytes from the start of the segment to its payload.
    pub header_len: u16,
}

/// `segment` is the IP payload, without Ethernet padding.
#[inline]
pub(crate) fn udp(segment: &[u8]) -> Result<Ports, Malformed> {
    let header = segment.first_chunk::<8>().ok_or(Malformed::L4Truncated)?;
    let length = be16(header, 4);
    if length < 8 || usize::from(length) > segment.len() {
        return Err(Malformed::UdpLength);
    }
    let dst = be16(header, 2);
    if dst == 0 {
        return Err(Malformed::ZeroPort);
    }
    Ok(Ports {
        src: be16(header, 0),
        dst,
        header_len: 8,
    })
}

/// `segment` is the IP payload, without Ethernet padding.
#[inline]
pub(crate) fn tcp(segment: &[u8]) -> Result<Ports, Malformed> {
    let header = segment.first_chunk::<20>().ok_or(Malformed::L4Truncated)?;
    let header_len = u16::from(header[12] >> 4) * 4;
    if header_len < 20 || usize::from(header_len) > segment.len() {
        return Err(Malformed::TcpDataOffset);
    }
    let (src, dst) = (be16(header, 0), be16(header, 2));
    if src == 0 || dst == 0 {
        return Err(Malformed::ZeroPort);
    }
    Ok(Ports {
        src,
        dst,
        header_len,
    })
}

/// `segment` is the IP payload, without Ethernet padding.
#[inline]
pub(crate) fn sctp(segment: &[u8]) -> Result<Ports, Malformed> {
    let header = segment.first_chunk::<12>().ok_or(Malformed::L4Truncated)?;
    let (src, dst) = (be16(header, 0), be16(header, 2));
    if src == 0 || dst == 0 {
        return Err(Malformed::ZeroPort);
    }
    Ok(Ports {
        src,
        dst,
        header_len: 12,
    })
}

/// By protocol; `None` for those without ports.
pub(crate) fn ports(proto: u8, segment: &[u8]) -> Result<Option<Ports>, Malformed> {
    match proto {
        proto::UDP => udp(segment).map(Some),
        proto::TCP => tcp(segment).map(Some),
        proto::SCTP => sctp(segment).map(Some),
        _ => Ok(None),
    }
}

/// The ports in the first fragment of a packet, whose rest is elsewhere: lengths in the header
/// may exceed it. `whole_header`: the header must be there with its options, and so must at least
/// the start of any other protocol's.
pub(crate) fn first_fragment(
    proto: u8,
    bytes: &[u8],
    whole_header: bool,
) -> Result<Option<(u16, u16)>, Malformed> {
    let least = match proto {
        proto::UDP => 8,
        proto::TCP => 20,
        proto::SCTP => 12,
        proto::NO_NEXT => 0,
        // Type, code and checksum, which every message has (RFC 4443 section 2.1).
        proto::ICMPV6 if whole_header => 4,
        _ => usize::from(whole_header),
    };
    if bytes.len() < least {
        return Err(Malformed::FragmentTiny);
    }
    match (proto, bytes.first_chunk::<20>()) {
        (proto::TCP, Some(header)) => {
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < 20 {
                return Err(Malformed::TcpDataOffset);
            }
            if whole_header && header_len > bytes.len() {
                return Err(Malformed::FragmentTiny);
            }
        }
        (proto::UDP, _) if bytes.first_chunk::<8>().is_some_and(|h| be16(h, 4) < 8) => {
            return Err(Malformed::UdpLength);
        }
        _ => {}
    }
    leading_ports(proto, bytes)
}

/// The ports of a TCP, UDP or SCTP header of which at least the first 4 bytes are there.
pub(crate) fn leading_ports(proto: u8, bytes: &[u8]) -> Result<Option<(u16, u16)>, Malformed> {
    if !matches!(proto, proto::UDP | proto::TCP | proto::SCTP) {
        return Ok(None);
    }
    let header = bytes.first_chunk::<4>().ok_or(Malformed::L4Truncated)?;
    let (src, dst) = (be16(header, 0), be16(header, 2));
    if dst == 0 || src == 0 && proto != proto::UDP {
        return Err(Malformed::ZeroPort);
    }
    Ok(Some((src, dst)))
}
