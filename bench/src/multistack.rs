//! The contender that it is all about: the switch, and the stacks on it.

use std::path::PathBuf;
use std::time::Duration;

use port_api::protocol::PortStats;
use serde_json::{Value, json};

use crate::Error;
use crate::churn::{BOUTS, Churn};
use crate::conservation;
use crate::counters::mpps;
use crate::experiment::{Contender, Sample};
use crate::lab::{self, Lab, WARM_UP};
use crate::stacks::{Claims, Stacks, Task, Totals};
use crate::statistics::{median, median_ratio};
use crate::switch::{self, Setup, Switch, TUNING};
use crate::times;
use crate::traffic::{self, Target, Traffic};

/// A detail of a run: what the device has brought.
const OFFERED: &str = "offered_mpps";

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
    claims: u32,
    workers: u16,
    program: Result<PathBuf, String>,
    churn: bool,
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
            claims: 65_536,
            workers: 1,
            program: switch::program(),
            churn: false,
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

    /// The same for other claims, or none.
    #[must_use]
    pub const fn with_target(mut self, target: Target) -> Self {
        self.traffic.target = target;
        self
    }

    /// The same with an address for each stack, and so many connections claimed at them; the traffic
    /// goes to there.
    #[must_use]
    pub const fn with_connections(mut self, connections: u32) -> Self {
        self.stacks.claims = Claims::Connections(connections);
        // And an address for each stack.
        self.claims = connections + self.stacks.attached as u32;
        self.with_target(Target::Connections)
    }

    /// The same with stacks that take nothing out of their rings: every packet gets its verdict,
    /// and nearly every one is dropped.
    #[must_use]
    pub const fn without_delivery(mut self) -> Self {
        self.stacks.task = Task::Sit;
        self.counted = Counted::Handled;
        self
    }

    /// The same with so many workers.
    #[must_use]
    pub const fn with_workers(mut self, workers: u16) -> Self {
        self.workers = workers;
        self
    }

    /// The same with another build of the switch.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = Ok(program);
        self
    }

    /// The same while other stacks come and go.
    #[must_use]
    pub const fn with_churn(mut self) -> Self {
        self.churn = true;
        self
    }

    /// One more than attach, for one that comes and goes.
    const fn vports(&self) -> u16 {
        self.stacks.attached + 1
    }

    fn setup(&self, lab: &Lab) -> Result<Setup, Error> {
        let pcap = self.traffic.write(lab)?;
        let device = traffic::device(&pcap, self.workers);
        let mut setup = Setup::new(self.program.clone()?, device, self.vports());
        setup.lcores = lab::lcores(self.workers);
        setup.workers = self.workers;
        setup.held = self.traffic.packets() * u32::from(self.workers);
        setup.claims = self.claims;
        Ok(setup)
    }

    /// Bouts of stacks that come and go, and pauses, in one run: what part of the pauses' rate is left in
    /// the bouts.
    fn churn(
        &self,
        lab: &Lab,
        switch: &Switch,
        time: Duration,
    ) -> Result<(Vec<PortStats>, Sample), Error> {
        let mut churn = Churn::start(lab, switch)?;
        lab.sleep(WARM_UP)?;
        let (mut read, mut rates, mut offered) = (vec![], [vec![], vec![]], [vec![], vec![]]);
        let mut times = times::histogram()?;
        for at in 0..2 * BOUTS {
            let in_bout = at % 2 == 1;
            let slice = time / BOUTS;
            let (before, after, took) = switch.over(|| {
                if in_bout {
                    churn.bout(lab, slice, &mut times)
                } else {
                    lab.sleep(slice)
                }
            })?;
            let sample = self.sample(&before, &after, took)?;
            rates[usize::from(in_bout)].push(sample.value);
            offered[usize::from(in_bout)].extend(sample.details.get(OFFERED));
            read.extend([before, after]);
        }
        churn.end()?;
        let [quiet, bouts] = &rates;
        let [offered_quiet, offered_bouts] = &offered;
        let sample = Sample::new(median_ratio(bouts, quiet))
            .with("mpps", median(bouts))
            .with("offered_ratio", median_ratio(offered_bouts, offered_quiet))
            .with("quiet_mpps", median(quiet));
        Ok((
            read,
            Sample {
                times: Some(times),
                ..sample
            },
        ))
    }

    fn sample(
        &self,
        before: &PortStats,
        after: &PortStats,
        time: Duration,
    ) -> Result<Sample, Error> {
        let moved = |counted: Counted| counted.of(after) - counted.of(before);
        if moved(self.counted) == 0 {
            return Err(format!("nothing arrived: {after:?}").into());
        }
        let rate = |counted| mpps(moved(counted), time);
        let sample = Sample::new(rate(self.counted)).with(OFFERED, rate(Counted::Handled));
        Ok(match self.counted {
            Counted::Sent => sample.with("received_mpps", rate(Counted::Delivered)),
            Counted::Delivered | Counted::Handled => sample,
        })
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
            "quota_and_ring_size": switch::quota(self.vports()),
            "frame_bytes": self.traffic.frame,
        })
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let switch = Switch::start(lab, &self.setup(lab)?)?;
        self.version = Some(switch.version());
        check_mac(&switch)?;
        let mut stacks = switch.attach(lab, self.stacks)?;
        let (read, sample) = if self.churn {
            self.churn(lab, &switch, time)?
        } else {
            lab.sleep(WARM_UP)?;
            let (before, after, took) = switch.over(|| lab.sleep(time))?;
            let sample = self.sample(&before, &after, took)?;
            (vec![before, after], sample)
        };
        stacks.tell("stop")?;
        let totals: Totals = serde_json::from_str(&stacks.line()?)?;
        conservation::check(&switch, &read.iter().collect::<Vec<_>>(), &totals)?;
        stacks.terminate()?;
        switch.terminate()?;
        Ok(sample)
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
