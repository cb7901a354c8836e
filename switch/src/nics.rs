//! The NIC ports and the host behind each, as the control thread sees them.

use dpdk::ethdev::{self, Port};
use kni_fallback::HostPath;
use port_api::protocol::PortRow;
use rustix::net::netdevice::name_to_index;
use wire::MacAddr;

/// A NIC port in service.
pub struct Nic {
    /// The device.
    pub port: Port,
    /// DPDK port id; 31 at most, since a descriptor names it in 5 bits.
    pub id: u8,
    /// The exception path behind it.
    pub host: HostPath,
    /// RX queues, each polled by one worker.
    pub rx_queues: u16,
}

impl Nic {
    /// As `msctl ports` lists it.
    pub fn row(&self) -> PortRow {
        let info = self.port.info().ok();
        let (driver, mac, mtu, link) = info.map_or_else(Default::default, |info| {
            (
                info.driver,
                MacAddr(info.mac).to_string(),
                info.mtu,
                info.link,
            )
        });
        PortRow {
            id: self.id,
            name: self.port.name().to_owned(),
            driver,
            mac,
            mtu,
            link_up: link.up,
            speed_mbps: link.speed_mbps,
            rx_queues: self.rx_queues,
            host_netdev: self.host.netdev().to_owned(),
            addresses: self
                .host
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// The device's own counters.
    pub fn stats(&self) -> ethdev::Stats {
        self.port.stats().unwrap_or_default()
    }

    /// Whether the host's netdev has this index.
    pub fn has_index(&self, index: u32) -> bool {
        // Any socket will do for the question.
        rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            None,
        )
        .and_then(|socket| name_to_index(socket, self.host.netdev()))
        .is_ok_and(|found| found == index)
    }
}
