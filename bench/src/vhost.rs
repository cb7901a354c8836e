//! To a program behind a vhost-user socket, the far end, which is the same whoever passes packets to it.
//! What counts is what it says that it has received; or, if it sends everything back, what the device has
//! taken again.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Error;
use crate::counters::{mpps, timed};
use crate::experiment::{Contender, Sample};
use crate::lab::{Lab, WARM_UP};
use crate::stacks::Moved;
use crate::traffic::Traffic;

mod far_end;
mod ovs;
mod switch;
mod testpmd;

pub use far_end::Task;
use far_end::{DESCRIPTORS, FarEnd};
pub use switch::Multistack;

/// Who has the back end's side of the socket.
pub trait BackEnd {
    /// It, started.
    type Running: Running;
    /// Its key in results.json, if the far end drains.
    const KEY: &'static str;
    /// For the table.
    const LABEL: &'static str;
    /// Whether it connects to the far end's socket, and makes none itself.
    const CONNECTS: bool = false;

    /// What it is measured with.
    fn options(&self) -> &str;

    /// Starts it between the device under test and the socket, and waits until it has that, unless it
    /// [connects](Self::CONNECTS).
    fn start(&self, lab: &Lab, traffic: Traffic, socket: &Path) -> Result<Self::Running, Error>;
}

/// One that runs. Counts from its start on.
pub trait Running {
    /// Program and version.
    fn version(&self) -> Result<(&'static str, String), Error>;

    /// Packets received from the device, and such that it has taken.
    fn device(&self) -> Result<Moved, Error>;

    /// Packets that the far end was given, and such that were taken from it. Fails if these do not add up with
    /// the device's. To be called when nothing is under way.
    fn far_end(&self) -> Result<Moved, Error>;

    /// Ends it.
    fn terminate(self) -> Result<(), Error>;
}

/// Packets from the device under test to the far end, and perhaps back.
#[derive(Clone)]
pub struct Through<B> {
    by: B,
    task: Task,
    traffic: Traffic,
    version: Option<(&'static str, String)>,
}

impl<B: BackEnd> Through<B> {
    /// The smallest frames, one way, for one claim.
    pub const fn new(by: B) -> Self {
        Self {
            by,
            task: Task::Drain,
            traffic: Traffic::smallest(1),
            version: None,
        }
    }

    /// The same with frames of another length, in bytes without FCS.
    #[must_use]
    pub const fn with_frame(mut self, frame: u16) -> Self {
        self.traffic.frame = frame;
        self
    }

    /// The same with something else for the far end to do.
    #[must_use]
    pub const fn with_task(mut self, task: Task) -> Self {
        self.task = task;
        self
    }

    /// What a figure is made of, and what else is known.
    fn sample(
        &self,
        lab: &Lab,
        running: &B::Running,
        far: &FarEnd,
        time: Duration,
    ) -> Result<Sample, Error> {
        let read = || Ok((running.device()?, far.moved()?));
        lab.sleep(WARM_UP)?;
        let ((device, far_end), start) = timed(read)?;
        lab.sleep(time)?;
        let ((device_after, far_end_after), end) = timed(read)?;
        let rate = |before: u64, after: u64| mpps(after - before, end - start);
        let received = rate(far_end.received, far_end_after.received);
        let sample = match self.task {
            Task::Drain => Sample::new(received),
            Task::Echo => {
                Sample::new(rate(device.sent, device_after.sent)).with("received_mpps", received)
            }
        };
        Ok(sample.with("offered_mpps", rate(device.received, device_after.received)))
    }
}

impl<B: BackEnd> Contender for Through<B> {
    fn key(&self) -> String {
        key(B::KEY, self.task)
    }

    fn label(&self) -> String {
        match self.task {
            Task::Drain => B::LABEL.to_owned(),
            Task::Echo => format!("{}, echo", B::LABEL),
        }
    }

    fn version(&self) -> Option<(&'static str, String)> {
        self.version.clone()
    }

    fn settings(&self) -> Value {
        json!({ "options": self.by.options(), "far_end": far_end::OPTIONS })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let socket = lab.dir.join("vhost.sock");
        // One of an earlier run is in the way.
        let _ = std::fs::remove_file(&socket);
        let running = self.by.start(lab, self.traffic, &socket)?;
        self.version = Some(running.version()?);
        let mut far = FarEnd::start(lab, &socket, B::CONNECTS, self.task)?;
        // A driver that starts may drop what its queue held before; from then on everything counts.
        far.stop(lab)?;
        let (counted, far_end) = (running.far_end()?, far.moved()?);
        far.resume()?;
        let sample = self.sample(lab, &running, &far, time)?;
        far.stop(lab)?;
        check(
            since(counted, running.far_end()?),
            since(far_end, far.moved()?),
        )?;
        far.terminate()?;
        running.terminate()?;
        Ok(sample)
    }
}

/// The key of a contender.
pub fn key(by: &str, task: Task) -> String {
    match task {
        Task::Drain => by.to_owned(),
        Task::Echo => format!("{by}_echo"),
    }
}

/// What has moved between two readings.
const fn since(before: Moved, after: Moved) -> Moved {
    Moved {
        received: after.received - before.received,
        sent: after.sent - before.sent,
    }
}

/// Whether the far end has got what it was given, but for what its queue holds more or less than before; and
/// whether all that it has sent was taken.
fn check(counted: Moved, far_end: Moved) -> Result<(), Error> {
    let queued = counted.received.abs_diff(far_end.received);
    if queued <= DESCRIPTORS && counted.sent == far_end.sent {
        Ok(())
    } else {
        Err(format!("of {counted:?} as counted, the far end has {far_end:?}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_may_be_missing_than_is_queued() {
        let moved = |received, sent| Moved { received, sent };
        let all = moved(1000, 700);
        assert!(check(all, all).is_ok());
        assert!(check(moved(1000 + DESCRIPTORS, 700), all).is_ok());
        assert!(check(moved(1001 + DESCRIPTORS, 700), all).is_err());
        assert!(check(moved(999 - DESCRIPTORS, 700), all).is_err());
        assert!(check(moved(1000, 699), all).is_err());
        assert!(check(moved(1000, 701), all).is_err());
    }
}
