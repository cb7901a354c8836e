//! Work on lcores, and the time-stamp counter.

use std::{
    any::Any,
    ffi::{c_int, c_void},
    panic::{self, AssertUnwindSafe},
    sync::mpsc,
    thread,
};

use dpdk_sys as c;

use crate::{eal, errno::Error};

/// An lcore: a thread that EAL made (or, for the main lcore, took) and pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lcore {
    /// DPDK's number of it.
    pub id: u32,
    /// The CPUs that it may run on.
    pub cpus: Vec<usize>,
    /// Its NUMA socket.
    pub socket: i32,
}

impl Lcore {
    pub(crate) fn of(id: u32) -> Self {
        // SAFETY: both calls check the id; rte_cpuset_t is the C library's cpu_set_t.
        let (set, socket) = unsafe {
            let set: libc::cpu_set_t = std::mem::transmute(c::rte_lcore_cpuset(id));
            (set, c::rte_lcore_to_socket_id(id))
        };
        let all = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
        // SAFETY: every number is below CPU_SETSIZE.
        let cpus = all
            .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
            .collect();
        Self {
            id,
            cpus,
            socket: i32::try_from(socket).unwrap_or(-1),
        }
    }
}

/// The result of a function that runs on an lcore.
#[derive(Debug)]
pub struct JoinHandle<R> {
    lcore: u32,
    result: mpsc::Receiver<thread::Result<R>>,
}

impl<R> JoinHandle<R> {
    /// The lcore that it runs on.
    pub fn lcore(&self) -> u32 {
        self.lcore
    }

    /// Waits for the function to return, asleep (`rte_eal_wait_lcore` alone would spin).
    ///
    /// # Errors
    /// The function panicked.
    pub fn join(self) -> thread::Result<R> {
        let lost = || Box::new("the lcore is gone") as Box<dyn Any + Send>;
        let result = self.result.recv().unwrap_or_else(|_| Err(lost()));
        // SAFETY: the lcore is a worker of this process; it is about to be ready, so this returns
        // at once, and only then may the lcore be launched again.
        unsafe { c::rte_eal_wait_lcore(self.lcore) };
        result
    }
}

struct Task<F, R> {
    f: F,
    result: mpsc::Sender<thread::Result<R>>,
}

unsafe extern "C" fn run<F: FnOnce() -> R, R>(arg: *mut c_void) -> c_int {
    // SAFETY: launch() made it of a Box of this type and gave it away.
    let task = unsafe { Box::from_raw(arg.cast::<Task<F, R>>()) };
    let Task { f, result } = *task;
    let value = panic::catch_unwind(AssertUnwindSafe(f));
    // A receiver that is gone does not want the result.
    let _ = result.send(value);
    0
}

/// Runs `f` on a worker lcore (`rte_eal_remote_launch`).
///
/// # Errors
/// `lcore` is not a worker of this process, or busy.
pub fn launch<F, R>(lcore: u32, f: F) -> Result<JoinHandle<R>, Error>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    eal::require_any()?;
    if !eal::worker_ids().any(|id| id == lcore) {
        return Err(Error::new(
            libc::EINVAL,
            format!("lcore {lcore} is not a worker"),
        ));
    }
    let (sender, receiver) = mpsc::channel();
    let task = Box::into_raw(Box::new(Task { f, result: sender }));
    // SAFETY: the lcore is a worker; run::<F, R> takes the Box back, once.
    let ret = unsafe { c::rte_eal_remote_launch(Some(run::<F, R>), task.cast(), lcore) };
    if ret != 0 {
        // SAFETY: the launch was refused, so the Box is still ours.
        drop(unsafe { Box::from_raw(task) });
        return Err(Error::new(ret, format!("launch on lcore {lcore}")));
    }
    Ok(JoinHandle {
        lcore,
        result: receiver,
    })
}

/// The lcore that this thread is; None if it is not one of EAL's.
pub fn current() -> Option<u32> {
    // SAFETY: reads a thread-local variable.
    Some(unsafe { c::ms_lcore_id() }).filter(|&id| id != u32::MAX)
}

/// The time-stamp counter, in [`tsc_hz`] ticks per second.
#[inline]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter.
    unsafe {
        c::ms_rdtsc()
    }
}

/// Ticks of [`tsc`] per second; 0 before EAL is initialised.
pub fn tsc_hz() -> u64 {
    // SAFETY: reads a variable that EAL sets once.
    unsafe { c::ms_tsc_hz() }
}

/// Tells the CPU that this thread spins.
#[inline]
pub fn pause() {
    std::hint::spin_loop();
}
