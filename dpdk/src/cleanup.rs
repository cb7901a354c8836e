//! Files that EAL makes and does not remove.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::{
        fd::AsRawFd,
        unix::{fs::DirBuilderExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Between two looks whether another primary has started.
const PAUSE: Duration = Duration::from_millis(5);

/// Where a primary keeps its files, as `eal_create_runtime_dir()` decides it.
pub(crate) fn runtime_dir(prefix: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let base = variable("RUNTIME_DIRECTORY").unwrap_or_else(|| {
        // SAFETY: never fails.
        match unsafe { libc::getuid() } {
            0 => "/var/run".into(),
            _ => variable("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into()),
        }
    });
    base.join("dpdk").join(prefix)
}

/// Whether a primary is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Primary {
    /// None, or only this process itself.
    None,
    /// One, and its pid if it is in this process's pid namespace.
    Running(Option<i32>),
}

/// Finds the primary by the lock that EAL holds on its config file.
///
/// Must not be called in a running primary: closing the file would drop its own lock.
pub(crate) fn find_primary(runtime_dir: &Path) -> io::Result<Primary> {
    let file = match File::options()
        .read(true)
        .write(true)
        .open(runtime_dir.join("config"))
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Primary::None),
        Err(error) => return Err(error),
    };
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK.try_into().unwrap_or(1),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open and the struct outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return Ok(Primary::None);
    }
    Ok(Primary::Running(Some(lock.l_pid).filter(|&pid| pid > 0)))
}

/// Has primaries start one after the other, from the look for another one until EAL holds its own
/// lock: so that what one takes for the leftovers of a dead primary is not what another has just
/// made. For as long as the file is open; `None` if the directory cannot be had, of which EAL will
/// say more. (The runtime directory itself EAL locks on its own account.)
///
/// # Errors
/// `TimedOut`, if another one is still starting after `patience`.
pub(crate) fn take_turns(runtime_dir: &Path, patience: Duration) -> io::Result<Option<File>> {
    let Some(base) = runtime_dir.parent() else {
        return Ok(None);
    };
    // As EAL makes it.
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(base);
    let Ok(dir) = made.and_then(|()| File::open(base)) else {
        return Ok(None);
    };
    match lock(&dir, patience) {
        Ok(()) => Ok(Some(dir)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "another DPDK primary has been starting for {} s (it holds the lock of {}): stop it \
                 if it hangs",
                patience.as_secs(),
                base.display()
            );
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }
}

/// Has secondaries of a primary initialise EAL one after the other: at its end each removes the tables that it can
/// lock (`eal_clean_runtime_dir`), and one that another has just made and is about to lock fails that other's
/// initialisation (`rte_fbarray_init`). For as long as the file is open. `None` if it cannot be had, or one that
/// hangs has had it for all of `patience`: then it is better to go without, as that hardly ever happens.
pub(crate) fn attach_in_turn(runtime_dir: &Path, patience: Duration) -> Option<File> {
    // Of its locks EAL uses others (fcntl's, in the primary).
    let config = File::open(runtime_dir.join("config")).ok()?;
    lock(&config, patience).ok().map(|()| config)
}

fn lock(file: &File, patience: Duration) -> Result<(), TryLockError> {
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// The one that was chosen, or all that are mounted.
pub(crate) fn huge_dirs_of(chosen: Option<&Path>) -> Vec<PathBuf> {
    chosen.map_or_else(huge_dirs, |dir| vec![dir.to_owned()])
}

/// Mounted hugetlbfs directories.
pub(crate) fn huge_dirs() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hugetlbfs = |line: &str| {
        let mut fields = line.split(' ');
        let dir = fields.nth(1)?;
        (fields.next()? == "hugetlbfs").then(|| PathBuf::from(dir))
    };
    mounts.lines().filter_map(hugetlbfs).collect()
}

/// Unlinks all files of a primary that ended or is about to end. What is mapped stays mapped, so
/// stacks that still run are not harmed; nor do they keep the next primary from starting, as they
/// would with the locks that they hold on EAL's tables, or answer what it asks its own secondaries.
pub(crate) fn remove_files(prefix: &str, runtime_dir: &Path, huge_dir: Option<&Path>) {
    for dir in huge_dirs_of(huge_dir) {
        remove_matching(&dir, |name| is_huge_file(name, prefix));
    }
    remove_matching(runtime_dir, |_| true);
    // Fails if something else is in there, which is then not ours to remove.
    let _ = fs::remove_dir(runtime_dir);
}

/// Unlinks what EAL in a process that is gone has left: the socket over which it heard from the
/// primary, and its private tables of what it had mapped. And every other socket that nobody
/// listens at any more, as of processes that died before anyone knew their pid.
pub(crate) fn remove_secondary(runtime_dir: &Path, pid: u32) {
    let socket = format!("mp_socket_{pid}_");
    let table = format!("_{pid}");
    remove_matching(runtime_dir, |name| {
        name.starts_with(&socket)
            || name.starts_with("fbarray_") && name.ends_with(&table)
            || name.starts_with("mp_socket_") && is_dead(&runtime_dir.join(name))
    });
}

/// EAL judges likewise when a message can't be sent (`eal_common_proc.c`).
fn is_dead(socket: &Path) -> bool {
    let probe = UnixDatagram::unbound().and_then(|probe| probe.connect(socket));
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// `HUGEFILE_FMT` of `eal_filesystem.h`: "%smap_%d"
fn is_huge_file(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix("map_"))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn remove_matching(dir: &Path, matches: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir && entry.file_name().to_str().is_some_and(&matches) {
            // Gone already, or not ours: neither is worth a word on the way out.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_this_prefix_are_huge_files() {
        assert!(is_huge_file("rtemap_0", "rte"));
        assert!(is_huge_file("rtemap_1023", "rte"));
        for name in [
            "rte2map_0",
            "rtemap_",
            "rtemap_0x",
            "rtemap_1map_0",
            "map_0",
            "xrtemap_0",
        ] {
            assert!(!is_huge_file(name, "rte"), "{name}");
        }
    }

    #[test]
    fn removes_one_pids_files_and_then_everything() {
        let dir = std::env::temp_dir().join(format!("dpdk-cleanup-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let alive = UnixDatagram::bind(dir.join("mp_socket_123_ab")).unwrap();
        for name in ["mp_socket_4_ab", "mp_socket_12_ab"] {
            drop(UnixDatagram::bind(dir.join(name)).unwrap());
        }
        for name in ["config", "mp_socket", "fbarray_a_112", "fbarray_a_12"] {
            fs::write(dir.join(name), "").unwrap();
        }
        remove_secondary(&dir, 12);
        let left = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(
            left,
            ["config", "fbarray_a_112", "mp_socket", "mp_socket_123_ab"]
        );
        drop(alive);
        assert_eq!(
            find_primary(&dir).unwrap(),
            Primary::None,
            "nobody locks it"
        );
        remove_files("no-such-prefix", &dir, Some(&dir));
        assert!(!dir.exists());
        assert_eq!(find_primary(&dir).unwrap(), Primary::None, "no such file");
    }

    #[test]
    fn one_turn_at_a_time() {
        let base = std::env::temp_dir().join(format!("dpdk-turns-{}", std::process::id()));
        let patience = Duration::from_millis(20);
        let turn = take_turns(&base.join("a"), patience).unwrap();
        assert!(turn.is_some());
        let late = take_turns(&base.join("b"), patience).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(turn);
        assert!(take_turns(&base.join("b"), patience).unwrap().is_some());
        fs::remove_dir(&base).unwrap();
    }
}
