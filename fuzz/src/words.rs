//! Where the words of a ring are in shared memory, for who writes them behind its back.

use ring::ALIGN;

use crate::input::Input;

/// The producer's cursor.
pub const PRODUCER: usize = 0;
/// The consumer's cursor.
pub const CONSUMER: usize = ALIGN;
/// The first slot.
pub const SLOTS: usize = 2 * ALIGN;

/// Any 32 bits.
pub fn wide(input: &mut Input<'_>) -> u32 {
    u32::from(input.word()) << 16 | u32::from(input.word())
}

/// The two words of a 64-bit slot, lower one first.
#[allow(clippy::cast_possible_truncation)] // in halves
pub const fn halves(raw: u64) -> [u32; 2] {
    [raw as u32, (raw >> 32) as u32]
}
