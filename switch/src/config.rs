//! What the user can set: on the command line behind `--`, or in a TOML file with the same keys.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser};
use port_api::geometry::{MAX_SLOTS, RING_SIZES};
use port_api::protocol::Limit;
use serde::Deserialize;

use crate::access::{Access, FileMode, Group, Owner};

/// Userspace switch that lets many network stacks share one NIC, on DPDK.
#[derive(Debug, Parser)]
#[command(
    name = "multistack",
    version,
    override_usage = "multistack <EAL arguments> -- [options]",
    after_help = "EAL arguments are DPDK's: -l 0-1 -a 0000:03:00.0, or --vdev ...; \
                  'multistack --help' shows DPDK's own list.\n\
                  Example: multistack -l 0-1 -a 0000:03:00.0 -- --host-addr 192.0.2.1/24"
)]
struct Cli {
    /// TOML file with the options below as keys, such as `max-vports = 16`; what stands on the
    /// command line wins
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// The options, as given: unset where the default holds.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    /// Control socket [default: /run/multistack/<file-prefix>.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Permissions of the control socket, in octal; what its users may do is up to --policy
    /// [default: 0600]
    #[arg(long, value_name = "MODE")]
    socket_mode: Option<FileMode>,

    /// Owner of the control socket, a name or a number [default: the user that this runs as]
    #[arg(long, value_name = "USER")]
    socket_owner: Option<Owner>,

    /// Group of the control socket, a name or a number [default: the group that this runs as]
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<Group>,

    /// Address of the host on a port's exception path, such as 192.0.2.1/24, or 1:192.0.2.1/24
    /// for port 1; repeatable [default port: 0]
    #[arg(long, value_name = "[PORT:]CIDR")]
    host_addr: Vec<HostAddr>,

    /// Prefix of the exception path's netdevs; the port's number follows [default: msh]
    #[arg(long, value_name = "NAME")]
    host_netdev: Option<String>,

    /// Most stacks at a time, 1 to 4000 [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4000))]
    max_vports: Option<u16>,

    /// Most claims at a time, 1 to 4194304; each takes some 0.5 KiB of memory per worker
    /// [default: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    max_claims: Option<u32>,

    /// Packets in a vport's rx, tx and fill ring, per worker: a power of two from 16 to 16384
    /// [default: 512]
    #[arg(long, value_name = "N")]
    ring_size: Option<u32>,

    /// Buffers that a vport may hold, per worker: 16 to 65536 [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=65_536))]
    quota: Option<u32>,

    /// Empty buffers kept ready for a vport to send from, per worker; at most half the quota
    /// [default: 128]
    #[arg(long, value_name = "N")]
    fill: Option<u32>,

    /// Buffers that the host's end of a port may hold, per worker: 16 to 65536 [default: as --quota]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=65_536))]
    host_quota: Option<u32>,

    /// Most that each stack receives per second, in packets, bits of frames without FCS, or both: 500kpps,
    /// 2.5Gbps, 1Mpps,1Gbps; the rest is dropped. Over all workers [default: none]
    #[arg(long, value_name = "LIMIT")]
    rx_limit: Option<Limit>,

    /// Most that each stack sends per second; the rest waits in its tx ring [default: none]
    #[arg(long, value_name = "LIMIT")]
    tx_limit: Option<Limit>,

    /// Most that the host receives from each port per second [default: none]
    #[arg(long, value_name = "LIMIT")]
    host_rx_limit: Option<Limit>,

    /// Most that the host sends through each port per second [default: none]
    #[arg(long, value_name = "LIMIT")]
    host_tx_limit: Option<Limit>,

    /// How much of a limit may be used at once, in milliseconds' worth of it: 1 to 1000; always a packet
    /// [default: 10]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit_burst: Option<u16>,

    /// Buffers in all [default: what the ports need and every quota at once]
    #[arg(long, value_name = "N")]
    mbufs: Option<u32>,

    /// Descriptors of each RX queue [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(8..=32768))]
    rxd: Option<u16>,

    /// Descriptors of each TX queue [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(8..=32768))]
    txd: Option<u16>,

    /// MTU of the ports, in bytes of IP packet, 68 to 1500 [default: the device's]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..=1500))]
    mtu: Option<u16>,

    /// TOML file that says who may attach and look, how much each may have, and who may claim what
    /// the kernel has no say in: addresses that are not the host's, protocols other than TCP and
    /// UDP, tuples at any address [default: root and the switch's own user may]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Receive packets to other MACs too; they go to the host
    #[arg(long, action = ArgAction::SetTrue)]
    promiscuous: bool,

    /// Vport over a vhost-user socket, to which a program on DPDK (virtio-user) or a virtual machine
    /// attaches: name=NAME,path=PATH; then client (connect instead of listening), nic=N (port to send
    /// through, 0), rx-limit=, tx-limit=, claim=CLAIM (as msctl port add; repeatable). Repeatable; `msctl
    /// port` adds and removes such at run time
    #[arg(long, value_name = "SPEC")]
    vhost: Vec<VhostPort>,

