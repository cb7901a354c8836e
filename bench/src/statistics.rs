//! Medians, of values and of ratios.

/// The middle one, or the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(sorted.len() / 2), at(sorted.len().saturating_sub(1) / 2))
}

/// The median over the rounds of what part of the peer's figure ours is: what slows the whole
/// machine down for a round slows both.
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    median(&ratios.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_string(), "2.5");
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // 0.5, 0.8 and 0.25; the ratio of the medians is 0.5 as well, so let one round be slow.
        assert_eq!(
            median_ratio(&[50.0, 40.0, 20.0], &[100.0, 50.0, 80.0]).to_string(),
            "0.5"
        );
        assert_eq!(
            median_ratio(&[50.0, 5.0, 50.0], &[100.0, 10.0, 90.0]).to_string(),
            "0.5"
        );
    }
}
