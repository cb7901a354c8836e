//! The environment abstraction layer: one per process.

use std::{
    ffi::{CStr, CString, c_void},
    fmt, io,
    io::Write,
    path::{Path, PathBuf},
    ptr::{self, NonNull},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use dpdk_sys as c;

use crate::{
    capture::Captured,
    cleanup::{self, Primary},
    eal_args::{EalArgs, Output},
    eal_error,
    eal_init::{self, Affinity},
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

/// How long another primary may take to start before this one gives up: EAL takes a second or so, and
/// longer with many hugepages.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long secondaries wait for those before them, each of which takes some 50 ms.
const ATTACH_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Held until secondaries may come; see [`Eal::admit_secondaries`].
    spare: Mutex<Option<Spare>>,
}

/// Memory in the shared heap.
#[derive(Debug)]
struct Spare(NonNull<c_void>);

// SAFETY: only freed, which any thread may do.
unsafe impl Send for Spare {}

impl Spare {
    fn take() -> Option<Self> {
        // SAFETY: EAL is initialised; a null type is allowed.
        NonNull::new(unsafe { c::rte_malloc(ptr::null(), SPARE, 0) }).map(Self)
    }
}

/// Bytes that are free in the shared heap when secondaries come. EAL's initialisation takes 165 KiB
/// of it in every secondary (`rte_service_init`), which [`Eal::secondary`] gives back.
const SPARE: usize = 16 << 20;

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
        let turn = cleanup::take_turns(&dir, START_PATIENCE)
            .map_err(|error| EalError::new(error.to_string()))?;
        if parsed.output != Output::Help {
            eal_error::check_primary(&parsed, &dir)?;
            if turn.is_some() {
                // No primary has them any more; stacks of a killed one may.
                cleanup::remove_files(&parsed.prefix, &dir, parsed.huge_dir.as_deref());
            }
            eal_error::check_hugepages(&parsed)?;
        }
        let show = parsed.output != Output::Quiet || std::env::var_os(LOG_VARIABLE).is_some();
        let result = eal_init::init(args, &eal_init::added(&parsed), show)
            .and_then(|log| missing_devices(&parsed, log.as_ref()).map(|()| log));
        let log = match result {
            Ok(log) => log,
            Err(error) => return Err(undo(&parsed, &dir, error)),
        };
        drop(turn);
        replay(log.as_ref());
        *prefix = Some(parsed.prefix.clone());
        ROLE.store(PRIMARY, Ordering::Release);
        Ok(Self {
            prefix: parsed.prefix,
            runtime_dir: dir,
            huge_dir: parsed.huge_dir,
            primary: true,
            // Without hugepages no secondary can come.
            spare: Mutex::new(if parsed.no_huge { None } else { Spare::take() }),
        })
    }

    /// Attaches to the primary that runs with this `--file-prefix`, as a secondary process that
    /// has no devices. Leaves the calling thread's CPU affinity as it is. EAL stays for the life
    /// of the process; a second call with the same prefix finds it attached.
    ///
    /// While it initialises, what other threads write to standard output and standard error is
    /// held back. Secondaries initialise one after the other; for one that hangs meanwhile the others wait 2 s.
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
        // A secondary scans the primary's virtual devices and probes them, whatever --no-pci says:
        // every attach would ask each driver in the primary for its file descriptors (net_af_xdp
        // answers late, and after some 900 times brings the primary down). A stack has no devices.
        // SAFETY: EAL is not initialised, and the lock keeps others from doing so.
        unsafe { c::ms_leave_vdev_bus() };
        let affinity = Affinity::of_this_thread();
        let turn = cleanup::attach_in_turn(&dir, ATTACH_PATIENCE);
        let result = eal_init::init(
            &eal_init::secondary_args(file_prefix, &affinity.cpus()),
            &[],
            false,
        );
        drop(turn);
        affinity.restore();
        let log = result?;
        // SAFETY: EAL is initialised, and a secondary has no service cores.
        unsafe { c::rte_service_finalize() };
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
            spare: Mutex::new(None),
        }
    }

    /// Gives the shared heap the memory that secondaries need while they attach. For a primary that
    /// has its pool, memzones and ports, before it tells anyone its `--file-prefix`.
    ///
    /// If the heap has to grow while a secondary initialises, the primary waits for all
    /// secondaries to map the new memory, that one included, which does not answer yet: after 5 s
    /// its initialisation fails. So the heap must not grow any more. (With an `-m` or
    /// `--socket-mem` of less than 32 MiB it may.)
    pub fn admit_secondaries(&self) {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Spare(memory)) = spare {
            // SAFETY: from rte_malloc, and taken out of its place, so freed once.
            unsafe { c::rte_free(memory.as_ptr()) };
        }
    }

    /// Bytes of the shared heap in use, of all processes and NUMA sockets. Takes the heap's lock,
    /// which a secondary that was killed while it initialised may have left locked.
    pub fn heap_in_use(&self) -> usize {
        // SAFETY: EAL is initialised.
        unsafe { c::ms_heap_in_use() }
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

    /// Where the primary's hugepage files are.
    pub fn huge_dirs(&self) -> Vec<PathBuf> {
        cleanup::huge_dirs_of(self.huge_dir.as_deref())
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
/// directory, and what secondaries left that died before anyone knew their pid.
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
