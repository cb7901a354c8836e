//! Start and end of the primary.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use dpdk::ethdev::{self, Port, PortConfig, RxQueue, TxQueue};
use dpdk::lcore::{JoinHandle, Lcore, launch};
use dpdk::mempool::HEADROOM;
use dpdk::{Eal, EalError, Ledger, Mempool, Memzone};
use kni_fallback::HostPath;
use port_api::geometry::Geometry;
use port_api::{BURST as STACK_BURST, Buffers, MAX_BUFFERS, Region, RingPort, netns_cookie};
use rustix::net::{AddressFamily, SocketType};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use wire::MacAddr;

use crate::claims::Claims;
use crate::classify::{self, Tables};
use crate::config::Config;
use crate::control::{Control, MEMZONE};
use crate::flow_table::Seed;
use crate::io::{BURST, DpdkIo};
use crate::nics::Nic;
use crate::socket::ControlSocket;
use crate::stacks::Slots;
use crate::vport::{Limits, Peer};
use crate::worker::{NicSetup, Worker};
use crate::workers::{Stuck, Workers};

/// Buffers that an lcore keeps for itself, the most that DPDK allows
/// (`RTE_MEMPOOL_CACHE_MAX_SIZE`).
const CACHE: u32 = 512;
/// Bytes in a buffer behind the headroom: DPDK's `RTE_MBUF_DEFAULT_DATAROOM`.
const DATA_ROOM: u16 = 2048;
/// Ethernet header and one VLAN tag, in bytes.
const FRAME_OVERHEAD: usize = 14 + 4;
/// Highest port id that fits a descriptor.
const MAX_PORT_ID: u16 = 31;

