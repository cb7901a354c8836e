//! The environment abstraction layer: one per process.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use dpdk_sys as c;

use crate::{
    capture::{Capture, Captured},
    cleanup::{self, Primary},
    eal_args::{EalArgs, Output},
    eal_error,
    errno::Error,
    lcore::Lcore,
};

/// Why EAL can't run: one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EalError(String);

impl EalError {
    pub(crate) fn new(line: String) -> Self {
        Self(line)
    }
}

impl fmt::Display for EalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EalError {}

const NONE: u8 = 0;
const PRIMARY: u8 = 1;
const SECONDARY: u8 = 2;

/// What EAL is in this process. Set once, when EAL is ready.
static ROLE: AtomicU8 = AtomicU8::new(NONE);

/// The prefix that EAL runs with; held while it initialises.
static PREFIX: Mutex<Option<String>> = Mutex::new(None);

pub(crate) fn require_primary() -> Result<(), Error> {
    match ROLE.load(Ordering::Acquire) {
        PRIMARY => Ok(()),
        _ => Err(Error::new(
            libc::EPERM,
            "this process is not a DPDK primary",
        )),
    }
}

pub(crate) fn require_any() -> Result<(), Error> {
    match ROLE.load(Ordering::Acquire) {
        NONE => Err(Error::new(libc::EPERM, "EAL is not initialised")),
        _ => Ok(()),
    }
}

/// Proof that EAL is initialised. A primary's removes EAL's files when it is dropped.
#[derive(Debug)]
pub struct Eal {
    prefix: String,
    runtime_dir: PathBuf,
    huge_dir: Option<PathBuf>,
    primary: bool,
}

/// The environment variable that shows EAL's log as `--log-level` does.
const LOG_VARIABLE: &str = "MULTISTACK_EAL_LOG";

impl Eal {
    /// Initialises EAL as the primary process. `args` is argv up to, not including, "--".
    ///
    /// Pins the calling thread to the main lcore. EAL's output is shown only with `--log-level`,
    /// `-v` or `$MULTISTACK_EAL_LOG`; without them, only warnings and worse, on standard error.
    /// With `-h` or `--help`, EAL prints its options and ends the process.
    ///
    /// # Errors
    /// One line; nothing of EAL's is left in the file system then. EAL can't be initialised a
    /// second time in a process, and after some errors not at all.
    pub fn primary(args: &[String]) -> Result<Self, EalError> {
        let parsed = EalArgs::parse(args)?;
        let mut prefix = PREFIX.lock().unwrap_or_else(PoisonError::into_inner);
        if prefix.is_some() {
            return Err(EalError::new(
                "EAL is initialised already in this process".to_owned(),
            ));
        }
        let dir = cleanup::runtime_dir(&parsed.prefix);
        if parsed.output != Output::Help {
            eal_error::check_primary(&parsed, &dir)?;
        }
        let show = parsed.output != Output::Quiet || std::env::var_os(LOG_VARIABLE).is_some();
        let result = init(args, iova_mode(&parsed), show)
            .and_then(|log| missing_devices(&parsed, log.as_ref()).map(|()| log));
        let log = match result {
            Ok(log) => log,
            Err(error) => return Err(undo(&parsed, &dir, error)),
        };
        replay(log.as_ref());
        *prefix = Some(parsed.prefix.clone());
        ROLE.store(PRIMARY, Ordering::Release);
        Ok(Self {
            prefix: parsed.prefix,
            runtime_dir: dir,
            huge_dir: parsed.huge_dir,
            primary: true,
        })
    }

    /// Attaches to the primary that runs with this `--file-prefix`, as a secondary process that
    /// has no devices. Leaves the calling thread's CPU affinity as it is. EAL stays for the life
    /// of the process; a second call with the same prefix finds it attached.
    ///
    /// While it initialises, what other threads write to standard output and standard error is
    /// held back.
    ///
    /// # Errors
    /// No such primary, no access to its files, another DPDK release, or attached to another one.
    pub fn secondary(file_prefix: &str) -> Result<Self, EalError> {
        let mut prefix = PREFIX.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = cleanup::runtime_dir(file_prefix);
        match (prefix.as_deref(), ROLE.load(Ordering::Acquire)) {
            (None, _) => {}
            (Some(old), SECONDARY) if old == file_prefix => {
                return Ok(Self::attached(file_prefix, dir));
            }
            (Some(old), _) => {
                return Err(EalError::new(format!(
                    "this process has EAL with --file-prefix={old} already: one per process"
                )));
            }
        }
        eal_error::check_secondary(file_prefix, &dir)?;
        let affinity = Affinity::of_this_thread();
        let result = init(&secondary_args(file_prefix, &affinity.cpus()), None, false);
        affinity.restore();
        let log = result?;
        replay(log.as_ref());
        *prefix = Some(file_prefix.to_owned());
        ROLE.store(SECONDARY, Ordering::Release);
        Ok(Self::attached(file_prefix, dir))
    }

