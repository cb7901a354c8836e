//! Keeps EAL's pages of output off the terminal while it initialises.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use dpdk_sys as c;

/// What came out meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// EAL's log, with levels.
    pub log: Vec<LogLine>,
    /// What was written to standard output and standard error themselves.
    pub out: String,
    pub err: String,
}

/// A line of EAL's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// 1 emergency .. 4 error, 5 warning, 6 notice, 7 info, 8 debug (`rte_log.h`).
    pub level: u8,
    pub text: String,
}

/// Catches EAL's log and whatever is written to file descriptors 1 and 2, by any thread.
#[derive(Debug)]
pub(crate) struct Capture {
    log: File,
    out: Redirect,
    err: Redirect,
}

/// A file descriptor that leads to a file for a while.
#[derive(Debug)]
struct Redirect {
    fd: RawFd,
    /// Where it led before.
    saved: OwnedFd,
    file: File,
}

impl Capture {
    /// None if the system has no descriptors to spare or the standard ones are closed; then
    /// nothing is redirected.
    pub fn start() -> Option<Self> {
        let log = memory_file()?;
        // Not before everything that can fail has succeeded.
        let out = Redirect::prepare(libc::STDOUT_FILENO)?;
        let err = Redirect::prepare(libc::STDERR_FILENO)?;
        flush();
        // SAFETY: both descriptors outlive the stream, which finish() takes away again.
        if unsafe { c::ms_log_to_fd(log.as_raw_fd(), err.saved.as_raw_fd()) } != 0 {
            return None;
        }
        out.redirect();
        err.redirect();
        Some(Self { log, out, err })
    }

    /// Puts everything back.
    pub fn finish(self) -> Captured {
        flush();
        let out = self.out.restore();
        let err = self.err.restore();
        // SAFETY: no arguments; before the file that the log went to is closed.
        unsafe { c::ms_log_to_stderr() };
        Captured {
            log: log_lines(&read(self.log)),
            out,
            err,
        }
    }
}

impl Redirect {
    fn prepare(fd: RawFd) -> Option<Self> {
        // SAFETY: makes a new descriptor or fails.
        let saved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
        if saved < 0 {
            return None;
        }
        // SAFETY: new, and nobody else's.
        let saved = unsafe { OwnedFd::from_raw_fd(saved) };
        Some(Self {
            fd,
            saved,
            file: memory_file()?,
        })
    }

    fn redirect(&self) {
        // SAFETY: both are open.
        unsafe { libc::dup2(self.file.as_raw_fd(), self.fd) };
    }

    fn restore(self) -> String {
        // SAFETY: both are open.
        unsafe { libc::dup2(self.saved.as_raw_fd(), self.fd) };
        read(self.file)
    }
}

/// Rust's and C's buffered output both have to come out on the right side of the switch.
fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: no arguments.
    unsafe { c::ms_flush() };
}

fn memory_file() -> Option<File> {
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"eal-output".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: new, and nobody else's.
    (fd >= 0).then(|| unsafe { File::from_raw_fd(fd) })
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    // What can't be read back is lost, and only diagnostics.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Lines as the shim writes them: a digit for the level, then the text. A message without an end
/// of line runs into the next one; only its first level counts.
fn log_lines(log: &str) -> Vec<LogLine> {
    let line = |line: &str| {
        let level = line.bytes().next().filter(u8::is_ascii_digit)?;
        let text = line[1..].trim().to_owned();
        (!text.is_empty()).then_some(LogLine {
            level: level - b'0',
            text,
        })
    };
    log.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_carry_levels() {
        let lines = log_lines("4EAL: bad\n7EAL: fine\n\nno level\n5\n");
        let bad = LogLine {
            level: 4,
            text: "EAL: bad".to_owned(),
        };
        let fine = LogLine {
            level: 7,
            text: "EAL: fine".to_owned(),
        };
        assert_eq!(lines, [bad, fine]);
    }
}
