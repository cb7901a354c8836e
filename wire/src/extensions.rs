//! The chain of IPv6 extension headers (RFC 8200 section 4).

use crate::{Malformed, bytes::be16, bytes::be32, proto};

/// Extension headers walked before the packet is refused. Real traffic has at most two or three;
/// each further one costs a dependent load per packet.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Where the chain leads.
pub(crate) struct Chain<'a> {
    /// What `bytes` is.
    pub proto: u8,
    pub bytes: &'a [u8],
    /// Extension headers before `bytes`.
    pub headers: usize,
    /// The walk ended behind this header, as it makes `bytes` one part of something.
    pub fragment: Option<FragmentHeader>,
    /// A Fragment header was passed that leaves the packet whole (RFC 6946).
    pub atomic: bool,
}

/// RFC 8200 section 4.5.
#[derive(Clone, Copy)]
pub(crate) struct FragmentHeader {
    pub id: u32,
    /// In bytes.
    pub offset: u16,
    pub more: bool,
}

/// Walks the extension headers (RFC 8200 section 4, RFC 7045), `walked` of which came before.
/// Stops where the rest is not ours to read: ESP hides it, AH has to be verified by the host
/// first, a fragment has the rest elsewhere, and a routing header with segments left says that
/// the packet's destination is another one. `cut` is the reason for a header that reaches past
/// `payload`.
pub(crate) fn walk(
    first: u8,
    payload: &[u8],
    walked: usize,
    cut: Malformed,
) -> Result<Chain<'_>, Malformed> {
    let mut chain = Chain {
        proto: first,
        bytes: payload,
        headers: walked,
        fragment: None,
        atomic: false,
    };
    for position in walked..=MAX_EXTENSION_HEADERS {
        match chain.proto {
            proto::HOPOPTS if position > 0 => return Err(Malformed::Ipv6HopByHopNotFirst),
            proto::HOPOPTS | proto::ROUTING | proto::DSTOPTS | proto::FRAGMENT => {}
            _ => return Ok(chain),
        }
        // Every one of them has at least 8 bytes, and the first means the same.
        let head = chain.bytes.first_chunk::<8>().ok_or(cut)?;
        if position == MAX_EXTENSION_HEADERS {
            break;
        }
        let len = match chain.proto {
            proto::FRAGMENT => 8,
            _ => (usize::from(head[1]) + 1) * 8,
        };
        let (header, rest) = chain.bytes.split_at_checked(len).ok_or(cut)?;
        match chain.proto {
            proto::ROUTING if head[3] != 0 => {
                return match head[2] {
                    0 => Err(Malformed::Ipv6RoutingType0),
                    _ => Ok(chain),
                };
            }
            proto::FRAGMENT => {
                let word = be16(head, 2);
                let (offset, more) = (word & 0xfff8, word & 1 != 0);
                let id = be32(head, 4);
                chain.fragment = Some(FragmentHeader { id, offset, more });
            }
            proto::ROUTING => {}
            _ => check_options(header)?,
        }
        chain.proto = head[0];
        chain.bytes = rest;
        chain.headers += 1;
        match chain.fragment {
            Some(header) if header.offset == 0 && !header.more => {
                chain.fragment = None;
                chain.atomic = true;
            }
            Some(_) => return Ok(chain),
            None => {}
        }
    }
    Err(Malformed::Ipv6ExtensionHeaders)
}

/// The options of a Hop-by-Hop or Destination Options header lie inside it (RFC 8200 section
/// 4.2). What an unknown one asks for is up to whoever the packet is for.
fn check_options(header: &[u8]) -> Result<(), Malformed> {
    const PAD1: u8 = 0;

    let mut options = header.get(2..).unwrap_or_default();
    // At most 2046 bytes, and every round takes one.
    while let Some((&kind, rest)) = options.split_first() {
        options = match (kind, rest.split_first()) {
            (PAD1, _) => rest,
            (_, Some((&len, data))) => data
                .get(usize::from(len)..)
                .ok_or(Malformed::Ipv6ExtensionHeaders)?,
            (_, None) => return Err(Malformed::Ipv6ExtensionHeaders),
        };
    }
    Ok(())
}
