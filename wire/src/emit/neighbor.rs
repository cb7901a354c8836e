use core::net::IpAddr;

use super::{ETHERNET_LEN, Eth, ip, l4_checksum};
use crate::{NdKind, NeighborDiscovery, proto};

/// Up to and with the target address.
const FIXED_LEN: usize = 24;

const OPTION_LEN: usize = 8;

impl NeighborDiscovery {
    /// Builds the frame around a neighbour solicitation or advertisement. An advertisement says
    /// that it overrides what was known and, to a unicast address, that it was solicited. `None`
    /// for the other kinds too, or without a target. See the [module](crate::emit).
    pub fn write(&self, eth: Eth, buf: &mut [u8]) -> Option<usize> {
        const SOLICITED: u8 = 0x40;
        const OVERRIDE: u8 = 0x20;

        let (icmp_type, flags, option_type) = match self.kind {
            NdKind::Solicitation => (135, 0, 1),
            NdKind::Advertisement if self.dst.is_multicast() => (136, OVERRIDE, 2),
            NdKind::Advertisement => (136, SOLICITED | OVERRIDE, 2),
            _ => return None,
        };
        let ends = (IpAddr::V6(self.src), IpAddr::V6(self.dst));
        let len = FIXED_LEN + self.link_layer.map_or(0, |_| OPTION_LEN);
        let (end, message) = ip(buf, eth, ends, proto::ICMPV6, len)?;
        let (fixed, option) = message.split_first_chunk_mut::<FIXED_LEN>()?;
        fixed[..8].copy_from_slice(&[icmp_type, 0, 0, 0, flags, 0, 0, 0]);
        fixed[8..].copy_from_slice(&self.target?.octets());
        if let Some(mac) = self.link_layer {
            let option = option.first_chunk_mut::<OPTION_LEN>()?;
            option[..2].copy_from_slice(&[option_type, 1]);
            option[2..].copy_from_slice(&mac.0);
        }
        let sum = l4_checksum(ends, proto::ICMPV6, message)?;
        message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
        *buf.get_mut(ETHERNET_LEN + 7)? = self.hop_limit;
        Some(end)
    }
}
