//! The back end of vhost-user network devices: what a virtual machine's or a virtio-user program's
//! virtio-net device talks to.
//!
//! Nothing that the peer says is believed: every address, length and index is checked against the memory
//! table in force when it is used, what is copied is copied once and judged afterwards, and a breach
//! ([`Violation`]) ends this device's connection and nothing else.
//!
//! The data path, in the order to read it: `memory.rs` (all `unsafe` is there), `ring.rs`, `split.rs`,
//! `packed.rs`, `queue.rs`, `pair.rs` with `receive.rs` and `send.rs`, `port.rs`, `gso.rs`. The protocol:
//! `device.rs`, `server.rs`, `session.rs`, `peek.rs`, `backend.rs`, `vring.rs`.

#![deny(unsafe_code)]

mod backend;
mod breach;
mod call;
mod device;
mod early;
mod endpoint;
mod features;
mod gso;
mod header;
#[allow(unsafe_code)]
mod memory;
mod pace;
mod packed;
mod pair;
mod peek;
mod port;
mod queue;
mod receive;
mod report;
mod ring;
mod send;
mod server;
mod session;
mod setup;
mod split;
mod vring;

pub use breach::Breach;
pub use device::{Device, DeviceEvent, DeviceSetup, DeviceStatus, Mode, StartError};
pub use endpoint::Access;
pub use gso::{
    BadOffload, Gso, GsoKind, MIN_GSO_SIZE, NeedsChecksum, Segmented, complete_checksum,
};
pub use header::feature;
pub use memory::{MAX_REGIONS, Memory, MemoryError, Region};
pub use pair::{Bases, Frame, Pair};
pub use port::{Failure, Port, Unavailable};
pub use receive::Received;
pub use ring::MAX_SEGMENTS;
pub use send::{MAX_FRAME, Next, Sent};
pub use session::{End, play};
pub use setup::{Direction, PairSetup, Part, QueueSetup, Violation};

// Rings hold little-endian numbers, and this crate reads them as the machine's own.
const _: () = assert!(cfg!(target_endian = "little"));
