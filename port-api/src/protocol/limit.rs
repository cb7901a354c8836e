//! Limits on what passes per second.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most that can be limited to, per second: 10^12 packets or bits; more is no limit on any NIC.
const MOST: u64 = 1_000_000_000_000;
/// Least bits per second.
const LEAST_BITS: u64 = 1000;

/// Most packets per second, most bits per second, or both: `500kpps`, `2.5Gbps`, `1Mpps,1Gbps`; `none`
/// for no limit. k, M and G are powers of 1000. Bits are those of frames, without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// Packets per second, 1 to 10^12.
    pub packets: Option<NonZeroU64>,
    /// Bits per second, 1000 to 10^12.
    pub bits: Option<NonZeroU64>,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self {
        packets: None,
        bits: None,
    };
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut limit = Self::NONE;
        if text == "none" {
            return Ok(limit);
        }
        for part in text.split(',') {
            let (number, field, least) = if let Some(number) = part.strip_suffix("pps") {
                (number, &mut limit.packets, 1)
            } else if let Some(number) = part.strip_suffix("bps") {
                (number, &mut limit.bits, LEAST_BITS)
            } else {
                return Err(format!(
                    "{part:?} is not a limit: such as 500kpps, 2.5Gbps, 1Mpps,1Gbps, none"
                ));
            };
            let number = scaled(number).filter(|number| (least..=MOST).contains(number));
            let number = number.and_then(NonZeroU64::new);
            let number = number.ok_or_else(|| {
                format!("{part:?}: 1pps to 1000Gpps and 1kbps to 1000Gbps are possible")
            })?;
            if field.replace(number).is_some() {
                return Err(format!("{text:?} names one limit twice"));
            }
        }
        Ok(limit)
    }
}

/// A number with an optional k, M or G, and up to nine decimals.
fn scaled(text: &str) -> Option<u64> {
    let scales = [('k', 1_000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let scale = scales.iter().find(|(letter, _)| text.ends_with(*letter));
    let (number, scale) = match scale {
        Some((letter, scale)) => (text.strip_suffix(*letter)?, *scale),
        None => (text, 1),
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
    // The scale is at most 10^9, so that this fits.
    whole.checked_add(decimals * scale / 1_000_000_000)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |number: Option<NonZeroU64>, unit: &str| {
            number.map(|number| format!("{}{unit}", short(number.get())))
        };
        let parts: Vec<_> = [part(self.packets, "pps"), part(self.bits, "bps")]
            .into_iter()
            .flatten()
            .collect();
        if parts.is_empty() {
            f.pad("none")
        } else {
            f.pad(&parts.join(","))
        }
    }
}

/// With the largest of k, M and G that leaves a whole number.
fn short(number: u64) -> String {
    for (letter, scale) in [('G', 1_000_000_000), ('M', 1_000_000), ('k', 1_000)] {
        if number.is_multiple_of(scale) {
            return format!("{}{letter}", number / scale);
        }
    }
    number.to_string()
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn limits_are_read_as_they_are_written() {
        for text in ["none", "500kpps", "2500Mbps", "1Mpps,1Gbps", "7pps,1001bps"] {
            assert_eq!(limit(text).to_string(), text);
        }
        assert_eq!(limit("2.5Gbps"), limit("2500Mbps"));
        assert_eq!(limit("1Gbps,1Mpps"), limit("1Mpps,1Gbps"));
        assert_eq!(limit("0.000001Gpps").packets, NonZeroU64::new(1000));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "5",
            "pps",
            "-1pps",
            "0pps",
            "999bps",
            "1Tbps",
            "2000Gpps",
            "1kpps,2kpps",
            "1kpps,",
            ".5Mpps",
            "1e3pps",
            "99999999999999999999pps",
            "1.0000000001kpps",
        ] {
            assert!(text.parse::<Limit>().is_err(), "{text:?}");
        }
    }
}
