//! From one primary to the next.
//!
//! EAL can be initialised once per process, and what a stack has mapped of a dead primary stays
//! mapped: so a process has one primary in its life. A stack that is to outlive the switch begins
//! anew, as the same process, with [`exec_again`], and waits with [`await_primary`] before it
//! attaches.

use std::convert::Infallible;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::client::{self, Client};
use crate::error::Error;
use crate::raw::close_on_exec;

/// The program that runs, even if its file has been removed.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What the kernel adds to the path of a program whose file was removed, or replaced by another one.
const REMOVED: &str = " (deleted)";

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Waits until a primary serves at the control socket `path`, and attaching can succeed. Looks up
/// to 5 times a second; blocks for as long as it takes.
///
/// To be called before signals are handled, so that they end the process while it waits.
///
/// # Errors
/// What waiting does not cure: [`Error::Version`], or [`Error::Connect`] if the socket may not be
/// used or its path is none.
pub fn await_primary(path: &Path) -> Result<(), Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match Client::connect(path, client::STACK) {
            Ok(_) => return Ok(()),
            // One that starts listens early and answers when it serves.
            Err(error) if error.is_primary_gone() || error.errno() == libc::EAGAIN => {}
            Err(error) => return Err(error),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Begins anew: executes this program again in this process, with its arguments and environment,
/// after a call that failed because the primary is gone ([`Error::is_primary_gone`]). If its file was
/// replaced meanwhile, as with an upgrade of switch and stacks, that is the new program. Memory,
/// threads and signal handlers go, and so do all file descriptors but the three standard ones; with
/// them the hold on a dead primary's hugepages, which the next one may need.
///
/// Returns only if that fails.
///
/// # Errors
/// As execve(2).
pub fn exec_again() -> Result<Infallible, io::Error> {
    // EAL opens its files without this flag.
    close_on_exec()?;
    let path = env::current_exe()?.into_os_string().into_vec();
    let path = path.strip_suffix(REMOVED.as_bytes()).unwrap_or(&path);
    // By its path, so that it keeps its name (`/proc/PID/comm`) as well.
    let failed = execute(OsStr::from_bytes(path));
    if failed.kind() == io::ErrorKind::NotFound {
        return Err(execute(OWN_PROGRAM.as_ref()));
    }
    Err(failed)
}

fn execute(program: &OsStr) -> io::Error {
    let mut args = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).exec()
}
