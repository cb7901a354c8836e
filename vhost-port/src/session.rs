//! One connection, from the first message to its end.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use vhost::vhost_user::{BackendReqHandler, Error};

use crate::backend::Backend;
use crate::early::{self, is_early};
use crate::pace::Pace;
use crate::peek::{Next, peek};
use crate::{Breach, Port};

/// How long the rest of a message, or room for an answer, may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the rest of a message is looked for: poll(2) can't wait for more than some of it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// By the peer.
    Closed,
    /// By this side, for what the peer did.
    Breach(Breach),
    /// The device is to go.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the peer"),
            Self::Breach(breach) => breach.fmt(f),
            Self::Stopped => f.write_str("the port goes"),
        }
    }
}

impl<T: Into<Breach>> From<T> for End {
    fn from(breach: T) -> Self {
        Self::Breach(breach.into())
    }
}

/// What interrupts a wait: the data path, or the end of the device.
pub(crate) struct Alarm {
    port: Arc<Port>,
    stop: OwnedFd,
}

impl Alarm {
    pub(crate) fn new(port: Arc<Port>) -> Result<Self, Errno> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { port, stop })
    }

    /// Ends every wait, now and later.
    pub(crate) fn stop(&self) {
        // Full: it is set.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }

    /// Waits for one of `events` at `what`; what came, nothing if the time is over.
    pub(crate) fn wait(
        &self,
        what: impl AsFd,
        events: PollFlags,
        time: Option<Duration>,
    ) -> Result<PollFlags, End> {
        let time = time.map(timespec);
        let mut fds = [
            PollFd::new(&what, events),
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::from_borrowed_fd(self.port.wake(), PollFlags::IN),
        ];
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Breach::System(error.into()).into()),
        }
        if !fds[1].revents().is_empty() {
            return Err(End::Stopped);
        }
        let came = fds[0].revents();
        match self.port.failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(came),
        }
    }

    /// Waits for nothing but the end.
    pub(crate) fn rest(&self, time: Duration) -> Result<(), End> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let mut fds = [PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Err(End::Stopped),
                Err(error) => return Err(Breach::System(error.into()).into()),
            }
        }
        Ok(())
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

/// Serves a connection, and calls `changed` after each message. At the end the data path has nothing of it any more.
pub(crate) fn serve(
    stream: UnixStream,
    port: &Arc<Port>,
    alarm: &Alarm,
    pace: &mut Pace,
    changed: impl FnMut(&Backend),
) -> End {
    let backend = Arc::new(Mutex::new(Backend::new(Arc::clone(port))));
    match messages(stream, &backend, alarm, pace, changed) {
        Ok(()) => End::Closed,
        Err(end) => end,
    }
}

/// Serves a connection until its end, without a device: for fuzzing.
#[doc(hidden)]
pub fn play(stream: UnixStream, port: &Arc<Port>) -> std::io::Result<End> {
    let alarm = Alarm::new(Arc::clone(port))?;
    Ok(serve(stream, port, &alarm, &mut Pace::new(), |_| {}))
}

fn messages(
    stream: UnixStream,
    backend: &Arc<Mutex<Backend>>,
    alarm: &Alarm,
    pace: &mut Pace,
    mut changed: impl FnMut(&Backend),
) -> Result<(), End> {
    let socket = stream.try_clone()?;
    let mut handler = BackendReqHandler::from_stream(stream, Arc::clone(backend));
    while let Some(request) = next(&socket, alarm)? {
        if let Some(wait) = pace.count(Instant::now()) {
            alarm.rest(wait)?;
        }
        // The vhost crate waits without end where an answer finds no room.
        if alarm
            .wait(&socket, PollFlags::OUT, Some(PATIENCE))?
            .is_empty()
        {
            return Err(Breach::Deaf.into());
        }
        if is_early(request, &lock(backend)) {
            early::enable(&socket, &mut lock(backend))?;
            continue;
        }
        let done = handler.handle_request();
        let mut backend = lock(backend);
        if let Some(breach) = backend.breach() {
            return Err(breach.into());
        }
        match done {
            Ok(()) => changed(&backend),
            // It was there for the request, and not for the answer.
            Err(Error::SocketBroken(_)) => return Ok(()),
            Err(error) => return Err(Breach::Message { request, error }.into()),
        }
    }
    Ok(())
}

fn lock(backend: &Mutex<Backend>) -> MutexGuard<'_, Backend> {
    backend.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a whole message; its request, or `None` when the peer has closed.
fn next(socket: &UnixStream, alarm: &Alarm) -> Result<Option<u32>, End> {
    alarm.wait(socket, PollFlags::IN, None)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match peek(socket)? {
            Next::Message(request) => return Ok(Some(request)),
            Next::End => return Ok(None),
            Next::Part => {}
        }
        let came = alarm.wait(socket, PollFlags::RDHUP, Some(LOOK_AGAIN))?;
        // What it sent last may have come since the look.
        let is_all = !came.is_empty() && matches!(peek(socket)?, Next::Part);
        if is_all || Instant::now() > until {
            return Err(Breach::HalfMessage.into());
        }
    }
}
