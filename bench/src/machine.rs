//! What the figures were measured on, and whether it was quiet.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::Error;
use crate::lab::Lab;

/// The machine.
#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    hugepages_2mib: u64,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let kernel = rustix::system::uname();
        let pages = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        Self {
            cpu: model
                .and_then(|line| line.split_once(": "))
                .map_or("unknown", |(_, model)| model)
                .to_owned(),
            cpus: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            hugepages_2mib: read(pages).trim().parse().unwrap_or(0),
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// How long a thread, given by its folder in `/proc`, was ready to run and had no CPU, since its start, in ns
/// (the second number of `schedstat`, Documentation/scheduler/sched-stats.rst); 0 if the kernel does not say.
pub fn waited(thread: &Path) -> u64 {
    let stat = read(thread.join("schedstat"));
    let waited = stat.split_whitespace().nth(1);
    waited.and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// How busy the CPUs are with other things, in percent of all: watched for a moment in which the
/// benchmark does nothing.
pub fn busy_percent(lab: &Lab) -> Result<u8, Error> {
    let before = CpuTime::now();
    lab.sleep(Duration::from_millis(200))?;
    Ok(CpuTime::now().busy_percent_since(&before))
}

/// Ticks since boot (`/proc/stat`, proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct CpuTime {
    idle: u64,
    total: u64,
}

impl CpuTime {
    fn now() -> Self {
        Self::parse(&read("/proc/stat"))
    }

    /// From the first line, which is of all CPUs: user, nice, system, idle, iowait, irq, softirq,
    /// steal; what follows is part of user and nice.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        Self {
            idle: ticks.iter().skip(3).take(2).sum(),
            total: ticks.iter().sum(),
        }
    }

    fn busy_percent_since(&self, before: &Self) -> u8 {
        let total = self.total.saturating_sub(before.total).max(1);
        let idle = self.idle.saturating_sub(before.idle);
        u8::try_from(total.saturating_sub(idle) * 100 / total).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_idle_and_stolen_time_is_busy() {
        let before = CpuTime::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n");
        let after = CpuTime::parse("cpu  110 0 110 850 10 0 0 20 5 5\ncpu0 1 2 3\n");
        assert_eq!(
            before,
            CpuTime {
                idle: 800,
                total: 1000
            }
        );
        assert_eq!(after.busy_percent_since(&before), 40);
        assert_eq!(before.busy_percent_since(&before), 100);
    }
}
