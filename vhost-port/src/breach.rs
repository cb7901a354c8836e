//! Why a connection was ended by this side.

use std::io;

use vhost::vhost_user::message::FrontendReq;

use crate::peek::MAX_FDS;
use crate::{Failure, MemoryError};

/// What a front end did that ended its connection.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// A message of more bytes than any has.
    #[error("{}: a message of {size} bytes", name(*request))]
    Oversized {
        /// As in the header.
        request: u32,
        /// As in the header.
        size: u32,
    },
    /// Another version of the protocol, an answer, or unknown flags.
    #[error("{}: flags {flags:#x} in the header", name(*request))]
    Flags {
        /// As in the header.
        request: u32,
        /// As in the header.
        flags: u32,
    },
    /// A message that ends early or whose rest does not come.
    #[error("a part of a message, and no more")]
    HalfMessage,
    /// More file descriptors than any message has.
    #[error("a message with more than {MAX_FDS} file descriptors")]
    TooManyFds,
    /// It sends requests and does not read the answers.
    #[error("it does not read the answers to its requests")]
    Deaf,
    /// A message that is malformed, unknown or for something that was not negotiated.
    #[error("{}: {error}", name(*request))]
    Message {
        /// As in the header.
        request: u32,
        /// What is wrong with it.
        error: vhost::vhost_user::Error,
    },
    /// `SET_OWNER`, of which there is one in a session.
    #[error("a second SET_OWNER")]
    SecondOwner,
    /// Features that are not in the answer to `GET_FEATURES`.
    #[error("features {0:#x} were not offered")]
    Features(u64),
    /// Other features than those that a running ring was set up with.
    #[error("other features while virtqueue {0} runs")]
    FeaturesWhileRunning(usize),
    /// Protocol features that are not in the answer to `GET_PROTOCOL_FEATURES`.
    #[error("protocol features {0:#x} were not offered")]
    ProtocolFeatures(u64),
    /// The memory table cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A ring that this device does not have.
    #[error("virtqueue {index}, of {rings}")]
    NoSuchRing {
        /// As in the message.
        index: usize,
        /// How many there are.
        rings: usize,
    },
    /// No size for a ring.
    #[error("virtqueue {index}: a size of {size}")]
    RingSize {
        /// Which.
        index: usize,
        /// As in the message.
        size: u32,
    },
    /// A place to go on from that the ring does not have.
    #[error("virtqueue {index}: a base of {base:#x}")]
    RingBase {
        /// Which.
        index: usize,
        /// As in the message.
        base: u32,
    },
    /// Writes to a ring are to be logged, which was not offered.
    #[error("virtqueue {0}: its changes are to be logged")]
    Log(usize),
    /// A ring that is started before it is complete.
    #[error("virtqueue {index} is started before {missing}")]
    Early {
        /// Which.
        index: usize,
        /// The message that should have come.
        missing: &'static str,
    },
    /// What is for notifications is something else than an eventfd.
    #[error("virtqueue {index}: its {what} descriptor is not an eventfd")]
    NotEventfd {
        /// Which.
        index: usize,
        /// kick, call or err.
        what: &'static str,
    },
    /// A request that a network device cannot serve.
    #[error("{0} is not for a network device")]
    Unserved(&'static str),
    /// What the data path found.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// This side's own trouble, such as too many open files.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn name(request: u32) -> String {
    match FrontendReq::try_from(request) {
        Ok(known) => format!("{known:?}"),
        Err(()) => format!("request {request}"),
    }
}
