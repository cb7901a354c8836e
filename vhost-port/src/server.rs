//! A device's thread: one connection after the other.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::Port;
use crate::endpoint::{Listener, connect_to};
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
    Listen(Listener),
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
                    if let Some(stream) = listener.accept()? {
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
