//! The rights of this process's threads.
//!
//! The kernel keeps them for each thread, and no thread can change another's. EAL has started threads
//! that never come by here; so each thread is sent a signal, and gives its rights up in the
//! handler, as with libcap's libpsx.

use std::{
    ffi::{c_int, c_long},
    fs, io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::errno::Error;

/// How long a thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// `ANSWER` before there is one.
const NONE: i32 = -1;

/// Capabilities that the thread keeps which gets the signal.
static KEEP: AtomicU64 = AtomicU64::new(0);
/// Its Landlock ruleset; -1 for none.
static RULESET: AtomicI32 = AtomicI32::new(-1);
/// What it says: 0 or an errno.
static ANSWER: AtomicI32 = AtomicI32::new(NONE);
/// One order at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Has every thread of this process restrict itself to a Landlock ruleset, if there is one, and give up
/// all capabilities but these, bit by bit as `CAP_*` are numbered: the calling thread `own`, and each other
/// one what `others` says of a thread with its name. What a thread does not have it does not get.
///
/// Takes the signal `SIGRTMAX` while it runs; system calls that others are in are interrupted. `no_new_privs` must be
/// set if there is a ruleset. A thread that is started meanwhile has its turn as well.
///
/// # Errors
/// A thread was refused, or does not answer within 2 s. Some have given up theirs then.
pub fn confine(
    own: u64,
    others: impl Fn(&str) -> u64,
    ruleset: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let ruleset = ruleset.map_or(-1, |fd| fd.as_raw_fd());
    RULESET.store(ruleset, Ordering::Release);
    let handler = Handler::install()?;
    // SAFETY: no arguments.
    let mut done = vec![unsafe { libc::gettid() }];
    loop {
        let all = threads().map_err(|error| Error::new(code(&error), "/proc/self/task"))?;
        let new: Vec<_> = all.into_iter().filter(|tid| !done.contains(tid)).collect();
        if new.is_empty() {
            break;
        }
        for tid in new {
            // Gone by now, if it has no name.
            if let Some(name) = name(tid) {
                KEEP.store(others(&name), Ordering::Release);
                handler.order(tid, &name)?;
            }
            done.push(tid);
        }
    }
    drop(handler);
    match give_up(own, ruleset) {
        0 => Ok(()),
        errno => Err(Error::new(errno, "giving up rights")),
    }
}

fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn threads() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc/self/task")?;
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(tids.collect())
}

/// As `/proc` has it, up to 15 bytes.
fn name(tid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The signal's handler, for as long as the value lives.
struct Handler {
    signal: c_int,
    before: libc::sigaction,
}

impl Handler {
    fn install() -> Result<Self, Error> {
        let signal = libc::SIGRTMAX();
        let function: extern "C" fn(c_int) = obey;
        // SAFETY: all zeroes is an empty mask and no flags; the handler does only what a handler may.
        let (result, before) = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let mut before: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = function as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            let result = libc::sigaction(signal, &raw const action, &raw mut before);
            (result, before)
        };
        if result < 0 {
            let errno = code(&io::Error::last_os_error());
            return Err(Error::new(errno, "sigaction"));
        }
        Ok(Self { signal, before })
    }

    /// Has a thread give up its rights.
    fn order(&self, tid: i32, name: &str) -> Result<(), Error> {
        let what = || format!("the thread {name} gives up rights");
        ANSWER.store(NONE, Ordering::Release);
        // SAFETY: plain numbers; the handler is there.
        if unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, self.signal) } < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ESRCH) => Ok(()),
                _ => Err(Error::new(code(&error), what())),
            };
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ANSWER.load(Ordering::Acquire) {
                0 => return Ok(()),
                NONE if self::name(tid).is_none() => return Ok(()),
                NONE if Instant::now() < deadline => thread::sleep(Duration::from_micros(50)),
                NONE => return Err(Error::new(libc::ETIMEDOUT, what())),
                errno => return Err(Error::new(errno, what())),
            }
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // SAFETY: what was there before.
        unsafe { libc::sigaction(self.signal, &raw const self.before, std::ptr::null_mut()) };
    }
}

extern "C" fn obey(_signal: c_int) {
    // SAFETY: a thread-local variable, which the interrupted code may be about to read.
    let errno = unsafe { *libc::__errno_location() };
    let answer = give_up(
        KEEP.load(Ordering::Acquire),
        RULESET.load(Ordering::Acquire),
    );
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    ANSWER.store(answer, Ordering::Release);
}

/// `struct __user_cap_header_struct` of `linux/capability.h`
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

/// `struct __user_cap_data_struct`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`
const CAP_VERSION: u32 = 0x2008_0522;

/// Of the calling thread; 0 or an errno. Only system calls and its own memory: for a signal handler.
fn give_up(keep: u64, ruleset: c_int) -> i32 {
    let errno = |result: c_long| match result {
        0 => 0,
        // SAFETY: a thread-local variable.
        _ => unsafe { *libc::__errno_location() },
    };
    if ruleset >= 0 {
        // SAFETY: plain numbers.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
        if result != 0 {
            return errno(result);
        }
    }
    let header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: the structures are the kernel's, of which this version has two of the second.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    if result != 0 {
        return errno(result);
    }
    for (half, shift) in data.iter_mut().zip([0, 32]) {
        #[expect(clippy::cast_possible_truncation, reason = "the half that is meant")]
        let keep = (keep >> shift) as u32;
        half.permitted &= keep;
        half.effective &= keep;
        half.inheritable = 0;
    }
    // SAFETY: as above.
    errno(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}
