//! What the control thread waits for: epoll(7), so that a round costs what there is to do in it, and
//! not what there is to wait for.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use arrayvec::ArrayVec;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Most sources that are looked at in a round; the kernel lets them take turns.
pub const ROUND: usize = 64;

/// Something to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A signal that asks for the end.
    End,
    /// A signal that asks to reload.
    Reload,
    /// A client to be accepted.
    Listener,
    /// A message, or the end, of this peer's connection.
    Said(u64),
    /// The death of this peer's process.
    Died(u64),
}

impl Source {
    const fn number(self) -> u64 {
        match self {
            Self::End => 0,
            Self::Reload => 1,
            Self::Listener => 2,
            Self::Said(id) => id << 2 | 0b11,
            Self::Died(id) => (id + 1) << 2,
        }
    }

    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::End,
            1 => Self::Reload,
            2 => Self::Listener,
            _ if number & 0b11 == 0b11 => Self::Said(number >> 2),
            _ => Self::Died((number >> 2) - 1),
        }
    }
}

/// All that is waited for.
pub struct Watch {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Watch {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(ROUND),
        })
    }

    /// Waits for something to be read from `fd`, or its end.
    ///
    /// # Errors
    /// It is waited for already, or the kernel has no room.
    pub fn add(&self, fd: impl AsFd, source: Source) -> Result<(), Errno> {
        let data = EventData::new_u64(source.number());
        epoll::add(&self.epoll, fd, data, EventFlags::IN)
    }

    /// Waits for `fd` no more, if it did.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until there is something, or `patience` is over.
    pub fn wait(&mut self, patience: Duration) -> ArrayVec<Source, ROUND> {
        self.events.clear();
        let timeout = Timespec::try_from(patience).ok();
        // Interrupted: the signal's pipe will tell the next time.
        let _ = epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        );
        let sources = self.events.iter().take(ROUND);
        sources
            .map(|event| Source::from_number({ event.data }.u64()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn every_source_has_a_number_of_its_own() {
        for source in [
            Source::End,
            Source::Reload,
            Source::Listener,
            Source::Said(0),
            Source::Died(0),
            Source::Said(1),
            Source::Died(1),
            Source::Said(1 << 60),
        ] {
            assert_eq!(Source::from_number(source.number()), source);
        }
    }

    #[test]
    fn what_is_ready_is_said_as_long_as_it_is_waited_for() {
        let mut watch = Watch::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        watch.add(&far, Source::Said(7)).unwrap();
        assert!(watch.wait(Duration::ZERO).is_empty());
        near.write_all(b"x").unwrap();
        assert_eq!(watch.wait(Duration::ZERO)[..], [Source::Said(7)]);
        assert_eq!(watch.wait(Duration::ZERO)[..], [Source::Said(7)]);
        watch.remove(&far);
        drop(near);
        assert!(watch.wait(Duration::ZERO).is_empty());
    }
}
