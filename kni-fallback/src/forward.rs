//! The thread that moves frames between the netdev and the rings.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use port_api::{Burst, Packet, RingPort};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Config;
use crate::netdev::Netdev;
use crate::waker::Waker;

/// How long to wait before looking again for what no one announces: empty buffers, and room in
/// the tx ring. The kernel's queue of 1000 frames bridges it.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000,
};

/// Bursts that are delivered after the end was asked for, at most.
const LAST_BURSTS: usize = 1024;

/// From one try to make a lost netdev anew to the next: time to settle for who removed it.
const RENEW_AFTER: Duration = Duration::from_millis(500);

/// What the exception path has moved. In frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The kernel took them.
    pub to_kernel: u64,
    /// The kernel did not take them, and they were discarded: the netdev is down, gone or short of
    /// memory, or the frame is shorter than an Ethernet header.
    pub refused: u64,
    /// The kernel sent them, and the switch has them.
    pub from_kernel: u64,
}

/// [`Counters`], written by the thread and read by anyone.
#[derive(Debug, Default)]
pub struct SharedCounters {
    to_kernel: AtomicU64,
    refused: AtomicU64,
    from_kernel: AtomicU64,
}

impl SharedCounters {
    pub fn load(&self) -> Counters {
        Counters {
            to_kernel: self.to_kernel.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            from_kernel: self.from_kernel.load(Ordering::Relaxed),
        }
    }
}

/// One writer, so no read-modify-write is needed.
fn add(counter: &AtomicU64, count: usize) {
    counter.store(
        counter.load(Ordering::Relaxed) + count as u64,
        Ordering::Relaxed,
    );
}

/// What the thread owns.
pub struct Forwarder {
    config: Config,
    /// None while it is lost.
    netdev: Option<Netdev>,
    index: Arc<AtomicU32>,
    rings: RingPort,
    waker: Waker,
    counters: Arc<SharedCounters>,
    to_kernel: Burst,
    /// Read from the kernel; what a full tx ring left over goes first next time.
    from_kernel: Burst,
    /// A buffer for the next frame from the kernel, left from a read that found none.
    spare: Option<Packet>,
    /// No buffer was there to read into.
    starved: bool,
    /// poll(2) saw a frame from the kernel, and nothing was read since.
    readable: bool,
    /// When a lost netdev is to be made anew.
    renew_at: Instant,
    /// Why it could not be, the last time.
    failure: String,
}

impl Forwarder {
    pub fn new(
        config: Config,
        netdev: Netdev,
        index: Arc<AtomicU32>,
        rings: RingPort,
        waker: Waker,
        counters: Arc<SharedCounters>,
    ) -> Self {
        Self {
            config,
            netdev: Some(netdev),
            index,
            rings,
            waker,
            counters,
            to_kernel: Burst::new(),
            from_kernel: Burst::new(),
            spare: None,
            starved: false,
            readable: false,
            renew_at: Instant::now(),
            failure: String::new(),
        }
    }

    /// Moves frames until it is asked to stop or the vport is closed.
    pub fn run(mut self) {
        while self.goes_on() {
            let delivered = self.deliver();
            let collected = self.collect();
            if !delivered && !collected {
                self.sleep();
            }
            if self.netdev.is_none() {
                self.renew();
            }
        }
        // What came before the end; nothing can keep it coming for ever.
        for _ in 0..LAST_BURSTS {
            if !self.deliver() {
                break;
            }
        }
        self.from_kernel.extend(self.spare.take());
        self.rings.release(&mut self.from_kernel);
    }

    fn goes_on(&self) -> bool {
        !self.waker.is_stopped() && self.rings.is_open()
    }

    /// A burst from the rings to the kernel. True if there was any.
    fn deliver(&mut self) -> bool {
        let count = self.rings.rx_burst(&mut self.to_kernel);
        if count == 0 {
            return false;
        }
        let taken = self.netdev.as_ref().map_or(0, |netdev| {
            let frames = self.to_kernel.iter();
            // Whatever the kernel's reason, there is no one to tell: a NIC drops too.
            frames
                .filter(|packet| rustix::io::write(&netdev.fd, packet.data()).is_ok())
                .count()
        });
        add(&self.counters.to_kernel, taken);
        add(&self.counters.refused, count - taken);
        self.rings.release(&mut self.to_kernel);
        true
    }

