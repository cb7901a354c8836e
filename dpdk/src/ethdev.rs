//! Ethernet ports and their queues.

use std::ffi::{CStr, c_char};

use dpdk_sys as c;

use crate::{eal, errno::Error};

pub use crate::{
    port::{Port, PortConfig},
    queue::{RxQueue, TxQueue},
};

/// The ids of all ports (`RTE_ETH_FOREACH_DEV`).
pub fn ids() -> Vec<u16> {
    let mut ids = Vec::new();
    if eal::require_primary().is_err() {
        return ids;
    }
    let mut next = 0;
    loop {
        // SAFETY: EAL is initialised; the call takes any number.
        next = unsafe { c::ms_eth_next(next) };
        // RTE_MAX_ETHPORTS, at most u16::MAX, comes after the last port.
        match u16::try_from(next).ok().filter(|&id| is_valid(id)) {
            Some(id) => ids.push(id),
            None => return ids,
        }
        next += 1;
    }
}

fn is_valid(port: u16) -> bool {
    // SAFETY: takes any number.
    unsafe { c::rte_eth_dev_is_valid_port(port) == 1 }
}

/// The number of ports.
pub fn count() -> usize {
    ids().len()
}

/// What a port's device is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// The device, such as "0000:00:05.0" or "`net_tap0`".
    pub name: String,
    /// The driver, such as "`net_virtio`".
    pub driver: String,
    /// The kernel's netdev that the driver works on, if it does, by name.
    pub netdev: Option<String>,
    /// The MAC address.
    pub mac: [u8; 6],
    /// Bytes of IP packet that fit a frame.
    pub mtu: u16,
    /// The most receive queues.
    pub max_rx_queues: u16,
    /// The most transmit queues.
    pub max_tx_queues: u16,
    /// The least and the most descriptors of a receive queue.
    pub rx_descriptors: (u16, u16),
    /// The least and the most descriptors of a transmit queue.
    pub tx_descriptors: (u16, u16),
    /// The NUMA socket; -1 if unknown.
    pub socket: i32,
    /// What it does for us.
    pub offloads: Offloads,
    /// The link.
    pub link: Link,
}

/// What a device does for us; what it does not is left to software.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offloads {
    /// Spreads flows over receive queues (RSS).
    pub rss: bool,
    /// Says of the IPv4, TCP and UDP checksums of what it receives whether they are right.
    pub rx_checksum: bool,
    /// Finishes the checksums of TCP and UDP that are [left](crate::Mbuf::leave_checksum) to it.
    pub tx_checksum: bool,
}

/// A port's link.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// Mbit/s; 0 if unknown.
    pub speed_mbps: u32,
    /// Both directions at once.
    pub full_duplex: bool,
    /// The netdev that the driver works on is there no more.
    pub gone: bool,
}

/// Counters of a port since its start (`rte_eth_stats`); bytes without FCS on most devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented at rte_eth_stats")]
pub struct Stats {
    pub ipackets: u64,
    pub opackets: u64,
    pub ibytes: u64,
    pub obytes: u64,
    pub imissed: u64,
    pub ierrors: u64,
    pub oerrors: u64,
    pub rx_nombuf: u64,
}

/// The information of a port, started or not.
pub fn info(port: u16) -> Result<PortInfo, Error> {
    eal::require_primary()?;
    let mut raw = std::mem::MaybeUninit::<c::ms_port_info>::zeroed();
    // SAFETY: the call checks the id and fills the struct, for which all zeroes are valid too.
    let (ret, raw) = unsafe { (c::ms_eth_info(port, raw.as_mut_ptr()), raw.assume_init()) };
    Error::check(ret, || format!("port {port}"))?;
    Ok(PortInfo {
        name: text(&raw.name),
        driver: text(&raw.driver),
        netdev: Some(text(&raw.netdev)).filter(|name| !name.is_empty()),
        mac: raw.mac,
        mtu: raw.mtu,
        max_rx_queues: raw.max_rx_queues,
        max_tx_queues: raw.max_tx_queues,
        rx_descriptors: (raw.rx_descriptors_min, raw.rx_descriptors_max),
        tx_descriptors: (raw.tx_descriptors_min, raw.tx_descriptors_max),
        socket: raw.socket,
        offloads: Offloads {
            rss: raw.spreads_flows,
            rx_checksum: raw.verifies_checksums,
            tx_checksum: raw.finishes_checksums,
        },
        link: link(port)?,
    })
}

/// The port of a device.
pub fn by_name(name: &str) -> Result<u16, Error> {
    ids()
        .into_iter()
        .find(|&port| info(port).is_ok_and(|info| info.name == name))
        .ok_or_else(|| Error::new(libc::ENODEV, format!("port {name}")))
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: c_char and u8 have one layout.
    let bytes = unsafe { std::slice::from_raw_parts(chars.as_ptr().cast::<u8>(), chars.len()) };
    CStr::from_bytes_until_nul(bytes)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The link of a port, as last seen by its driver; does not wait for it to come up. If the driver works
/// on a netdev, that has to be up and running too.
pub fn link(port: u16) -> Result<Link, Error> {
    eal::require_primary()?;
    let mut raw = c::ms_link {
        speed_mbps: 0,
        up: false,
        full_duplex: false,
        gone: false,
    };
    // SAFETY: the call checks the id.
    let ret = unsafe { c::ms_eth_link(port, &raw mut raw) };
    Error::check(ret, || format!("link of port {port}"))?;
    Ok(Link {
        up: raw.up,
        speed_mbps: raw.speed_mbps,
        full_duplex: raw.full_duplex,
        gone: raw.gone,
    })
}

/// The counters of a port, started or not.
pub fn stats(port: u16) -> Result<Stats, Error> {
    eal::require_primary()?;
    let mut raw = std::mem::MaybeUninit::<c::rte_eth_stats>::zeroed();
    // SAFETY: the call checks the id and fills the struct, for which all zeroes are valid too.
    let (ret, raw) = unsafe {
        (
            c::rte_eth_stats_get(port, raw.as_mut_ptr()),
            raw.assume_init(),
        )
    };
    Error::check(ret, || format!("stats of port {port}"))?;
    Ok(Stats {
        ipackets: raw.ipackets,
        opackets: raw.opackets,
        ibytes: raw.ibytes,
        obytes: raw.obytes,
        imissed: raw.imissed,
        ierrors: raw.ierrors,
        oerrors: raw.oerrors,
        rx_nombuf: raw.rx_nombuf,
    })
}
