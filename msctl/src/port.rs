//! `msctl port`: vports over vhost-user sockets.

use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Subcommand;
use port_api::protocol::{Limit, PortSpec, Reply, Request};
use port_api::{ClaimSpec, Client, with_sockets};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::{Failure, fetch, limit, print};

#[derive(Subcommand)]
pub enum Args {
    /// Add a vport over a vhost-user socket, with its claims, all or nothing
    ///
    /// A DPDK program attaches with `--vdev=net_virtio_user0,path=PATH`, QEMU with `-netdev vhost-user`. What
    /// is at the other end may come and go; the vport stays. It needs no trust: the switch copies, and
    /// believes nothing. It sends with the NIC port's MAC address, so that is to be its own.
    #[command(after_long_help = ClaimSpec::SYNTAX)]
    Add(Add),
    /// Take a vhost port out of service, with its claims and its socket
    Remove {
        /// Its name, or the vport's number
        port: String,
    },
}

#[derive(clap::Args)]
pub struct Add {
    /// 1 to 32 printable ASCII characters
    name: String,
    /// The socket: the switch listens there
    #[arg(long, value_name = "PATH")]
    vhost: PathBuf,
    /// Connect to the socket, again and again, instead of listening there
    #[arg(long)]
    client: bool,
    /// DPDK port id of the NIC port through which it sends
    #[arg(long, value_name = "N", default_value_t = 0)]
    nic: u8,
    /// What it receives and may send from; repeatable
    #[arg(long, value_name = "CLAIM")]
    claim: Vec<ClaimSpec>,
    /// As of msctl limit [default: the switch's --rx-limit]
    #[arg(long, value_name = "LIMIT")]
    rx_limit: Option<Limit>,
    /// As of msctl limit [default: the switch's --tx-limit]
    #[arg(long, value_name = "LIMIT")]
    tx_limit: Option<Limit>,
}

pub fn run(client: &Client, args: &Args) -> Result<(), Failure> {
    match args {
        Args::Add(add) => self::add(client, add),
        Args::Remove { port } => {
            let vport = limit::find(client, port)?;
            match client.call(&Request::RemovePort { vport }, &[])? {
                Reply::Done => Ok(()),
                other => Err(fetch::unexpected("an answer", &other).into()),
            }
        }
    }
}

/// Shows the vport's number.
fn add(client: &Client, add: &Add) -> Result<(), Failure> {
    let bound = |spec: ClaimSpec, error| Failure::Vport(format!("bind {}: {error}", spec.what));
    let (claims, sockets) = with_sockets(&add.claim, netdev(client, add.nic)?)
        .map_err(|(spec, error)| bound(spec, error))?;
    let path = std::path::absolute(&add.vhost)?;
    let spec = PortSpec {
        name: add.name.clone(),
        path,
        client: add.client,
        nic: add.nic,
        rx: add.rx_limit,
        tx: add.tx_limit,
        claims,
    };
    let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    match client.call(&Request::AddPort(Box::new(spec)), &fds)? {
        Reply::Added { vport } => Ok(print(&format!("vport {vport}\n"))?),
        other => Err(fetch::unexpected("a vport", &other).into()),
    }
}

/// The index of the host's netdev behind a NIC port, if it can be seen from here.
fn netdev(client: &Client, nic: u8) -> Result<u32, Failure> {
    let ports = fetch::ports(client)?;
    let port = ports.iter().find(|port| port.id == nic);
    let index = port.and_then(|port| {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        name_to_index(&any, &port.host_netdev).ok()
    });
    Ok(index.unwrap_or(0))
}
