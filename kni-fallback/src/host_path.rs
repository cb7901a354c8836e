//! What the switch sees of the exception path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use port_api::RingPort;

use crate::Config;
use crate::cidr::Cidr;
use crate::error::Error;
use crate::forward::{Counters, Forwarder, SharedCounters};
use crate::netdev::{Netdev, addresses};
use crate::waker::Waker;

/// A netdev on the host, and the thread that connects it to the switch.
///
/// The netdev belongs to this value: it vanishes on drop, and with the process, however that ends.
pub struct HostPath {
    config: Config,
    /// Until the thread has it.
    netdev: Option<Netdev>,
    /// The netdev's number; another one once it was made anew.
    index: Arc<AtomicU32>,
    waker: Waker,
    counters: Arc<SharedCounters>,
    thread: Option<JoinHandle<()>>,
}

impl HostPath {
    /// Makes the TAP netdev, gives it the MAC, the MTU and the addresses, and takes it up, in the
    /// calling thread's network namespace. Frames begin to move with [`start`](Self::start).
    ///
    /// IPv6 addresses, the link-local one included, go through duplicate address detection as
    /// usual (RFC 4862), which takes one to two seconds from `start` on; until then the kernel lets
    /// no socket bind to them (`EADDRNOTAVAIL`).
    ///
    /// # Errors
    /// See [`Error`]. Nothing is left behind.
    ///
    /// # Panics
    /// In a thread that runs an async runtime.
    pub fn create(config: &Config) -> Result<Self, Error> {
        let waker = Waker::new().map_err(|errno| Error::System {
            what: "making an eventfd",
            source: errno.into(),
        })?;
        let netdev = Netdev::create(config)?;
        Ok(Self {
            config: config.clone(),
            index: Arc::new(AtomicU32::new(netdev.index)),
            netdev: Some(netdev),
            waker,
            counters: Arc::default(),
            thread: None,
        })
    }

    /// Starts to move frames, in a thread with the caller's CPU affinity that is named `ms-host`
    /// and the number at the end of the netdev's name. It ends with [`stop`](Self::stop), or when
    /// the vport is closed and the [`Waker`] called. A netdev that someone removes is made anew as it
    /// was at the start, within a second; frames for it are discarded meanwhile.
    ///
    /// A frame from the kernel that is longer than [`Packet::capacity`](port_api::Packet::capacity) would be
    /// cut off by it. With the NIC's MTU on the netdev, and pool buffers that hold what the NIC
    /// receives, there is none.
    ///
    /// # Errors
    /// [`Error::Started`], or [`Error::System`] if there can be no more threads.
    pub fn start(&mut self, rings: RingPort) -> Result<(), Error> {
        let Some(netdev) = self.netdev.take() else {
            return Err(Error::Started {
                netdev: self.config.netdev.clone(),
            });
        };
        let forwarder = Forwarder::new(
            self.config.clone(),
            netdev,
            Arc::clone(&self.index),
            rings,
            self.waker.clone(),
            Arc::clone(&self.counters),
        );
        let (running, runs) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name(thread_name(&self.config.netdev))
            .spawn(move || {
                drop(running);
                forwarder.run();
            })
            .map_err(|source| Error::System {
                what: "starting the exception path's thread",
                source,
            })?;
        // It names itself, and by its name it is known which rights it needs.
        let _ = runs.recv();
        self.thread = Some(thread);
        Ok(())
    }

    /// For whoever puts packets into the rings.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The netdev's name, as it was made.
    pub fn netdev(&self) -> &str {
        &self.config.netdev
    }

    /// The addresses that the netdev has now, with what the kernel or an administrator has added.
    /// Empty if it was removed, or cannot be asked. A system call: not for workers.
    ///
    /// # Panics
    /// In a thread that runs an async runtime.
    pub fn addresses(&self) -> Vec<Cidr> {
        addresses(self.index.load(Ordering::Relaxed)).unwrap_or_else(|error| {
            let netdev = self.netdev();
            tracing::warn!("asking for the addresses of {netdev}: {error}");
            Vec::new()
        })
    }

    /// What has been moved so far.
    pub fn counters(&self) -> Counters {
        self.counters.load()
    }

    /// Ends the thread, which gives what has come for it to the kernel, and its buffers back; and
    /// removes the netdev. Dropping does the same.
    pub fn stop(&mut self) {
        self.waker.stop();
        self.netdev = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

impl Drop for HostPath {
    fn drop(&mut self) {
        self.stop();
    }
}

fn thread_name(netdev: &str) -> String {
    let prefix = netdev.trim_end_matches(|c: char| c.is_ascii_digit());
    format!("ms-host{}", &netdev[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_numbered_as_the_netdevs() {
        assert_eq!(thread_name("msh0"), "ms-host0");
        assert_eq!(thread_name("x12"), "ms-host12");
        assert_eq!(thread_name("host"), "ms-host");
    }
}
