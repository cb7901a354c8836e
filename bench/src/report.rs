//! The table, and results.json.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::Error;
use crate::counters::Sample;
use crate::machine::Machine;

/// All rounds of a contender.
pub struct Series {
    key: String,
    label: String,
    version: Option<String>,
    /// Millions of packets per second that were delivered, by round.
    mpps: Vec<f64>,
    /// The part of what the device gave that was delivered, over all rounds.
    delivered: f64,
}

impl Series {
    /// Of at least one round.
    pub fn new(key: String, label: String, version: Option<String>, samples: &[Sample]) -> Self {
        let sum = |of: fn(&Sample) -> u32| {
            samples
                .iter()
                .map(|sample| f64::from(of(sample)))
                .sum::<f64>()
        };
        let offered = sum(|sample| sample.offered_pps);
        Self {
            key,
            label,
            version,
            delivered: sum(|sample| sample.delivered_pps) / offered.max(1.0),
            mpps: samples
                .iter()
                .map(|sample| f64::from(sample.delivered_pps) / 1e6)
                .collect(),
        }
    }

    fn median(&self) -> f64 {
        median(&self.mpps)
    }

    /// Median over the rounds of what part of the peer's figure this one is.
    fn median_of_ratios(&self, peer: &Self) -> f64 {
        let ratios: Vec<_> = self
            .mpps
            .iter()
            .zip(&peer.mpps)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        median(&ratios)
    }
}

/// All that was found out.
pub struct Report {
    /// By contender; the peer is the first, if there is one.
    pub series: Vec<Series>,
    /// Whether there is one.
    pub has_peer: bool,
    /// What it was measured on.
    pub machine: Machine,
    /// How much of it others used, at the worst moment that was looked at.
    pub busy_percent: u8,
    /// What it was measured with.
    pub settings: Value,
}

impl Report {
    fn peer(&self) -> Option<&Series> {
        self.series.first().filter(|_| self.has_peer)
    }

    /// For the user.
    pub fn table(&self) -> String {
        let peer = self.peer();
        let mut table = format!(
            "{:<24}{:>8}{:>16}{:>11}{:>10}{:>10}\n",
            "64 B frames", "Mpps", "min..max", "delivered", "ratio", "by round"
        );
        for series in &self.series {
            let low = series.mpps.iter().copied().fold(f64::INFINITY, f64::min);
            let high = series.mpps.iter().copied().fold(0.0, f64::max);
            let range = format!("{low:.2}..{high:.2}");
            let delivered = format!("{:.1} %", series.delivered * 100.0);
            let _ = write!(
                table,
                "{:<24}{:>8.2}{range:>16}{delivered:>11}",
                series.label,
                series.median()
            );
            let _ = match peer {
                Some(peer) => writeln!(
                    table,
                    "{:>10.3}{:>10.3}",
                    series.median() / peer.median(),
                    series.median_of_ratios(peer)
                ),
                None => writeln!(table, "{:>10}{:>10}", "-", "-"),
            };
        }
        let _ = writeln!(
            table,
            "Mpps: medians of {} rounds, of packets that reached their stack; ratio: to testpmd's \
             median, and the median of each round's ratio.",
            self.series.first().map_or(0, |series| series.mpps.len())
        );
        table
    }

    /// Writes results.json into `dir`; tells where it is.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, Error> {
        let path = dir.join("results.json");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, format!("{:#}\n", self.json())))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn json(&self) -> Value {
        let mut all = Map::new();
        let mut versions = Map::new();
        for series in &self.series {
            let mut result = json!({
                "value": series.median(),
                "unit": "Mpps",
                "median_of": series.mpps.len(),
                "runs": series.mpps,
                "delivered": series.delivered,
                "peers": {},
                "ratio": {},
                "ratio_by_round": {},
            });
            if let Some(peer) = self.peer().filter(|peer| peer.key != series.key) {
                result["peers"][&peer.key] = json!(peer.median());
                result["ratio"][&peer.key] = json!(series.median() / peer.median());
                result["ratio_by_round"][&peer.key] = json!(series.median_of_ratios(peer));
            }
            all.insert(series.key.clone(), result);
            versions.insert(series.key.clone(), json!(series.version));
        }
        all.insert("machine".to_owned(), json!(self.machine));
        all.insert("busy_percent".to_owned(), json!(self.busy_percent));
        all.insert("versions".to_owned(), Value::Object(versions));
        all.insert("settings".to_owned(), self.settings.clone());
        Value::Object(all)
    }
}

/// The middle one, or the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(sorted.len() / 2), at(sorted.len().saturating_sub(1) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(key: &str, mpps: &[u32]) -> Series {
        let samples = mpps.iter().map(|mpps| Sample {
            delivered_pps: mpps * 1_000_000,
            offered_pps: mpps * 2_000_000,
        });
        Series::new(
            key.to_owned(),
            key.to_owned(),
            None,
            &samples.collect::<Vec<_>>(),
        )
    }

    fn report() -> Report {
        Report {
            series: vec![
                series("testpmd_io", &[100, 50, 80]),
                series("demux1", &[50, 40, 20]),
            ],
            has_peer: true,
            machine: Machine::this(),
            busy_percent: 3,
            settings: json!({}),
        }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_string(), "2.5");
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_to_the_peer() {
        let json = report().json();
        assert_eq!(json["demux1"]["value"], 40.0);
        assert_eq!(json["demux1"]["median_of"], 3);
        assert_eq!(json["demux1"]["delivered"], 0.5);
        assert_eq!(json["demux1"]["peers"]["testpmd_io"], 80.0);
        assert_eq!(json["demux1"]["ratio"]["testpmd_io"], 0.5);
        // 0.5, 0.8 and 0.25
        assert_eq!(json["demux1"]["ratio_by_round"]["testpmd_io"], 0.5);
        assert_eq!(json["testpmd_io"]["ratio"], json!({}));
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        let mut report = report();
        report.series.remove(0);
        report.has_peer = false;
        assert_eq!(report.json()["demux1"]["ratio"], json!({}));
        assert!(report.table().contains("40.00"));
        assert!(!report.table().contains("1.000"));
    }
}
