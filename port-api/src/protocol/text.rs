//! Claims as they are typed.

use std::str::FromStr;

use wire::Vlan;

use super::{ClaimSpec, What};

impl ClaimSpec {
    /// How claims are typed, for `--help`.
    pub const SYNTAX: &str = "\
Claims (PROTO is tcp, udp or sctp; IPv6 addresses with a port in brackets):
  PROTO:IP:PORT          a tuple; 0.0.0.0 or [::] for any address, port 0 for any free one
  PROTO:IP:PORT<IP:PORT  a connection: local end < remote end
  proto:NUMBER@IP        an IP protocol at an address
  addr:IP                a whole address
Behind it: %VLAN (%100, %100.200), then ! to have layer 4 checksums verified.";
}

impl FromStr for ClaimSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a claim");
        let (rest, verify) = match text.strip_suffix('!') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        // Within brackets, % is part of an address.
        let behind = rest.rfind(']').unwrap_or(0);
        let (rest, vlan) = match rest[behind..].rfind('%') {
            Some(at) => {
                let (rest, vlan) = rest.split_at(behind + at);
                let vlan: Vlan = vlan[1..].parse().map_err(|e| format!("{}: {e}", bad()))?;
                (rest, vlan)
            }
            None => (rest, Vlan::NONE),
        };
        let mut spec = Self::new(what(rest).ok_or_else(bad)?).on_vlan(vlan);
        spec.verify = verify;
        Ok(spec)
    }
}

fn what(text: &str) -> Option<What> {
    let (kind, rest) = text.split_once(':')?;
    if kind == "addr" {
        return Some(What::Address {
            addr: rest.parse().ok()?,
        });
    }
    if kind == "proto" {
        let (number, addr) = rest.split_once('@')?;
        return Some(What::Protocol {
            proto: number.parse().ok()?,
            addr: addr.parse().ok()?,
        });
    }
    let protocol = kind.parse().ok()?;
    Some(match rest.split_once('<') {
        Some((local, remote)) => What::Connection {
            protocol,
            local: local.parse().ok()?,
            remote: remote.parse().ok()?,
        },
        None => What::Tuple {
            protocol,
            local: rest.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::super::Protocol;
    use super::*;

    fn one(text: &str) -> ClaimSpec {
        text.parse().unwrap()
    }

    #[test]
    fn every_kind_can_be_written() {
        let local: SocketAddr = "10.77.0.1:80".parse().unwrap();
        let remote = "10.77.0.2:5000".parse().unwrap();
        let tuple = ClaimSpec::tuple(Protocol::Tcp, local);
        assert_eq!(one("tcp:10.77.0.1:80"), tuple);
        assert_eq!(one("tcp:10.77.0.1:80!"), tuple.verified());
        let inner = Vlan::new(100, 200).unwrap();
        assert_eq!(one("tcp:10.77.0.1:80%100.200"), tuple.on_vlan(inner));
        let connection = ClaimSpec::connection(Protocol::Udp, local, remote);
        let tagged = connection.on_vlan(Vlan::new(7, 0).unwrap()).verified();
        assert_eq!(one("udp:10.77.0.1:80<10.77.0.2:5000"), connection);
        assert_eq!(one("udp:10.77.0.1:80<10.77.0.2:5000%7!"), tagged);
        let protocol = ClaimSpec::protocol(132, local.ip());
        assert_eq!(one("proto:132@10.77.0.1"), protocol);
        let ip: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(one("addr:fe80::1"), ClaimSpec::address(ip));
        let scoped = one("sctp:[fe80::1%3]:9");
        assert_eq!(scoped.what.addr(), ip);
        assert!(scoped.vlan.is_none());
    }

    #[test]
    fn what_is_not_a_claim_is_named() {
        for text in [
            "",
            "tcp",
            "tcp:10.77.0.1",
            "icmp:10.77.0.1:80",
            "proto:300@10.77.0.1",
            "proto:132",
            "addr:10.77.0.1:80",
            "tcp:10.77.0.1:80%5000",
            "tcp:10.77.0.1:80<",
            "udp:10.77.0.1:5000-",
        ] {
            let why = text.parse::<ClaimSpec>().unwrap_err();
            assert!(why.contains(&format!("{text:?}")), "{why}");
        }
    }
}
