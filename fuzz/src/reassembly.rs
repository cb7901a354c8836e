//! The bytes of a packet that have passed, one by one.

use switch::verdict::{DropReason, Owner};
use wire::Fragment;

/// Separate runs of bytes that the switch remembers of a packet.
const RUNS: u32 = 8;

/// A packet that is under way.
#[derive(Clone)]
pub struct Packet {
    /// Who gets it.
    pub owner: Owner,
    /// When its first fragment passed, in ms.
    pub since_ms: u64,
    /// A bit for each byte, as far as any has passed.
    passed: Vec<u64>,
    len: Option<usize>,
    spoilt: bool,
}

impl Packet {
    /// None of whose bytes has passed.
    pub fn new(owner: Owner, since_ms: u64) -> Self {
        Self {
            owner,
            since_ms,
            passed: vec![],
            len: None,
            spoilt: false,
        }
    }

    /// A fragment passes, all of its bytes for the first time, or does not.
    ///
    /// # Errors
    /// Why not.
    pub fn pass(&mut self, fragment: &Fragment) -> Result<(), DropReason> {
        let (start, end) = (
            usize::from(fragment.offset),
            usize::from(fragment.offset) + usize::from(fragment.len),
        );
        if self.spoilt {
            return Err(DropReason::FragmentOverlap);
        }
        self.passed.resize(self.passed.len().max(end / 64 + 1), 0);
        let known: u32 = words(start, end)
            .map(|(at, bits)| (self.passed[at] & bits).count_ones())
            .sum();
        if known as usize == end - start {
            return Err(DropReason::FragmentDuplicate);
        }
        let is_last = !fragment.more;
        let contradicts = match self.len {
            Some(len) => end > len || is_last && end != len,
            None => is_last && self.highest().is_some_and(|highest| highest >= end),
        };
        words(start, end).for_each(|(at, bits)| self.passed[at] |= bits);
        if known > 0 || contradicts || self.runs() > RUNS {
            self.spoilt = true;
            return Err(DropReason::FragmentOverlap);
        }
        if is_last {
            self.len = Some(end);
        }
        Ok(())
    }

    /// All its bytes have passed.
    pub fn is_whole(&self) -> bool {
        let count: u32 = self.passed.iter().map(|word| word.count_ones()).sum();
        !self.spoilt && self.len == Some(count as usize)
    }

    fn highest(&self) -> Option<usize> {
        let word = self.passed.iter().rposition(|word| *word != 0)?;
        Some(word * 64 + 63 - self.passed[word].leading_zeros() as usize)
    }

    fn runs(&self) -> u32 {
        let mut before = 0;
        let starts = self.passed.iter().map(|word| {
            let starts = word & !(word << 1 | before);
            before = word >> 63;
            starts.count_ones()
        });
        starts.sum()
    }
}

/// The bits of `start..end`, word by word.
fn words(start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
    let below = |bit: usize| if bit >= 64 { u64::MAX } else { (1 << bit) - 1 };
    (start / 64..end.div_ceil(64)).map(move |at| {
        let first = at * 64;
        let bits = below(end - first) & !below(start.saturating_sub(first));
        (at, bits)
    })
}
