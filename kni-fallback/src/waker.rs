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
    /// Of a thread that is not parked yet.
    ///
    /// # Errors
    /// As eventfd(2).
    pub fn new() -> Result<Self, Errno> {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::{hint, thread};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const ROUNDS: u64 = 200_000;

    /// A little work, in steps of about a nanosecond: so that the two sides meet at every distance.
    fn dawdle(steps: u64) {
        for step in 0..steps {
            hint::black_box(step);
        }
    }

    /// Waits until `published` is no longer `seen`, parked whenever it is.
    fn wait_for_news(waker: &Waker, published: &AtomicU64, seen: u64) -> u64 {
        dawdle(seen % 311);
        loop {
            waker.park();
            if published.load(Ordering::Relaxed) == seen {
                let mut fds = [PollFd::from_borrowed_fd(waker.event(), PollFlags::IN)];
                let patience = Timespec {
                    tv_sec: 5,
                    tv_nsec: 0,
                };
                let woken = poll(&mut fds, Some(&patience)).unwrap();
                assert_eq!(woken, 1, "the wake-up for {} was lost", seen + 1);
            }
            waker.unpark();
            let now = published.load(Ordering::Relaxed);
            if now != seen {
                return now;
            }
        }
    }

    #[test]
    fn no_wake_up_is_lost() {
        let waker = Waker::new().unwrap();
        let (published, consumed) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            let parker = scope.spawn(|| {
                let mut seen = 0;
                while seen < ROUNDS {
                    seen = wait_for_news(&waker, &published, seen);
                    consumed.store(seen, Ordering::Relaxed);
                }
            });
            for round in 1..=ROUNDS {
                dawdle(round % 97);
                published.store(round, Ordering::Relaxed);
                waker.wake();
                let mut spins = 0u32;
                while consumed.load(Ordering::Relaxed) < round && !parker.is_finished() {
                    // With fewer cores than threads the parker may need this one.
                    spins += 1;
                    if spins.is_multiple_of(1024) {
                        thread::yield_now();
                    }
                    hint::spin_loop();
                }
            }
        });
    }

    #[test]
    fn nobody_parked_no_system_call() {
        let waker = Waker::new().unwrap();
        waker.wake();
        let nothing = rustix::io::read(waker.event(), &mut [0u8; 8]);
        assert_eq!(nothing, Err(Errno::AGAIN));
        waker.park();
        waker.wake();
        waker.wake();
        let mut count = [0u8; 8];
        rustix::io::read(waker.event(), &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1, "one write for both");
    }
}