    /// Folder in which `msctl port add` may have sockets made, besides those of the control socket and of
    /// each --vhost; repeatable. What the switch may write to is settled at its start
    #[arg(long, value_name = "DIR")]
    vhost_dir: Vec<PathBuf>,

    /// Never sleep: workers poll all the time [default: an idle one sleeps up to 100 µs]
    #[arg(long, action = ArgAction::SetTrue)]
    poll: bool,

    /// Keep all rights of the start, and write to any file: for a driver that needs them later on, such as
    /// to open devices [default: what is not needed any more is given up]
    #[arg(long, action = ArgAction::SetTrue)]
    unconfined: bool,
}

mod host_addr;
mod vhost;

pub use host_addr::HostAddr;
pub use vhost::VhostPort;

/// The options in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Control socket, if not at its default place.
    pub socket: Option<PathBuf>,
    /// Who may open it.
    pub access: Access,
    /// Addresses of the host.
    pub host_addrs: Vec<HostAddr>,
    /// Prefix of netdev names.
    pub host_netdev: String,
    /// Most stacks.
    pub max_vports: u16,
    /// Most claims.
    pub max_claims: u32,
    /// Entries of rings.
    pub ring_size: u32,
    /// Buffers per vport and worker.
    pub quota: u32,
    /// Empty buffers kept ready per vport and worker.
    pub fill: u32,
    /// Buffers per host's vport and worker, if not as many as for stacks.
    pub host_quota: Option<u32>,
    /// What a stack receives per second.
    pub rx_limit: Limit,
    /// What a stack sends per second.
    pub tx_limit: Limit,
    /// What the host receives per second.
    pub host_rx_limit: Limit,
    /// What the host sends per second.
    pub host_tx_limit: Limit,
    /// How much of a limit may be used at once, in ms.
    pub limit_burst: u16,
    /// Buffers in all, if not computed.
    pub mbufs: Option<u32>,
    /// RX descriptors.
    pub rxd: u16,
    /// TX descriptors.
    pub txd: u16,
    /// MTU, if not the device's.
    pub mtu: Option<u16>,
    /// Rules on claims.
    pub policy: Option<PathBuf>,
    /// Vports over vhost-user sockets.
    pub vhost: Vec<VhostPort>,
    /// Folders in which there may be others later.
    pub vhost_dir: Vec<PathBuf>,
    /// Promiscuous mode.
    pub promiscuous: bool,
    /// Pure polling.
    pub poll: bool,
    /// Rights of the start are kept.
    pub unconfined: bool,
    source: Source,
}

/// Where a [`Config`] comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    command_line: Options,
    file: Option<PathBuf>,
}

impl Source {
    fn read(self) -> Result<Config, ConfigError> {
        let file = match &self.file {
            Some(path) => read(path)?,
            None => Options::default(),
        };
        Config::from_options(self, file)
    }
}

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line; clap's message, which for `--help` and `--version` is what was asked for.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file, or a combination of options.
    #[error("{0}")]
    Bad(String),
}

impl Config {
    /// From the arguments behind `--`, program name not included.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse<I>(args: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = String>,
    {
        let program = std::iter::once("multistack".to_owned());
        let cli = Cli::try_parse_from(program.chain(args))?;
        let source = Source {
            command_line: cli.options,
            file: cli.config,
        };
        source.read()
    }

    /// Buffers per host's vport and worker.
    pub fn host_quota(&self) -> u32 {
        self.host_quota.unwrap_or(self.quota)
    }

    /// The same command line with the file as it is now.
    ///
    /// # Errors
    /// [`ConfigError::Bad`].
    pub fn reread(&self) -> Result<Self, ConfigError> {
        self.source.clone().read()
    }

