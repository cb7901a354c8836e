//! Measures the switch beside its peers, on a device that never runs dry.
//!
//! Read in this order: `experiments` (what is measured, and what it is to reach), `experiment`,
//! `plan` (round by round), `multistack`, `switch`, `stacks` (ours), `peers`, `testpmd`, `ovs`
//! (theirs), `vhost` (all of them, to a virtio device), `measured`, `table`, `results` (what comes out).

mod churn;
mod conservation;
mod counters;
mod echo;
mod experiment;
mod experiments;
mod forwarder;
mod fresh;
mod host;
mod hugepages;
mod lab;
mod latency;
mod machine;
mod measured;
mod multistack;
mod ovs;
mod peers;
mod plan;
mod process;
mod results;
mod stacks;
mod statistics;
mod svg;
mod switch;
mod table;
mod telemetry;
mod testpmd;
mod times;
mod traffic;
mod vhost;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An error for the user: a line or a few.
type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(
    name = "multistack-bench",
    version,
    args_conflicts_with_subcommands = true
)]
/// Measures multistack beside its peers, in turns.
///
/// Needs root, two CPUs that have nothing else to do, hugepages (it makes more of them while it
/// runs), and `multistack` beside this program. Prints a table and writes results.json.
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: plan::Plan,
}

#[derive(Subcommand)]
enum Command {
    /// The stacks of a run: started by the benchmark itself.
    #[command(hide = true)]
    Stacks {
        /// Control socket of the primary.
        socket: PathBuf,
        /// Which, as JSON.
        plan: String,
    },
    /// A stack that comes and goes.
    #[command(hide = true)]
    Churn {
        /// Control socket of the primary.
        socket: PathBuf,
    },
    /// Who sends, receives and times.
    #[command(hide = true)]
    Roundtrip {
        /// What to do, as JSON.
        plan: String,
    },
    /// The far end of a TCP transfer.
    #[command(hide = true)]
    TcpClient,
    /// A stack that attaches once.
    #[command(hide = true)]
    Fresh {
        /// Control socket of the primary.
        socket: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Stacks { socket, plan }) => serde_json::from_str(&plan)
            .map_err(Error::from)
            .and_then(|plan| stacks::run(&socket, plan)),
        Some(Command::Churn { socket }) => churn::run(&socket),
        Some(Command::Roundtrip { plan }) => serde_json::from_str(&plan)
            .map_err(Error::from)
            .and_then(|plan| latency::run(&plan)),
        Some(Command::TcpClient) => host::tcp::run(),
        Some(Command::Fresh { socket }) => fresh::run(&socket),
        None => plan::run(&args.plan),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("multistack-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
