//! Where the runs take place: a network namespace, a folder, a CPU for everything but the work.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Error;
use crate::hugepages::Hugepages;

/// The lcores of every contender. The second, which does the work, has its CPU for itself; the
/// first one's CPU is for all else: control threads, the stacks, the benchmark.
pub const LCORES: &str = "0-1";
pub const CONTROL_CPU: usize = 0;
/// The other one's.
pub const WORK_CPU: usize = 1;

/// From a contender's first packet to the first reading.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// EAL's option for the main lcore and so many workers. The last worker has a CPU for itself; there
/// being two, a second one is on the control CPU, and what sleeps there wakes late.
pub fn lcores(workers: u16) -> String {
    match workers {
        1 => format!("-l{LCORES}"),
        _ => format!("--lcores=0@{CONTROL_CPU},1@{CONTROL_CPU},2@{WORK_CPU}"),
    }
}

/// What is shared by all runs. Dropping it removes what they have left.
pub struct Lab {
    /// For EAL's `--file-prefix`.
    pub prefix: String,
    /// The same of a second program beside the contender.
    pub far_prefix: String,
    /// For what is to go at the end.
    pub dir: PathBuf,
    /// More of them while runs need them.
    pub hugepages: Hugepages,
    stop: Arc<AtomicBool>,
}

impl Lab {
    /// Sets it up, and pins this process, and so the ones that it starts, to the control CPU.
    pub fn new() -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let mut cpus = CpuSet::new();
        cpus.set(CONTROL_CPU);
        sched_setaffinity(None, &cpus)?;
        raise_fd_limit()?;
        let prefix = format!("msperf{}", std::process::id());
        let dir = std::env::temp_dir().join(&prefix);
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self {
            far_prefix: format!("{prefix}far"),
            prefix,
            dir,
            hugepages: Hugepages::default(),
            stop,
        })
    }

    /// Whether a signal ends the benchmark.
    pub fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// EAL's runtime directory of a contender.
    pub fn runtime_dir(&self) -> PathBuf {
        runtime_dir(&self.prefix)
    }

    /// Waits; an error as soon as a signal ends the benchmark.
    pub fn sleep(&self, time: Duration) -> Result<(), Error> {
        const STEP: Duration = Duration::from_millis(50);
        let end = Instant::now() + time;
        loop {
            if self.is_interrupted() {
                return Err("interrupted".into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(STEP));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What is gone already needs no removal. Peers leave their files behind by themselves.
        let _ = fs::remove_dir_all(&self.dir);
        for prefix in [&self.prefix, &self.far_prefix] {
            let _ = fs::remove_dir_all(runtime_dir(prefix));
            let maps = format!("{prefix}map_");
            let files = fs::read_dir("/dev/hugepages").into_iter().flatten();
            for file in files.flatten() {
                if file.file_name().to_string_lossy().starts_with(&maps) {
                    let _ = fs::remove_file(file.path());
                }
            }
        }
    }
}

/// EAL's runtime directory for a `--file-prefix` (`rte_eal_get_runtime_dir`, for root).
pub fn runtime_dir(prefix: &str) -> PathBuf {
    Path::new("/var/run/dpdk").join(prefix)
}

/// As many file descriptors as allowed: a switch has four of a stack.
fn raise_fd_limit() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Runs this program again, with `flag` added, in a network namespace of its own: the runs make
/// netdevs and addresses. Returns only if that is impossible.
pub fn enter_netns(flag: &str) -> Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let error = Command::new("unshare")
        .args(["--net", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .exec();
    format!("unshare (of util-linux): {error}").into()
}
