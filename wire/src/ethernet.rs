//! Ethernet II headers and 48-bit addresses (IEEE 802.3, RFC 894).

use core::{fmt, str::FromStr};

use crate::bytes::be16;

/// Length of an untagged Ethernet header in bytes.
pub const HEADER_LEN: u16 = 14;

/// Ethertypes that this crate tells apart.
pub mod ethertype {
    /// IPv4 (RFC 894).
    pub const IPV4: u16 = 0x0800;
    /// ARP (RFC 826).
    pub const ARP: u16 = 0x0806;
    /// An IEEE 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// An IEEE 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// IPv6 (RFC 2464).
    pub const IPV6: u16 = 0x86dd;
}

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set; true for broadcast too.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is ff:ff:ff:ff:ff:ff.
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, octet) in self.0.into_iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02x}")?;
        }
        Ok(())
    }
}

/// A text that is not six colon-separated pairs of hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMacAddrError;

impl fmt::Display for ParseMacAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address like 02:00:00:00:00:01")
    }
}

impl core::error::Error for ParseMacAddrError {}

impl FromStr for MacAddr {
    type Err = ParseMacAddrError;

    /// Reads `aa:bb:cc:dd:ee:ff` in either case, as [`fmt::Display`] writes it.
    ///
    /// # Errors
    /// Anything else, also single digits and other separators.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacAddrError)?;
            // from_str_radix alone would take "+1".
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacAddrError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacAddrError)?;
        }
        match parts.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(ParseMacAddrError),
        }
    }
}

/// The header that every frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// Ethertype, host byte order; below 0x0600 it is an IEEE 802.3 length. For a tagged frame
    /// it is the first tag's own type.
    pub ethertype: u16,
}

/// Reads the Ethernet header; `None` if the frame is shorter than [`HEADER_LEN`].
#[inline]
pub fn ethernet(frame: &[u8]) -> Option<Ethernet> {
    let header = frame.first_chunk::<14>()?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *header;
    Some(Ethernet {
        dst: MacAddr([d0, d1, d2, d3, d4, d5]),
        src: MacAddr([s0, s1, s2, s3, s4, s5]),
        ethertype: be16(header, 12),
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn mac_text_round_trips() {
        let mac = MacAddr([0x02, 0, 0xab, 0xcd, 0xef, 0x01]);
        assert_eq!(mac.to_string(), "02:00:ab:cd:ef:01");
        assert_eq!("02:00:AB:cd:eF:01".parse(), Ok(mac));
    }

    #[test]
    fn mac_text_is_strict() {
        for text in [
            "",
            "02:00:ab:cd:ef",
            "02:00:ab:cd:ef:01:02",
            "2:00:ab:cd:ef:01",
            "02-00-ab-cd-ef-01",
            "+2:00:ab:cd:ef:01",
            "02:00:ab:cd:ef:0g",
            "02:00:ab:cd:ef:01 ",
            "02:00:ab:cd:ef:é",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacAddrError), "{text:?}");
        }
    }

    #[test]
    fn group_bit() {
        assert!(MacAddr::BROADCAST.is_multicast() && MacAddr::BROADCAST.is_broadcast());
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        assert!(group.is_multicast() && !group.is_broadcast());
        assert!(!MacAddr([0x02, 0xff, 0xff, 0xff, 0xff, 0xff]).is_multicast());
    }

    #[test]
    fn header_fields() {
        let frame = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x86, 0xdd];
        let header = ethernet(&frame).unwrap();
        assert_eq!(header.dst, MacAddr([1, 2, 3, 4, 5, 6]));
        assert_eq!(header.src, MacAddr([7, 8, 9, 10, 11, 12]));
        assert_eq!(header.ethertype, ethertype::IPV6);
        assert_eq!(ethernet(&frame[..13]), None);
    }
}
