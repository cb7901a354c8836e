//! TCP, UDP and ICMP: what can be read from the fixed headers.

use crate::{Malformed, bytes::be16};

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

/// Type and code of an ICMP or `ICMPv6` message. Every message that RFC 792 and RFC 4443 define has
/// at least 8 bytes.
#[inline]
pub(crate) fn icmp(message: &[u8]) -> Result<(u8, u8), Malformed> {
    let header = message.first_chunk::<8>().ok_or(Malformed::L4Truncated)?;
    Ok((header[0], header[1]))
}
