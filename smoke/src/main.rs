//! A stack that tries what stacks may and may not do: attach over and over, claim, send from
//! foreign addresses, keep what it gets. For the demo and the tests.

mod attach;
mod claim;
mod hostile;
mod once;
mod raw;
mod receive;
mod spec;
mod spoof;
mod twice;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use port_api::Protocol;
use wire::MacAddr;

#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// Control socket of the primary.
    #[arg(long, default_value = "/run/multistack/rte.sock")]
    socket: PathBuf,
    /// What to attach as.
    #[arg(long, default_value = "probe")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attach and detach over and over, and tell how long it takes.
    Attach {
        /// How often.
        #[arg(long, default_value_t = 1)]
        times: u32,
        /// All in one process, instead of in a new one each time.
        #[arg(long)]
        in_process: bool,
    },
    /// Hold a claim. On stdin: "release" ends it, "detach" gives the vport up, the end of the
    /// file ends all.
    Claim {
        /// tcp or udp.
        protocol: Protocol,
        /// Local address and port; port 0 for any.
        addr: SocketAddr,
    },
    /// Claim one UDP tuple, send from another, and tell what the switch made of it.
    Spoof {
        /// The tuple to claim.
        #[arg(long, value_name = "IP:PORT")]
        claim: SocketAddr,
        /// The source to send from.
        #[arg(long, value_name = "IP:PORT")]
        from: SocketAddr,
        /// Where to.
        #[arg(long, value_name = "IP:PORT")]
        to: SocketAddr,
        /// The destination's MAC address.
        #[arg(long)]
        dst_mac: MacAddr,
        /// How many datagrams.
        #[arg(long, default_value_t = 1)]
        count: u64,
    },
    /// Claim, print received frames, and send frames as they are.
    ///
    /// Prints "ready as vport N", and for each received frame "rx 0 HEX", or "rx 1 HEX" if its
    /// layer 4 checksum is known to be right. Answers each line on stdin with "ok ..." or
    /// "error ...": "send HEX"; "sendck HEX", to have the layer 4 checksum filled in; "sendport
    /// PORT HEX", through another NIC port; "claim CLAIM", "release ID", "offer ID VPORT", "take
    /// ID"; "quit" or the end of the file ends all.
    #[command(after_long_help = spec::syntax())]
    Raw {
        /// What to claim; see the end of --help.
        claims: Vec<spec::Wanted>,
    },
    /// Say anything to the control socket, in any order, with any descriptors.
    Hostile {
        /// Of what is said: the same seed says the same.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long.
        #[arg(long, default_value_t = 1)]
        seconds: u64,
    },
    /// Receive, count and give back, until SIGTERM or SIGINT; SIGUSR1 ends this and the next two in its
    /// handler.
    Sink {
        /// tcp or udp.
        protocol: Protocol,
        /// Local address and port.
        addr: SocketAddr,
    },
    /// Receive and never give back, until SIGTERM or SIGINT.
    Hoard {
        /// tcp or udp.
        protocol: Protocol,
        /// Local address and port.
        addr: SocketAddr,
    },
    /// Receive and give back, and release the claim and make it again all the time, until SIGTERM or
    /// SIGINT.
    Fickle {
        /// tcp or udp.
        protocol: Protocol,
        /// Local address and port.
        addr: SocketAddr,
    },
    /// Receive UDP, and give every buffer back twice, until SIGTERM or SIGINT.
    Twice {
        /// Local address and port.
        addr: SocketAddr,
    },
    /// Claim, receive UDP, answer, send from an empty buffer, give back, release, detach: each once.
    Once {
        /// Local address and port.
        addr: SocketAddr,
    },
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let target = &attach::Target {
        socket: &args.socket,
        name: &args.name,
    };
    match args.command {
        Command::Attach { times, in_process } if in_process => attach::here(target, times),
        Command::Attach { times, .. } => attach::in_processes(target, times),
        Command::Claim { protocol, addr } => claim::hold(target, protocol, addr),
        Command::Spoof {
            claim,
            from,
            to,
            dst_mac,
            count,
        } => spoof::send(target, claim, &spoof::Forgery { from, to, dst_mac }, count),
        Command::Hostile { seed, seconds } => {
            hostile::run(&args.socket, seed, Duration::from_secs(seconds))
        }
        Command::Raw { ref claims } => raw::obey(target, claims),
        Command::Sink { protocol, addr } => receive::sink(target, protocol, addr),
        Command::Hoard { protocol, addr } => receive::hoard(target, protocol, addr),
        Command::Fickle { protocol, addr } => receive::fickle(target, protocol, addr),
        Command::Twice { addr } => twice::give_back(target, addr),
        Command::Once { addr } => once::run(target, addr),
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stack-probe: {error}");
            ExitCode::FAILURE
        }
    }
}
