//! An address with the length of its network's prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A unicast address and the length of its network's prefix, as in `192.0.2.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    addr: IpAddr,
    prefix_len: u8,
}

impl Cidr {
    /// None if the prefix is longer than the address: 32 bits for IPv4, 128 for IPv6.
    pub fn new(addr: IpAddr, prefix_len: u8) -> Option<Self> {
        (prefix_len <= longest_prefix(addr)).then_some(Self { addr, prefix_len })
    }

    /// The address, with its host part.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Length of the network's prefix in bits.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }
}

const fn longest_prefix(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix_len)
    }
}

/// Why a text is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCidrError {
    /// Nothing behind the address.
    #[error("{0}: the prefix length is missing, as in {0}/{example}", example = example(*.0))]
    NoPrefix(IpAddr),
    /// Not a number, or too long for the address.
    #[error("{addr}/{prefix}: the prefix length must be a number from 0 to {longest}", longest = longest_prefix(*.addr))]
    Prefix {
        /// What stands before the slash.
        addr: IpAddr,
        /// What stands behind it.
        prefix: String,
    },
    /// What stands before the slash is no address.
    #[error("{0:?} is not an IP address with a prefix length like 192.0.2.1/24 or 2001:db8::1/64")]
    Address(String),
    /// No host can have it for its own.
    #[error("{0} is {1}, not an address that a netdev can have")]
    NotUnicast(IpAddr, &'static str),
}

const fn example(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 24 } else { 64 }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    /// Reads `192.0.2.1/24` and `2001:db8::1/64`.
    ///
    /// # Errors
    /// Anything else; also a loopback, multicast, unspecified or broadcast address.
    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let addr: IpAddr = addr
            .parse()
            .map_err(|_| ParseCidrError::Address(text.to_owned()))?;
        let prefix = prefix.ok_or(ParseCidrError::NoPrefix(addr))?;
        if let Some(what) = not_a_host(addr) {
            return Err(ParseCidrError::NotUnicast(addr, what));
        }
        // `parse` alone would take "+24".
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix_len = prefix.parse().ok().filter(|_| digits);
        prefix_len
            .and_then(|len| Self::new(addr, len))
            .ok_or_else(|| ParseCidrError::Prefix {
                addr,
                prefix: prefix.to_owned(),
            })
    }
}

fn not_a_host(addr: IpAddr) -> Option<&'static str> {
    if addr.is_unspecified() {
        Some("the unspecified address")
    } else if addr.is_multicast() {
        Some("a multicast group")
    } else if addr.is_loopback() {
        Some("a loopback address")
    } else if addr == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Cidr>().unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "192.0.2.1/24",
            "192.0.2.1/0",
            "192.0.2.1/32",
            "fd77::1/64",
            "fe80::1/128",
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        let cidr: Cidr = "192.0.2.130/25".parse().unwrap();
        assert_eq!(cidr.addr().to_string(), "192.0.2.130");
        assert_eq!(cidr.prefix_len(), 25);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(
            error("192.0.2.1"),
            "192.0.2.1: the prefix length is missing, as in 192.0.2.1/24"
        );
        assert_eq!(
            error("fd77::1"),
            "fd77::1: the prefix length is missing, as in fd77::1/64"
        );
        for prefix in ["33", "256", "+24", "-1", "", "x", "24/24"] {
            assert_eq!(
                error(&format!("192.0.2.1/{prefix}")),
                format!("192.0.2.1/{prefix}: the prefix length must be a number from 0 to 32")
            );
        }
        assert!(error("fd77::1/129").ends_with("a number from 0 to 128"));
        for text in ["", "/", "/24", "host/24", "192.0.2/24", "192.0.2.1 /24"] {
            assert!(error(text).starts_with(&format!("{text:?} is not an IP address")));
        }
    }

    #[test]
    fn what_no_host_can_have_is_refused() {
        assert!(error("0.0.0.0/0").contains("unspecified"));
        assert!(error("::/0").contains("unspecified"));
        assert!(error("224.0.0.1/24").contains("multicast"));
        assert!(error("ff02::1/64").contains("multicast"));
        assert!(error("127.0.0.1/8").contains("loopback"));
        assert!(error("255.255.255.255/32").contains("broadcast"));
    }

    #[test]
    fn no_prefix_is_longer_than_its_address() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(Cidr::new(v4, 32).is_some());
        assert!(Cidr::new(v4, 33).is_none());
    }
}