/// Why the primary did not start, or ended early: one line for the user.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// EAL's initialisation.
    #[error(transparent)]
    Eal(#[from] EalError),
    /// DPDK.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// The exception path.
    #[error(transparent)]
    Host(#[from] kni_fallback::Error),
    /// The control socket.
    #[error("control socket {}: {source}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another system call.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked for does not go together.
    #[error("{0}")]
    Setup(String),
    /// A defect.
    #[error(transparent)]
    Stuck(#[from] Stuck),
}

fn setup(message: impl Into<String>) -> RunError {
    RunError::Setup(message.into())
}

/// Runs the primary with EAL's arguments (program name first) until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// [`RunError`]. Whatever the end, nothing is left behind: neither sockets nor netdevs nor
/// hugepage files.
pub fn run(eal_args: &[String], config: &Config) -> Result<(), RunError> {
    // Dropped in reverse order: EAL's files go last.
    let eal = Eal::primary(eal_args)?;
    let default = || PathBuf::from(format!("/run/multistack/{}.sock", eal.file_prefix()));
    let path = config.socket.clone().unwrap_or_else(default);
    let socket = ControlSocket::listen(&path).map_err(|source| RunError::Socket {
        path: path.clone(),
        source,
    })?;
    let signals = signals().map_err(|source| RunError::Io {
        what: "signal handlers",
        source,
    })?;
    let lcores = eal.worker_lcores();
    if lcores.is_empty() {
        return Err(setup(
            "no worker lcore: name at least two, such as -l 0-1 (the first does control)",
        ));
    }
    let plan = Plan::new(config, lcores.len())?;
    let pool = Arc::new(plan.pool()?);
    let zone = Memzone::reserve(MEMZONE, plan.geometry.len(), ring::ALIGN)?;
    let region = Region::in_memzone(&zone, plan.geometry).map_err(|e| setup(e.to_string()))?;
    let pool_zone = Memzone::lookup(&pool.layout().memzone)?;
    let buffers =
        Buffers::in_memzone(&pool_zone, pool.layout()).map_err(|e| setup(e.to_string()))?;
    let (nics, shares) = plan.start_nics(config, &pool)?;
    eal.admit_secondaries();

    let seed = seed()?;
    let ledger = Ledger::new(&pool);
    let mut workers = Workers::default();
    let mut running = Vec::new();
    for (number, (lcore, share)) in lcores.iter().zip(shares).enumerate() {
        let number = u8::try_from(number).map_err(|_| setup("more than 255 workers"))?;
        let io = DpdkIo::new(pool.clone(), &ledger, number, share.rx, share.tx)
            .ok_or_else(|| setup("two workers with one number"))?;
        let worker = Worker::new(
            io,
            &nic_setups(&nics)?,
            Tables::new(config.max_claims, seed),
            plan.geometry.slots,
            region.doorbells(number.into()),
            workers.add(lcore.id),
            config.poll,
        );
        running.push(launch(lcore.id, move || worker.run())?);
    }
    let hosts = u16::try_from(nics.len()).map_err(|_| setup("too many ports"))?;
    let mut control = Control {
        slots: Slots::new(region.clone(), hosts, plan.limits),
        claims: Claims::new(config.max_claims, seed, own_netns()?),
        listener: socket
            .listener
            .try_clone()
            .map_err(|source| RunError::Socket {
                path: path.clone(),
                source,
            })?,
        signals,
        file_prefix: eal.file_prefix().to_owned(),
        runtime_dir: eal.runtime_dir(),
        pool,
        ledger,
        nics,
        workers,
        peers: Vec::new(),
    };
    let result = start_hosts(&mut control, &region, &buffers).and_then(|()| {
        announce(&control, &lcores, &path);
        control.run().map_err(RunError::from)
    });
    finish(control, running, &socket);
    result
}

/// Sizes, from what was asked for and what EAL has.
struct Plan {
    ports: Vec<u16>,
    workers: u16,
    geometry: Geometry,
    limits: Limits,
    mbufs: u32,
}

/// One worker's queues.
struct Share {
    rx: Vec<Option<RxQueue>>,
    tx: Vec<TxQueue>,
}

impl Plan {
    fn new(config: &Config, workers: usize) -> Result<Self, RunError> {
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
            free_size: config.quota.next_power_of_two(),
        };
        geometry.check().map_err(setup)?;
        let limits = Limits {
            quota: config.quota,
            fill_level: config.fill,
        };
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
            limits,
            mbufs,
        })
    }

    fn pool(&self) -> Result<Mempool, RunError> {
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
    fn start_nics(
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
            nics.push(Nic {
                port,
                id,
                host,
                rx_queues,
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

/// Enough for every descriptor, every worker's hands and caches, and every quota at once.
fn needed_mbufs(config: &Config, workers: u32, ports: u32) -> u32 {
    let queues = ports * workers * (u32::from(config.rxd) + u32::from(config.txd));
    let in_hand = u32::try_from(4 * BURST + STACK_BURST).unwrap_or(u32::MAX);
    let per_worker = 2 * CACHE + in_hand;
    let vports = u32::from(config.max_vports) + ports;
    let quotas = config.quota.saturating_mul(workers).saturating_mul(vports);
    quotas.saturating_add(queues + workers * per_worker)
}

fn nic_setups(nics: &[Nic]) -> Result<Vec<NicSetup>, RunError> {
    let setup = |(host, nic): (u16, &Nic)| {
        Ok(NicSetup {
            nic: classify::Nic {
                id: nic.id,
                mac: MacAddr(nic.port.mac()?),
            },
            host,
            max_frame: usize::from(nic.port.mtu()?) + FRAME_OVERHEAD,
        })
    };
    (0..).zip(nics).map(setup).collect()
}

/// Puts the host's vports into service: slots 0 and up, in the order of the ports.
fn start_hosts(control: &mut Control, region: &Region, buffers: &Buffers) -> Result<(), RunError> {
    for (at, slot) in (0..control.nics.len()).zip(0u16..) {
        let nic = &mut control.nics[at];
        let waker = nic.host.waker();
        let peer = || Peer::Host {
            nic: at,
            waker: waker.clone(),
        };
        control.slots.open(slot, &control.workers, peer)?;
        nic.host
            .start(RingPort::new(region, buffers.clone(), slot, nic.id))?;
    }
    Ok(())
}

fn announce(control: &Control, lcores: &[Lcore], path: &std::path::Path) {
    for nic in &control.nics {
        let row = nic.row();
        tracing::info!(
            "port {} {} ({}): {}, MTU {}, host netdev {} {}",
            row.id,
            row.name,
            row.driver,
            row.mac,
            row.mtu,
            row.host_netdev,
            row.addresses.join(" "),
        );
    }
    let workers: Vec<_> = lcores.iter().map(|lcore| lcore.id.to_string()).collect();
    tracing::info!(
        "ready: control socket {}, workers on lcores {}, {} mbufs",
        path.display(),
        workers.join(","),
        control.pool.layout().count,
    );
}

fn finish(mut control: Control, running: Vec<JoinHandle<DpdkIo>>, socket: &ControlSocket) {
    tracing::info!("ending: telling {} clients", control.peers.len());
    // No one new from here on.
    let _ = rustix::net::shutdown(&socket.listener, rustix::net::Shutdown::Both);
    control.say_farewell();
    let Control { nics, workers, .. } = control;
    let mut ports = Vec::new();
    for nic in nics {
        nic.host.stop();
        ports.push(nic.port);
    }
    workers.stop();
    for worker in running {
        // Dropping what it worked on lets go of the queues.
        if worker.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    for port in ports {
        if let Err(error) = port.close() {
            tracing::warn!("{error}");
        }
    }
}

fn own_netns() -> Result<u64, RunError> {
    let cookie = || -> io::Result<u64> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        netns_cookie(std::os::fd::AsFd::as_fd(&socket))
    };
    cookie().map_err(|source| RunError::Io {
        what: "SO_NETNS_COOKIE (Linux 5.14 or newer is needed)",
        source,
    })
}

fn seed() -> Result<Seed, RunError> {
    let random = || {
        let mut bytes = [0; 8];
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let failed = |error: rustix::io::Errno| RunError::Io {
            what: "getrandom",
            source: error.into(),
        };
        got.map_err(failed)?;
        Ok::<_, RunError>(NonZeroU64::new(u64::from_ne_bytes(bytes)).map_or(1, NonZeroU64::get))
    };
    Ok(Seed([random()?, random()?]))
}

fn signals() -> io::Result<OwnedFd> {
    let (receiver, sender) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(receiver.into())
}
