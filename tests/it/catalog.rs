//! The catalogue: well-formed, and the same as the README's table.

use std::collections::BTreeSet;

use botticelli_obs::{METRICS, MetricKind};

#[test]
fn readme_has_the_table_of_the_catalogue() {
    let rows: String = METRICS
        .iter()
        .map(|metric| {
            let labels = metric.labels.join(", ");
            let (name, family, kind) = (metric.name, metric.prometheus, metric.kind.as_str());
            let stability = metric.stability.as_str();
            format!("| `{name}` | `{family}` | {kind} | {labels} | {stability} | {} |\n", metric.description)
        })
        .collect();
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&rows), "the README's table should be:\n{rows}");
}

#[test]
fn names_are_unique_and_follow_the_rules_of_prometheus() {
    let mut families = BTreeSet::new();
    for metric in METRICS {
        let family = metric.prometheus;
        assert!(families.insert(family), "{family} comes twice");
        assert!(family.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{family}");
        assert!(family.starts_with(&metric.name.replace('.', "_")), "{family} is not {}", metric.name);
        assert_eq!(family.ends_with("_total"), metric.kind == MetricKind::Counter, "{family}");
        assert!(metric.description.ends_with('.'), "{family} has no description");
        let base = family.strip_suffix("_total").unwrap_or(family);
        let unit = metric.unit;
        let seconds = unit == "s" && metric.name != "llm.duration";
        assert_eq!(base.ends_with("_seconds"), seconds, "{family}: the unit is part of the name");
        assert_eq!(base.ends_with("_bytes"), unit == "By", "{family}: the unit is part of the name");
    }
}

#[test]
fn buckets_belong_to_histograms_and_ascend() {
    for metric in METRICS {
        assert_eq!(metric.buckets.is_empty(), metric.kind != MetricKind::Histogram, "{}", metric.name);
        assert!(metric.buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
    }
}
