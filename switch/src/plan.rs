//! How large everything is to be, and the ports.

use std::time::Duration;

use dpdk::Mempool;
use dpdk::ethdev::{self, Port, PortConfig, RxQueue, TxQueue};
use dpdk::mempool::HEADROOM;
use kni_fallback::HostPath;
use port_api::geometry::Geometry;
use port_api::{BURST as STACK_BURST, MAX_BUFFERS};
use wire::MacAddr;

use crate::config::Config;
use crate::error::{RunError, setup};
use crate::fragments::WAITING;
use crate::io::BURST;
use crate::missed::Missed;
use crate::nics::{LinkWatch, Nic};

use crate::stacks::{Allowances, Rates};
use crate::vport::Limits;

/// Buffers that an lcore keeps for itself, the most that DPDK allows
/// (`RTE_MEMPOOL_CACHE_MAX_SIZE`).
const CACHE: u32 = 512;
/// Bytes in a buffer behind the headroom: DPDK's `RTE_MBUF_DEFAULT_DATAROOM`.
pub(crate) const DATA_ROOM: u16 = 2048;
/// Highest port id that fits a descriptor.
const MAX_PORT_ID: u16 = 31;

/// Sizes, from what was asked for and what EAL has.
pub struct Plan {
    ports: Vec<u16>,
    workers: u16,
    /// What lies where in shared memory.
    pub geometry: Geometry,
    /// What every vport may do.
    pub allowances: Allowances,
    mbufs: u32,
}

/// One worker's queues.
pub struct Share {
    /// Of each port, if it has one for this worker.
    pub rx: Vec<Option<RxQueue>>,
    /// Of each port.
    pub tx: Vec<TxQueue>,
}

impl Plan {
    /// Sizes for this many workers and the ports that EAL has found.
    ///
    /// # Errors
    /// No port, an address of a port that is not there, or more than the limits allow.
    pub fn new(config: &Config, workers: usize) -> Result<Self, RunError> {
        let ports = ethdev::ids();
        if ports.is_empty() {
            return Err(setup(
                "no port: name a NIC that is bound to vfio-pci (-a 0000:03:00.0, see \
                 dpdk-devbind.py --status) or a virtual one (--vdev net_af_xdp0,iface=eth1)",
            ));
        }
        if let Some(id) = ports.iter().find(|id| **id > MAX_PORT_ID) {
            return Err(setup(format!(
                "port {id}: ids up to {MAX_PORT_ID} are possible"
            )));
        }
        if let Some(addr) = config
            .host_addrs
            .iter()
            .find(|a| !ports.contains(&a.port.into()))
        {
            return Err(setup(format!(
                "--host-addr {}:{}: no such port",
                addr.port, addr.cidr
            )));
        }
        let workers = u16::try_from(workers).map_err(|_| setup("too many workers"))?;
        let hosts = u16::try_from(ports.len()).map_err(|_| setup("too many ports"))?;
        let geometry = Geometry {
            workers,
            slots: config.max_vports + hosts,
            ring_size: config.ring_size,
            free_size: config.quota.max(config.host_quota()).next_power_of_two(),
        };
        geometry.check().map_err(setup)?;
        let needed = needed_mbufs(config, workers.into(), hosts.into());
        let mbufs = config.mbufs.unwrap_or(needed);
        if mbufs < needed {
            return Err(setup(format!(
                "--mbufs {mbufs}: {needed} are needed so that no stack can starve another: the \
                 ports' descriptors, and --quota for each of --max-vports; lower these"
            )));
        }
        if mbufs > MAX_BUFFERS {
            return Err(setup(format!(
                "{mbufs} mbufs: {MAX_BUFFERS} are possible: lower --quota or --max-vports"
            )));
        }
        Ok(Self {
            ports,
            workers,
            geometry,
            allowances: allowances(config),
            mbufs,
        })
    }

