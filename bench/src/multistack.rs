//! The contender that it is all about: the switch, and the stacks on it.

use std::time::Duration;

use port_api::protocol::PortStats;
use serde_json::{Value, json};

use crate::Error;
use crate::conservation;
use crate::counters::{mpps, timed};
use crate::experiment::{Contender, Sample};
use crate::lab::{Lab, WARM_UP};
use crate::stacks::{Stacks, Task, Totals};
use crate::switch::{Setup, Switch, TUNING, quota};
use crate::traffic::{self, Traffic};

/// Which packets make the figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Those that were given to stacks. What a full ring drops is no throughput.
    Delivered,
    /// Those that stacks have sent and the device has taken.
    Sent,
    /// Those that came in, whatever became of them.
    Handled,
}

impl Counted {
    fn of(self, stats: &PortStats) -> u64 {
        match self {
            Self::Delivered => stats.to_vports,
            Self::Sent => stats.tx_packets,
            Self::Handled => stats.rx_packets,
        }
    }
}

/// multistack with stacks in a process of their own.
pub struct Multistack {
    key: String,
    label: String,
    traffic: Traffic,
    stacks: Stacks,
    counted: Counted,
    version: Option<String>,
}

impl Multistack {
    /// Traffic for `busy` stacks, which count and drain it.
    pub fn demux(busy: u16) -> Self {
        let plural = if busy == 1 { "" } else { "s" };
        Self {
            key: format!("demux{busy}"),
            label: format!("multistack, {busy} stack{plural}"),
            traffic: Traffic::smallest(busy),
            stacks: Stacks::all_busy(busy, Task::Drain),
            counted: Counted::Delivered,
            version: None,
        }
    }

    /// Traffic for one stack, which sends all of it back.
    pub fn echo() -> Self {
        Self {
            key: "echo".to_owned(),
            label: "multistack, echo".to_owned(),
            stacks: Stacks::all_busy(1, Task::Echo),
            counted: Counted::Sent,
            ..Self::demux(1)
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, key: &str, label: &str) -> Self {
        key.clone_into(&mut self.key);
        label.clone_into(&mut self.label);
        self
    }

    /// The same with frames of another length, in bytes without FCS.
    #[must_use]
    pub const fn with_frame(mut self, frame: u16) -> Self {
        self.traffic.frame = frame;
        self
    }

    /// The same with so many stacks attached, most of them idle.
    #[must_use]
    pub const fn with_attached(mut self, attached: u16) -> Self {
        self.stacks.attached = attached;
        self
    }

    fn setup(&self, lab: &Lab) -> Result<Setup, Error> {
        let pcap = self.traffic.write(lab)?;
        Setup::new(traffic::device(&pcap), self.stacks.attached)
    }
}

impl Contender for Multistack {
    fn key(&self) -> String {
        self.key.clone()
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    fn version(&self) -> Option<(&'static str, String)> {
        Some(("multistack", self.version.clone()?))
    }

    fn settings(&self) -> Value {
        json!({
            "options": TUNING,
            "quota_and_ring_size": quota(self.stacks.attached),
            "frame_bytes": self.traffic.frame,
        })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let switch = Switch::start(lab, &self.setup(lab)?)?;
        self.version = Some(switch.version());
        check_mac(&switch)?;
        let mut stacks = switch.attach(lab, self.stacks)?;
        lab.sleep(WARM_UP)?;

        let (before, start) = timed(|| switch.port())?;
        lab.sleep(time)?;
        let (after, end) = timed(|| switch.port())?;

        stacks.tell("stop")?;
        let totals: Totals = serde_json::from_str(&stacks.line()?)?;
        conservation::check(&switch, &[&before, &after], &totals)?;
        stacks.terminate()?;
        switch.terminate()?;
        let moved = |counted: Counted| counted.of(&after) - counted.of(&before);
        if moved(self.counted) == 0 {
            return Err(format!("nothing arrived: {after:?}").into());
        }
        let rate = |counted| mpps(moved(counted), end - start);
        let sample = Sample::new(rate(self.counted)).with("offered_mpps", rate(Counted::Handled));
        Ok(match self.counted {
            Counted::Sent => sample.with("received_mpps", rate(Counted::Delivered)),
            Counted::Delivered | Counted::Handled => sample,
        })
    }
}

/// Packets to another MAC would not be for the stacks.
fn check_mac(switch: &Switch) -> Result<(), Error> {
    let (mac, ours) = (switch.port_row()?.mac, traffic::NIC.to_string());
    if mac == ours {
        Ok(())
    } else {
        Err(format!("the device has the MAC address {mac}, and the packets are for {ours}").into())
    }
}
