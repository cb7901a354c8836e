//! A control socket with made-up ports, stacks, claims and counters behind it.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use port_api::protocol::{
    ClaimRow, Greeting, PAGE, PoolStats, PortRow, PortStats, Reply, Request, StackRow, Stats,
    VERSION, VportStats, WorkerStats,
};
use port_api::{Connection, Error, Protocol};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    shutdown, socket_with,
};

/// Two pages.
pub const STACKS: usize = 70;
/// Four pages.
pub const CLAIMS: usize = 200;

type Twist = fn(&mut Reply);

/// Serves one client at a time until it is dropped; then it says farewell.
pub struct FakeSwitch {
    path: PathBuf,
    listener: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl FakeSwitch {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// With every reply changed by `twist`.
    pub fn with(twist: Twist) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!(
            "msctl-test-{}-{}.sock",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 4).unwrap();
        let accepting = listener.try_clone().unwrap();
        let thread = thread::spawn(move || serve_all(&accepting, twist));
        Self {
            path,
            listener,
            thread: Some(thread),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
