//! Shows the state and the counters of a running multistack, what it does with a frame, and limits
//! vports.
//!
//! Read in this order: this file (arguments, and one round of asking and showing), `fetch` (what
//! the switch says), `lists` and `stats` (how it looks), `trace`.

mod capture;
mod fetch;
mod limit;
mod lists;
mod port;
mod socket;
mod stats;
mod table;
mod trace;
mod watch;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use port_api::Client;
use port_api::protocol::{
    ClaimRow, PoolStats, PortRow, PortStats, StackRow, Stats, VportStats, WorkerStats,
};
use serde::Serialize;

/// Shows the state and the counters of a running multistack, what it does with a frame, and limits vports
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit status: 0, 1 on failure, 2 if the arguments are wrong."
)]
struct Args {
    /// Control socket of the switch [default: /run/multistack/rte.sock, else the only other socket
    /// in that directory]
    #[arg(long, global = true, env = "MULTISTACK_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Show(What),
    /// Have the switch read its --config and --policy again, as SIGHUP does
    ///
    /// All that has changed takes force, without a packet lost, or nothing does: then one line says
    /// why, and the exit status is 1. The policy and --socket-mode, --socket-owner, --socket-group
    /// can change; other options take a restart. Stacks and claims stay as they are.
    Reload,
    /// What would become of a frame, and why: the rules that it meets, one after the other, and
    /// the verdict
    ///
    /// A worker of the switch decides, with the code and the claims that it decides on packets
    /// with. Nothing is sent, delivered or counted. Whether rings and quotas have room is not
    /// looked at; a fragment waits for the first one of its packet unless that is just under way.
    Trace(trace::Args),
    /// Vports over vhost-user sockets, for programs and virtual machines that need not be trusted. For
    /// root and the switch's own user
    #[command(subcommand)]
    Port(port::Args),
    /// Set or show what a vport may receive and send per second, over all workers
    ///
    /// Lasts until the vport's stack detaches; --rx-limit and the like of the switch say what new ones
    /// begin with. Vports 0 and up, one for each port, are the host's. For root and the switch's own user.
    Limit(limit::Args),
}

#[derive(Subcommand)]
enum What {
    /// NIC ports: MTU in bytes of an IP packet, link speed in Mbit/s, the exception path's netdev
    /// and its addresses
    Ports(View),
    /// Attached stacks: age as [[days-]hours:]minutes:seconds, buffers held now, and how many may
    /// be held
    Stacks(View),
    /// Claims: what stacks receive and may send from. * stands for any; the kind with the most
    /// specific claim decides: connection, tuple, any-address, protocol, address; a group is shared
    Claims(View),
    /// Packets and bytes (without FCS), drops by reason, buffers of the packet pool, rounds of the
    /// workers
    ///
    /// TO-VPORTS and TO-HOST are packets received from the NIC and given to stacks and to the
    /// host's kernel; TX-WIRE those of a vport that a NIC has taken; NIC-MISSED those that never
    /// reached the switch, as the NIC ran out of descriptors. A packet dropped between a port and
    /// a vport is counted at both. WAITING are fragments that wait now for the first one of their
    /// packet; TX-LOCAL packets of a vport that went to another one behind the same port, so that
    /// there received packets are more than TO-VPORTS and TO-HOST tell. HELD is in buffers; BUSY% is the share of a worker's rounds in
    /// which it found something to do.
    ///
    /// With --watch, packets, bytes and rounds are rates per second over the last interval and
    /// drops are totals; a dash stands where there is no rate yet. --json always gives totals.
    Stats(View),
}

#[derive(clap::Args)]
struct View {
    /// Show again every SECONDS, 0.1 to 86400 (1 if left out), until interrupted or the switch
    /// ends
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = watch::seconds
    )]
    watch: Option<Duration>,
    /// Print one JSON document, on one line; with --watch, one line every SECONDS
    #[arg(long)]
    json: bool,
}

