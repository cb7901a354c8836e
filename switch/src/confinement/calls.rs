//! The system calls that are left, by a seccomp filter for all threads.
//!
//! What is not listed fails with ENOSYS, as on a kernel that does not have it, so that a C library which tries
//! something new goes the old way. In particular no program is executed, no process started, no
//! other one touched, nothing mounted or loaded, no namespace entered, and no filter undone.

use std::collections::BTreeMap;

use libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_THREAD, TIOCLINUX, TIOCSTI, c_int, c_long,
};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// What there is on every architecture.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Reading, writing, waiting.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl,
    libc::SYS_lseek, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_pipe2, libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Files: which ones is for Landlock.
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_unlinkat, libc::SYS_mkdirat, libc::SYS_renameat,
    libc::SYS_renameat2, libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_flock, libc::SYS_fsync,
    libc::SYS_fdatasync, libc::SYS_fadvise64, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_fchown,
    libc::SYS_fchownat, libc::SYS_umask, libc::SYS_memfd_create,
    // Memory.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_madvise, libc::SYS_msync, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2,
    libc::SYS_munlock, libc::SYS_mlockall, libc::SYS_munlockall, libc::SYS_mbind, libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy, libc::SYS_membarrier,
    // Notifying vhost peers (`vhost-port/src/aio.rs`).
    libc::SYS_io_setup, libc::SYS_io_submit, libc::SYS_io_getevents,
    // Sockets; which new ones, below.
    libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4, libc::SYS_connect,
    libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt,
    libc::SYS_setsockopt, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_socketpair,
    // Threads, signals, time.
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_set_tid_address,
    libc::SYS_gettid, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_restart_syscall, libc::SYS_prctl,
    libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler, libc::SYS_sched_get_priority_min,
    libc::SYS_sched_get_priority_max, libc::SYS_getcpu, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending, libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime,
    libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_timer_create, libc::SYS_timer_settime,
    libc::SYS_timer_gettime, libc::SYS_timer_delete, libc::SYS_timer_getoverrun,
    // Who and where this is.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getgroups, libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_capget,
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrusage, libc::SYS_times, libc::SYS_getrandom,
    libc::SYS_pidfd_open,
    // A vhost port's thread is left with fewer capabilities. None is ever got back.
    libc::SYS_capset,
];

/// What older architectures have besides, and their C libraries use.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD: &[c_long] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink,
    libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_mkdir, libc::SYS_rename, libc::SYS_chmod,
    libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd,
    libc::SYS_pipe, libc::SYS_dup2, libc::SYS_time, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[c_long] = &[];

/// Families of the sockets that may be made.
const FAMILIES: [c_int; 4] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];

/// Leaves to all threads of this process, and to those to come, what is listed here; bpf(2) too if `xdp`.
///
/// # Errors
/// The kernel, or this architecture, has no such filters.
pub fn confine(xdp: bool) -> Result<(), seccompiler::Error> {
    apply_filter_all_threads(&filter(xdp)?)
}

fn filter(xdp: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(ALLOWED.iter().chain(OLD).map(|call| (*call, Vec::new())));
    if xdp {
        rules.insert(libc::SYS_bpf, Vec::new());
    }
    let number = |value: c_int| u64::from(value.unsigned_abs());
    let argument = |index, operator, value| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, number(value))
    };
    let own_pid = argument(0, Eq, std::process::id().cast_signed())?;
    let this_process = argument(0, Eq, 0)?;
    // Threads, but no processes. What clone3(2) is to do the filter cannot see: C libraries then
    // use this one.
    let thread = argument(0, MaskedEq(number(CLONE_THREAD)), CLONE_THREAD)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![SeccompRule::new(vec![own_pid.clone()])?]);
    }
    for call in [libc::SYS_prlimit64, libc::SYS_move_pages] {
        rules.insert(call, vec![SeccompRule::new(vec![this_process.clone()])?]);
    }
    let families = FAMILIES.map(|family| SeccompRule::new(vec![argument(0, Eq, family)?]));
    let families = families.into_iter().collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, families);
    // Neither types anything into the terminal that this was started from.
    let typing = [TIOCSTI, TIOCLINUX].map(|request| {
        #[expect(clippy::cast_possible_truncation, reason = "both are small")]
        argument(1, Ne, request as c_int)
    });
    let not_typing = typing.into_iter().collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(not_typing)?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}
