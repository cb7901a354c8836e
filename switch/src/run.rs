//! The start of the primary.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dpdk::lcore::{Lcore, launch};
use dpdk::{Eal, Ledger, Memzone};
use port_api::{Buffers, Protocol, Region, RingPort, bind, netns_cookie};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, getrlimit, setrlimit};
use wire::MacAddr;

use crate::claims::Claims;
use crate::classify::{self, Broadcasts, Hosts, MAX_HOSTS};
use crate::config::Config;
use crate::confinement::{Confinement, Folders};
use crate::control::{Bounds, Control, MEMZONE, Setup};
use crate::ending::finish;
use crate::error::{RunError, setup};
use crate::flow_table::Seed;
use crate::io::DpdkIo;
use crate::nics::Nic;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::signals::Signals;
use crate::socket::ControlSocket;
use crate::stacks::Slots;
use crate::stock::DpdkStock;
use crate::tables::Tables;
use crate::vport::Peer;
use crate::worker::{NicSetup, Worker};
use crate::workers::Workers;

/// How long duplicate address detection may take before the switch serves without waiting.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(4);
/// Less than any system's own limit of open files.
const FEW_FILES: u64 = 1024;
/// Ethernet header, in bytes.
const FRAME_OVERHEAD: usize = 14;

/// Runs the primary with EAL's arguments (program name first) until SIGTERM or SIGINT.
///
/// # Errors
/// [`RunError`]. Whatever the end, nothing is left behind: neither sockets nor netdevs nor
/// hugepage files.
pub fn run(eal_args: &[String], config: &Config) -> Result<(), RunError> {
    // First of all: a signal that comes while all this starts is then a request to end, too.
    let signals = Signals::catch().map_err(|source| RunError::Io {
        what: "signal handlers",
        source,
    })?;
    raise_file_limit();
    let policy = Policy::of(config)?;
    let confinement = Confinement::begin(eal_args, config.unconfined)?;
    // Dropped in reverse order: EAL's files go last.
    let eal = Eal::primary(eal_args)?;
    let default = || PathBuf::from(format!("/run/multistack/{}.sock", eal.file_prefix()));
    let path = config.socket.clone().unwrap_or_else(default);
    let socket =
        ControlSocket::listen(&path, &config.access).map_err(|source| RunError::Socket {
            path: path.clone(),
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
            &nic_setups(&nics, config)?,
            Tables::new(config.max_claims, seed),
            plan.geometry.slots,
            region.doorbells(number.into()),
            workers.add(lcore.id),
            config.poll,
        );
        running.push(launch(lcore.id, move || worker.run())?);
    }
    let hosts = u16::try_from(nics.len()).map_err(|_| setup("too many ports"))?;
    let setup = Setup {
        slots: Slots::new(region.clone(), hosts, plan.allowances),
        claims: Claims::new(config.max_claims, seed, own_netns()?),
        policy,
        config: config.clone(),
        socket,
        signals,
        file_prefix: eal.file_prefix().to_owned(),
        runtime_dir: eal.runtime_dir(),
        stock: Box::new(DpdkStock { pool, ledger }),
        nics,
        workers,
        bounds: Bounds::default(),
    };
    let mut control = Control::new(setup).map_err(|source| RunError::Io {
        what: "the control thread",
        source,
    })?;
    let result = start_hosts(&mut control, &region, &buffers).and_then(|()| {
        await_addresses(config);
        let ports = control.configured_ports()?;
        confine(confinement, &eal, &path, config)?;
        control.add_configured(ports)?;
        announce(&control, &lcores, &path);
        control.run().map_err(RunError::from)
    });
    finish(control, running, result.is_ok());
    result
}

/// All threads are there, and devices and memory set up.
fn confine(
    confinement: Confinement,
    eal: &Eal,
    socket: &Path,
    config: &Config,
) -> Result<(), RunError> {
    let runtime_dir = eal.runtime_dir();
    let folder = |path: &Path| {
        // One without a folder is in the working directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        path.parent().map(Path::to_owned)
    };
    let ports = config.vhost.iter().map(|port| port.path.as_path());
    let sockets = ports.chain([socket]).filter_map(folder);
    confinement.complete(Folders {
        sockets: sockets.chain(config.vhost_dir.clone()).collect(),
        emptied: folder(&runtime_dir).into_iter().collect(),
        changed: [vec![runtime_dir], eal.huge_dirs()].concat(),
    })
}

