//! What an experiment is: contenders that are measured in turns, and the figures that follow.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Error;
use crate::lab::Lab;

/// What a contender did in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the unit of the figure that it is for.
    pub value: f64,
    /// What else is worth knowing of the run.
    pub details: BTreeMap<&'static str, f64>,
    /// How long something took, each time, in ns.
    pub times: Option<Histogram<u64>>,
}

impl Sample {
    /// With nothing else to tell.
    pub const fn new(value: f64) -> Self {
        Self {
            value,
            details: BTreeMap::new(),
            times: None,
        }
    }

    /// The same, with this detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.details.insert(name, value);
        self
    }
}

/// A program that is measured.
pub trait Contender {
    /// Its name in results.json.
    fn key(&self) -> String;

    /// Its name in the table.
    fn label(&self) -> String;

    /// Program and version, once it was measured.
    fn version(&self) -> Option<(&'static str, String)>;

    /// What it was measured with.
    fn settings(&self) -> Value;

    /// Starts it, lets it work for `time`, and ends it.
    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error>;
}

/// A contender at one point of a line: a frame length, or a number of stacks.
pub struct At<C>(pub C, pub u16);

/// The key of the contender called `key` at a point.
pub fn key_at(key: &str, point: u16) -> String {
    format!("{key}@{point}")
}

impl<C: Contender> Contender for At<C> {
    fn key(&self) -> String {
        key_at(&self.0.key(), self.1)
    }

    fn label(&self) -> String {
        format!("{} @ {}", self.0.label(), self.1)
    }

    fn version(&self) -> Option<(&'static str, String)> {
        self.0.version()
    }

    fn settings(&self) -> Value {
        self.0.settings()
    }

    fn measure(&mut self, lab: &Lab, time: Duration) -> Result<Sample, Error> {
        self.0.measure(lab, time)
    }
}

/// What a figure is to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// The peer that the ratio is to; the value itself if none.
    pub to: Option<String>,
    /// Whether less is better.
    pub at_most: bool,
    /// Worse is a failure.
    pub must: f64,
    /// What is aimed for.
    pub aim: f64,
}

impl Goal {
    /// At least `must` times what the peer called `to` does.
    pub fn ratio(to: &str, must: f64, aim: f64) -> Self {
        Self {
            to: Some(to.to_owned()),
            at_most: false,
            must,
            aim,
        }
    }

    /// At least this value.
    pub const fn value(must: f64, aim: f64) -> Self {
        Self {
            to: None,
            at_most: false,
            must,
            aim,
        }
    }

    /// At most `must` times what the peer called `to` does.
    pub fn at_most(to: &str, must: f64, aim: f64) -> Self {
        Self {
            to: Some(to.to_owned()),
            at_most: true,
            must,
            aim,
        }
    }

    /// At most `aim` times what the peer called `to` does; more is no failure.
    pub fn aim_below(to: &str, aim: f64) -> Self {
        Self::at_most(to, f64::INFINITY, aim)
    }

    /// How what was reached stands to the goal.
    pub fn judge(&self, reached: f64) -> Verdict {
        let meets = |bound: f64| {
            if self.at_most {
                reached <= bound
            } else {
                reached >= bound
            }
        };
        if meets(self.aim) {
            Verdict::Aim
        } else if meets(self.must) {
            Verdict::Must
        } else {
            Verdict::Fail
        }
    }
}

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is aimed for is.
    Aim,
    /// What must be is.
    Must,
    /// Not even that.
    Fail,
}

impl Verdict {
    /// For the table and results.json.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Must => "pass",
            Self::Fail => "FAIL",
        }
    }
}

/// A figure: one contender's, beside some peers'.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name among the figures of its experiment.
    pub name: String,
    /// The contender's key.
    pub of: String,
    /// The keys of those that it is compared with.
    pub peers: Vec<String>,
    /// Of its value.
    pub unit: &'static str,
    /// What it is to reach.
    pub goals: Vec<Goal>,
}

impl Figure {
    /// Millions of packets per second of the contender called `of`.
    pub fn mpps(name: &str, of: &str, peers: &[&str], goals: Vec<Goal>) -> Self {
        Self {
            name: name.to_owned(),
            of: of.to_owned(),
            peers: peers.iter().map(|&peer| peer.to_owned()).collect(),
            unit: "Mpps",
            goals,
        }
    }
}

/// An experiment: an entry of results.json.
pub struct Experiment {
    /// Its name.
    pub key: &'static str,
    /// In the order in which they are measured in a round.
    pub contenders: Vec<Box<dyn Contender>>,
    /// Who would be measured if it were here, and why it is not.
    pub skipped: BTreeMap<String, String>,
    /// What is reported; the first is the experiment's own.
    pub figures: Vec<Figure>,
}

impl Experiment {
    /// With no one to measure yet.
    pub const fn new(key: &'static str) -> Self {
        Self {
            key,
            contenders: Vec::new(),
            skipped: BTreeMap::new(),
            figures: Vec::new(),
        }
    }

    /// Has `contender` measured too.
    #[must_use]
    pub fn with(mut self, contender: impl Contender + 'static) -> Self {
        self.contenders.push(Box::new(contender));
        self
    }

    /// Has a contender measured that may not be here.
    #[must_use]
    pub fn with_peer<C: Contender + 'static>(mut self, key: &str, peer: Result<C, String>) -> Self {
        match peer {
            Ok(contender) => self.contenders.push(Box::new(contender)),
            Err(why) => {
                self.skipped.insert(key.to_owned(), why);
            }
        }
        self
    }

    /// Has `figure` reported too.
    #[must_use]
    pub fn figure(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }

    /// What the contenders were measured with.
    pub fn settings(&self) -> Value {
        let each = self.contenders.iter();
        each.map(|contender| (contender.key(), contender.settings()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Which programs were measured.
    pub fn versions(&self) -> Value {
        let mut versions = json!({});
        for (program, version) in self.contenders.iter().filter_map(|c| c.version()) {
            versions[program] = json!(version);
        }
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_from_their_side() {
        let rate = Goal::ratio("peer", 0.5, 0.65);
        assert_eq!(rate.judge(0.65), Verdict::Aim);
        assert_eq!(rate.judge(0.5), Verdict::Must);
        assert_eq!(rate.judge(0.49), Verdict::Fail);
        let time = Goal::aim_below("peer", 2.0);
        assert_eq!(time.judge(2.0), Verdict::Aim);
        assert_eq!(time.judge(2.1), Verdict::Must);
        assert_eq!(rate.judge(f64::NAN), Verdict::Fail);
    }
}
