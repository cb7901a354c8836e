//! The safe wrapper over DPDK: everything that multistack asks of EAL, ethdev, mbuf, mempool and
//! memzone, and nothing else.
//!
//! One process has at most one [`Eal`]. The primary makes the one packet pool ([`Mempool`]) and
//! owns the ports; a [`Ledger`] says which buffers are lent to stacks. A secondary looks up
//! memzones and touches neither pool nor port (DPDK's shared pools and drivers do not survive the
//! death of a process that was in the middle of a call).

pub mod cpu;
pub mod eal;
pub mod errno;
pub mod ethdev;
pub mod lcore;
pub mod ledger;
pub mod mbuf;
pub mod mempool;
pub mod memzone;
pub mod threads;

mod bounded;
mod capture;
mod cleanup;
mod eal_args;
mod eal_error;
mod eal_init;
mod huge;
mod port;
mod queue;

pub use eal::{Eal, EalError};
pub use errno::Error;
pub use huge::HugeSlice;
pub use ledger::{Ledger, Lent, Owner, WorkerLedger};
pub use mbuf::{BURST, Burst, Mbuf, free_bulk};
pub use mempool::{Mempool, PoolLayout};
pub use memzone::Memzone;