    /// A burst from the kernel to the rings. True if there was any.
    fn collect(&mut self) -> bool {
        self.starved = false;
        while let Some(netdev) = &self.netdev
            && !self.from_kernel.is_full()
        {
            let Some(mut packet) = self.spare.take().or_else(|| self.rings.alloc()) else {
                self.starved = true;
                break;
            };
            self.readable = false;
            match read_frame(&netdev.fd, &mut packet) {
                Ok(()) => self.from_kernel.push(packet),
                Err(error) => {
                    self.spare = Some(packet);
                    if !matches!(error, Errno::AGAIN | Errno::INTR) {
                        self.lose(error);
                    }
                    break;
                }
            }
        }
        let sent = self.rings.tx_burst(&mut self.from_kernel);
        add(&self.counters.from_kernel, sent);
        sent > 0
    }

    fn lose(&mut self, error: Errno) {
        self.netdev = None;
        self.renew_at = Instant::now() + RENEW_AFTER;
        self.failure.clear();
        tracing::warn!(
            "the netdev {} is gone ({error}): packets for the host are discarded until it is made anew",
            self.config.netdev
        );
    }

    /// Makes a lost netdev anew, once it is time; says why not, once for each reason.
    fn renew(&mut self) {
        if Instant::now() < self.renew_at {
            return;
        }
        match Netdev::create(&self.config) {
            Ok(netdev) => {
                tracing::warn!(
                    "the netdev {} is there again, with the addresses that it had at the start; routes \
                     over it are to be set again",
                    self.config.netdev
                );
                self.index.store(netdev.index, Ordering::Relaxed);
                self.netdev = Some(netdev);
            }
            Err(error) => {
                self.renew_at = Instant::now() + RENEW_AFTER;
                let failure = error.to_string();
                if failure != self.failure {
                    tracing::warn!("{failure}");
                    self.failure = failure;
                }
            }
        }
    }

    /// Sleeps until there is something to do.
    fn sleep(&mut self) {
        self.waker.park();
        if !self.deliver() && self.goes_on() {
            self.wait();
        }
        self.waker.unpark();
    }

    fn wait(&mut self) {
        // Without buffers, a frame that waits in the kernel must not wake the thread again and
        // again; nor is there a point in reading it before the last ones have gone.
        let stuck = !self.from_kernel.is_empty() || (self.starved && self.readable);
        let Some(netdev) = &self.netdev else {
            return self.wait_to_renew();
        };
        let timeout = stuck.then_some(&LOOK_AGAIN);
        let mut fds = [
            PollFd::from_borrowed_fd(self.waker.event(), PollFlags::IN),
            PollFd::from_borrowed_fd(netdev.fd.as_fd(), PollFlags::IN),
        ];
        let watched = if stuck { 1 } else { 2 };
        if poll(&mut fds[..watched], timeout).is_err() {
            return;
        }
        let tap = fds[1].revents();
        self.readable |= tap.contains(PollFlags::IN);
        if tap.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            self.lose(Errno::BADFD);
        }
    }

    /// Until packets come for the host, to be discarded, or it is time.
    fn wait_to_renew(&self) {
        let left = self.renew_at.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(self.waker.event(), PollFlags::IN)];
        // Interrupted: the next round comes here again.
        let _ = poll(&mut fds, Some(&timeout));
    }
}

/// Reads one frame. One that is longer than the buffer would be cut off by the kernel.
fn read_frame(tap: &OwnedFd, packet: &mut Packet) -> Result<(), Errno> {
    resize(packet, packet.capacity());
    let len = rustix::io::read(tap, packet.data_mut())?;
    resize(packet, len);
    Ok(())
}

fn resize(packet: &mut Packet, len: usize) {
    let fits = packet.set_len(len);
    debug_assert!(fits);
}
