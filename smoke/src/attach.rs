//! Attaching, once and over and over.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use port_api::Vport;

/// Whom to attach to, and as what.
pub struct Target<'a> {
    pub socket: &'a Path,
    pub name: &'a str,
}

impl Target<'_> {
    pub fn attach(&self) -> Result<Vport, port_api::Error> {
        Vport::attach(self.socket, self.name)
    }
}

/// Cycles within this process.
pub fn here(target: &Target<'_>, times: u32) -> Result<(), Box<dyn Error>> {
    report(times, || {
        let start = Instant::now();
        target.attach()?.detach()?;
        Ok(start.elapsed())
    })
}

/// Cycles in a new process each. What is timed is start, attach and detach: not the exit, as the
/// kernel may take seconds to reap a process while others keep all CPUs busy.
pub fn in_processes(target: &Target<'_>, times: u32) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?;
    report(times, || {
        let start = Instant::now();
        let mut child = Command::new(&program)
            .arg("--socket")
            .arg(target.socket)
            .args(["--name", target.name, "attach", "--in-process"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let elapsed = start.elapsed();
        match child.wait()? {
            status if status.success() => Ok(elapsed),
            status => Err(status.to_string().into()),
        }
    })
}

/// Runs `cycle` so many times, each of which tells how long it took, and prints one line.
fn report(
    times: u32,
    mut cycle: impl FnMut() -> Result<Duration, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    // In µs, to three digits.
    let mut took = Histogram::<u64>::new(3)?;
    let mut failures = 0;
    for number in 1..=times {
        match cycle() {
            Ok(elapsed) => took.record(u64::try_from(elapsed.as_micros())?)?,
            Err(error) => {
                failures += 1;
                eprintln!("cycle {number}: {error}");
            }
        }
    }
    let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1e3;
    println!(
        "{times} cycles of attach and detach, {failures} failed; \
         ms: {:.1} min, {:.1} median, {:.1} p99, {:.1} max",
        ms(took.min()),
        ms(took.value_at_quantile(0.5)),
        ms(took.value_at_quantile(0.99)),
        ms(took.max())
    );
    match failures {
        0 => Ok(()),
        _ => Err(format!("{failures} of {times} cycles failed").into()),
    }
}
