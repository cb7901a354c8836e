//! The primary: `multistack <EAL arguments> -- [options]`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use switch::config::{Config, ConfigError};
use tracing_subscriber::EnvFilter;

/// Exit status for bad arguments, as of clap and getopt programs.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut eal_args: Vec<String> = std::env::args().collect();
    let app_args = match eal_args.iter().position(|arg| arg == "--") {
        Some(at) => eal_args.split_off(at).split_off(1),
        None => Vec::new(),
    };
    if eal_args.len() == 2 && ["-V", "--version"].contains(&eal_args[1].as_str()) {
        println!("multistack {}", env!("MULTISTACK_VERSION"));
        return ExitCode::SUCCESS;
    }
    let config = match Config::parse(app_args) {
        Ok(config) => config,
        Err(error) => return usage(error),
    };
    let filter =
        EnvFilter::try_from_env("MULTISTACK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A log that cannot be written, as on a full disk or after a hangup, is lost, and not the switch.
        .log_internal_errors(false)
        .init();
    match switch::run::run(&eal_args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// `eprintln!` would panic where nothing can be written.
fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "multistack: {what}");
}

fn usage(error: ConfigError) -> ExitCode {
    match error {
        ConfigError::Usage(error) if error.exit_code() == 0 => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        ConfigError::Usage(error) => {
            // One line: what is wrong, without clap's usage below it.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let line = line.trim_start_matches("error: ");
            complain(&format_args!("{line}: see 'multistack -- --help'"));
            ExitCode::from(USAGE)
        }
        ConfigError::Bad(why) => {
            complain(&why);
            ExitCode::from(USAGE)
        }
    }
}
