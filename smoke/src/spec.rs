//! Claims as they are typed.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use port_api::{Claim, ClaimSpec, Error, Protocol, Vport};

/// How claims are written.
pub fn syntax() -> String {
    format!(
        "{}\nHere also PROTO:IP:FIRST-LAST: all tuples of a range of ports.",
        ClaimSpec::SYNTAX
    )
}

/// What to claim at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    One(ClaimSpec),
    Ports {
        protocol: Protocol,
        ip: IpAddr,
        ports: RangeInclusive<u16>,
    },
}

impl Wanted {
    /// Claims it, all of it or nothing.
    pub fn claim(&self, vport: &Vport) -> Result<Vec<Claim>, Error> {
        match self {
            Self::One(spec) => vport.claim_as(spec).map(|claim| vec![claim]),
            Self::Ports {
                protocol,
                ip,
                ports,
            } => vport.claim_ports(*protocol, *ip, ports.clone()),
        }
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        range(text).map_or_else(|| text.parse().map(Self::One), Ok)
    }
}

fn range(text: &str) -> Option<Wanted> {
    let (protocol, rest) = text.split_once(':')?;
    let (first, last) = rest.rsplit_once('-')?;
    let first: SocketAddr = first.parse().ok()?;
    Some(Wanted::Ports {
        protocol: protocol.parse().ok()?,
        ip: first.ip(),
        ports: first.port()..=last.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_many_tuples_and_all_else_is_one_claim() {
        let range = Wanted::Ports {
            protocol: Protocol::Udp,
            ip: "10.77.0.1".parse().unwrap(),
            ports: 5000..=5009,
        };
        assert_eq!("udp:10.77.0.1:5000-5009".parse(), Ok(range));
        let tuple = ClaimSpec::tuple(Protocol::Udp, "10.77.0.1:5000".parse().unwrap());
        assert_eq!("udp:10.77.0.1:5000".parse(), Ok(Wanted::One(tuple)));
        assert!("udp:10.77.0.1:5000-".parse::<Wanted>().is_err());
    }
}
