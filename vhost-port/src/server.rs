//! A device's thread: one connection after the other.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use endpoint::Endpoint;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType, accept_with, connect};

use crate::Port;
use crate::pace::Pace;
use crate::report::Report;
use crate::session::{Alarm, End, serve};

/// How long no one is served after a breach: neither this thread nor the log is to be kept busy.
const PENALTY: Duration = Duration::from_secs(1);

/// Between attempts to connect, doubling from the one to the other.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Where front ends come from.
pub(crate) enum Meeting {
    Listen(Endpoint),
    Connect(PathBuf),
}

pub(crate) struct Server {
    port: Arc<Port>,
    alarm: Arc<Alarm>,
    report: Report,
    pace: Pace,
    wait: Duration,
}

impl Server {
    pub(crate) fn new(port: Arc<Port>, alarm: Arc<Alarm>, report: Report) -> Self {
        Self {
            port,
            alarm,
            report,
            pace: Pace::new(),
            wait: FIRST_WAIT,
        }
    }

    /// Until the device is stopped.
    pub(crate) fn run(mut self, meeting: &Meeting) {
        while let Err(end) = self.forever(meeting) {
            match end {
                End::Stopped => return,
                End::Closed => {}
                End::Breach(breach) => {
                    self.report.breach(&breach);
                    if self.alarm.rest(PENALTY).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Until the device is stopped, or something goes wrong between two connections.
    fn forever(&mut self, meeting: &Meeting) -> Result<(), End> {
        loop {
            match meeting {
                Meeting::Listen(listener) => {
                    self.alarm.wait(listener, PollFlags::IN, None)?;
                    if let Some(stream) = accept(listener)? {
                        self.serve(stream)?;
                    }
                }
                Meeting::Connect(path) => {
                    match connect_to(path) {
                        Ok(stream) => self.serve(stream)?,
                        Err(error) => self.report.waiting(&error),
                    }
                    if self.report.was_ready() {
                        self.wait = FIRST_WAIT;
                    }
                    self.alarm.rest(self.wait)?;
                    self.wait = (2 * self.wait).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn serve(&mut self, stream: UnixStream) -> Result<(), End> {
        if let Some(wait) = self.pace.count(Instant::now()) {
            self.alarm.rest(wait)?;
        }
        self.report.connected();
        let end = serve(stream, &self.port, &self.alarm, &mut self.pace, |backend| {
            self.report.changed(backend);
        });
        let is_breach = matches!(end, End::Breach(_));
        self.report.gone(end);
        if is_breach {
            self.alarm.rest(PENALTY)?;
        }
        Ok(())
    }
}

/// `None` if no one is there any more.
fn accept(listener: &Endpoint) -> io::Result<Option<UnixStream>> {
    match accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(stream) => Ok(Some(stream.into())),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a front end that listens.
///
/// # Errors
/// If none does, or too many wait to be accepted there.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let socket = endpoint::socket(SocketType::STREAM, SocketFlags::NONBLOCK)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}
