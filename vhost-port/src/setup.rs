//! What the protocol's side hands to the data path's side, and how a breach is named.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::Memory;

/// A virtqueue as the front end has described it. Nothing in it has been checked.
#[derive(Debug)]
pub struct QueueSetup {
    /// Entries.
    pub size: u32,
    /// Descriptors, in the front end's own addresses (`VHOST_USER_SET_VRING_ADDR`).
    pub desc: u64,
    /// Available ring (split), or the driver's event suppression (packed).
    pub avail: u64,
    /// Used ring (split), or the device's event suppression (packed).
    pub used: u64,
    /// Where it goes on (`VHOST_USER_SET_VRING_BASE`): split: the available index; packed: bits 0 to 14 the
    /// available index, bit 15 its wrap counter, bits 16 to 30 the used index, bit 31 its wrap counter.
    pub base: u32,
    /// Written to when the device has used buffers and the driver wants to know.
    pub call: Option<OwnedFd>,
}

/// A pair of virtqueues, and what holds for both.
#[derive(Debug)]
pub struct PairSetup {
    /// The memory table in force.
    pub memory: Arc<Memory>,
    /// The virtio features that both sides have agreed on (bits of virtio 1.2, section 5.1.3 and 6).
    pub features: u64,
    /// The queue that the guest receives from, if it is enabled.
    pub rx: Option<QueueSetup>,
    /// The queue that the guest sends into, if it is enabled.
    pub tx: Option<QueueSetup>,
}
