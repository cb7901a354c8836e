//! Vports over vhost-user sockets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Limit, Wanted};

/// A vport that a program or a virtual machine is to attach to over a vhost-user socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// As of [`Request::Attach`](super::Request::Attach); no other vhost vport's.
    pub name: String,
    /// The socket.
    pub path: PathBuf,
    /// Connect to it, again and again, instead of listening there.
    pub client: bool,
    /// DPDK port id of the NIC port through which it sends.
    pub nic: u8,
    /// What it may receive per second; the switch's `--rx-limit` if none.
    pub rx: Option<Limit>,
    /// What it may send per second; the switch's `--tx-limit` if none.
    pub tx: Option<Limit>,
    /// What it claims, all or nothing; up to [`MAX_BATCH`](super::MAX_BATCH).
    pub claims: Vec<Wanted>,
}

/// What is at the other end of a vhost-user socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostRow {
    /// The socket.
    pub path: PathBuf,
    /// Someone has connected.
    pub connected: bool,
    /// Its driver has set up a pair of queues.
    pub ready: bool,
    /// The virtio features in force, as bits (virtio 1.2, 5.1.3 and 6).
    pub features: u64,
    /// Connections so far.
    pub connections: u64,
    /// What the last connection ended with, if it broke a rule.
    pub violation: Option<String>,
}
