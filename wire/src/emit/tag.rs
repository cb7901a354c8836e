use super::ETHERNET_LEN;
use crate::{Vlan, ethertype, vlan::TAG_LEN};

/// Puts the frame of `len` bytes at the start of `buf` into `vlan`, with an IEEE 802.1Q tag or, for
/// two, an 802.1ad tag in front of it, of priority 0. Returns the new length; for
/// [`Vlan::NONE`] the frame stays as it is. `None` if there is no room, or no frame.
pub fn tag(buf: &mut [u8], len: usize, vlan: Vlan) -> Option<usize> {
    match (vlan.outer(), vlan.inner()) {
        (0, _) => Some(len),
        (only, 0) => insert_tag(buf, len, ethertype::VLAN, only),
        (outer, inner) => {
            let len = insert_tag(buf, len, ethertype::VLAN, inner)?;
            insert_tag(buf, len, ethertype::SERVICE_VLAN, outer)
        }
    }
}

/// Puts one tag of any type in front of those that the frame has. `tci`: priority (3 bits), drop
/// eligible (1), VLAN id (12). Returns the new length. `None` if there is no room, or no frame.
pub fn insert_tag(buf: &mut [u8], len: usize, tpid: u16, tci: u16) -> Option<usize> {
    let new_len = len + usize::from(TAG_LEN);
    let at = ETHERNET_LEN - 2;
    if len < ETHERNET_LEN || new_len > buf.len() {
        return None;
    }
    buf.copy_within(at..len, at + usize::from(TAG_LEN));
    let place = buf.get_mut(at..)?.first_chunk_mut::<4>()?;
    place[..2].copy_from_slice(&tpid.to_be_bytes());
    place[2..].copy_from_slice(&tci.to_be_bytes());
    Some(new_len)
}
