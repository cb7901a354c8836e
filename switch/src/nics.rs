//! The NIC ports and the host behind each, as the control thread sees them.

use std::time::{Duration, Instant};

use dpdk::ethdev::{self, Link, Port};
use kni_fallback::HostPath;
use port_api::protocol::PortRow;
use rustix::net::netdevice::name_to_index;
use wire::MacAddr;

use crate::missed::Missed;

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
    /// What was last said of the link.
    pub link: LinkWatch,
    /// What its driver doesn't count.
    pub missed: Option<Missed>,
}

/// How often links are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A link, as it was when last looked at.
#[derive(Debug)]
pub struct LinkWatch {
    seen: Link,
    at: Instant,
}

impl Default for LinkWatch {
    /// Taken for up until looked at.
    fn default() -> Self {
        let seen = Link {
            up: true,
            ..Link::default()
        };
        Self {
            seen,
            at: Instant::now(),
        }
    }
}

impl LinkWatch {
    /// What to log of a link that is now like this.
    fn news(&mut self, now: Link) -> Option<&'static str> {
        let before = std::mem::replace(&mut self.seen, now);
        match (before, now) {
            (Link { gone: false, .. }, Link { gone: true, .. }) => {
                Some("its netdev is gone: start multistack again once it is back")
            }
            (Link { up: true, .. }, Link { up: false, .. }) => Some("the link is down"),
            (Link { up: false, .. }, Link { up: true, .. }) => Some("the link is up"),
            _ => None,
        }
    }
}

impl Nic {
    /// As `msctl ports` lists it.
    pub fn row(&self) -> PortRow {
        let info = self.port.info().ok();
        let (driver, mac, mtu, link, offloads) = info.map_or_else(Default::default, |info| {
            (
                info.driver,
                MacAddr(info.mac).to_string(),
                info.mtu,
                info.link,
                info.offloads,
            )
        });
        let offloads = [
            ("rss", offloads.rss && self.rx_queues > 1),
            ("rx-checksum", offloads.rx_checksum),
            ("tx-checksum", offloads.tx_checksum),
        ];
        let used = offloads.iter().filter(|(_, is_used)| *is_used);
        PortRow {
            id: self.id,
            name: self.port.name().to_owned(),
            driver,
            mac,
            mtu,
            link_up: link.up,
            speed_mbps: link.speed_mbps,
            rx_queues: self.rx_queues,
            offloads: used.map(|(name, _)| (*name).to_owned()).collect(),
            host_netdev: self.host.netdev().to_owned(),
            addresses: self
                .host
                .addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// Looks at the link now and then, and logs what has changed.
    pub fn watch_link(&mut self) {
        if self.link.at.elapsed() < LOOK_EVERY {
            return;
        }
        self.link.at = Instant::now();
        // A driver that cannot tell has told before.
        let Ok(link) = self.port.link() else { return };
        if let Some(news) = self.link.news(link) {
            tracing::warn!("port {} {}: {news}", self.id, self.port.name());
        }
    }

    /// The device's own counters, with what its driver doesn't count.
    pub fn stats(&self) -> ethdev::Stats {
        let mut stats = self.port.stats().unwrap_or_default();
        stats.imissed += self.missed.as_ref().map_or(0, Missed::count);
        stats
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_link_is_told_once() {
        let up = Link {
            up: true,
            ..Link::default()
        };
        let down = Link::default();
        let gone = Link {
            gone: true,
            ..Link::default()
        };
        let mut watch = LinkWatch::default();
        let told = [up, down, down, up, up, gone, gone].map(|now| watch.news(now).is_some());
        assert_eq!(told, [false, true, false, true, false, true, false]);
        assert_eq!(watch.news(up), Some("the link is up"));
    }
}
