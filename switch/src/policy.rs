//! What users may do: who may attach and look, how much they may have, and who may claim what the
//! kernel has no say in.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use port_api::{Kind, Protocol};
use serde::Deserialize;
use wire::Vlan;

use crate::config::{Config, with_line};
use crate::error::{RunError, setup};
use crate::key::Subject;
use crate::refusal::Refusal;

mod users;

use users::Section;
pub use users::{Rights, User};

/// The policy: of the sections on users, and of the rules on claims, the first that fits decides. If
/// none does, root and the switch's own user may, and no one else.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    users: Vec<Section>,
    rules: Vec<Rule>,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Allow,
    Deny,
}

/// A rule; what it does not name fits anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    action: Action,
    /// Users, by number.
    uids: Option<Vec<u32>>,
    kinds: Option<Vec<Kind>>,
    /// Local addresses, in CIDR notation.
    addresses: Option<Vec<Block>>,
    /// `tcp`, `udp`, `sctp`, or a number.
    protocols: Option<Vec<Number>>,
    /// Local ports: `"8080"` or `"5000-5999"`.
    ports: Option<Vec<Ports>>,
    /// `"none"`, `"100"`, `"100.200"`.
    vlans: Option<Vec<Text<Vlan>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "user")]
    users: Vec<Section>,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

impl Policy {
    /// The policy that the options name.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of(config: &Config) -> Result<Self, RunError> {
        config
            .policy
            .as_deref()
            .map_or_else(|| Ok(Self::default()), Self::read)
    }

    /// Reads a policy: TOML, with a `[[user]]` for each section on users and a `[[rule]]` for each rule.
    ///
    /// # Errors
    /// One line that names the file, and the line in it.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| setup(format!("--policy {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|why| setup(format!("--policy {}: {why}", path.display())))
    }

    /// As [`read`](Self::read), from the text.
    ///
    /// # Errors
    /// One line that names the line in the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let File { users, rules } =
            toml::from_str(text).map_err(|error| with_line(text, &error))?;
        Ok(Self { users, rules })
    }

    /// What a user may do, beside claims.
    pub fn rights(&self, user: User) -> Rights {
        users::rights(&self.users, user)
    }

    /// Checks that a user may claim `subject`.
    ///
    /// # Errors
    /// `EPERM`, and what decides.
    pub fn check(&self, user: User, subject: &Subject) -> Result<(), Refusal> {
        let mut numbered = (1..).zip(&self.rules);
        let why = match numbered.find(|(_, rule)| rule.fits(user.uid, subject)) {
            Some((_, rule)) if rule.action == Action::Allow => return Ok(()),
            Some((number, _)) => format!("[[rule]] {number} of the policy denies it to"),
            None if user.is_trusted() => return Ok(()),
            None => "no [[rule]] of the policy allows it to".to_owned(),
        };
        let message = format!("{}: {why} user {}", subject.spec, user.uid);
        Err(Refusal::new(libc::EPERM, message))
    }
}

impl Rule {
    fn fits(&self, uid: u32, subject: &Subject) -> bool {
        let (what, vlan) = (&subject.spec.what, subject.spec.vlan);
        let port = what.local().map(|(_, local)| local.port());
        allows(self.uids.as_ref(), |&u| u == uid)
            && allows(self.kinds.as_ref(), |&kind| kind == what.kind())
            && allows(self.addresses.as_ref(), |block| block.has(what.addr()))
            && allows(self.protocols.as_ref(), |number| {
                what.proto() == Some(number.0)
            })
            && allows(self.ports.as_ref(), |ports| {
                port.is_some_and(|p| ports.0.contains(&p))
            })
            && allows(self.vlans.as_ref(), |text| text.0 == vlan)
    }
}

fn allows<T>(list: Option<&Vec<T>>, fits: impl FnMut(&T) -> bool) -> bool {
    list.is_none_or(|list| list.iter().any(fits))
}

/// Addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Block {
    addr: IpAddr,
    prefix: u8,
}

impl Block {
    fn has(self, addr: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, bits: u32| {
            let shift = bits - u32::from(self.prefix);
            ours.checked_shr(shift) == theirs.checked_shr(shift)
        };
        match (self.addr, addr) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(ours.to_bits().into(), theirs.to_bits().into(), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl TryFrom<String> for Block {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("{text:?} is not an address or CIDR block");
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text.as_str(), None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), str::parse).map_err(|_| bad())?;
        if prefix > most {
            return Err(bad());
        }
        Ok(Self { addr, prefix })
    }
}

/// A protocol number, or the name of a protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "NumberOrName")]
struct Number(u8);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a protocol is tcp, udp, sctp, or a number up to 255"
)]
enum NumberOrName {
    Number(u8),
    Name(Protocol),
}

