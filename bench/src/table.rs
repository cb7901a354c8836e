//! The table: a line for each figure and each of its goals.

use std::fmt::Write as _;

use crate::experiment::{Figure, Goal, Verdict};
use crate::measured::Measured;

/// What stands over the columns.
pub fn head() -> String {
    format!(
        "{:<28}{:>10} {:<6}{:>18}  {:<22}{:>8}{:>8}{:>8}\n",
        "figure", "median", "", "min..max", "against", "ratio", "must", "aim"
    )
}

/// The lines of an experiment.
pub fn lines(measured: &Measured) -> String {
    let mut lines = String::new();
    for figure in &measured.figures {
        figure_lines(measured, figure, &mut lines);
    }
    lines
}

fn figure_lines(measured: &Measured, figure: &Figure, lines: &mut String) {
    let name = if figure.name == measured.key {
        figure.name.clone()
    } else {
        format!("{} {}", measured.key, figure.name)
    };
    let Some(series) = measured.series_of(figure) else {
        let why = measured.skipped.get(&figure.of);
        let why = why.map_or("not measured", String::as_str);
        let _ = writeln!(lines, "{name:<28}skipped: {why}");
        return;
    };
    let values = series.values();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    let _ = write!(
        lines,
        "{name:<28}{:>10.2} {:<6}{:>18}",
        series.median(),
        figure.unit,
        format!("{low:.2}..{high:.2}")
    );
    let against = against(measured, figure);
    let mut indent = 2;
    for line in &against {
        let _ = writeln!(lines, "{:indent$}{line}", "");
        indent = 65;
    }
    if against.is_empty() {
        lines.push('\n');
    }
}

/// The right half of the lines: goals, then the peers to which there is none.
fn against(measured: &Measured, figure: &Figure) -> Vec<String> {
    let mut lines = Vec::new();
    for judged in measured.judged(figure) {
        let goal = judged.goal;
        let peer = goal.to.as_ref().map_or_else(
            || "itself".to_owned(),
            |peer| format!("{peer} {:.2}", measured.series[peer].median()),
        );
        lines.push(format!(
            "{peer:<22}{:>8.3}{:>8}{:>8}  {}",
            judged.reached,
            bound(goal, goal.must),
            bound(goal, goal.aim),
            judged.verdict.name()
        ));
    }
    for peer in &figure.peers {
        let has_goal = figure
            .goals
            .iter()
            .any(|goal| goal.to.as_ref() == Some(peer));
        if let (Some(series), Some(ratio)) =
            (measured.series.get(peer), measured.ratio(figure, peer))
        {
            if !has_goal {
                let peer = format!("{peer} {:.2}", series.median());
                lines.push(format!("{peer:<22}{ratio:>8.3}"));
            }
        } else if let Some(why) = measured.skipped.get(peer) {
            lines.push(format!("{peer} skipped: {why}"));
        }
    }
    lines
}

fn bound(goal: &Goal, bound: f64) -> String {
    match (goal.at_most, bound.is_finite()) {
        (_, false) => "-".to_owned(),
        (true, true) => format!("<={bound}"),
        (false, true) => format!(">={bound}"),
    }
}

/// What the columns mean.
pub fn legend(rounds: u32) -> String {
    format!(
        "Medians of {rounds} rounds; the ratio is the median of each round's ratio. \
         {}: what must be is reached; {}: what is aimed for is.\n",
        Verdict::Must.name(),
        Verdict::Aim.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::tests::measured;

    #[test]
    fn every_goal_has_a_line_and_a_verdict() {
        let lines = lines(&measured());
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("demux64  "));
        assert!(lines[0].contains("testpmd_io 80.00") && lines[0].ends_with("pass"));
        assert!(lines[1].contains("itself") && lines[1].ends_with("FAIL"));
        assert!(lines[2].ends_with("ovs_dpdk skipped: not installed"));
    }
}
