//! What the protocol's side hands to the data path's side, and how a breach is named.

use std::fmt;
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
    /// The queue that the guest receives from, if it is started.
    pub rx: Option<QueueSetup>,
    /// The queue that the guest sends into, if it is started.
    pub tx: Option<QueueSetup>,
}

/// One of the two queues of a pair, by what the guest does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The guest receives: the device writes.
    Receive,
    /// The guest sends: the device reads.
    Send,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receive => "receive queue",
            Self::Send => "send queue",
        })
    }
}

/// A part of a virtqueue (virtio 1.2, sections 2.7 and 2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The descriptors.
    Descriptors,
    /// The driver's part: the available ring, or the driver's event suppression.
    Driver,
    /// The device's part: the used ring, or the device's event suppression.
    Device,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "descriptors",
            Self::Driver => "driver area",
            Self::Device => "device area",
        })
    }
}

/// What a peer has done that no correct peer does. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A size that the ring's format does not allow.
    #[error("{queue}: a size of {size} entries is not allowed")]
    QueueSize {
        /// Where.
        queue: Direction,
        /// What the front end asked for.
        size: u32,
    },
    /// A part of a queue is not wholly inside one region of the memory table.
    #[error("{queue}: its {part} ({len} bytes at {address:#x}) are not in the memory table")]
    RingAddress {
        /// Where.
        queue: Direction,
        /// Which of the three.
        part: Part,
        /// The front end's own address.
        address: u64,
        /// Bytes.
        len: u64,
    },
    /// A part of a queue lies at an odd place.
    #[error("{queue}: its {part} at {address:#x} are not aligned")]
    RingAlignment {
        /// Where.
        queue: Direction,
        /// Which of the three.
        part: Part,
        /// The front end's own address.
        address: u64,
    },
    /// What is to be written to for a notification is no eventfd.
    #[error("{queue}: the descriptor for its notifications is not an eventfd")]
    NotEventfd {
        /// Where.
        queue: Direction,
    },
    /// The kernel has nothing left to notify the driver with (`fs.aio-max-nr`): no breach, but no device either.
    #[error("{queue}: the kernel has no asynchronous I/O left (sysctl fs.aio-max-nr)")]
    NoResources {
        /// Where.
        queue: Direction,
    },
    /// More buffers made available than the queue has entries.
    #[error("{queue}: available index {index} is more than {size} entries ahead of {seen}")]
    AvailableIndex {
        /// Where.
        queue: Direction,
        /// As the driver published it.
        index: u16,
        /// What the device has seen of the ring.
        seen: u16,
        /// Entries of the queue.
        size: u16,
    },
    /// A descriptor that the table does not have.
    #[error("{queue}: descriptor {index} of {size}")]
    DescriptorIndex {
        /// Where.
        queue: Direction,
        /// As the driver wrote it.
        index: u16,
        /// Entries of the table.
        size: u16,
    },
    /// A chain that is a loop, or longer than the queue or than [`MAX_SEGMENTS`](crate::MAX_SEGMENTS).
    #[error("{queue}: a chain of more than {limit} descriptors")]
    ChainTooLong {
        /// Where.
        queue: Direction,
        /// The bound that it broke.
        limit: u32,
    },
    /// A buffer, or an indirect table, outside the guest's memory.
    #[error("{queue}: {len} bytes at {address:#x} are not in the memory table")]
    BufferAddress {
        /// Where.
        queue: Direction,
        /// Guest physical.
        address: u64,
        /// Bytes.
        len: u32,
    },
    /// An indirect table without entries, with a part of one, or with too many.
    #[error("{queue}: an indirect table of {len} bytes")]
    IndirectTable {
        /// Where.
        queue: Direction,
        /// As the driver wrote it.
        len: u32,
    },
    /// An indirect descriptor inside an indirect table, with a next one, or without the feature.
    #[error("{queue}: an indirect descriptor where none may be (flags {flags:#x})")]
    IndirectFlags {
        /// Where.
        queue: Direction,
        /// Of that descriptor.
        flags: u16,
    },
    /// A buffer to write into where the device reads, or the reverse.
    #[error("{queue}: a descriptor for the other direction (flags {flags:#x})")]
    WrongWay {
        /// Where.
        queue: Direction,
        /// Of that descriptor.
        flags: u16,
    },
    /// A buffer or packet with no room for the virtio-net header.
    #[error("{queue}: {len} bytes do not hold the header of {header}")]
    Runt {
        /// Where.
        queue: Direction,
        /// Bytes of the whole chain.
        len: u32,
        /// Bytes that the header has.
        header: u32,
    },
    /// A packet longer than [`MAX_FRAME`](crate::MAX_FRAME).
    #[error("send queue: a packet of {len} bytes")]
    PacketTooLong {
        /// Bytes of the whole chain, the header included.
        len: u64,
    },
    /// The peer has shrunk a file that it had handed over as its memory.
    #[error("a part of the shared memory is gone: its file was truncated")]
    MemoryGone,
}
