//! A vhost-user device: its thread, and what can be asked of it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use endpoint::{Access, Endpoint};
use rustix::net::SocketType;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::Port;
use crate::report::Report;
use crate::server::{Meeting, Server};
use crate::session::{Alarm, End};

/// Connections that may wait for the one before them to end.
const BACKLOG: i32 = 8;

/// Mode 0660, for this process's user and group.
pub const DEFAULT_ACCESS: Access = Access {
    mode: 0o660,
    owner: None,
    group: None,
};

/// How front ends are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They connect to a socket that is made here.
    Server(Access),
    /// They listen: it is connected to whenever it is there.
    Client,
}

/// What makes a device.
pub struct DeviceSetup {
    /// The port's name, for the log and the thread.
    pub name: String,
    /// The socket.
    pub path: PathBuf,
    /// Who listens at it.
    pub mode: Mode,
    /// Where pairs of virtqueues go; it says how many there may be.
    pub port: Arc<Port>,
    /// Called by the device's thread; it should not wait.
    pub on_event: Box<dyn Fn(DeviceEvent) + Send>,
}

/// What happens to a device.
#[derive(Debug)]
pub enum DeviceEvent {
    /// A front end is there.
    Connected,
    /// The data path has its first virtqueue.
    Ready,
    /// It isn't there any more, and the data path has nothing of it.
    Gone {
        /// How it ended.
        why: End,
    },
}

/// How a device is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Whether a front end is there.
    pub is_connected: bool,
    /// Virtio features that both sides have agreed on; 0 before they have.
    pub features: u64,
    /// Virtqueues that run; two for each pair.
    pub queues: usize,
    /// Regions of the memory table.
    pub regions: usize,
    /// Connections since the start, this one included.
    pub connections: u64,
    /// How many of them were ended for what the peer did.
    pub breaches: u64,
    /// The last such reason.
    pub last_breach: Option<String>,
}

/// A device could not be started.
#[derive(Debug)]
pub struct StartError {
    path: PathBuf,
    error: io::Error,
}

impl StartError {
    /// What kind of error.
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What reads messages of strangers needs no rights, but for sockets of other users to be connected to.
fn give_up_capabilities(meeting: &Meeting) -> rustix::io::Result<()> {
    let keep = match meeting {
        Meeting::Listen(_) => CapabilitySet::empty(),
        Meeting::Connect(_) => CapabilitySet::DAC_OVERRIDE,
    };
    let mut sets = capabilities(None)?;
    sets.effective &= keep;
    sets.permitted &= keep;
    sets.inheritable = CapabilitySet::empty();
    set_capabilities(None, sets)
}

/// A device in service. When it is dropped, its connection, its thread and its socket go.
pub struct Device {
    alarm: Arc<Alarm>,
    status: Arc<Mutex<DeviceStatus>>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    /// Starts a thread that waits for front ends, one at a time.
    ///
    /// # Errors
    /// If the socket can't be made, or there is no room for another thread or file.
    pub fn start(setup: DeviceSetup) -> Result<Self, StartError> {
        let path = setup.path.clone();
        Self::try_start(setup).map_err(|error| StartError { path, error })
    }

    fn try_start(setup: DeviceSetup) -> io::Result<Self> {
        let meeting = match setup.mode {
            Mode::Server(access) => {
                let listener = Endpoint::listen(&setup.path, SocketType::STREAM, BACKLOG, access)?;
                Meeting::Listen(listener)
            }
            Mode::Client => Meeting::Connect(setup.path),
        };
        let alarm = Arc::new(Alarm::new(Arc::clone(&setup.port))?);
        let status = Arc::new(Mutex::new(DeviceStatus::default()));
        let thread = std::thread::Builder::new().name(format!("vhost-{}", setup.name));
        let report = Report::new(setup.name, Arc::clone(&status), setup.on_event);
        let server = Server::new(setup.port, Arc::clone(&alarm), report);
        let thread = thread.spawn(move || {
            if let Err(error) = give_up_capabilities(&meeting) {
                tracing::warn!("a vhost port's thread keeps capabilities: {error}");
            }
            server.run(&meeting);
        })?;
        Ok(Self {
            alarm,
            status,
            thread: Some(thread),
        })
    }

    /// How it is.
    pub fn status(&self) -> DeviceStatus {
        let status = self.status.lock();
        status.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the connection and the thread, removes the socket. Waits for all of it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.alarm.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a vhost device's thread has panicked");
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}
