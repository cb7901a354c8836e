//! The call of `rte_eal_init`, and what has to be right around it.

use std::{
    ffi::{CString, c_char, c_int},
    path::Path,
    ptr,
};

use dpdk_sys as c;

use crate::{
    capture::{Capture, Captured},
    eal::EalError,
    eal_args::EalArgs,
    eal_error,
    errno::Error,
};

/// Memory in MiB that the primary takes at its start, and EAL therefore keeps for ever: what secondaries need
/// and some more, for what the drivers allocate.
const MEMORY: &str = "-m32";

/// Arguments that the user left to us.
pub(crate) fn added(args: &EalArgs) -> Vec<&'static str> {
    let mut added = Vec::new();
    if !args.iova_mode && !is_physical() {
        added.push("--iova-mode=va");
    }
    if !args.memory && !args.no_huge {
        added.push(MEMORY);
    }
    added
}

/// Whether a device may need physical addresses. Without an IOMMU, EAL takes that for granted, and
/// then the pool needs memory that is physically in one piece. But only a device behind one of
/// these kernel drivers can; virtual and bifurcated ones never see a physical address.
fn is_physical() -> bool {
    ["igb_uio", "uio_pci_generic", "vfio-pci"]
        .into_iter()
        .any(|driver| {
            let entries = std::fs::read_dir(Path::new("/sys/bus/pci/drivers").join(driver));
            let mut names = entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name());
            // A device is a link named by its address.
            names.any(|name| name.to_string_lossy().contains(':'))
        })
}

/// Calls `rte_eal_init` with the user's arguments and ours, and shows or captures its output.
pub(crate) fn init(
    args: &[String],
    added: &[&str],
    show: bool,
) -> Result<Option<Captured>, EalError> {
    let nul = |_| EalError::new("an EAL argument holds a NUL".to_owned());
    let all = args.iter().map(String::as_str).chain(added.iter().copied());
    let strings: Vec<CString> = all
        .map(CString::new)
        .collect::<Result<_, _>>()
        .map_err(nul)?;
    let count = c_int::try_from(strings.len()).unwrap_or(c_int::MAX);
    // EAL keeps pointers into argv and permutes it; it never frees it.
    let mut pointers: Vec<*mut c_char> = strings.into_iter().map(CString::into_raw).collect();
    pointers.push(ptr::null_mut());
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

/// EAL's arguments for a secondary without devices, on the CPUs that the thread has already.
pub(crate) fn secondary_args(prefix: &str, cpus: &[usize]) -> Vec<String> {
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
pub(crate) struct Affinity(libc::cpu_set_t);

impl Affinity {
    pub fn of_this_thread() -> Self {
        // SAFETY: all zeroes is an empty set, and the size is right.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
            Self(set)
        }
    }

    pub fn cpus(&self) -> Vec<usize> {
        let all = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        // SAFETY: every number is below CPU_SETSIZE.
        all.filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &self.0) })
            .collect()
    }

    pub fn restore(&self) {
        // SAFETY: a set that the kernel gave, of the right size.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), &raw const self.0) };
    }
}
