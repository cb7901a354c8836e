//! Neighbour discovery (RFC 4861), checked as its sections 6.1, 7.1 and 8.1 ask.

use core::net::Ipv6Addr;

use crate::{
    MacAddr, Malformed, checksum,
    ipv6::{Header, is_multicast},
    proto,
};

/// Options read before a message is refused. A router advertisement of 1280 bytes can carry
/// some 30 prefixes; nothing else comes near.
pub const MAX_OPTIONS: usize = 40;

/// The five messages of RFC 4861 section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdKind {
    /// Type 133.
    RouterSolicitation,
    /// Type 134.
    RouterAdvertisement,
    /// Type 135.
    Solicitation,
    /// Type 136.
    Advertisement,
    /// Type 137.
    Redirect,
}

/// A neighbour discovery message that passed RFC 4861's validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborDiscovery {
    /// Which message.
    pub kind: NdKind,
    /// IP source; unspecified in duplicate address detection.
    pub src: Ipv6Addr,
    /// IP destination, often a solicited-node group.
    pub dst: Ipv6Addr,
    /// The Target Address field of a solicitation, an advertisement or a redirect.
    pub target: Option<Ipv6Addr>,
    /// Source (solicitations, router advertisements) or Target (advertisements, redirects)
    /// Link-layer Address option, RFC 4861 section 4.6.1.
    pub link_layer: Option<MacAddr>,
    /// Always 255.
    pub hop_limit: u8,
}

/// `None` if the `ICMPv6` message is not neighbour discovery. A fragmented one never comes here
/// (RFC 6980 wants it ignored).
pub(crate) fn parse(
    header: &Header,
    message: &[u8],
) -> Result<Option<NeighborDiscovery>, Malformed> {
    let Some(kind) = message.first().and_then(|&icmp_type| kind_of(icmp_type)) else {
        return Ok(None);
    };
    checked(header, kind, message)
        .map(Some)
        .ok_or(Malformed::NdMalformed)
}

const fn kind_of(icmp_type: u8) -> Option<NdKind> {
    match icmp_type {
        133 => Some(NdKind::RouterSolicitation),
        134 => Some(NdKind::RouterAdvertisement),
        135 => Some(NdKind::Solicitation),
        136 => Some(NdKind::Advertisement),
        137 => Some(NdKind::Redirect),
        _ => None,
    }
}

fn checked(header: &Header, kind: NdKind, message: &[u8]) -> Option<NeighborDiscovery> {
    let (src, dst) = (
        Ipv6Addr::from_bits(header.src),
        Ipv6Addr::from_bits(header.dst),
    );
    let fixed = message.first_chunk::<8>()?;
    let sound = header.hop_limit == 255
        && fixed[1] == 0
        && checksum::l4_v6(src, dst, proto::ICMPV6, message) == 0;
    if !sound {
        return None;
    }

    let options = message.get(options_offset(kind)..)?;
    let link_layer = link_layer_option(options, option_type(kind)).ok()?;
    let target = match kind {
        NdKind::RouterSolicitation | NdKind::RouterAdvertisement => None,
        NdKind::Solicitation | NdKind::Advertisement | NdKind::Redirect => {
            Some(address(message, 8)?)
        }
    };

    let fits = match kind {
        NdKind::RouterSolicitation => header.src != 0 || link_layer.is_none(),
        NdKind::RouterAdvertisement => src.is_unicast_link_local(),
        NdKind::Solicitation => {
            !target?.is_multicast()
                && (header.src != 0 || (link_layer.is_none() && is_solicited_node(header.dst)))
        }
        NdKind::Advertisement => {
            let solicited = fixed[4] & 0x40 != 0;
            !(target?.is_multicast() || solicited && is_multicast(header.dst))
        }
        NdKind::Redirect => {
            let (target, redirected) = (target?, address(message, 24)?);
            src.is_unicast_link_local()
                && !redirected.is_multicast()
                && (target.is_unicast_link_local() || target == redirected)
        }
    };
    let hop_limit = header.hop_limit;
    fits.then_some(NeighborDiscovery {
        kind,
        src,
        dst,
        target,
        link_layer,
        hop_limit,
    })
}

/// Bytes before the options: the least that the message may have.
const fn options_offset(kind: NdKind) -> usize {
    match kind {
        NdKind::RouterSolicitation => 8,
        NdKind::RouterAdvertisement => 16,
        NdKind::Solicitation | NdKind::Advertisement => 24,
        NdKind::Redirect => 40,
    }
}

/// Source (1) or Target (2) Link-layer Address, whichever this message may carry; the other
/// kind is ignored, as RFC 4861 section 7.1 asks for options that do not belong there.
const fn option_type(kind: NdKind) -> u8 {
    match kind {
        NdKind::RouterSolicitation | NdKind::RouterAdvertisement | NdKind::Solicitation => 1,
        NdKind::Advertisement | NdKind::Redirect => 2,
    }
}

/// The address in the option `wanted`, if there is one. Every option is looked at, since RFC 4861
/// wants the whole message discarded if one of them has length zero.
fn link_layer_option(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, Malformed> {
    let mut found = None;
    for _ in 0..MAX_OPTIONS {
        if options.is_empty() {
            break;
        }
        let head = options.first_chunk::<8>().ok_or(Malformed::NdMalformed)?;
        let [option_type, units, address @ ..] = *head;
        let len = usize::from(units) * 8;
        let rest = options.get(len..).ok_or(Malformed::NdMalformed)?;
        // RFC 2464 section 6: on Ethernet a link-layer address takes 1 unit of 8 bytes.
        let refused = option_type == wanted && (units != 1 || found.is_some());
        if units == 0 || refused {
            return Err(Malformed::NdMalformed);
        }
        if option_type == wanted {
            found = Some(MacAddr(address));
        }
        options = rest;
    }
    if options.is_empty() {
        Ok(found)
    } else {
        Err(Malformed::NdMalformed)
    }
}

fn address(message: &[u8], at: usize) -> Option<Ipv6Addr> {
    message
        .get(at..)?
        .first_chunk::<16>()
        .map(|octets| Ipv6Addr::from(*octets))
}

/// `ff02::1:ff00:0/104` (RFC 4291 section 2.7.1).
const fn is_solicited_node(addr: u128) -> bool {
    addr >> 24 == 0xff02_0000_0000_0000_0000_0001_ff00_0000 >> 24
}
