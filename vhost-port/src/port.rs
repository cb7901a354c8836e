//! What the protocol's thread and the worker threads share of a device.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::{Pair, Violation};

/// How long a worker waits for a pair. Who holds it works on one burst, or is about to take it away.
const PATIENCE: Duration = Duration::from_micros(20);

/// Why a pair cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Not connected, not started, or taken down.
    #[error("the pair of queues is down")]
    Down,
    /// Someone else has it, for longer than a burst should take.
    #[error("the pair of queues is in use")]
    Busy,
    /// This very use ended in a violation, and took the port down.
    #[error("the peer has broken a rule")]
    Failed,
}

/// A violation, and the pair where it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("queue pair {pair}: {violation}")]
pub struct Failure {
    /// Number of the pair.
    pub pair: usize,
    /// What happened there.
    pub violation: Violation,
}

/// On cache lines of its own: workers of different pairs do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    /// A hint: whether it is worth to lock.
    up: AtomicBool,
    pair: Mutex<Option<Pair>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Pair>> {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without a system call while the other side runs.
    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Pair>>> {
        match self.pair.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => self.spin(),
        }
    }

    #[cold]
    fn spin(&self) -> Option<MutexGuard<'_, Option<Pair>>> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            match self.pair.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }
}

/// The queue pairs of a device. The protocol's thread puts and takes them; workers use them, a burst at a
/// time.
#[derive(Debug)]
pub struct Port {
    slots: Box<[Slot]>,
    failure: Mutex<Option<Failure>>,
    wake: OwnedFd,
}

impl Port {
    /// A port for `pairs` pairs of queues, all down.
    ///
    /// # Errors
    /// If the kernel has no eventfd left.
    pub fn new(pairs: usize) -> io::Result<Self> {
        Ok(Self {
            slots: (0..pairs).map(|_| Slot::default()).collect(),
            failure: Mutex::new(None),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// How many pairs there may be.
    pub fn pairs(&self) -> usize {
        self.slots.len()
    }

    /// Whether it is worth to try [`with`](Self::with): a hint that costs one load.
    #[inline]
    pub fn is_up(&self, pair: usize) -> bool {
        let slot = self.slots.get(pair);
        slot.is_some_and(|slot| slot.up.load(Ordering::Relaxed))
    }

    /// Lets a worker use a pair for a burst. A violation in it is [reported](Self::fail).
    ///
    /// # Errors
    /// If the pair is down or in use by others, or if `work` ended in a violation.
    #[inline]
    pub fn with<T>(
        &self,
        pair: usize,
        work: impl FnOnce(&mut Pair) -> Result<T, Violation>,
    ) -> Result<T, Unavailable> {
        let slot = self.slots.get(pair).ok_or(Unavailable::Down)?;
        if !slot.up.load(Ordering::Relaxed) {
            return Err(Unavailable::Down);
        }
        let mut guard = slot.try_lock().ok_or(Unavailable::Busy)?;
        // It may have gone down meanwhile.
        let up = slot.up.load(Ordering::Relaxed);
        let in_use = guard.as_mut().filter(|_| up).ok_or(Unavailable::Down)?;
        work(in_use).map_err(|violation| {
            self.fail(pair, violation);
            Unavailable::Failed
        })
    }

    /// Puts a pair to use. Returns the one that was there; gives `new` back, if there is no such number.
    pub fn put(&self, pair: usize, new: Pair) -> Option<Pair> {
        let Some(slot) = self.slots.get(pair) else {
            return Some(new);
        };
        let mut guard = slot.lock();
        let old = guard.replace(new);
        slot.up.store(true, Ordering::Relaxed);
        old
    }

    /// Takes a pair out of use. When this returns no worker uses it.
    pub fn take(&self, pair: usize) -> Option<Pair> {
        let slot = self.slots.get(pair)?;
        // Before the lock: workers stop coming.
        slot.up.store(false, Ordering::Relaxed);
        slot.lock().take()
    }

    /// Takes all pairs down, records why (the first reason stays), and wakes the protocol's thread. The pairs
    /// themselves stay until they are [taken](Self::take): unmapping is not a worker's job.
    #[cold]
    pub fn fail(&self, pair: usize, violation: Violation) {
        for slot in &self.slots {
            slot.up.store(false, Ordering::Relaxed);
        }
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(Failure { pair, violation });
        drop(failure);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Readable after a [failure](Self::fail), for `poll`. [`failure`](Self::failure) makes it unreadable.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Why the port went down, once.
    pub fn failure(&self) -> Option<Failure> {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
