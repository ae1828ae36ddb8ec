//! What a page says of calls.

use std::collections::BTreeMap;

/// Counts by sample name and labels, without those that are 0, times, and gauges.
pub type Counts = BTreeMap<String, f64>;

pub fn counts(page: &str) -> Counts {
    let samples = page.lines().filter(|line| line.starts_with("llm_"));
    let counts = samples.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        let is_count = name.ends_with("_total") || name.ends_with("_count");
        let value: f64 = value.parse().expect("a sample is a number");
        (is_count && value != 0.0).then(|| (series.to_owned(), value))
    });
    counts.collect()
}

/// Returns the sum of a metric.
pub fn sum(counts: &Counts, name: &str) -> f64 {
    counts.iter().filter(|(series, _)| series.split('{').next() == Some(name)).map(|(_, value)| value).sum()
}

/// Removes all of a metric.
pub fn forget(counts: &mut Counts, names: &[&str]) {
    counts.retain(|series, _| !series.split('{').next().is_some_and(|name| names.contains(&name)));
}

/// Counts the errors of some classes as errors of another one.
pub fn merge_errors(counts: &mut Counts, from: &[&str], to: &str) {
    let class = |class: &str| format!(r#"error_type="{class}""#);
    for from in from {
        let series: Vec<String> = counts.keys().filter(|series| series.contains(&class(from))).cloned().collect();
        for series in series {
            let value = counts.remove(&series).unwrap_or_default();
            *counts.entry(series.replace(&class(from), &class(to))).or_default() += value;
        }
    }
}
