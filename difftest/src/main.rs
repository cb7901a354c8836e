//! `difftest DIR`: see the library.

#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use difftest::Options;

/// Reads every packet of a folder of captures, decides on it, and compares with independent judges.
///
/// Exits with 0 if all differences are explained, with 1 if not, with 2 if the folder cannot be
/// read.
#[derive(Debug, Parser)]
struct Args {
    /// A folder with .pcap, .pcapng and .cap files at any depth, or one such file
    dir: PathBuf,
    /// Packets per file that tshark, if it is installed, is asked about; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200)]
    tshark: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options {
        tshark: args.tshark,
    };
    let report = match difftest::run(&args.dir, options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("difftest: {}: {error}", args.dir.display());
            return ExitCode::from(2);
        }
    };
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write!(out, "{report}")
    };
    if let Err(error) = written {
        eprintln!("difftest: {error}");
    }
    ExitCode::from(u8::from(!report.is_clean()))
}
