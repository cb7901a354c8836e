//! `--host-addr`.

use std::str::FromStr;

use kni_fallback::Cidr;
use serde::Deserialize;

/// A host address, and the port that it is on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostAddr {
    /// DPDK port id.
    pub port: u8,
    /// Address and prefix length.
    pub cidr: Cidr,
}

impl FromStr for HostAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An IPv6 address has colons too: what is before the first is a port only if a whole
        // address follows.
        let with_port = text
            .split_once(':')
            .and_then(|(port, cidr)| Some((port.parse::<u8>().ok()?, cidr.parse::<Cidr>().ok()?)));
        if let Some((port, cidr)) = with_port {
            return Ok(Self { port, cidr });
        }
        let cidr = text.parse::<Cidr>().map_err(|error| error.to_string())?;
        Ok(Self { port: 0, cidr })
    }
}

impl TryFrom<String> for HostAddr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}
