//! Why the primary does not run.

use std::io;
use std::path::PathBuf;

use dpdk::EalError;

use crate::workers::Stuck;

/// Why the primary did not start, or ended early: one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// EAL's initialisation.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// DPDK.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// The exception path.
    #[error(transparent)]
    Host(#[from] kni_fallback::Error),
    /// The control socket.
    #[error("control socket {}: {source}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another system call.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked for does not go together.
    #[error("{0}")]
    Setup(String),
    /// A defect.
    #[error(transparent)]
    Stuck(#[from] Stuck),
}

pub(crate) fn setup(message: impl Into<String>) -> RunError {
    RunError::Setup(message.into())
}
