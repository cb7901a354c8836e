//! Errors that carry an errno.

use std::{
    ffi::{CStr, c_int},
    fmt,
};

use dpdk_sys as c;

/// What failed, and the errno that DPDK or the kernel gave for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A positive errno; 0 where there is none.
    pub errno: i32,
    /// What failed, and if the caller can do something about it, what.
    pub what: String,
}

impl Error {
    pub(crate) fn new(errno: i32, what: impl Into<String>) -> Self {
        Self {
            errno: errno.abs(),
            what: what.into(),
        }
    }

    /// The error of a DPDK call that returned NULL or -1 and set `rte_errno`.
    pub(crate) fn last(what: impl Into<String>) -> Self {
        // SAFETY: reads a thread-local variable.
        Self::new(unsafe { c::ms_errno() }, what)
    }

    /// Turns DPDK's "0 or a negative errno" into a `Result`.
    pub(crate) fn check(ret: c_int, what: impl FnOnce() -> String) -> Result<(), Self> {
        if ret < 0 {
            Err(Self::new(ret, what()))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.errno, name(self.errno)) {
            (0, _) => f.write_str(&self.what),
            (errno, Some(name)) => write!(f, "{}: {} ({name})", self.what, text(errno)),
            (errno, None) => write!(f, "{}: {} (errno {errno})", self.what, text(errno)),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = Self::from_raw_os_error(error.errno).kind();
        Self::new(kind, error)
    }
}

/// `rte_strerror()`: the C library's text, and DPDK's own for its own numbers.
fn text(errno: i32) -> String {
    // SAFETY: returns a string in a thread-local buffer, copied before the next call.
    unsafe { CStr::from_ptr(c::rte_strerror(errno)) }
        .to_string_lossy()
        .into_owned()
}

/// The names of the numbers that DPDK's calls return.
fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EIO => "EIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTSUP => "ENOTSUP",
        libc::EALREADY => "EALREADY",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ECONNREFUSED => "ECONNREFUSED",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_what_text_and_name() {
        let error = Error::new(-libc::EINVAL, "rte_eth_dev_start(port 3)");
        assert_eq!(
            error.to_string(),
            "rte_eth_dev_start(port 3): Invalid argument (EINVAL)"
        );
        assert_eq!(Error::new(0, "plain").to_string(), "plain");
        // RTE_MIN_ERRNO and up are DPDK's own and have no E name.
        let own = Error::new(1001, "x").to_string();
        assert!(
            own.starts_with("x: ") && own.ends_with("(errno 1001)"),
            "{own}"
        );
    }

    #[test]
    fn check_takes_zero_and_positive_for_success() {
        assert!(Error::check(0, || "x".into()).is_ok());
        assert!(Error::check(3, || "x".into()).is_ok());
        assert_eq!(
            Error::check(-5, || "x".into()).unwrap_err().errno,
            libc::EIO
        );
    }
}
