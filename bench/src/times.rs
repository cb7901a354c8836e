//! How long things took: histograms, their percentiles, and their files.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Error;

/// Digits of a value that a histogram keeps.
const DIGITS: u8 = 3;
/// Lines of a file from one halving of what remains to the next.
const TICKS: u32 = 5;

/// The longest time in ns that is told from a longer one: a minute.
const LONGEST: u64 = 60_000_000_000;

/// An empty one.
pub fn histogram() -> Result<Histogram<u64>, Error> {
    Ok(Histogram::new_with_max(LONGEST, DIGITS)?)
}

/// Of these times in ns, each with how often it occurred: how a helper reports them.
pub fn from_counts(counts: &[(u64, u64)]) -> Result<Histogram<u64>, Error> {
    let mut times = histogram()?;
    for (ns, count) in counts {
        times.saturating_record_n(*ns, *count);
    }
    Ok(times)
}

/// The other way round.
pub fn to_counts(times: &Histogram<u64>) -> Vec<(u64, u64)> {
    let each = times.iter_recorded();
    each.map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}

/// The percentiles, in µs, for results.json.
pub fn percentiles(times: &Histogram<u64>) -> Value {
    json!({
        "p50": us(times.value_at_quantile(0.5)),
        "p90": us(times.value_at_quantile(0.9)),
        "p99": us(times.value_at_quantile(0.99)),
        "p99.9": us(times.value_at_quantile(0.999)),
        "max": us(times.max()),
        "count": times.len(),
    })
}

/// From ns to µs.
#[allow(clippy::cast_precision_loss)] // nothing here takes 2^53 ns
pub fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// As an `.hgrm` file, the text format of `HdrHistogram`, with values in µs.
pub fn hgrm(times: &Histogram<u64>) -> String {
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let mut count = 0;
    for step in times.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to()), step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:14.12} {count:10}");
        // There is no such number for the last one.
        let _ = if quantile < 1.0 {
            writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text)
        };
    }
    let _ = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        times.mean() / 1e3,
        times.stdev() / 1e3,
        us(times.max()),
        times.len(),
        times.buckets(),
        times.distinct_values() / usize::from(times.buckets().max(1))
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_the_way_to_the_benchmark() {
        let mut times = histogram().unwrap();
        for ns in [1000, 1000, 2000, 500_000] {
            times.saturating_record(ns);
        }
        let back = from_counts(&to_counts(&times)).unwrap();
        assert_eq!(back.len(), 4);
        assert_eq!(percentiles(&back), percentiles(&times));
        assert_eq!(percentiles(&back)["p50"], 1.0);
    }

    #[test]
    fn files_end_with_everything() {
        let times = from_counts(&[(1000, 99), (7000, 1)]).unwrap();
        let text = hgrm(&times);
        let last = text.lines().rfind(|line| !line.starts_with('#')).unwrap();
        let fields: Vec<_> = last.split_whitespace().collect();
        assert_eq!(fields[1..], ["1.000000000000", "100"]);
        assert!(text.contains("Total count    =          100]"));
    }
}
