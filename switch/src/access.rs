//! Who may open the control socket: owner, group and mode of its file.

use std::str::FromStr;

use rustix::fs::{Gid, Mode, Uid};
use serde::Deserialize;

/// Owner, group and mode of the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The primary's user if none is named.
    pub owner: Option<Owner>,
    /// The primary's group if none is named.
    pub group: Option<Group>,
    /// Permissions. To connect takes the right to write.
    pub mode: FileMode,
}

/// Permissions, as chmod(1) takes them in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FileMode(pub(crate) Mode);

/// For the owner only.
impl Default for FileMode {
    fn default() -> Self {
        Self(Mode::RUSR | Mode::WUSR)
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_octal = text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if is_octal && bits <= 0o777 => Ok(Self(Mode::from_raw_mode(bits))),
            _ => Err(format!(
                "{text:?} is not a mode in octal, from 0 to 0777, such as 0660"
            )),
        }
    }
}

/// A user, by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Owner(pub(crate) Uid);

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let by_name = |name: &str| Ok(nix::unistd::User::from_name(name)?.map(|u| u.uid.as_raw()));
        number_of("user", text, by_name).map(|id| Self(Uid::from_raw(id)))
    }
}

/// A group, by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Group(pub(crate) Gid);

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let by_name = |name: &str| Ok(nix::unistd::Group::from_name(name)?.map(|g| g.gid.as_raw()));
        number_of("group", text, by_name).map(|id| Self(Gid::from_raw(id)))
    }
}

/// A number as it is; a name as the system's databases (`nsswitch.conf`) have it.
fn number_of(
    what: &str,
    text: &str,
    by_name: impl Fn(&str) -> Result<Option<u32>, nix::Error>,
) -> Result<u32, String> {
    match text.parse() {
        // To chown(2), this stands for none.
        Ok(u32::MAX) => Err(format!("{text} is no {what}")),
        Ok(number) => Ok(number),
        Err(_) => match by_name(text) {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(format!("there is no {what} {text:?}")),
            Err(error) => Err(format!("{what} {text:?}: {error}")),
        },
    }
}

macro_rules! from_text {
    ($($name:ty),+) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )+};
}

from_text!(FileMode, Owner, Group);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        let mode = |text: &str| text.parse::<FileMode>().map(|mode| mode.0.as_raw_mode());
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("600"), Ok(0o600));
        assert_eq!(mode("0"), Ok(0));
        for bad in ["", "0o660", "+660", "-1", "1777", "680", "rw", "0660 "] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        let user = |text: &str| text.parse::<Owner>().map(|user| user.0.as_raw());
        let group = |text: &str| text.parse::<Group>().map(|group| group.0.as_raw());
        assert_eq!((user("root"), group("root")), (Ok(0), Ok(0)));
        assert_eq!(
            (user("1234567"), group("7654321")),
            (Ok(1_234_567), Ok(7_654_321))
        );
        for bad in [
            "no-such-name-here",
            "",
            "4294967295",
            "4294967296",
            "-1",
            "a\0b",
        ] {
            assert!(user(bad).is_err() && group(bad).is_err(), "{bad:?}");
        }
    }
}
