//! `stack-http`: serves the files of a directory from a vport.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time;

use clap::Parser;
use port_api::protocol::PortRow;
use port_api::{Claim, ClaimSpec, Protocol, Vport, await_primary, exec_again};
use signal_hook::consts::{SIGINT, SIGTERM};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use stack_http::{Config, RingDevice, Root, Server};

/// Serves static files over HTTP/1.1 from a vport of multistack
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Control socket of the switch
    #[arg(long, value_name = "PATH", default_value = "/run/multistack/rte.sock")]
    socket: PathBuf,
    /// Address and TCP port to serve; repeatable. An address that the host does not have becomes
    /// wholly this stack's, ARP and ping included, and takes --prefix-len
    #[arg(long = "addr", value_name = "IP:PORT", required = true)]
    addrs: Vec<SocketAddr>,
    /// Directory to serve
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Prefix length of the addresses' networks [default: as on the host]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(1..=128))]
    prefix_len: Option<u8>,
    /// Next hop to other networks, one for each IP version; repeatable
    #[arg(long = "gateway", value_name = "IP")]
    gateways: Vec<IpAddr>,
    /// Most TCP sockets, those that wait for connections included
    #[arg(long, value_name = "N", default_value_t = 1024)]
    sockets: usize,
    /// Name of this stack, as in `msctl stacks`
    #[arg(long, default_value = "http")]
    name: String,
    /// Wait for the switch at the start, and begin anew with the next one when it ends or dies
    #[arg(long)]
    reconnect: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let Err(mut error) = run(&args) else {
        return ExitCode::SUCCESS;
    };
    if args.reconnect && is_primary_gone(error.as_ref()) {
        say(
            stderr(),
            &format!("http: {error}: waiting for the next one"),
        );
        let Err(failed) = exec_again();
        error = failed.into();
    }
    say(stderr(), &format!("http: {error}"));
    ExitCode::FAILURE
}

/// Unlike with `println!`, a full disk is no reason to end.
fn say(mut to: impl Write, what: &str) {
    let _ = writeln!(to, "{what}");
}

fn is_primary_gone(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<port_api::Error>();
    error.is_some_and(port_api::Error::is_primary_gone)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.reconnect {
        await_primary(&args.socket)?;
    }
    let root = Root::open(&args.root).map_err(|e| format!("{}: {e}", args.root.display()))?;
    let end = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    let vport = Vport::attach(&args.socket, &args.name)?;
    let port = vport.ports().first().ok_or("the switch has no port")?;
    let mtu = port.mtu;
    let mut own: Vec<_> = args.addrs.iter().map(SocketAddr::ip).collect();
    own.sort_unstable();
    own.dedup();
    own.retain(|ip| !port.ips().any(|hosts| hosts == *ip));
    for ip in own {
        vport.claim_as(&ClaimSpec::address(ip))?;
    }
    let claims = args
        .addrs
        .iter()
        .map(|&addr| vport.claim(Protocol::Tcp, addr))
        .collect::<Result<Vec<_>, _>>()?;
    let config = config(args, port, &claims)?;
    let serving = serving(&claims, args, &vport);
    let mut device = RingDevice::new(vport, mtu);
    let mut server = Server::new(&config, root, seed()?, &mut device, now())?;
    say(stdout(), &serving);

    while !end.load(Ordering::Relaxed) {
        let worked = server.round(&mut device, now());
        device.flush();
        if device.adapt(now()) {
            server.renew(seed()?, &mut device, now())?;
        }
        if !device.port_mut().idle(worked) {
            return Err(device.port_mut().why_over().into());
        }
    }
    server.shut_down(&mut device, now());
    match device.into_port().detach() {
        // It was asked to end as well, perhaps.
        Err(error) if error.is_primary_gone() => Ok(()),
        result => Ok(result?),
    }
}

fn config(args: &Args, port: &PortRow, claims: &[Claim]) -> Result<Config, Box<dyn Error>> {
    let mut ports: Vec<u16> = claims.iter().map(|claim| claim.local().port()).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut addresses = claims
        .iter()
        .map(|claim| cidr(args, port, claim.local().ip()))
        .collect::<Result<Vec<_>, _>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    let mac: EthernetAddress =
        (port.mac.parse()).map_err(|()| format!("MAC address {}", port.mac))?;
    Ok(Config {
        mac,
        addresses,
        gateways: args.gateways.clone(),
        ports,
        sockets: args.sockets,
    })
}

/// The address with the prefix length of its network.
fn cidr(args: &Args, port: &PortRow, addr: IpAddr) -> Result<IpCidr, String> {
    let on_host = || {
        port.addresses.iter().find_map(|cidr| {
            let (ip, bits) = cidr.split_once('/')?;
            (ip.parse() == Ok(addr)).then(|| bits.parse().ok())?
        })
    };
    let bits = args.prefix_len.or_else(on_host).ok_or_else(|| {
        let netdev = &port.host_netdev;
        format!("{netdev} does not have {addr}: what is its network's --prefix-len?")
    })?;
    if bits > if addr.is_ipv4() { 32 } else { 128 } {
        return Err(format!("{addr} cannot have a prefix length of {bits}"));
    }
    Ok(IpCidr::new(addr.into(), bits))
}

fn serving(claims: &[Claim], args: &Args, vport: &Vport) -> String {
    let addrs: Vec<String> = claims.iter().map(|c| c.local().to_string()).collect();
    format!(
        "http: serving tcp {} from {} as vport {}",
        addrs.join(", "),
        args.root.display(),
        vport.slot()
    )
}

fn now() -> Instant {
    time::Instant::now().into()
}

fn seed() -> Result<u64, rustix::io::Errno> {
    let mut seed = [0; 8];
    let mut filled = 0;
    while filled < seed.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut seed[filled..], flags)?;
    }
    Ok(u64::from_ne_bytes(seed))
}
