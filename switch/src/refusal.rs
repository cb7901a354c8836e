//! A "no" to a client, with its reason.

use std::fmt;

use port_api::ClaimSpec;
use port_api::protocol::Reply;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As in errno(3).
    pub errno: i32,
    /// A sentence for the client's user.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(errno: i32, message: impl Into<String>) -> Self {
        Self {
            errno,
            message: message.into(),
        }
    }

    pub(crate) fn in_use(spec: &ClaimSpec, holder: &str) -> Self {
        Self::new(libc::EADDRINUSE, format!("{spec} is in use by {holder}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            errno: refusal.errno,
            message: refusal.message,
        }
    }
}
