//! Derives the names of families from names in code, by the rules that OpenTelemetry and the `metrics` ecosystem share.

use metrics::Unit;

use crate::catalog::{self, Metric, MetricKind};

/// Returns the name with `_` instead of characters that Prometheus does not accept.
pub(crate) fn sanitized(name: &str) -> String {
    let is_valid = |at: usize, c: char| c == '_' || c == ':' || c.is_ascii_alphabetic() || at > 0 && c.is_ascii_digit();
    name.chars().enumerate().map(|(at, c)| if is_valid(at, c) { c } else { '_' }).collect()
}

/// Returns the canonical form of a name. The counters `jobs.done`, `jobs_done` and `jobs_done_total` are one metric.
pub(super) fn canonical(sanitized: &str, kind: MetricKind) -> &str {
    match kind {
        MetricKind::Counter => sanitized.strip_suffix("_total").unwrap_or(sanitized),
        MetricKind::Gauge | MetricKind::Histogram => sanitized,
    }
}

/// Returns the name of the family: the name in code, with its unit if one is described, and `_total` for a counter.
pub(crate) fn exposed(sanitized: &str, kind: MetricKind, unit: Option<Unit>) -> String {
    let base = match canonical(sanitized, kind) {
        // Readers remove the suffix `_total` of a counter. The rest must not be empty.
        "" => "_",
        base => base,
    };
    let unit = match unit {
        None | Some(Unit::Count) => "",
        Some(Unit::Percent) => "ratio",
        Some(unit) => unit.as_str(),
    };
    let name = if unit.is_empty() || base.ends_with(unit) { base.to_owned() } else { format!("{base}_{unit}") };
    match kind {
        MetricKind::Counter if base != sanitized || !name.ends_with("total") => format!("{name}_total"),
        _ => name,
    }
}

/// Returns the names that a family takes.
pub(super) fn of_samples(family: &str, kind: MetricKind) -> impl Iterator<Item = String> {
    kind.sample_suffixes().iter().map(move |suffix| format!("{family}{suffix}"))
}

/// Finds the metric of the catalogue with this name, in any spelling.
pub(crate) fn own(name: &str) -> Option<&'static Metric> {
    if !["llm", "botticelli", "target"].iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    catalog::find(name).or_else(|| {
        let name = sanitized(name);
        catalog::METRICS.iter().find(|metric| {
            [metric.name, metric.whole_number_name()].into_iter().any(|own| sanitized(own) == name)
                || [metric.prometheus, metric.whole_number_family()].contains(&&*name)
        })
    })
}
