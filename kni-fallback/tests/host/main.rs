//! The exception path with a real kernel behind it, each test in a network namespace of its own:
//! they need root, and no DPDK.

#![forbid(unsafe_code)]

mod common;
mod forward;
mod frames;
mod netdev;
