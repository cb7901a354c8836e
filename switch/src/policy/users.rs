//! Which users may attach and look, and how much they may have.

use std::fmt;

use serde::Deserialize;

/// Who is at the other end of a connection: the process's effective user and group when it
/// connected, as the kernel has them (`SO_PEERCRED`). Supplementary groups are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl User {
    /// The switch's own.
    pub fn own() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Root, or the user that the switch runs as: they could do everything without asking, too.
    pub fn is_trusted(self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }
}

/// What a user may do, beside claims. Numbers are for all connections of the user together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Become a stack.
    pub attach: bool,
    /// See ports, stacks, claims and counters, and trace frames.
    pub observe: bool,
    /// Most vports.
    pub max_vports: u32,
    /// Most claims.
    pub max_claims: u32,
    /// Most buffers that each vport may hold, per worker; `--quota` if that is less.
    pub quota: u32,
    /// The section that says so, counted from 1; none if no section is for the user.
    section: Option<usize>,
}

/// Connections of a user who may do nothing, and of one who may, besides those of its stacks.
const CONNECTIONS: (usize, usize) = (16, 64);

impl Rights {
    /// Most connections, of a user who is not [trusted](User::is_trusted).
    pub const fn max_connections(&self) -> usize {
        match (self.attach, self.observe) {
            (true, _) => CONNECTIONS.1.saturating_add(self.max_vports as usize),
            (false, true) => CONNECTIONS.1,
            (false, false) => CONNECTIONS.0,
        }
    }

    const fn unlimited(may: bool) -> Self {
        Self {
            attach: may,
            observe: may,
            max_vports: u32::MAX,
            max_claims: u32::MAX,
            quota: u32::MAX,
            section: None,
        }
    }
}

/// What decides, for a message.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.section {
            Some(number) => write!(f, "[[user]] section {number} of the policy"),
            None => f.write_str("no [[user]] section of the policy is for this user"),
        }
    }
}

/// A section of the policy for some users. One that names neither users nor groups is for all but
/// the [trusted](User::is_trusted) ones; one that names both is for those who are of both.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    uids: Option<Vec<u32>>,
    gids: Option<Vec<u32>>,
    #[serde(default)]
    attach: bool,
    #[serde(default)]
    observe: bool,
    max_vports: Option<u32>,
    max_claims: Option<u32>,
    quota: Option<Quota>,
}

/// As `--quota`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
struct Quota(u32);

impl TryFrom<u32> for Quota {
    type Error = String;

    fn try_from(buffers: u32) -> Result<Self, String> {
        if (16..=65_536).contains(&buffers) {
            Ok(Self(buffers))
        } else {
            Err(format!("quota {buffers}: 16 to 65536 is possible"))
        }
    }
}

impl Section {
    fn fits(&self, user: User) -> bool {
        if self.uids.is_none() && self.gids.is_none() {
            return !user.is_trusted();
        }
        let has = |list: &Option<Vec<u32>>, id| list.as_ref().is_none_or(|ids| ids.contains(&id));
        has(&self.uids, user.uid) && has(&self.gids, user.gid)
    }

    fn rights(&self, number: usize) -> Rights {
        Rights {
            attach: self.attach,
            observe: self.observe,
            max_vports: self.max_vports.unwrap_or(u32::MAX),
            max_claims: self.max_claims.unwrap_or(u32::MAX),
            quota: self.quota.map_or(u32::MAX, |quota| quota.0),
            section: Some(number),
        }
    }
}

/// The first section that is for the user decides. If none is, trusted users may do everything,
/// and others nothing.
pub(super) fn rights(sections: &[Section], user: User) -> Rights {
    let mut numbered = (1..).zip(sections);
    match numbered.find(|(_, section)| section.fits(user)) {
        Some((number, section)) => section.rights(number),
        None => Rights::unlimited(user.is_trusted()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::*;

    const ROOT: User = User { uid: 0, gid: 0 };
    const SOMEONE: User = User {
        uid: 12_345,
        gid: 54_321,
    };

    #[test]
    fn without_sections_only_trusted_users_may() {
        let policy = Policy::default();
        let own = User {
            uid: rustix::process::geteuid().as_raw(),
            gid: 54_321,
        };
        for user in [ROOT, own] {
            let rights = policy.rights(user);
            assert!(rights.attach && rights.observe, "{user:?}");
            assert_eq!(rights.max_vports, u32::MAX);
        }
        let none = policy.rights(SOMEONE);
        assert!(!none.attach && !none.observe);
    }

    #[test]
    fn the_first_section_for_the_user_decides() {
        let policy = Policy::parse(
            r"
            [[user]]
            uids = [12345]
            gids = [1]
            attach = true

            [[user]]
            gids = [54321, 54322]
            attach = true
            max-vports = 2
            max-claims = 10
            quota = 64

            [[user]]
            observe = true
            ",
        )
        .unwrap();
        let rights = policy.rights(SOMEONE);
        assert_eq!(
            (rights.attach, rights.observe, rights.quota),
            (true, false, 64)
        );
        assert_eq!((rights.max_vports, rights.max_claims), (2, 10));
        assert!(rights.to_string().contains("section 2"), "{rights}");
        let other = policy.rights(User { uid: 7, gid: 7 });
        assert!(other.observe && !other.attach, "the last is for all");
        let root = policy.rights(ROOT);
        assert!(root.attach, "but for root, which it does not name");
        let named = Policy::parse("[[user]]\nuids = [0]\nobserve = true\n").unwrap();
        assert!(!named.rights(ROOT).attach, "this one does");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for text in [
            "[[user]]\nuids = [0]\nmax-vport = 3\n",
            "[[user]]\nuids = [0]\nquota = 15\n",
            "[[user]]\nuids = [0]\ngids = [\"www-data\"]\n",
            "[[user]]\nuids = [0]\nmax-claims = -1\n",
            "[[user]]\nattach = true\nobserve = \"yes\"\n",
        ] {
            let why = Policy::parse(text).expect_err(text);
            assert!(why.starts_with("line 3: ") && !why.contains('\n'), "{why}");
        }
    }
}
