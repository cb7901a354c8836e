//! Notifications to the driver.

use std::os::fd::{AsFd, OwnedFd};

use crate::aio::Bell;
use crate::{Direction, Violation};

/// An eventfd that the peer listens at.
#[derive(Debug)]
pub(crate) struct Call {
    event: OwnedFd,
    bell: Bell,
}

impl Call {
    /// `Err` if it is something else, a pipe for instance, or if the kernel has no resources left. The peer is
    /// notified once to find out: nobody knows what the device that was here before has not told it.
    pub(crate) fn new(event: OwnedFd, queue: Direction) -> Result<Self, Violation> {
        let mut bell = Bell::new().map_err(|_| Violation::NoResources { queue })?;
        let rung = bell.ring(event.as_fd());
        rung.map_err(|_| Violation::NotEventfd { queue })?;
        Ok(Self { event, bell })
    }

    pub(crate) fn notify(&mut self) {
        // It was an eventfd, and still is: there is nothing that can go wrong.
        let _ = self.bell.ring(self.event.as_fd());
    }
}
