//! Fragments (RFC 791 section 3.2, RFC 8200 section 4.5): what one of them alone must keep to.

use core::net::IpAddr;

use crate::{Malformed, l4, proto};

/// One fragment of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// IP source.
    pub src: IpAddr,
    /// IP destination.
    pub dst: IpAddr,
    /// The protocol. For IPv6 the Next Header of the Fragment header or, for a first fragment,
    /// the protocol that the chain of extension headers leads to.
    pub proto: u8,
    /// The Identification field: 16 bits for IPv4, 32 for IPv6.
    pub id: u32,
    /// Where the fragment's payload belongs, in bytes; a multiple of 8.
    pub offset: u16,
    /// Bytes of payload in this fragment, never 0. They are the last ones of the IP packet.
    pub len: u16,
    /// Whether another fragment follows.
    pub more: bool,
    /// Source and destination port, if this is the first fragment (offset 0) of TCP, UDP or SCTP.
    pub ports: Option<(u16, u16)>,
    /// Where the IP header starts in the frame.
    pub l3_offset: u16,
}

impl Fragment {
    /// The rules for any fragment. `overhead`: bytes that count against 65535 beside offset and
    /// length.
    pub(crate) fn check_length(&self, overhead: u16) -> Result<(), Malformed> {
        if self.len == 0 || self.more && !self.len.is_multiple_of(8) {
            return Err(Malformed::FragmentLength);
        }
        let end = u32::from(overhead) + u32::from(self.offset) + u32::from(self.len);
        if end > u32::from(u16::MAX) {
            return Err(Malformed::FragmentTooLong);
        }
        Ok(())
    }

    /// Fills in the ports of a first fragment from `segment`, which is behind all headers that
    /// belong to IP. `whole_header`: as for [`l4::first_fragment`].
    pub(crate) fn with_ports(
        mut self,
        segment: &[u8],
        whole_header: bool,
    ) -> Result<Self, Malformed> {
        if self.offset == 0 {
            self.ports = l4::first_fragment(self.proto, segment, whole_header)?;
        } else if self.proto == proto::TCP && self.offset == 8 {
            return Err(Malformed::FragmentTiny);
        }
        // From the wire the address alone was enough.
        if self.src == self.dst && self.ports.is_some_and(|(src, dst)| src == dst) {
            return Err(Malformed::Land);
        }
        Ok(self)
    }
}
