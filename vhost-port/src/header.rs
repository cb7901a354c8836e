//! `struct virtio_net_hdr` (virtio 1.2, section 5.1.6), and the features that this data path knows.

use virtio_bindings::virtio_net::{
    VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_ECN,
    VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
};

use crate::gso::{Gso, GsoKind, NeedsChecksum};

/// Feature bits, as masks.
pub mod feature {
    use virtio_bindings::{virtio_config as config, virtio_net as net, virtio_ring as ring};

    /// The device finishes checksums.
    pub const CSUM: u64 = 1 << net::VIRTIO_NET_F_CSUM;
    /// The driver takes frames whose checksums have been verified.
    pub const GUEST_CSUM: u64 = 1 << net::VIRTIO_NET_F_GUEST_CSUM;
    /// The device segments TCP over IPv4.
    pub const HOST_TSO4: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO4;
    /// The device segments TCP over IPv6.
    pub const HOST_TSO6: u64 = 1 << net::VIRTIO_NET_F_HOST_TSO6;
    /// The device segments TCP with ECN.
    pub const HOST_ECN: u64 = 1 << net::VIRTIO_NET_F_HOST_ECN;
    /// A frame may be spread over several receive buffers.
    pub const MRG_RXBUF: u64 = 1 << net::VIRTIO_NET_F_MRG_RXBUF;
    /// No assumption about how a packet is spread over descriptors.
    pub const ANY_LAYOUT: u64 = 1 << config::VIRTIO_F_ANY_LAYOUT;
    /// Indirect tables.
    pub const INDIRECT_DESC: u64 = 1 << ring::VIRTIO_RING_F_INDIRECT_DESC;
    /// Event indexes.
    pub const EVENT_IDX: u64 = 1 << ring::VIRTIO_RING_F_EVENT_IDX;
    /// Virtio 1.0 and later.
    pub const VERSION_1: u64 = 1 << config::VIRTIO_F_VERSION_1;
    /// Packed virtqueues.
    pub const RING_PACKED: u64 = 1 << config::VIRTIO_F_RING_PACKED;
    /// Buffers are used in order.
    pub const IN_ORDER: u64 = 1 << config::VIRTIO_F_IN_ORDER;

    /// All that this data path implements. What else a device may offer (MAC, MTU, several pairs, link
    /// status) is the protocol's.
    pub const DATA_PATH: u64 = CSUM
        | GUEST_CSUM
        | HOST_TSO4
        | HOST_TSO6
        | HOST_ECN
        | MRG_RXBUF
        | ANY_LAYOUT
        | INDIRECT_DESC
        | EVENT_IDX
        | VERSION_1
        | RING_PACKED
        | IN_ORDER;
}

/// Bytes of the header with `num_buffers`.
pub(crate) const LONG: usize = 12;
/// Bytes of the header without: neither virtio 1.0 nor mergeable buffers.
pub(crate) const SHORT: usize = 10;

pub(crate) fn has(features: u64, bit: u64) -> bool {
    features & bit != 0
}

/// Bytes of the header under these features (section 5.1.6.1).
pub(crate) fn header_len(features: u64) -> usize {
    if has(features, feature::VERSION_1 | feature::MRG_RXBUF) {
        LONG
    } else {
        SHORT
    }
}

/// The header of a frame for the guest.
#[inline(always)]
pub(crate) fn to_guest(data_valid: bool, buffers: u16) -> [u8; LONG] {
    let flags = if data_valid {
        VIRTIO_NET_HDR_F_DATA_VALID
    } else {
        0
    };
    let [low, high] = buffers.to_le_bytes();
    let [flags, ..] = flags.to_le_bytes();
    [flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high]
}

/// What a guest asks for with a packet.
#[inline(always)]
pub(crate) fn from_guest(
    header: &[u8; SHORT],
    features: u64,
) -> (Option<NeedsChecksum>, Option<Gso>) {
    // A driver that has negotiated nothing need not have written it (DPDK's lib/vhost does not look either).
    let wanted = features & (feature::CSUM | feature::HOST_TSO4 | feature::HOST_TSO6) != 0;
    let [flags, kind, ..] = *header;
    if !wanted || (flags, kind) == (0, 0) {
        return (None, None);
    }
    offloads(header, features)
}

#[inline]
fn offloads(header: &[u8; SHORT], features: u64) -> (Option<NeedsChecksum>, Option<Gso>) {
    let [flags, kind, _, _, s0, s1, c0, c1, o0, o1] = *header;
    let needs = u32::from(flags) & VIRTIO_NET_HDR_F_NEEDS_CSUM != 0;
    let checksum = needs.then_some(NeedsChecksum {
        start: u16::from_le_bytes([c0, c1]),
        offset: u16::from_le_bytes([o0, o1]),
    });
    let ecn = u32::from(kind) & VIRTIO_NET_HDR_GSO_ECN != 0;
    let plain = u32::from(kind) & !VIRTIO_NET_HDR_GSO_ECN;
    let offered = |bit| has(features, bit) && (!ecn || has(features, feature::HOST_ECN));
    let kind = match plain {
        VIRTIO_NET_HDR_GSO_NONE => return (checksum, None),
        VIRTIO_NET_HDR_GSO_TCPV4 if offered(feature::HOST_TSO4) => GsoKind::TcpV4,
        VIRTIO_NET_HDR_GSO_TCPV6 if offered(feature::HOST_TSO6) => GsoKind::TcpV6,
        _ => GsoKind::NotOffered(kind),
    };
    let size = u16::from_le_bytes([s0, s1]);
    (checksum, Some(Gso { kind, size }))
}
