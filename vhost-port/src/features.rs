//! What is offered to front ends: only what the data path does.

use vhost::vhost_user::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use virtio_bindings::virtio_net::{VIRTIO_NET_F_MQ, VIRTIO_NET_F_MTU};

use crate::feature::{DATA_PATH, RING_PACKED};

/// With it, rings start disabled and there are protocol features.
const PROTOCOL: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// Virtio features of a device with so many pairs of queues. QEMU and virtio-user add what needs no help
/// from here: the MAC address, the link's state, the control queue, the MTU's value. Not offered:
/// `VHOST_F_LOG_ALL` (live migration), `VIRTIO_F_ACCESS_PLATFORM` (an IOMMU), `VIRTIO_NET_F_GUEST_TSO4` and
/// its like (frames to the guest are no longer than the wire's).
pub(crate) fn offered(pairs: usize) -> u64 {
    let several = if pairs > 1 { 1 << VIRTIO_NET_F_MQ } else { 0 };
    DATA_PATH | PROTOCOL | 1 << VIRTIO_NET_F_MTU | several
}

/// Whether rings have to be enabled by message.
pub(crate) fn enables_rings(features: u64) -> bool {
    features & PROTOCOL != 0
}

/// Whether rings are packed: then their sizes are any number.
pub(crate) fn is_packed(features: u64) -> bool {
    features & RING_PACKED != 0
}

/// Protocol features. The MTU's is missing because the vhost crate does not know its message (the virtio
/// feature does not need it); `CONFIG`, because QEMU and virtio-user keep a network device's configuration
/// themselves. What carries more memory (in-flight, log, postcopy, memory slots) or another socket is not
/// here either: nothing in this device needs it.
pub(crate) fn protocol() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK
}