fn nic_setups(nics: &[Nic], config: &Config) -> Result<Vec<NicSetup>, RunError> {
    let setup = |(host, nic): (u16, &Nic)| {
        let info = nic.port.info()?;
        Ok(NicSetup {
            nic: classify::Nic {
                id: nic.id,
                mac: MacAddr(info.mac),
                broadcasts: broadcasts(config, nic.id)?,
                hosts: hosts(nic),
            },
            host,
            max_frame: usize::from(info.mtu) + FRAME_OVERHEAD,
            finishes_checksums: info.offloads.tx_checksum,
        })
    };
    (0..).zip(nics).map(setup).collect()
}

/// The host's addresses on a port; those beyond the limit are as if they were not.
fn hosts(nic: &Nic) -> Hosts {
    let addresses = nic.host.addresses();
    let ips = addresses.iter().map(kni_fallback::Cidr::addr);
    ips.take(MAX_HOSTS).collect()
}

/// The broadcast addresses of the host's subnets on a port (RFC 919); one of 31 bits or more has
/// none (RFC 3021).
fn broadcasts(config: &Config, port: u8) -> Result<Broadcasts, RunError> {
    let mut broadcasts = Broadcasts::new();
    let on_port = config.host_addrs.iter().filter(|addr| addr.port == port);
    for addr in on_port {
        if let IpAddr::V4(ip) = addr.cidr.addr()
            && addr.cidr.prefix_len() < 31
        {
            let all_ones = ip.to_bits() | u32::MAX >> addr.cidr.prefix_len();
            broadcasts.try_push(all_ones).map_err(|_| {
                setup(format!(
                    "--host-addr: {} IPv4 addresses per port are possible",
                    broadcasts.capacity()
                ))
            })?;
        }
    }
    Ok(broadcasts)
}

/// Puts the host's vports into service: slots 0 and up, in the order of the ports.
fn start_hosts(control: &mut Control, region: &Region, buffers: &Buffers) -> Result<(), RunError> {
    for (at, slot) in (0..control.nics.len()).zip(0u16..) {
        let nic = &mut control.nics[at];
        let waker = nic.host.waker();
        let peer = |_| Peer::Host {
            nic: at,
            waker: waker.clone(),
        };
        let quota = control.slots.quota(slot);
        control.slots.open(slot, quota, &control.workers, peer)?;
        nic.host
            .start(RingPort::new(region, buffers.clone(), slot, nic.id))?;
    }
    Ok(())
}

/// Waits until sockets can be bound to the host's addresses: IPv6 ones go through duplicate address
/// detection first (RFC 4862), which takes a second or two.
fn await_addresses(config: &Config) {
    let deadline = Instant::now() + ADDRESS_PATIENCE;
    for host_addr in &config.host_addrs {
        // A link-local address could be bound only with its netdev's index.
        if matches!(host_addr.cidr.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            continue;
        }
        let addr = SocketAddr::new(host_addr.cidr.addr(), 0);
        while bind(Protocol::Udp, addr).is_err() {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "{} cannot be used yet: does another host have it?",
                    addr.ip()
                );
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn announce(control: &Control, lcores: &[Lcore], path: &Path) {
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
        control.stock.layout().count,
    );
}

/// Raises the limit of open files as far as this process may: a hugepage takes one, a stack two, and
/// each claim on a TCP or UDP port one, which may be more than the 1024 that are customary.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Not for all of the kernel's ideas of "no limit"; then it is high enough as it is.
    let _ = setrlimit(Resource::Nofile, limit);
    if let Some(most) = limit.maximum.filter(|most| *most < FEW_FILES) {
        tracing::warn!(
            "no more than {most} files may be open: each hugepage takes one, a stack two, a claim on a \
             port one; raise the limit (ulimit -Hn, LimitNOFILE=)"
        );
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