impl What {
    const fn view(&self) -> &View {
        match self {
            Self::Ports(view) | Self::Stacks(view) | Self::Claims(view) | Self::Stats(view) => view,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Ports(_) => "ports",
            Self::Stacks(_) => "stacks",
            Self::Claims(_) => "claims",
            Self::Stats(_) => "stats",
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Socket(String),
    #[error("{0}")]
    Frame(String),
    #[error("{0}")]
    Vport(String),
    #[error("{0}")]
    Switch(#[from] port_api::Error),
    #[error("stdout: {0}")]
    Output(#[from] io::Error),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Frame(why)
    }
}

/// What the switch said.
enum Reading {
    Ports(Vec<PortRow>),
    Stacks(Vec<StackRow>),
    Claims(Vec<ClaimRow>),
    Stats(Stats),
}

/// [`Stats`] without the paging.
#[derive(Serialize)]
struct Counters<'a> {
    ports: &'a [PortStats],
    vports: &'a [VportStats],
    pool: PoolStats,
    workers: &'a [WorkerStats],
}

impl Reading {
    fn take(client: &Client, what: &What) -> Result<Self, port_api::Error> {
        Ok(match what {
            What::Ports(_) => Self::Ports(fetch::ports(client)?),
            What::Stacks(_) => Self::Stacks(fetch::stacks(client)?),
            What::Claims(_) => Self::Claims(fetch::claims(client)?),
            What::Stats(_) => Self::Stats(fetch::stats(client)?),
        })
    }

    fn json(&self) -> io::Result<String> {
        let mut line = match self {
            Self::Ports(rows) => serde_json::to_string(rows),
            Self::Stacks(rows) => serde_json::to_string(rows),
            Self::Claims(rows) => serde_json::to_string(rows),
            Self::Stats(stats) => serde_json::to_string(&Counters {
                ports: &stats.ports,
                vports: &stats.vports,
                pool: stats.pool,
                workers: &stats.workers,
            }),
        }?;
        line.push('\n');
        Ok(line)
    }

    fn text(&self, earlier: Option<(&Self, Duration)>) -> String {
        match self {
            Self::Ports(rows) => lists::ports(rows),
            Self::Stacks(rows) => lists::stacks(rows),
            Self::Claims(rows) => lists::claims(rows),
            Self::Stats(now) => {
                let earlier = earlier.and_then(|(reading, elapsed)| match reading {
                    Self::Stats(stats) => Some(stats::Earlier { stats, elapsed }),
                    _ => None,
                });
                stats::render(now, earlier)
            }
        }
    }

    /// Text has warnings in it; a JSON document has no place for them.
    fn warn(&self) {
        if let Self::Stats(stats) = self {
            for warning in stats::warnings(stats) {
                complain(&format!("warning: {warning}"));
            }
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, such as head(1), has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let socket = match &args.socket {
        Some(path) => path.clone(),
        None => socket::find(Path::new(socket::DIRECTORY)).map_err(Failure::Socket)?,
    };
    let client = Client::connect(&socket, concat!("msctl ", env!("CARGO_PKG_VERSION")))?;
    let what = match &args.command {
        Command::Trace(args) => return trace::run(&client, args),
        Command::Limit(args) => return limit::run(&client, args),
        Command::Port(args) => return port::run(&client, args),
        Command::Reload => return Ok(fetch::reload(&client)?),
        Command::Show(what) => what,
    };
    let view = what.view();
    if let Some(interval) = view.watch {
        return watch(&client, what, &socket, interval);
    }
    let reading = Reading::take(&client, what)?;
    if view.json {
        reading.warn();
        print(&reading.json()?)?;
    } else {
        print(&reading.text(None))?;
    }
    Ok(())
}

/// Returns only with an error: the end of the switch is one.
fn watch(client: &Client, what: &What, socket: &Path, interval: Duration) -> Result<(), Failure> {
    let heading = format!(
        "{}: {} every {} s",
        socket.display(),
        what.name(),
        interval.as_secs_f64()
    );
    let json = what.view().json;
    let needs_two = !json && matches!(what, What::Stats(_));
    let mut earlier: Option<(Reading, Instant)> = None;
    loop {
        let reading = Reading::take(client, what)?;
        let now = Instant::now();
        let mut pause = interval;
        if json {
            reading.warn();
            print(&reading.json()?)?;
        } else if needs_two && earlier.is_none() {
            // A first rate soon, however long the interval.
            pause = pause.min(Duration::from_secs(1));
        } else {
            let before = earlier.as_ref().map(|(old, at)| (old, now - *at));
            let block = format!("{heading}\n{}", reading.text(before));
            print(&match watch::terminal() {
                Some(size) => watch::screen(&block, size),
                None => block + "\n",
            })?;
        }
        earlier = Some((reading, now));
        // From now, not from when this reading was due: no two are closer than the interval.
        watch::wait_until(client, now + pause)?;
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn complain(line: &str) {
    // Nowhere is left to say that stderr is gone.
    let _ = writeln!(io::stderr(), "msctl: {line}");
}
