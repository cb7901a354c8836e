//! What happens when a peer truncates a file that is mapped here: an access beyond its end raises SIGBUS.
//!
//! A handler looks the address up among the mapped regions. If it is in one, the whole region is replaced
//! by private zero pages and its memory is marked as lost, which the data path notices at its next burst.
//! The whole region, as a peer could otherwise make one mapping for each page, up to the kernel's limit
//! (`vm.max_map_count`), and as it spares the question of how large the pages are. Any other SIGBUS goes to
//! whom it would have gone without us.

use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// Regions of all devices together.
const SLOTS: usize = 2048;

/// A mapped region, for the handler, which may not lock. `version` is odd while the rest is valid and
/// stays.
struct Slot {
    version: AtomicU32,
    taken: AtomicBool,
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicPtr<AtomicBool>,
}

static REGISTRY: [Slot; SLOTS] = [const {
    Slot {
        version: AtomicU32::new(0),
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicPtr::new(ptr::null_mut()),
    }
}; SLOTS];

/// A region's place in the registry, until this is dropped.
#[derive(Debug)]
pub(super) struct Registered(usize);

impl Registered {
    /// From now on a fault in `len` bytes from `start` on sets `lost`. `None`: the registry is full.
    ///
    /// # Safety
    /// Until this value is dropped the range is a mapping of the caller's own, which nobody minds being
    /// replaced, and `lost` is valid.
    pub(super) unsafe fn new(start: usize, len: usize, lost: *const AtomicBool) -> Option<Self> {
        let at = REGISTRY
            .iter()
            .position(|slot| !slot.taken.swap(true, Ordering::Acquire))?;
        let slot = &REGISTRY[at];
        slot.start.store(start, Ordering::Relaxed);
        slot.len.store(len, Ordering::Relaxed);
        slot.lost.store(lost.cast_mut(), Ordering::Relaxed);
        slot.version.fetch_add(1, Ordering::Release);
        Some(Self(at))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let slot = &REGISTRY[self.0];
        slot.version.fetch_add(1, Ordering::SeqCst);
        slot.taken.store(false, Ordering::Release);
    }
}

/// Start, length and flag of the region that `address` is in.
fn find(address: usize) -> Option<(usize, usize, *const AtomicBool)> {
    REGISTRY.iter().find_map(|slot| {
        let version = slot.version.load(Ordering::Acquire);
        if version % 2 == 0 {
            return None;
        }
        let start = slot.start.load(Ordering::Acquire);
        let len = slot.len.load(Ordering::Acquire);
        let lost = slot.lost.load(Ordering::Acquire);
        let same = slot.version.load(Ordering::Relaxed) == version;
        let inside = address.wrapping_sub(start) < len;
        (same && inside).then_some((start, len, lost.cast_const()))
    })
}

/// Who had SIGBUS before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once for the process.
pub(super) fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let done = INSTALLED.get_or_init(|| {
        // SAFETY: an all-zero sigaction is valid, and both pointers are to such.
        unsafe {
            let mut previous: libc::sigaction = mem::zeroed();
            if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut previous) != 0 {
                return Err(*libc::__errno_location());
            }
            // Before the handler can need it.
            let _ = PREVIOUS.set(previous);
            let mut ours: libc::sigaction = mem::zeroed();
            ours.sa_sigaction = on_sigbus as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
                return Err(*libc::__errno_location());
            }
        }
        Ok(())
    });
    done.map_err(io::Error::from_raw_os_error)
}

/// Calls nothing that is not async-signal-safe: atomics, mmap, sigaction, raise.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo; errno's place is the thread's own. A region that is
    // registered is a mapping that may be replaced, and its flag is valid: the thread that faults in it
    // has borrowed its memory, which is registered for as long as it lives.
    unsafe {
        let errno = *libc::__errno_location();
        // Positive codes are the kernel's own; kill() has no address.
        let fault = (*info).si_code > 0;
        let region = find((*info).si_addr() as usize).filter(|_| fault);
        let replaced = region.is_some_and(|(start, len, lost)| {
            (*lost).store(true, Ordering::Release);
            replace(start, len)
        });
        if !replaced {
            pass_on(signal, info, context, fault);
        }
        *libc::__errno_location() = errno;
    }
}

/// # Safety
/// The range is a mapping that may be replaced.
unsafe fn replace(start: usize, len: usize) -> bool {
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let start = ptr::without_provenance_mut(start);
    // SAFETY: the caller's promise.
    unsafe { libc::mmap(start, len, access, flags, -1, 0) != libc::MAP_FAILED }
}

/// # Safety
/// `info` and `context` are the kernel's.
unsafe fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    fault: bool,
) {
    let handler = PREVIOUS.get().map_or(libc::SIG_DFL, |p| p.sa_sigaction);
    let flags = PREVIOUS.get().map_or(0, |p| p.sa_flags);
    // SAFETY: a previous handler is a function of the type that its flags name.
    unsafe {
        match handler {
            libc::SIG_IGN if !fault => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut default: libc::sigaction = mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
                // A fault comes again by itself, where it can be seen in the core file.
                if !fault {
                    libc::raise(signal);
                }
            }
            handler if flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = mem::transmute(handler);
                handler(signal);
            }
        }
    }
}