impl From<NumberOrName> for Number {
    fn from(either: NumberOrName) -> Self {
        Self(match either {
            NumberOrName::Number(number) => number,
            NumberOrName::Name(protocol) => protocol.number(),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
struct Ports(RangeInclusive<u16>);

impl TryFrom<String> for Ports {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!("{text:?} is not a port or a range like 5000-5999")),
        }
    }
}

/// What is read from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String", bound = "T: FromStr, T::Err: std::fmt::Display")]
struct Text<T>(T);

impl<T: FromStr<Err: std::fmt::Display>> TryFrom<String> for Text<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(format!("{text:?}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use port_api::ClaimSpec;

    const ROOT: User = User { uid: 0, gid: 0 };
    const SOMEONE: User = User {
        uid: 12_345,
        gid: 12_345,
    };

    fn allows(policy: &Policy, user: User, subject: &Subject) -> bool {
        policy.check(user, subject).is_ok()
    }

    fn subject(spec: ClaimSpec) -> Subject {
        Subject { spec, nic: 0 }
    }

    fn udp(addr: &str) -> Subject {
        subject(ClaimSpec::tuple(Protocol::Udp, addr.parse().unwrap()))
    }

    #[test]
    fn without_rules_only_root_and_the_switchs_user_may() {
        let policy = Policy::default();
        assert!(allows(&policy, ROOT, &udp("192.0.2.1:7")));
        assert!(!allows(&policy, SOMEONE, &udp("192.0.2.1:7")));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = Policy::parse(
            r#"
            [[rule]]
            action = "deny"
            addresses = ["192.0.2.66", "2001:db8:1::/48"]
            [[rule]]
            action = "allow"
            uids = [12345]
            kinds = ["tuple", "protocol"]
            addresses = ["192.0.2.0/24", "2001:db8::/32"]
            protocols = ["udp", 132]
            ports = ["7", "5000-5999"]
            vlans = ["none", "100.200"]
            "#,
        )
        .unwrap();
        for (addr, allowed) in [
            ("192.0.2.1:7", true),
            ("192.0.2.1:5999", true),
            ("192.0.2.1:6000", false),
            ("192.0.3.1:7", false),
            ("192.0.2.66:7", false),
            ("[2001:db8::1]:7", true),
            ("[2001:db8:1::1]:7", false),
        ] {
            assert_eq!(allows(&policy, SOMEONE, &udp(addr)), allowed, "{addr}");
        }
        assert!(
            !allows(&policy, ROOT, &udp("192.0.2.66:7")),
            "a rule denies root too"
        );
        let refusal = policy.check(ROOT, &udp("192.0.2.66:7")).unwrap_err();
        assert_eq!(refusal.errno, libc::EPERM);
        assert!(refusal.message.contains("[[rule]] 1"), "{refusal}");
        assert!(allows(&policy, ROOT, &udp("192.0.3.1:7")), "no rule fits");
        let tagged = |vlan: &str| {
            let spec = udp("192.0.2.1:7").spec.on_vlan(vlan.parse().unwrap());
            allows(&policy, SOMEONE, &subject(spec))
        };
        assert!(tagged("100.200") && !tagged("100"));
        let tcp = ClaimSpec::tuple(Protocol::Tcp, "192.0.2.1:7".parse().unwrap());
        assert!(!allows(&policy, SOMEONE, &subject(tcp)));
        // A whole protocol has no ports, and this rule names some.
        let sctp = ClaimSpec::protocol(132, "192.0.2.1".parse().unwrap());
        assert!(!allows(&policy, SOMEONE, &subject(sctp)));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line) in [
            ("[[rule]]\naction = \"allow\"\nport = [\"7\"]\n", "line 3"),
            ("[[rule]]\nuids = [0]\n", "line 1"),
            (
                "[[rule]]\naction = \"allow\"\naddresses = [\"192.0.2.0/33\"]\n",
                "line 3",
            ),
            (
                "[[rule]]\naction = \"allow\"\nports = [\"9-7\"]\n",
                "line 3",
            ),
            (
                "[[rule]]\naction = \"allow\"\nvlans = [\"4095\"]\n",
                "line 3",
            ),
            (
                "[[rule]]\naction = \"allow\"\nprotocols = [\"icmp\"]\n",
                "line 3",
            ),
            ("[[rule]]\naction = \"perhaps\"\n", "line 2"),
        ] {
            let why = Policy::parse(text).expect_err(text);
            assert!(why.starts_with(line) && !why.contains('\n'), "{why}");
        }
    }
}
