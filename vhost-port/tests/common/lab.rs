//! The device's side of a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use vhost_port::{DEFAULT_ACCESS, Device, DeviceEvent, DeviceSetup, DeviceStatus, End, Mode, Port};

/// Long enough for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(5);

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("multistack-vhost-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("a.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A device with two pairs of queues.
pub struct Lab {
    pub device: Device,
    pub port: Arc<Port>,
    events: Receiver<DeviceEvent>,
    pub folder: Folder,
}

impl Lab {
    pub fn server() -> Self {
        Self::new(Mode::Server(DEFAULT_ACCESS))
    }

    pub fn new(mode: Mode) -> Self {
        let folder = Folder::new();
        let port = Arc::new(Port::new(2).unwrap());
        let (sender, events) = channel();
        let device = Device::start(DeviceSetup {
            name: "a".to_owned(),
            path: folder.socket(),
            mode,
            port: Arc::clone(&port),
            on_event: Box::new(move |event| drop(sender.send(event))),
        });
        Self {
            device: device.unwrap(),
            port,
            events,
            folder,
        }
    }

    /// The next event.
    pub fn event(&self) -> DeviceEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    pub fn is_quiet(&self) -> bool {
        self.events.recv_timeout(Duration::from_millis(50)).is_err()
    }

    /// Passes over the events up to the end of a connection.
    pub fn end(&self) -> End {
        loop {
            if let DeviceEvent::Gone { why } = self.event() {
                return why;
            }
        }
    }

    /// Waits for a state of the device.
    pub fn until(&self, what: &str, is: impl Fn(&DeviceStatus) -> bool) -> DeviceStatus {
        within(what, || Some(self.device.status()).filter(&is))
    }
}

/// Waits for something to become true.
pub fn within<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = is() {
            return value;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Descriptors of this process, and mappings of files whose name has `name` in it.
pub fn open_files(name: &str) -> (usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (
        files,
        maps.lines().filter(|line| line.contains(name)).count(),
    )
}
