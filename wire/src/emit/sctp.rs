use core::net::SocketAddr;

use super::{Eth, ip};
use crate::{checksum, proto};

const HEADER_LEN: usize = 12;

/// An SCTP packet (RFC 9260 section 3) over IPv4 or IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Sctp<'a> {
    /// Ethernet addresses.
    pub eth: Eth,
    /// IP source and port.
    pub src: SocketAddr,
    /// IP destination and port.
    pub dst: SocketAddr,
    /// Verification tag; 0 in a packet with an INIT chunk.
    pub tag: u32,
    /// What follows the common header, as it is.
    pub chunks: &'a [u8],
}

impl Sctp<'_> {
    /// Builds the frame. See the [module](super).
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let len = HEADER_LEN + self.chunks.len();
        let ends = (self.src.ip(), self.dst.ip());
        let (end, packet) = ip(buf, self.eth, ends, proto::SCTP, len)?;
        let (header, chunks) = packet.split_first_chunk_mut::<HEADER_LEN>()?;
        header[0..2].copy_from_slice(&self.src.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.dst.port().to_be_bytes());
        header[4..8].copy_from_slice(&self.tag.to_be_bytes());
        chunks.copy_from_slice(self.chunks);
        let sum = checksum::sctp(packet)?;
        packet.get_mut(8..12)?.copy_from_slice(&sum.to_le_bytes());
        Some(end)
    }
}
