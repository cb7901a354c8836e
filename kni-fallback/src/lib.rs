//! The exception path: what no stack has claimed goes to the host kernel, and what the kernel
//! sends goes to the wire.
//!
//! Behind each NIC port stands a TAP netdev with the NIC's own MAC, so that the kernel sees the
//! NIC as if it still had it: ARP, ping, ssh work. (DPDK's KNI, which used to do this, is gone
//! since 23.11.) One thread per netdev moves frames between it and an ordinary vport's rings,
//! and sleeps when there are none.
//!
//! Read in this order: [`HostPath`], `netdev.rs` (how the netdev is made), `forward.rs` (the
//! thread), `waker.rs` (how it sleeps and does not miss a packet).

#![forbid(unsafe_code)]

mod cidr;
mod error;
mod forward;
mod host_path;
mod netdev;
mod waker;

pub use cidr::{Cidr, ParseCidrError};
pub use error::Error;
pub use forward::Counters;
pub use host_path::HostPath;
pub use waker::Waker;

use wire::MacAddr;

/// What the host's netdev is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name, 1 to 15 bytes; no netdev may have it yet.
    pub netdev: String,
    /// The NIC's own address, so that the kernel takes frames that are sent to the NIC.
    pub mac: MacAddr,
    /// In bytes of IP packet: the NIC's own, 68 at least, and 1280 for IPv6.
    pub mtu: u16,
    /// Addresses with their networks, beside the IPv6 link-local one, which the kernel makes.
    pub addresses: Vec<Cidr>,
}
