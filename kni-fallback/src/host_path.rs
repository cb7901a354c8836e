//! What the switch sees of the exception path.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use port_api::RingPort;

use crate::Config;
use crate::cidr::Cidr;
use crate::error::Error;
use crate::forward::{Counters, Forwarder, SharedCounters};
use crate::netdev::Netdev;
use crate::waker::Waker;

/// A netdev on the host, and the thread that connects it to the switch.
///
/// The netdev belongs to this value: it vanishes on drop, and with the process, however that ends.
pub struct HostPath {
    name: String,
    netdev: Netdev,
    waker: Waker,
    counters: Arc<SharedCounters>,
    thread: Option<JoinHandle<()>>,
}