    /// Makes the packet pool.
    ///
    /// # Errors
    /// Not enough hugepages.
    pub fn pool(&self) -> Result<Mempool, RunError> {
        let room = DATA_ROOM + HEADROOM;
        Mempool::create(
            "multistack_pool",
            self.mbufs,
            CACHE,
            room,
            -1,
            Some("stack"),
        )
        .map_err(|error| {
            let mib = u64::from(self.mbufs) * u64::from(room) / (1 << 20) + 1;
            setup(format!(
                "{error}: {} mbufs take some {mib} MiB of hugepages: reserve more \
                     (/proc/sys/vm/nr_hugepages), or lower --max-vports or --quota",
                self.mbufs
            ))
        })
    }

    /// Starts every port with its exception path, and deals the queues out.
    ///
    /// # Errors
    /// What the device, or the kernel's side of the exception path, says.
    pub fn start_nics(
        &self,
        config: &Config,
        pool: &Mempool,
    ) -> Result<(Vec<Nic>, Vec<Share>), RunError> {
        let share = |_| Share {
            rx: Vec::new(),
            tx: Vec::new(),
        };
        let mut shares: Vec<Share> = (0..self.workers).map(share).collect();
        let mut nics = Vec::new();
        for id in &self.ports {
            let info = ethdev::info(*id)?;
            if info.max_tx_queues < self.workers {
                return Err(setup(format!(
                    "port {}: it has {} TX queues, {} workers need one each: name fewer lcores",
                    info.name, info.max_tx_queues, self.workers
                )));
            }
            let rx_queues = self.workers.min(info.max_rx_queues);
            let port_config = PortConfig {
                rx_queues,
                tx_queues: self.workers,
                rx_descriptors: config.rxd,
                tx_descriptors: config.txd,
                mtu: config.mtu,
                promiscuous: config.promiscuous,
                allmulticast: true,
            };
            let (port, rx, tx) = Port::start(*id, &port_config, pool)?;
            let id = u8::try_from(*id).map_err(|_| setup("port id over 255"))?;
            let host = HostPath::create(&kni_fallback::Config {
                netdev: format!("{}{id}", config.host_netdev),
                mac: MacAddr(port.mac()?),
                mtu: port.mtu()?,
                addresses: addresses(config, id),
            })?;
            let info = port.info()?;
            nics.push(Nic {
                missed: Missed::under(&info.driver, info.netdev),
                port,
                id,
                host,
                rx_queues,
                link: LinkWatch::default(),
            });
            let mut rx = rx.into_iter();
            for (share, tx) in shares.iter_mut().zip(tx) {
                share.rx.push(rx.next());
                share.tx.push(tx);
            }
        }
        Ok((nics, shares))
    }
}

fn addresses(config: &Config, port: u8) -> Vec<kni_fallback::Cidr> {
    let on_port = config.host_addrs.iter().filter(|addr| addr.port == port);
    on_port.map(|addr| addr.cidr).collect()
}

/// What vports may do.
pub fn allowances(config: &Config) -> Allowances {
    let limits = |quota| Limits {
        quota,
        fill_level: config.fill,
    };
    Allowances {
        stack: limits(config.quota),
        host: limits(config.host_quota()),
        stack_rates: Rates {
            rx: config.rx_limit,
            tx: config.tx_limit,
        },
        host_rates: Rates {
            rx: config.host_rx_limit,
            tx: config.host_tx_limit,
        },
        burst: Duration::from_millis(config.limit_burst.into()),
    }
}

/// Enough for every descriptor, every worker's hands and caches, and every quota at once.
fn needed_mbufs(config: &Config, workers: u32, ports: u32) -> u32 {
    let queues = ports * workers * (u32::from(config.rxd) + u32::from(config.txd));
    let in_hand = u32::try_from(4 * BURST + STACK_BURST + WAITING).unwrap_or(u32::MAX);
    let per_worker = 2 * CACHE + in_hand;
    let stacks = config.quota.saturating_mul(config.max_vports.into());
    let quotas = stacks.saturating_add(config.host_quota().saturating_mul(ports));
    quotas
        .saturating_mul(workers)
        .saturating_add(queues + workers * per_worker)
}
