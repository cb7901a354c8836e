//! A device of the crate's, and front ends against it: rust-vmm's, and one that sends what it is told to.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod lab;
pub mod raw;

pub use lab::{Lab, open_files, within};
pub use raw::Raw;

/// Entries of the test's virtqueues.
pub const SIZE: u32 = 256;

/// Where the front end has its memory, in its own addresses.
pub const USER: u64 = 0x7f00_0000_0000;

/// Bytes of a memory region.
pub const REGION: u64 = 1 << 20;

/// Virtio features of a front end that speaks split rings.
pub const SPLIT: u64 = 1 << 32 | 1 << 30 | 1 << 15;

/// With packed rings.
pub const PACKED: u64 = SPLIT | 1 << 34;

/// The address of a part of a ring: 0 descriptors, 1 available ring, 2 used ring.
pub fn part(ring: u32, part: u64) -> u64 {
    USER + (u64::from(ring) * 3 + part) * 0x2000
}
