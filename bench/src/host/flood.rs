//! A flood of packets that no one has claimed, to the host's kernel.

use std::time::Duration;

use serde_json::{Value, json};

use super::{By, TAP, set_up_tap};
use crate::Error;
use crate::counters::{mpps, timed};
use crate::experiment::{Contender, Sample};
use crate::lab::{Lab, WARM_UP};
use crate::switch::{self, Setup, Switch, TUNING};
use crate::traffic::{self, Target, Traffic};

/// Counted where the kernel has received them.
pub struct Flood {
    by: By,
    version: Option<(&'static str, String)>,
}

impl Flood {
    /// Through the switch or testpmd.
    pub const fn new(by: By) -> Self {
        Self { by, version: None }
    }

    fn by_multistack(&mut self, lab: &Lab, time: Duration) -> Result<f64, Error> {
        let pcap = traffic().write(lab)?;
        let setup = Setup::new(switch::program()?, traffic::device(&pcap, 1), 1);
        let switch = Switch::start(lab, &setup)?;
        self.version = Some(("multistack", switch.version()));
        let rate = rate(lab, &switch.port_row()?.host_netdev, time)?;
        let port = switch.port()?;
        if port.unaccounted() != 0 || port.to_vports != 0 {
            return Err(format!("packets went astray: {port:?}").into());
        }
        switch.terminate()?;
        Ok(rate)
    }
}

fn traffic() -> Traffic {
    Traffic::smallest(64).to(Target::Unclaimed)
}

/// What a netdev receives, in Mpps.
fn rate(lab: &Lab, netdev: &str, time: Duration) -> Result<f64, Error> {
    lab.sleep(WARM_UP)?;
    let (before, start) = timed(|| received(netdev))?;
    lab.sleep(time)?;
    let (after, end) = timed(|| received(netdev))?;
    if after == before {
        return Err(format!("{netdev} receives nothing").into());
    }
    Ok(mpps(after - before, end - start))
}

/// Packets that a netdev of this namespace has received (proc(5), `/proc/net/dev`).
fn received(netdev: &str) -> Result<u64, Error> {
    let all = std::fs::read_to_string("/proc/self/net/dev")?;
    packets_of(&all, netdev).ok_or_else(|| format!("no netdev {netdev}").into())
}

fn packets_of(all: &str, netdev: &str) -> Option<u64> {
    let of = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let packets = counters.split_whitespace().nth(1)?;
        (name.trim() == netdev).then(|| packets.parse().ok())?
    };
    all.lines().find_map(of)
}

impl Contender for Flood {
    fn key(&self) -> String {
        match self.by {
            By::Multistack => "tap".to_owned(),
            By::Testpmd(_) => "testpmd_tap".to_owned(),
        }
    }

    fn label(&self) -> String {
        match self.by {
            By::Multistack => "multistack to its TAP".to_owned(),
            By::Testpmd(_) => "testpmd to net_tap".to_owned(),
        }
    }

    fn version(&self) -> Option<(&'static str, String)> {
        self.version.clone()
    }

    fn settings(&self) -> Value {
        match &self.by {
            By::Multistack => json!({ "options": TUNING }),
            By::Testpmd(testpmd) => testpmd.settings(),
        }
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        let By::Testpmd(testpmd) = &self.by else {
            return self.by_multistack(lab, time).map(Sample::new);
        };
        let (mut process, _) = testpmd.clone().with_traffic(traffic()).start(lab)?;
        set_up_tap(lab, &mut process)?;
        let rate = rate(lab, TAP, time)?;
        process.terminate()?;
        Ok(Sample::new(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let all =
            "Inter-|   Receive\n face |bytes    packets errs\n    lo: 10 1 0\n  msh0: 120 2 0\n";
        assert_eq!(packets_of(all, "msh0"), Some(2));
        assert_eq!(packets_of(all, "msh1"), None);
    }
}
