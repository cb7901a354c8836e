//! A picture of results.json: throughput over the length of frames, and over the number of stacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 320.0;
/// Around a panel's axes.
const MARGIN: f64 = 56.0;
/// Distinguishable for the colour-blind too (Okabe and Ito).
const COLOURS: [&str; 5] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"];

/// Who is shown, by point; who has one value for all points has it under None.
type Lines = BTreeMap<String, BTreeMap<Option<u16>, f64>>;

/// Draws what there is of it; None if there is nothing.
pub fn draw(results: &Value) -> Option<String> {
    let panels: Vec<_> = [
        ("sizes", "bytes of a frame, without FCS"),
        ("scale", "stacks (64-byte frames)"),
    ]
    .into_iter()
    .map(|(key, axis)| (lines(&results[key]["contenders"]), axis))
    .filter(|(lines, _)| !lines.is_empty())
    .collect();
    if panels.is_empty() {
        return None;
    }
    let width = WIDTH * panels.iter().map(|_| 1.0).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let mut left = 0.0;
    for (lines, axis) in &panels {
        let _ = writeln!(svg, "<g transform=\"translate({left},0)\">");
        panel(&mut svg, lines, axis);
        svg.push_str("</g>\n");
        left += WIDTH;
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// From contenders called `name@point`, or just `name`.
fn lines(contenders: &Value) -> Lines {
    let mut lines = Lines::new();
    for (key, contender) in contenders.as_object().into_iter().flatten() {
        let (name, point) = match key.split_once('@') {
            Some((name, point)) => (name, point.parse().ok()),
            None => (key.as_str(), None),
        };
        if let Some(value) = contender["value"].as_f64() {
            lines
                .entry(name.to_owned())
                .or_default()
                .insert(point, value);
        }
    }
    lines
}

fn panel(svg: &mut String, lines: &Lines, axis: &str) {
    let points: BTreeSet<u16> = lines
        .values()
        .flat_map(|line| line.keys().copied())
        .flatten()
        .collect();
    let values = lines.values().flat_map(|line| line.values().copied());
    let step = step(values.fold(1.0, f64::max));
    let top = step * 5.0;
    let (right, bottom) = (WIDTH - MARGIN / 2.0, HEIGHT - MARGIN);
    let y = |value: f64| bottom - value / top * (bottom - MARGIN);
    let x = |place: f64| {
        let places = points.iter().map(|_| 1.0).sum::<f64>();
        MARGIN + (place + 0.5) / places.max(1.0) * (right - MARGIN)
    };
    let places: BTreeMap<u16, f64> = points
        .iter()
        .copied()
        .zip((0u16..).map(|n| x(n.into())))
        .collect();
    for tick in 0..=5u8 {
        let value = step * f64::from(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {0:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{value}</text>",
            y(value),
            MARGIN - 6.0,
            y(value) + 4.0
        );
    }
    for (point, x) in &places {
        let below = bottom + 16.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{point}</text>"
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{axis}</text>\
         <text x=\"8\" y=\"{}\">Mpps</text>",
        f64::midpoint(MARGIN, right),
        bottom + 36.0,
        MARGIN - 10.0
    );
    for (number, (name, line)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let value = |point: u16| line.get(&Some(point)).or_else(|| line.get(&None));
        let path: Vec<_> = places
            .iter()
            .filter_map(|(point, x)| Some(format!("{x:.1},{:.1}", y(*value(*point)?))))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        legend(svg, number, name, colour);
    }
}

fn legend(svg: &mut String, number: usize, name: &str, colour: &str) {
    let row = (0u8..).nth(number).map_or(0.0, f64::from);
    let (x, y) = (WIDTH - 150.0, 16.0 + row * 15.0);
    let _ = writeln!(
        svg,
        "<path d=\"M{x} {y}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>\
         <text x=\"{}\" y=\"{}\">{name}</text>",
        x + 24.0,
        y + 4.0
    );
}

/// A round distance of ticks of which five reach `most`.
fn step(most: f64) -> f64 {
    let raw = most / 5.0;
    let magnitude = 10f64.powf(raw.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    round.into_iter().find(|step| *step >= raw).unwrap_or(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_contender_is_a_line() {
        let results = json!({ "scale": { "contenders": {
            "demux@1": { "value": 60.0 }, "demux@64": { "value": 50.0 },
            "testpmd_io": { "value": 95.0 },
        }}});
        let svg = draw(&results).unwrap();
        let lines: Vec<_> = svg
            .lines()
            .filter(|line| line.starts_with("<polyline"))
            .collect();
        assert_eq!(lines.len(), 2);
        // The peer's is level over both points.
        let ys: Vec<_> = lines[1]
            .split(['"', ' ', ','])
            .filter(|word| word.contains('.'))
            .collect();
        assert_eq!(ys.len(), 4);
        assert_eq!(ys[1], ys[3]);
        assert!(svg.contains(">testpmd_io<") && svg.contains(">64<"));
        assert_eq!(draw(&json!({})), None);
    }

    #[test]
    fn ticks_are_round() {
        for (most, expected) in [(95.0, "20"), (100.0, "20"), (17.0, "5"), (4.9, "1")] {
            assert_eq!(step(most).to_string(), expected);
        }
    }
}
