//! An eventfd of the peer, raised so that it cannot make us wait.
//!
//! A `write` to it waits while its counter is full, unless it is non-blocking; and that is a flag of the open
//! file, which the peer has too, and may clear between any check and the write. The kernel's own way to raise
//! an eventfd never waits. What reaches it in one system call, on every kernel and in a container, is Linux'
//! asynchronous I/O: the end of a read (of nothing, from /dev/null, so it ends at once) raises an eventfd that
//! the request names (`IOCB_FLAG_RESFD`, `io_submit(2)`).

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Requests between two visits to the list of those that ended. The kernel keeps at least as many.
const BATCH: u32 = 32;

const RESFD: u32 = 1;

/// `struct iocb` of `linux/aio_abi.h`, on a little-endian machine. An opcode of 0 is a read.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ended {
    _data: u64,
    _request: u64,
    _result: [i64; 2],
}

const _: () = assert!(size_of::<Request>() == 64 && size_of::<Ended>() == 32);

/// Contexts that nobody uses. They stay for the next device: to end one takes the kernel 10 ms and more.
static SPARE: Mutex<Vec<libc::c_ulong>> = Mutex::new(Vec::new());

/// /dev/null.
static NULL: OnceLock<File> = OnceLock::new();

/// Raises eventfds.
#[derive(Debug)]
pub(crate) struct Bell {
    context: libc::c_ulong,
    null: &'static File,
    /// Requests since the last visit, or more.
    ended: u32,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let null = if let Some(null) = NULL.get() {
            null
        } else {
            let null = File::open("/dev/null")?;
            NULL.get_or_init(|| null)
        };
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let context = spare.map_or_else(set_up, Ok)?;
        let ended = BATCH;
        Ok(Self {
            context,
            null,
            ended,
        })
    }

    /// Adds one to an eventfd, as far as its counter goes. One system call; a second one now and then.
    ///
    /// # Errors
    /// `EINVAL` if it is no eventfd.
    pub(crate) fn ring(&mut self, event: BorrowedFd<'_>) -> io::Result<()> {
        if self.ended >= BATCH {
            self.forget();
        }
        // Descriptors are not negative.
        let number = |fd: i32| u32::try_from(fd).unwrap_or(u32::MAX);
        let request = Request {
            fd: number(self.null.as_raw_fd()),
            flags: RESFD,
            event: number(event.as_raw_fd()),
            ..Request::default()
        };
        let mut list = [&raw const request];
        // SAFETY: one request, which the kernel copies, and which writes no memory: its length is 0. It has
        // ended when the call returns, as /dev/null has nothing to wait for.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_submit,
                self.context,
                1 as libc::c_long,
                list.as_mut_ptr(),
            )
        };
        if taken != 1 {
            return Err(io::Error::last_os_error());
        }
        self.ended += 1;
        Ok(())
    }

    /// Makes room in the list of requests that ended.
    #[cold]
    fn forget(&mut self) {
        let mut events = [const { mem::MaybeUninit::<Ended>::uninit() }; BATCH as usize];
        let (none, all) = (0 as libc::c_long, libc::c_long::from(BATCH));
        let no_wait = ptr::null_mut::<libc::timespec>();
        // SAFETY: the kernel writes at most `all` events, for which there is room, and with a minimum of none
        // it does not wait.
        unsafe {
            let (context, to) = (self.context, events.as_mut_ptr());
            libc::syscall(libc::SYS_io_getevents, context, none, all, to, no_wait);
        }
        self.ended = 0;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        SPARE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.context);
    }
}

fn set_up() -> io::Result<libc::c_ulong> {
    let mut context: libc::c_ulong = 0;
    // SAFETY: the kernel writes one number to `context`.
    let made = unsafe { libc::syscall(libc::SYS_io_setup, BATCH * 2, &raw mut context) };
    if made == 0 {
        Ok(context)
    } else {
        Err(io::Error::last_os_error())
    }
}
