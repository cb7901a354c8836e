//! VLAN tags (IEEE 802.1Q): none, one, or two.

use core::{fmt, str::FromStr};

use crate::{
    Malformed,
    bytes::be16,
    ethernet::{HEADER_LEN, ethertype},
};

/// Length of a tag in bytes, its type included.
pub(crate) const TAG_LEN: u16 = 4;

const VID_MASK: u16 = 0x0fff;

/// The largest VLAN id; 4095 is reserved (IEEE 802.1Q).
const MAX_VID: u16 = 4094;

/// The VLAN that a frame is in: none, one (802.1Q or 802.1ad, not told apart), or one inside
/// another (`QinQ`). A tag with VLAN id 0 gives a priority only and counts as none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, PartialOrd, Ord)]
pub struct Vlan(u32);

impl Vlan {
    /// Untagged, or priority-tagged.
    pub const NONE: Self = Self(0);

    /// `None` unless `outer` is in 1..=4094 and `inner` in 0..=4094, where 0 is no inner tag.
    pub const fn new(outer: u16, inner: u16) -> Option<Self> {
        if outer == 0 || outer > MAX_VID || inner > MAX_VID {
            return None;
        }
        Some(Self((outer as u32) << 12 | inner as u32))
    }

    /// The VLAN id of the outer or only tag; 0 if untagged.
    #[expect(clippy::cast_possible_truncation, reason = "12 bits are left")]
    pub const fn outer(self) -> u16 {
        (self.0 >> 12) as u16
    }

    /// The VLAN id of the inner tag; 0 if there are not two.
    #[expect(clippy::cast_possible_truncation, reason = "masked to 12 bits")]
    pub const fn inner(self) -> u16 {
        self.0 as u16 & VID_MASK
    }

    /// 24 bits: the outer id above the inner one, 0 for [`NONE`](Self::NONE). A key for tables.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// What [`bits`](Self::bits) gave.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0xff_ffff)
    }

    /// Whether this is [`NONE`](Self::NONE).
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// `100`, `100.200` (outer first), or `none`.
impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outer(), self.inner()) {
            (0, _) => f.write_str("none"),
            (outer, 0) => write!(f, "{outer}"),
            (outer, inner) => write!(f, "{outer}.{inner}"),
        }
    }
}

/// A text that is not a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVlanError;

impl fmt::Display for ParseVlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a VLAN like 100, 100.200 or none, with ids from 1 to 4094")
    }
}

impl core::error::Error for ParseVlanError {}

impl FromStr for Vlan {
    type Err = ParseVlanError;

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// Anything else, also leading zeros and ids out of 1..=4094.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let (outer, inner) = match text.split_once('.') {
            Some((outer, inner)) => (vid(outer)?, vid(inner)?),
            None => (vid(text)?, 0),
        };
        Self::new(outer, inner).ok_or(ParseVlanError)
    }
}

fn vid(text: &str) -> Result<u16, ParseVlanError> {
    // u16's own parser alone would take "+1" and "007".
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    let id = text.parse().map_err(|_| ParseVlanError)?;
    if canonical {
        Ok(id)
    } else {
        Err(ParseVlanError)
    }
}

/// What the tags of a frame say, and what is behind them.
pub(crate) struct Tags<'a> {
    pub vlan: Vlan,
    pub ethertype: u16,
    pub packet: &'a [u8],
    /// Where `packet` starts in the frame.
    pub l3_offset: u16,
}

/// Reads up to two tags. `ethertype` is the first tag's own, `packet` starts behind it.
pub(crate) fn tags(ethertype: u16, packet: &[u8]) -> Result<Tags<'_>, Malformed> {
    let mut vids = [0; 2];
    let mut tags = Tags {
        vlan: Vlan::NONE,
        ethertype,
        packet,
        l3_offset: HEADER_LEN,
    };
    for to in &mut vids {
        if !is_tag(tags.ethertype) {
            break;
        }
        let (tag, rest) = (tags.packet.split_first_chunk::<4>()).ok_or(Malformed::VlanTruncated)?;
        *to = be16(tag, 0) & VID_MASK;
        if *to > MAX_VID {
            return Err(Malformed::VlanId);
        }
        tags.ethertype = be16(tag, 2);
        tags.packet = rest;
        tags.l3_offset += TAG_LEN;
    }
    if is_tag(tags.ethertype) {
        return Err(Malformed::VlanDepth);
    }
    let (outer, inner) = match vids {
        [0, only] => (only, 0),
        [outer, inner] => (outer, inner),
    };
    tags.vlan = Vlan::new(outer, inner).unwrap_or(Vlan::NONE);
    Ok(tags)
}

/// Whether a tag follows.
pub(crate) const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn ids_and_their_bits() {
        let double = Vlan::new(100, 200).unwrap();
        assert_eq!((double.outer(), double.inner()), (100, 200));
        assert_eq!(double.bits(), (100 << 12) | 0xc8);
        let largest = Vlan::new(4094, 4094).unwrap();
        assert!(largest.bits() < 1 << 24 && !largest.is_none());
        assert_eq!((largest.outer(), largest.inner()), (4094, 4094));
        assert!(Vlan::NONE.is_none() && Vlan::default() == Vlan::NONE);
        assert_eq!(Vlan::NONE.bits(), 0);
        for (outer, inner) in [(0, 0), (0, 5), (4095, 0), (1, 4095), (4096, 0), (1, 65535)] {
            assert_eq!(Vlan::new(outer, inner), None, "{outer} {inner}");
        }
    }

    #[test]
    fn text_round_trips() {
        for vlan in [Vlan::new(1, 0), Vlan::new(4094, 4094), Some(Vlan::NONE)] {
            let vlan = vlan.unwrap();
            assert_eq!(vlan.to_string().parse(), Ok(vlan));
        }
        assert_eq!(Vlan::new(100, 0).unwrap().to_string(), "100");
        assert_eq!(Vlan::new(100, 200).unwrap().to_string(), "100.200");
    }

    #[test]
    fn text_is_strict() {
        for text in [
            "", "0", "4095", "65537", "+1", "01", "1.", ".1", "1.0", "1.2.3", "1.4095", "a", " 1",
            "1 ", "None", "0.1", "1.02",
        ] {
            assert_eq!(text.parse::<Vlan>(), Err(ParseVlanError), "{text:?}");
        }
    }
}
