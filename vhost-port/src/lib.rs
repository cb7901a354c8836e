//! The back end of vhost-user network devices: what a virtual machine's or a virtio-user program's
//! virtio-net device talks to.
//!
//! Nothing that the peer says is believed: every address, length and index is checked against the memory
//! table in force when it is used, what is copied is copied once and judged afterwards, and a breach
//! ([`Violation`]) ends this device's connection and nothing else.
//!
//! What other back ends have been broken with (DPDK's lib/vhost, if nothing else is said), and what is done here:
//!
//! | | what it was | here |
//! |---|---|---|
//! | CVE-2018-1059 | only the start of a buffer was checked | `tests/memory.rs` |
//! | CVE-2019-14818 | descriptors of surplus messages leaked | `tests/breaches` |
//! | CVE-2020-10722 | offset plus size of a region overflowed | `tests/memory.rs` |
//! | CVE-2020-10723 | a ring index was cut to 16 bits, then checked | `tests/violations` |
//! | CVE-2020-10724 | vhost-crypto | there is none |
//! | CVE-2020-10725 | a descriptor's address was not checked | `tests/violations` |
//! | CVE-2020-10726 | descriptors of in-flight messages leaked | not offered; `tests/breaches` |
//! | CVE-2020-14374, 14376 to 14378 | vhost-crypto | there is none |
//! | CVE-2020-14375 | vhost-crypto: read, checked, read again | all is read once; `tests/hostile.rs` |
//! | CVE-2022-0669 | descriptors of in-flight messages leaked | not offered; `tests/breaches` |
//! | CVE-2022-2132 | a header over several descriptors; a loop | `tests/violations` |
//! | CVE-2024-11614 | a checksum's place outside the packet | `tests/gso.rs` |
//! | 2026-10 | a region longer than its file was mapped | `tests/memory.rs` |
//! | 2026-10 | offsets of dirty log and in-flight memory | neither is offered; `tests/breaches` |
//! | 2026-10 | receive buffers shorter than the header | `tests/violations` |
//! | 2026-10 | entries of indirect tables were read twice | `tests/hostile.rs` |
//! | | an eventfd whose counter is full makes its writer wait | `aio.rs`, `tests/notify.rs` |
//! | | a file that is truncated later (SIGBUS) | `memory/fault.rs`, `tests/memory.rs` |
//!
//! The data path, in the order to read it: `memory.rs` (all `unsafe` is there and in `aio.rs`), `ring.rs`, `split.rs`,
//! `packed.rs`, `queue.rs`, `pair.rs` with `receive.rs` and `send.rs`, `port.rs`, `gso.rs`. The protocol:
//! `device.rs`, `server.rs`, `session.rs`, `peek.rs`, `backend.rs`, `vring.rs`.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod aio;
mod backend;
mod breach;
mod call;
mod device;
mod early;
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
pub use device::{
    DEFAULT_ACCESS, Device, DeviceEvent, DeviceSetup, DeviceStatus, Mode, StartError,
};
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
