//! What the front end has said about a virtqueue.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::features::is_packed;
use crate::{Breach, QueueSetup};

/// Entries of a virtqueue, at most (virtio 1.2, sections 2.7 and 2.8.10.1).
const MAX_SIZE: u32 = 1 << 15;

/// Where a ring's parts are, in the front end's own addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) desc: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
}

/// A virtqueue, as far as it has been described.
#[derive(Debug, Default)]
pub(crate) struct Vring {
    size: Option<u32>,
    addresses: Option<Addresses>,
    base: u32,
    call: Option<OwnedFd>,
    /// Between `SET_VRING_KICK` and `GET_VRING_BASE`.
    is_started: bool,
    /// As told by `SET_VRING_ENABLE`.
    is_enabled: bool,
}

impl Vring {
    pub(crate) fn set_size(
        &mut self,
        index: usize,
        size: u32,
        features: u64,
    ) -> Result<(), Breach> {
        let is_sound =
            (1..=MAX_SIZE).contains(&size) && (is_packed(features) || size.is_power_of_two());
        if !is_sound {
            return Err(Breach::RingSize { index, size });
        }
        self.size = Some(size);
        Ok(())
    }

    pub(crate) fn set_addresses(&mut self, addresses: Addresses) {
        self.addresses = Some(addresses);
    }

    /// Split: the available index. Packed: see [`QueueSetup::base`].
    pub(crate) fn set_base(
        &mut self,
        index: usize,
        base: u32,
        features: u64,
    ) -> Result<(), Breach> {
        if !is_packed(features) && base > u32::from(u16::MAX) {
            return Err(Breach::RingBase { index, base });
        }
        self.base = base;
        Ok(())
    }

    /// Where the data path has stopped.
    pub(crate) fn stopped_at(&mut self, base: u32) {
        self.base = base;
    }

    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    pub(crate) fn set_call(&mut self, call: Option<OwnedFd>) {
        self.call = call;
    }

    /// From now on the data path has it.
    pub(crate) fn start(&mut self, index: usize) -> Result<(), Breach> {
        let missing = match (self.size, self.addresses) {
            (None, _) => "SET_VRING_NUM",
            (_, None) => "SET_VRING_ADDR",
            _ => {
                self.is_started = true;
                return Ok(());
            }
        };
        Err(Breach::Early { index, missing })
    }

    pub(crate) fn stop(&mut self) {
        self.is_started = false;
    }

    pub(crate) fn is_started(&self) -> bool {
        self.is_started
    }

    pub(crate) fn enable(&mut self, is_enabled: bool) {
        self.is_enabled = is_enabled;
    }

    /// Whether it may do more than discard, if that has to be said.
    pub(crate) fn is_enabled(&self, has_to_be_enabled: bool) -> bool {
        self.is_enabled || !has_to_be_enabled
    }

    /// For the data path, if it is started.
    pub(crate) fn setup(&self) -> io::Result<Option<QueueSetup>> {
        let (true, Some(size), Some(at)) = (self.is_started, self.size, self.addresses) else {
            return Ok(None);
        };
        Ok(Some(QueueSetup {
            size,
            desc: at.desc,
            avail: at.avail,
            used: at.used,
            base: self.base,
            call: self.call.as_ref().map(OwnedFd::try_clone).transpose()?,
        }))
    }
}

/// An eventfd of the peer's, or nothing. Anything else could make the write of a notification wait.
pub(crate) fn eventfd(
    index: usize,
    what: &'static str,
    file: Option<File>,
) -> Result<Option<OwnedFd>, Breach> {
    let Some(file) = file else {
        return Ok(None);
    };
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if link.as_os_str() != "anon_inode:[eventfd]" {
        return Err(Breach::NotEventfd { index, what });
    }
    // The vhost crate receives descriptors that a child process would inherit.
    fcntl_setfd(file.as_fd(), FdFlags::CLOEXEC).map_err(io::Error::from)?;
    Ok(Some(file.into()))
}
