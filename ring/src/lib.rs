//! One single-producer single-consumer ring over memory that two processes share.
//!
//! Neither side trusts the other. Each keeps its own cursor privately and only *publishes* it;
//! what it reads from the far side is the far side's cursor, whose distance is checked against the
//! capacity, and entries, which are plain integers. A hostile or broken peer can therefore make a
//! ring useless ([`Corrupt`]) but not unsound.
//!
//! The memory model is the usual one (as in `rte_ring`'s SP/SC mode and Linux' `AF_XDP` rings):
//! entries are stored relaxed and published by a release store of the producer's cursor, which the
//! consumer loads with acquire; slots are given back by a release store of the consumer's cursor.
//!
//! The two cursors live on cache lines of their own, 128 bytes apart, since x86 prefetches lines
//! in pairs.

#![cfg_attr(not(test), no_std)]

mod doorbell;
mod entry;
mod prefetch;
mod spsc;
mod step;
mod sync;

pub use doorbell::Doorbells;
pub use entry::Entry;
pub use prefetch::{prefetch_read, prefetch_write};
pub use spsc::{Consumer, Corrupt, MAX_CAPACITY, Producer, bytes, init};
pub use step::step;

/// Alignment in bytes that rings, doorbells and whatever lies beside them in shared memory need.
pub const ALIGN: usize = 128;