    fn attached(prefix: &str, runtime_dir: PathBuf) -> Self {
        Self {
            prefix: prefix.to_owned(),
            runtime_dir,
            huge_dir: None,
            primary: false,
        }
    }

    /// `--file-prefix`; "rte" unless given.
    pub fn file_prefix(&self) -> &str {
        &self.prefix
    }

    /// Where EAL keeps its sockets and shared tables (`rte_eal_get_runtime_dir`).
    pub fn runtime_dir(&self) -> PathBuf {
        // SAFETY: EAL is initialised; the string lives as long as the process.
        let dir = unsafe { CStr::from_ptr(c::rte_eal_get_runtime_dir()) };
        PathBuf::from(dir.to_string_lossy().into_owned())
    }

    /// The lcore that is the thread which initialised EAL.
    pub fn main_lcore(&self) -> Lcore {
        // SAFETY: EAL is initialised.
        Lcore::of(unsafe { c::rte_get_main_lcore() })
    }

    /// The other lcores, by id.
    pub fn worker_lcores(&self) -> Vec<Lcore> {
        worker_ids().map(Lcore::of).collect()
    }

    /// Such as "DPDK 22.11.11".
    pub fn dpdk_version() -> &'static str {
        // SAFETY: a string literal of DPDK's.
        unsafe { CStr::from_ptr(c::rte_version()) }
            .to_str()
            .unwrap_or("DPDK")
    }

    /// Removes EAL's files, as dropping does: hugepage files, the runtime directory, its sockets.
    /// For the end of a primary; of a secondary nothing is removed (see [`forget_secondary`]).
    ///
    /// `rte_eal_cleanup()` is not called. It unmaps memory that other threads may still use, and
    /// it can hang: it frees memory under locks that a killed secondary may have left locked. What
    /// it does beyond that, the kernel does when the process ends, except for closing devices
    /// (see [`crate::ethdev::Port::close`]) and unlinking these files, which it does not do at all.
    pub fn cleanup(self) {
        drop(self);
    }
}

impl Drop for Eal {
    fn drop(&mut self) {
        if self.primary {
            cleanup::remove_files(&self.prefix, &self.runtime_dir, self.huge_dir.as_deref());
        }
    }
}

/// Removes what EAL in a secondary process that is gone has left in the primary's runtime
/// directory.
pub fn forget_secondary(runtime_dir: &Path, pid: u32) {
    cleanup::remove_secondary(runtime_dir, pid);
}

/// The ids of the worker lcores.
pub(crate) fn worker_ids() -> impl Iterator<Item = u32> {
    let next = |id: u32| {
        // SAFETY: takes any number; u32::MAX starts from the beginning.
        let next = unsafe { c::rte_get_next_lcore(id, 1, 0) };
        (next < c::MS_MAX_LCORE).then_some(next)
    };
    std::iter::successors(next(u32::MAX), move |&id| next(id))
}

/// Without an IOMMU, EAL takes physical addresses for granted, and then the pool needs memory that
/// is physically in one piece. Only a device behind one of these kernel drivers can mean that;
/// virtual and bifurcated ones never see a physical address.
fn iova_mode(args: &EalArgs) -> Option<&'static str> {
    const USERSPACE: [&str; 3] = ["igb_uio", "uio_pci_generic", "vfio-pci"];
    let has_devices = |driver: &str| {
        let entries = std::fs::read_dir(Path::new("/sys/bus/pci/drivers").join(driver));
        let mut names = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name());
        // A device is a link named by its address.
        names.any(|name| name.to_string_lossy().contains(':'))
    };
    let left_to_eal = args.iova_mode || USERSPACE.into_iter().any(has_devices);
    (!left_to_eal).then_some("--iova-mode=va")
}

