//! Notifications to the driver.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::{Direction, Violation};

/// An eventfd that the peer listens at.
#[derive(Debug)]
pub(crate) struct Call(OwnedFd);

impl Call {
    /// `Err` if it is something else, a pipe for instance, which the peer could let us wait for.
    pub(crate) fn new(fd: OwnedFd, queue: Direction) -> Result<Self, Violation> {
        let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if !name.is_ok_and(|name| name.as_os_str() == "anon_inode:[eventfd]") {
            return Err(Violation::NotEventfd { queue });
        }
        let flags = fcntl_getfl(&fd).unwrap_or(OFlags::empty());
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK).map_err(|_| Violation::NotEventfd { queue })?;
        Ok(Self(fd))
    }

    /// A full counter (`EAGAIN`) is as good as one more.
    pub(crate) fn notify(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}
