//! Throughput runs in the manner of testpmd, beside testpmd, on a device that never runs dry.
//!
//! Read in this order: `plan` (what is compared, round by round), `demux` (the switch and its
//! stacks), `drain` (the stacks), `testpmd` (the peer), `report` (what comes out).

mod counters;
mod demux;
mod drain;
mod lab;
mod machine;
mod plan;
mod process;
mod report;
mod telemetry;
mod testpmd;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An error for the user: a line or a few.
type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(name = "multistack-bench", version)]
/// Measures the throughput of multistack beside dpdk-testpmd's, in turns.
///
/// Needs root, two CPUs that have nothing else to do, some 200 MiB of free hugepages, and
/// `multistack` beside this program. Prints a table and writes results.json.
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
    Drain {
        /// Control socket of the primary.
        socket: PathBuf,
        /// How many.
        stacks: u16,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Command::Drain { socket, stacks }) => drain::run(&socket, stacks),
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