/// Calls `rte_eal_init` with the arguments and one that was added to them, and shows or captures
/// its output.
fn init(args: &[String], added: Option<&str>, show: bool) -> Result<Option<Captured>, EalError> {
    let nul = |_| EalError::new("an EAL argument holds a NUL".to_owned());
    let all = args.iter().map(String::as_str).chain(added);
    let strings: Vec<CString> = all
        .map(CString::new)
        .collect::<Result<_, _>>()
        .map_err(nul)?;
    let count = c_int::try_from(strings.len()).unwrap_or(c_int::MAX);
    // EAL keeps pointers into argv and permutes it; it never frees it.
    let mut pointers: Vec<*mut c_char> = strings.into_iter().map(CString::into_raw).collect();
    pointers.push(std::ptr::null_mut());
    let pointers = Vec::leak(pointers);
    let capture = if show { None } else { Capture::start() };
    if capture.is_none() {
        // SAFETY: no arguments.
        unsafe { c::ms_log_to_stderr() };
    }
    // SAFETY: the pointers are as main()'s argv, and the caller holds the lock, so this is the only call.
    let ret = unsafe { c::rte_eal_init(count, pointers.as_mut_ptr()) };
    // SAFETY: reads a thread-local variable.
    let errno = unsafe { c::ms_errno() };
    let captured = capture.map(Capture::finish);
    if ret < 0 {
        let errno = Error::new(errno, "rte_eal_init").to_string();
        return Err(eal_error::explain(args, captured.as_ref(), &errno));
    }
    Ok(captured)
}

/// EAL logs a device that failed to probe and goes on without it; the user asked for it, though.
fn missing_devices(args: &EalArgs, captured: Option<&Captured>) -> Result<(), EalError> {
    let log = captured.map_or(&[][..], |captured| &captured.log);
    match args.devices.iter().find(|device| !has_port(&device.name)) {
        Some(device) => Err(eal_error::missing_device(device, log)),
        None => Ok(()),
    }
}

fn has_port(name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    let mut port = 0;
    // SAFETY: EAL is initialised, and both arguments outlive the call.
    unsafe { c::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut port) == 0 }
}

/// After a failed initialisation: removes what it has made, unless that is another's.
fn undo(args: &EalArgs, dir: &Path, error: EalError) -> EalError {
    // Looking drops this process's own lock on the file, which has no use any more.
    match cleanup::find_primary(dir) {
        Ok(Primary::Running(pid)) => eal_error::taken(&args.prefix, pid),
        Ok(Primary::None) => {
            cleanup::remove_files(&args.prefix, dir, args.huge_dir.as_deref());
            error
        }
        Err(_) => error,
    }
}

/// `RTE_LOG_WARNING`
const WARNING: u8 = 5;

/// Telemetry's warning that an interface which nobody has used for years is off.
const NOISE: &str = "legacy socket not created";

/// Shows what must not get lost: warnings, and what other threads wrote meanwhile.
fn replay(captured: Option<&Captured>) {
    let Some(captured) = captured else { return };
    // Standard output and error may be closed, which is no reason to fail.
    let _ = io::stdout().write_all(captured.out.as_bytes());
    let mut err = io::stderr().lock();
    let _ = err.write_all(captured.err.as_bytes());
    let warnings = captured.log.iter().filter(|line| line.level <= WARNING);
    for line in warnings.filter(|line| !line.text.contains(NOISE)) {
        let _ = writeln!(err, "{}", line.text);
    }
}

fn secondary_args(prefix: &str, cpus: &[usize]) -> Vec<String> {
    let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    vec![
        "stack".to_owned(),
        "--proc-type=secondary".to_owned(),
        format!("--file-prefix={prefix}"),
        "--no-pci".to_owned(),
        "--no-telemetry".to_owned(),
        // EAL pins the calling thread to its lcore's CPUs: those it has already.
        format!("--lcores=0@({})", cpus.join(",")),
    ]
}

/// The CPUs that a thread may run on.
struct Affinity(libc::cpu_set_t);

impl Affinity {
    fn of_this_thread() -> Self {
        // SAFETY: all zeroes is an empty set, and the size is right.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
            Self(set)
        }
    }

    fn cpus(&self) -> Vec<usize> {
        let all = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        // SAFETY: every number is below CPU_SETSIZE.
        all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &self.0) })
            .collect()
    }

    fn restore(&self) {
        // SAFETY: a set that the kernel gave, of the right size.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), &raw const self.0) };
    }
}
