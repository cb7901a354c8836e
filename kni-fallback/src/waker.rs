//! How the exception path's thread sleeps without missing a packet.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Wakes the exception path's thread; see [`wake`](Self::wake).
///
/// The two sides are a Dekker pair: a worker publishes packets, then looks whether the thread is
/// parked; the thread says that it is parked, then looks for packets. With a full fence between
/// the two steps on both sides, at least one of them sees the other, so no wake-up is lost.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parked: AtomicBool,
    stop: AtomicBool,
    event: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(Arc::new(Shared {
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })))
    }

    /// To be called after packets for the host were published, or its vport was closed.
    ///
    /// A fence and a load; only if the thread is parked, one write to an eventfd, by one of those
    /// who call at the same time.
    #[inline]
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.0.parked.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        if self.0.parked.swap(false, Ordering::Relaxed) {
            // Can fail only if the counter is full: then the thread wakes up all the same.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
    }

    /// Asks the thread to end.
    pub(crate) fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Thread: whether it was asked to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Thread: from here on `wake` makes [`event`](Self::event) readable. Everything that it may
    /// have been called for before is to be looked at after this.
    pub(crate) fn park(&self) {
        self.0.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Thread: it is awake. A write that is still on its way costs one empty round later on.
    pub(crate) fn unpark(&self) {
        self.0.parked.store(false, Ordering::Relaxed);
        // Empty already if nobody rang.
        let _ = rustix::io::read(&self.0.event, &mut [0u8; 8]);
    }

    /// What to wait for while parked.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
