//! The independent readers.

pub mod etherparse;
pub mod tshark;

use crate::seen::Seen;

/// What a judge makes of a frame.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Well-formed, as far as this judge goes.
    Reads(Seen),
    /// Malformed, and where.
    Refuses(String),
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judge {
    /// The etherparse crate.
    Etherparse,
    /// Wireshark's dissectors.
    Tshark,
}

impl Judge {
    /// As reports show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etherparse => "etherparse",
            Self::Tshark => "tshark",
        }
    }
}
