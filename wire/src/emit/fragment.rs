use super::ETHERNET_LEN;
use crate::{checksum, ethernet, ethertype, proto, vlan};

/// Builds the fragment that holds `len` bytes from `offset` on of the payload of the IP packet in
/// `frame`; less at its end. `offset` is a multiple of 8, and so is `len` but for the last fragment.
/// `id`: the Identification field, of which IPv4 takes the lower 16 bits. Tags stay.
///
/// See the [module](super). `None` also for a packet that is no IP, is a fragment itself, has IPv4
/// options or IPv6 hop-by-hop options or a routing header (some of them go into the first
/// fragment only), or that `offset` and `len` do not fit.
pub fn fragment(frame: &[u8], id: u32, offset: u16, len: u16, buf: &mut [u8]) -> Option<usize> {
    let header = ethernet(frame)?;
    let tags = vlan::tags(header.ethertype, frame.get(ETHERNET_LEN..)?).ok()?;
    let l3_offset = usize::from(tags.l3_offset);
    buf.get_mut(..l3_offset)?
        .copy_from_slice(frame.get(..l3_offset)?);
    let packet = buf.get_mut(l3_offset..)?;
    let packet_len = match tags.ethertype {
        ethertype::IPV4 => v4(tags.packet, id, offset, len, packet)?,
        ethertype::IPV6 => v6(tags.packet, id, offset, len, packet)?,
        _ => return None,
    };
    Some(l3_offset + packet_len)
}

fn v4(packet: &[u8], id: u32, offset: u16, len: u16, buf: &mut [u8]) -> Option<usize> {
    const MORE_FRAGMENTS: u16 = 0x2000;
    const FLAG_AND_OFFSET: u16 = 0x3fff;

    let (header, _) = packet.split_first_chunk::<20>()?;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let whole = u16::from_be_bytes([header[6], header[7]]) & FLAG_AND_OFFSET == 0;
    if header[0] != 0x45 || !whole {
        return None;
    }
    let (part, more) = part(packet.get(20..total_len)?, offset, len)?;
    let (to, rest) = buf.split_first_chunk_mut::<20>()?;
    *to = *header;
    let new_len = 20 + part.len();
    to[2..4].copy_from_slice(&u16::try_from(new_len).ok()?.to_be_bytes());
    let [.., id_high, id_low] = id.to_be_bytes();
    to[4..6].copy_from_slice(&[id_high, id_low]);
    let flags = if more { MORE_FRAGMENTS } else { 0 };
    to[6..8].copy_from_slice(&(flags | (offset / 8)).to_be_bytes());
    to[10..12].fill(0);
    let sum = checksum::internet(to);
    to[10..12].copy_from_slice(&sum.to_be_bytes());
    rest.get_mut(..part.len())?.copy_from_slice(part);
    Some(new_len)
}

fn v6(packet: &[u8], id: u32, offset: u16, len: u16, buf: &mut [u8]) -> Option<usize> {
    let (header, rest) = packet.split_first_chunk::<40>()?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let next_header = header[6];
    if matches!(
        next_header,
        proto::HOPOPTS | proto::ROUTING | proto::FRAGMENT
    ) {
        return None;
    }
    let (part, more) = part(rest.get(..payload_len)?, offset, len)?;
    let (to, rest) = buf.split_first_chunk_mut::<40>()?;
    *to = *header;
    to[4..6].copy_from_slice(&u16::try_from(8 + part.len()).ok()?.to_be_bytes());
    to[6] = proto::FRAGMENT;
    let (to, rest) = rest.split_first_chunk_mut::<8>()?;
    to[..2].copy_from_slice(&[next_header, 0]);
    to[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
    to[4..].copy_from_slice(&id.to_be_bytes());
    rest.get_mut(..part.len())?.copy_from_slice(part);
    Some(48 + part.len())
}

/// The bytes of one fragment, and whether others follow.
fn part(payload: &[u8], offset: u16, len: u16) -> Option<(&[u8], bool)> {
    let rest = payload.get(usize::from(offset)..)?;
    let more = usize::from(len) < rest.len();
    let part = rest.get(..usize::from(len)).unwrap_or(rest);
    let fits = offset.is_multiple_of(8) && !part.is_empty() && (!more || len.is_multiple_of(8));
    fits.then_some((part, more))
}
