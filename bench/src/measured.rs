//! What an experiment has given: series of runs, and the figures that follow from them.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::experiment::{Figure, Goal, Sample, Verdict};
use crate::statistics::{median, median_ratio};
use crate::times::percentiles;

/// All rounds of a contender.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the table.
    pub label: String,
    /// By round.
    pub samples: Vec<Sample>,
}

impl Series {
    /// By round.
    pub fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.value).collect()
    }

    /// The figure.
    pub fn median(&self) -> f64 {
        median(&self.values())
    }

    /// The times of all rounds.
    pub fn times(&self) -> Option<Histogram<u64>> {
        let mut all: Option<Histogram<u64>> = None;
        for times in self
            .samples
            .iter()
            .filter_map(|sample| sample.times.as_ref())
        {
            match &mut all {
                // They have the same range and precision.
                Some(all) => all.add(times).ok()?,
                None => all = Some(times.clone()),
            }
        }
        all
    }

    /// The medians of what else is known.
    fn details(&self) -> Value {
        let names = self.samples.iter().flat_map(|sample| sample.details.keys());
        let each = names.map(|name| {
            let of = |sample: &Sample| sample.details.get(name).copied();
            let values: Vec<_> = self.samples.iter().filter_map(of).collect();
            ((*name).to_owned(), json!(median(&values)))
        });
        let mut details = Value::Object(each.collect());
        if let Some(times) = self.times() {
            details["times_us"] = percentiles(&times);
        }
        details
    }
}

/// An experiment that has taken place.
pub struct Measured {
    /// Its name.
    pub key: &'static str,
    /// By contender.
    pub series: BTreeMap<String, Series>,
    /// Who was not measured, and why.
    pub skipped: BTreeMap<String, String>,
    /// What is reported.
    pub figures: Vec<Figure>,
    /// How busy others kept the machine, at the worst moment that was looked at.
    pub busy_percent: u8,
}

/// A goal, and how near it is.
pub struct Judged<'a> {
    /// Which one.
    pub goal: &'a Goal,
    /// The ratio to the peer, or the value.
    pub reached: f64,
    /// Whether that is enough.
    pub verdict: Verdict,
}

impl Measured {
    /// The rounds of the contender that a figure is of; none if it was skipped.
    pub fn series_of(&self, figure: &Figure) -> Option<&Series> {
        self.series.get(&figure.of)
    }

    /// Median over the rounds of what part of a peer's value the figure's is.
    pub fn ratio(&self, figure: &Figure, peer: &str) -> Option<f64> {
        let (ours, theirs) = (self.series_of(figure)?, self.series.get(peer)?);
        Some(median_ratio(&ours.values(), &theirs.values()))
    }

    /// What of a figure's goals can be judged: a peer that was skipped judges nothing.
    pub fn judged<'a>(&self, figure: &'a Figure) -> Vec<Judged<'a>> {
        let judged = figure.goals.iter().filter_map(|goal| {
            let reached = match &goal.to {
                Some(peer) => self.ratio(figure, peer)?,
                None => self.series_of(figure)?.median(),
            };
            let verdict = goal.judge(reached);
            Some(Judged {
                goal,
                reached,
                verdict,
            })
        });
        judged.collect()
    }

    /// The experiment's entry in results.json: its first figure, all figures by name if there are
    /// several, and everyone's runs.
    pub fn json(&self) -> Value {
        let first = self.figures.first();
        let mut entry = first.map_or_else(|| json!({}), |figure| self.figure_json(figure));
        if self.figures.len() > 1 {
            let each = self.figures.iter();
            entry["figures"] = each
                .map(|figure| (figure.name.clone(), self.figure_json(figure)))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        for (key, series) in &self.series {
            entry["contenders"][key] = json!({
                "label": series.label,
                "value": series.median(),
                "runs": series.values(),
                "details": series.details(),
            });
        }
        entry["busy_percent"] = json!(self.busy_percent);
        entry
    }

    fn figure_json(&self, figure: &Figure) -> Value {
        let Some(series) = self.series_of(figure) else {
            let why = self.skipped.get(&figure.of);
            return json!({ "skipped": why.map_or("not measured", String::as_str) });
        };
        let mut json = json!({
            "value": series.median(),
            "unit": figure.unit,
            "median_of": series.samples.len(),
            "runs": series.values(),
            "details": series.details(),
            "peers": {},
            "ratio": {},
        });
        for peer in &figure.peers {
            if let (Some(theirs), Some(ratio)) = (self.series.get(peer), self.ratio(figure, peer)) {
                json["peers"][peer] = json!(theirs.median());
                json["ratio"][peer] = json!(ratio);
            } else if let Some(why) = self.skipped.get(peer) {
                json["peers"][peer] = json!({ "skipped": why });
            }
        }
        let goals = self.judged(figure).into_iter().map(|judged| {
            json!({
                "to": judged.goal.to,
                "must": judged.goal.must,
                "aim": judged.goal.aim,
                "reached": judged.reached,
                "verdict": judged.verdict.name(),
            })
        });
        json["goals"] = goals.collect();
        json
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn series(values: &[f64]) -> Series {
        let sample = |value: &f64| Sample::new(*value).with("offered_mpps", value * 2.0);
        Series {
            label: "someone".to_owned(),
            samples: values.iter().map(sample).collect(),
        }
    }

    pub fn measured() -> Measured {
        let goals = vec![
            Goal::ratio("testpmd_io", 0.5, 0.65),
            Goal::ratio("ovs_dpdk", 2.5, 3.5),
            Goal::value(50.0, 60.0),
        ];
        Measured {
            key: "demux64",
            series: BTreeMap::from([
                ("testpmd_io".to_owned(), series(&[100.0, 50.0, 80.0])),
                ("demux64".to_owned(), series(&[50.0, 40.0, 20.0])),
            ]),
            skipped: BTreeMap::from([("ovs_dpdk".to_owned(), "not installed".to_owned())]),
            figures: vec![Figure::mpps(
                "demux64",
                "demux64",
                &["testpmd_io", "ovs_dpdk"],
                goals,
            )],
            busy_percent: 3,
        }
    }

    #[test]
    fn an_entry_has_figure_peers_and_ratios() {
        let json = measured().json();
        assert_eq!(json["value"], 40.0);
        assert_eq!(json["unit"], "Mpps");
        assert_eq!(json["median_of"], 3);
        assert_eq!(json["runs"], json!([50.0, 40.0, 20.0]));
        assert_eq!(json["details"]["offered_mpps"], 80.0);
        assert_eq!(json["peers"]["testpmd_io"], 80.0);
        assert_eq!(json["ratio"]["testpmd_io"], 0.5);
        assert_eq!(json["peers"]["ovs_dpdk"]["skipped"], "not installed");
        assert_eq!(json["contenders"]["testpmd_io"]["value"], 80.0);
        assert_eq!(json["figures"], Value::Null, "there is only one");
    }

    #[test]
    fn goals_to_who_was_skipped_are_not_judged() {
        let measured = measured();
        let judged = measured.judged(&measured.figures[0]);
        let verdicts: Vec<_> = judged.iter().map(|judged| judged.verdict).collect();
        assert_eq!(verdicts, [Verdict::Must, Verdict::Fail]);
    }

    #[test]
    fn a_figure_of_who_was_skipped_says_why() {
        let mut measured = measured();
        measured
            .figures
            .push(Figure::mpps("other", "ovs_dpdk", &[], vec![]));
        let json = measured.json();
        assert_eq!(
            json["figures"]["other"],
            json!({"skipped": "not installed"})
        );
        assert_eq!(json["figures"]["demux64"]["value"], 40.0);
    }
}
