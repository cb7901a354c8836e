//! The back end of vhost-user network devices: what a virtual machine's or a virtio-user program's
//! virtio-net device talks to.
//!
//! Nothing that the peer says is believed: every address, length and index is checked against the memory
//! table in force when it is used, what is copied is copied once and judged afterwards, and a breach
//! ([`Violation`]) ends this device's connection and nothing else.

mod setup;

pub use setup::{PairSetup, QueueSetup, Violation};
