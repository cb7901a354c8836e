//! The life of a port.

use std::{
    ffi::{CStr, c_char},
    ptr,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

use dpdk_sys as c;

use crate::{
    bounded,
    errno::Error,
    ethdev::{self, Link, PortInfo, Stats, info},
    mempool::{HEADROOM, Mempool},
    queue::{RxQueue, TxQueue},
};

/// Ethernet header, two VLAN tags and FCS: what a frame has beside its MTU, in bytes.
const FRAME_OVERHEAD: u16 = 14 + 8 + 4;

/// What [`Port::start`] asks of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// At least 1.
    pub rx_queues: u16,
    /// At least 1.
    pub tx_queues: u16,
    /// Per receive queue; brought to the nearest number that the device takes.
    pub rx_descriptors: u16,
    /// Per transmit queue; likewise.
    pub tx_descriptors: u16,
    /// Bytes of IP packet in a frame; None takes the device's default, mostly 1500.
    pub mtu: Option<u16>,
    /// Receive frames for any MAC address.
    pub promiscuous: bool,
    /// Receive frames for any group address.
    pub allmulticast: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: false,
            allmulticast: false,
        }
    }
}

/// A port that this process uses. Dropping it stops and closes the device, unless queues of it are
/// left: then the device stays as it is.
#[derive(Debug)]
pub struct Port {
    id: u16,
    name: String,
    state: State,
    /// Every queue holds one too.
    queues: Arc<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stopped,
    Started,
    Closed,
}

impl Port {
    /// Configures the device and starts it. Spreads packets by RSS over IP addresses and TCP and
    /// UDP ports if there is more than one receive queue and the device can. Has the device check
    /// IPv4, TCP and UDP checksums, and finish those of TCP and UDP that are left to it, if it can.
    ///
    /// Returns the port, its receive queues and its transmit queues, in their order.
    ///
    /// # Errors
    /// No such port, too many queues, an MTU that does not fit a buffer, or the driver's own. The
    /// driver's own errors close the device.
    pub fn start(
        id: u16,
        config: &PortConfig,
        pool: &Mempool,
    ) -> Result<(Self, Vec<RxQueue>, Vec<TxQueue>), Error> {
        let info = info(id)?;
        check(&info, config, pool)?;
        let mut port = Self {
            id,
            name: info.name,
            state: State::Stopped,
            queues: Arc::new(()),
        };
        port.configure(config, pool)?;
        // SAFETY: the port is configured.
        port.check("rte_eth_dev_start", unsafe { c::rte_eth_dev_start(id) })?;
        port.state = State::Started;
        port.set_modes(config)?;
        let rx = (0..config.rx_queues)
            .map(|queue| RxQueue::new(id, queue, &port.queues))
            .collect();
        let tx = (0..config.tx_queues)
            .map(|queue| TxQueue::new(id, queue, &port.queues))
            .collect();
        Ok((port, rx, tx))
    }

    fn configure(&self, config: &PortConfig, pool: &Mempool) -> Result<(), Error> {
        let mut raw = c::ms_port_conf {
            rx_queues: config.rx_queues,
            tx_queues: config.tx_queues,
            rx_descriptors: config.rx_descriptors,
            tx_descriptors: config.tx_descriptors,
            mtu: config.mtu.unwrap_or(0),
        };
        let mut step: *const c_char = ptr::null();
        // SAFETY: the port exists and the pool lives as long as the process. The call sets step to
        // a string literal.
        let (ret, step) = unsafe {
            let ret = c::ms_eth_configure(self.id, &raw mut raw, pool.as_raw(), &raw mut step);
            (ret, CStr::from_ptr(step))
        };
        self.check(&step.to_string_lossy(), ret)
    }

    fn set_modes(&self, config: &PortConfig) -> Result<(), Error> {
        // Devices without filters (most virtual ones) have no such call, and receive everything.
        let supported = |ret: i32| if ret == -libc::ENOTSUP { 0 } else { ret };
        if config.promiscuous {
            // SAFETY: the port is started.
            let ret = unsafe { c::rte_eth_promiscuous_enable(self.id) };
            self.check("promiscuous mode", supported(ret))?;
        }
        if config.allmulticast {
            // SAFETY: the port is started.
            let ret = unsafe { c::rte_eth_allmulticast_enable(self.id) };
            self.check("allmulticast mode", supported(ret))?;
        }
        Ok(())
    }

    fn check(&self, what: &str, ret: i32) -> Result<(), Error> {
        Error::check(ret, || format!("port {}: {what}", self.name))
    }

    /// DPDK's number of the port.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the device is and can do.
    pub fn info(&self) -> Result<PortInfo, Error> {
        info(self.id)
    }

    /// The MAC address.
    pub fn mac(&self) -> Result<[u8; 6], Error> {
        Ok(self.info()?.mac)
    }

    /// Bytes of IP packet that fit a frame.
    pub fn mtu(&self) -> Result<u16, Error> {
        Ok(self.info()?.mtu)
    }

    /// The link, as last seen by the driver.
    pub fn link(&self) -> Result<Link, Error> {
        ethdev::link(self.id)
    }

    /// The device's counters.
    pub fn stats(&self) -> Result<Stats, Error> {
        ethdev::stats(self.id)
    }

    /// Stops the device. All its queues must have been dropped: a driver frees what a burst call
    /// is using.
    ///
    /// # Errors
    /// EBUSY if queues are left, or the driver's own.
    pub fn stop(&mut self) -> Result<(), Error> {
        if Arc::strong_count(&self.queues) > 1 {
            return self.check("its queues are in use", -libc::EBUSY);
        }
        // After whatever the dropped queues' threads did with them.
        fence(Ordering::Acquire);
        if self.state == State::Started {
            self.state = State::Stopped;
            // SAFETY: the port exists and, with the queues gone, nobody is in a burst call.
            self.check("rte_eth_dev_stop", unsafe { c::rte_eth_dev_stop(self.id) })?;
        }
        Ok(())
    }

    /// Stops and closes the device; the port is gone afterwards, and buffers that waited in its
    /// queues are back in the pool. Waits at most 2 s for the driver.
    ///
    /// # Errors
    /// As [`stop`](Self::stop); ETIMEDOUT if the driver hangs.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), Error> {
        let stopped = self.stop();
        if self.state != State::Stopped {
            return stopped;
        }
        self.state = State::Closed;
        let id = self.id;
        // SAFETY: the port is stopped.
        let closed = bounded::run(move || unsafe { c::rte_eth_dev_close(id) });
        self.check("rte_eth_dev_close", closed.unwrap_or(-libc::ETIMEDOUT))
            .and(stopped)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Nobody is left to tell, and EAL has logged what it knows.
        let _ = self.shut();
    }
}

fn check(info: &PortInfo, config: &PortConfig, pool: &Mempool) -> Result<(), Error> {
    let invalid = |what: String| {
        Err(Error::new(
            libc::EINVAL,
            format!("port {}: {what}", info.name),
        ))
    };
    for (kind, wanted, most) in [
        ("receive", config.rx_queues, info.max_rx_queues),
        ("transmit", config.tx_queues, info.max_tx_queues),
    ] {
        if wanted == 0 || wanted > most {
            return invalid(format!(
                "{wanted} {kind} queues asked for, the device has 1 to {most}"
            ));
        }
    }
    let mtu = config.mtu.unwrap_or(info.mtu);
    let room = pool.layout().buf_len - HEADROOM;
    if mtu.saturating_add(FRAME_OVERHEAD) > room {
        return invalid(format!("MTU {mtu} does not fit a buffer of {room} bytes"));
    }
    Ok(())
}
