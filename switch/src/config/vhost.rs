//! `--vhost`, and `[[vhost]]` in the file.

use std::path::PathBuf;
use std::str::FromStr;

use port_api::ClaimSpec;
use port_api::protocol::{Limit, PortSpec, Wanted};
use serde::{Deserialize, Deserializer, de};

/// A vport over a vhost-user socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VhostPort {
    /// Its name.
    pub name: String,
    /// The socket.
    pub path: PathBuf,
    /// Connect to it, again and again, instead of listening there.
    #[serde(default)]
    pub client: bool,
    /// DPDK port id of the NIC port through which it sends.
    #[serde(default)]
    pub nic: u8,
    /// What it may receive per second; `--rx-limit` if none.
    pub rx_limit: Option<Limit>,
    /// What it may send per second; `--tx-limit` if none.
    pub tx_limit: Option<Limit>,
    /// What it claims.
    #[serde(default, deserialize_with = "claims")]
    pub claims: Vec<ClaimSpec>,
}

impl VhostPort {
    /// The same as a request, with these claims.
    pub fn with_claims(&self, claims: Vec<Wanted>) -> PortSpec {
        PortSpec {
            name: self.name.clone(),
            path: self.path.clone(),
            client: self.client,
            nic: self.nic,
            rx: self.rx_limit,
            tx: self.tx_limit,
            claims,
        }
    }
}

/// Claims as they are typed.
fn claims<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ClaimSpec>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let claims = texts.iter().map(|text| text.parse());
    claims.collect::<Result<_, _>>().map_err(de::Error::custom)
}

impl FromStr for VhostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut port = Self::default();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let bad = || format!("{part:?}: not an option of a vhost port");
            match key {
                "client" if part == "client" => port.client = true,
                "name" => value.clone_into(&mut port.name),
                "path" => port.path = value.into(),
                "nic" => port.nic = value.parse().map_err(|_| bad())?,
                "rx-limit" => port.rx_limit = Some(value.parse()?),
                "tx-limit" => port.tx_limit = Some(value.parse()?),
                "claim" => port.claims.push(value.parse()?),
                _ => return Err(bad()),
            }
        }
        if port.name.is_empty() || port.path.as_os_str().is_empty() {
            return Err("a vhost port needs name= and path=".to_owned());
        }
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_and_in_a_file_it_is_the_same() {
        let text = "name=vm,path=/run/vm.sock,client,nic=1,tx-limit=1Gbps,claim=addr:10.0.0.9,\
                    claim=udp:10.0.0.1:53<10.0.0.2:5%7!";
        let file = r#"
            name = "vm"
            path = "/run/vm.sock"
            client = true
            nic = 1
            tx-limit = "1Gbps"
            claims = ["addr:10.0.0.9", "udp:10.0.0.1:53<10.0.0.2:5%7!"]
        "#;
        let typed: VhostPort = text.parse().unwrap();
        assert_eq!(toml::from_str::<VhostPort>(file).unwrap(), typed);
        assert_eq!((typed.nic, typed.claims.len()), (1, 2));
        assert_eq!(typed.tx_limit, Some("1Gbps".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("name=a", "path="),
            ("path=/a", "name="),
            ("name=a,path=/a,client=1", "client=1"),
            ("name=a,path=/a,nic=300", "nic=300"),
            ("name=a,path=/a,claim=addr", "addr"),
            ("name=a,path=/a,mode=x", "mode=x"),
        ] {
            let why = text.parse::<VhostPort>().unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }
}