    /// The options that are different in `other`, and cannot be changed while the switch runs: all but
    /// those on the control socket's file, the policy, and limits.
    pub fn fixed_in(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            socket,
            access: _,
            host_addrs,
            host_netdev,
            max_vports,
            max_claims,
            ring_size,
            quota,
            host_quota,
            fill,
            rx_limit: _,
            tx_limit: _,
            host_rx_limit: _,
            host_tx_limit: _,
            limit_burst: _,
            mbufs,
            rxd,
            txd,
            mtu,
            policy: _,
            vhost,
            vhost_dir,
            promiscuous,
            poll,
            unconfined,
            source: _,
        } = self;
        let options = [
            ("socket", *socket != other.socket),
            ("host-addr", *host_addrs != other.host_addrs),
            ("host-netdev", *host_netdev != other.host_netdev),
            ("max-vports", *max_vports != other.max_vports),
            ("max-claims", *max_claims != other.max_claims),
            ("ring-size", *ring_size != other.ring_size),
            ("quota", *quota != other.quota),
            ("host-quota", *host_quota != other.host_quota),
            ("fill", *fill != other.fill),
            ("mbufs", *mbufs != other.mbufs),
            ("rxd", *rxd != other.rxd),
            ("txd", *txd != other.txd),
            ("mtu", *mtu != other.mtu),
            ("vhost", *vhost != other.vhost),
            ("vhost-dir", *vhost_dir != other.vhost_dir),
            ("promiscuous", *promiscuous != other.promiscuous),
            ("poll", *poll != other.poll),
            ("unconfined", *unconfined != other.unconfined),
        ];
        let changed = options.iter().filter(|(_, is_other)| *is_other);
        changed.map(|(name, _)| *name).collect()
    }

    fn from_options(source: Source, file: Options) -> Result<Self, ConfigError> {
        let cli = source.command_line.clone();
        let host_addrs = if cli.host_addr.is_empty() {
            file.host_addr
        } else {
            cli.host_addr
        };
        let netdev = cli.host_netdev.or(file.host_netdev);
        let limit = |cli: Option<Limit>, file: Option<Limit>| cli.or(file).unwrap_or(Limit::NONE);
        let config = Self {
            socket: cli.socket.or(file.socket),
            access: Access {
                owner: cli.socket_owner.or(file.socket_owner),
                group: cli.socket_group.or(file.socket_group),
                mode: cli.socket_mode.or(file.socket_mode).unwrap_or_default(),
            },
            host_addrs,
            host_netdev: netdev.unwrap_or_else(|| "msh".to_owned()),
            max_vports: cli.max_vports.or(file.max_vports).unwrap_or(64),
            max_claims: cli.max_claims.or(file.max_claims).unwrap_or(65_536),
            ring_size: cli.ring_size.or(file.ring_size).unwrap_or(512),
            quota: cli.quota.or(file.quota).unwrap_or(1024),
            host_quota: cli.host_quota.or(file.host_quota),
            rx_limit: limit(cli.rx_limit, file.rx_limit),
            tx_limit: limit(cli.tx_limit, file.tx_limit),
            host_rx_limit: limit(cli.host_rx_limit, file.host_rx_limit),
            host_tx_limit: limit(cli.host_tx_limit, file.host_tx_limit),
            limit_burst: cli.limit_burst.or(file.limit_burst).unwrap_or(10),
            fill: cli.fill.or(file.fill).unwrap_or(128),
            mbufs: cli.mbufs.or(file.mbufs),
            rxd: cli.rxd.or(file.rxd).unwrap_or(1024),
            txd: cli.txd.or(file.txd).unwrap_or(1024),
            mtu: cli.mtu.or(file.mtu),
            policy: cli.policy.or(file.policy),
            vhost: [file.vhost, cli.vhost].concat(),
            vhost_dir: [file.vhost_dir, cli.vhost_dir].concat(),
            promiscuous: cli.promiscuous || file.promiscuous,
            poll: cli.poll || file.poll,
            unconfined: cli.unconfined || file.unconfined,
            source,
        };
        config.check().map_err(ConfigError::Bad)?;
        Ok(config)
    }

    /// What clap checks of the command line, for the file; and what depends on two options.
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u32, low: u32, high: u32| {
            let message = format!("{name} {value}: {low} to {high} is possible");
            (low..=high).contains(&value).then_some(()).ok_or(message)
        };
        within("max-vports", self.max_vports.into(), 1, 4000)?;
        within("max-claims", self.max_claims, 1, 4_194_304)?;
        within("quota", self.quota, 16, 65_536)?;
        within("host-quota", self.host_quota(), 16, 65_536)?;
        within("fill", self.fill, 1, self.quota.min(self.host_quota()) / 2)?;
        within("limit-burst", self.limit_burst.into(), 1, 1000)?;
        within("rxd", self.rxd.into(), 8, 32_768)?;
        within("txd", self.txd.into(), 8, 32_768)?;
        within("mtu", self.mtu.unwrap_or(1500).into(), 68, 1500)?;
        if !self.ring_size.is_power_of_two() || !RING_SIZES.contains(&self.ring_size) {
            return Err(format!(
                "ring-size {}: a power of two from {} to {} is possible",
                self.ring_size,
                RING_SIZES.start(),
                RING_SIZES.end()
            ));
        }
        // One slot per port for the host; DPDK has 32 ports at most.
        debug_assert!(self.max_vports + 32 <= MAX_SLOTS);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Options, ConfigError> {
    let bad = |why: String| ConfigError::Bad(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    toml::from_str(&text).map_err(|error| bad(with_line(&text, &error)))
}

/// What is wrong with a TOML text, in one line that names the line.
pub(crate) fn with_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().map_or("", |span| &text[..span.start]);
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', " "))
}

#[cfg(test)]
mod tests;
