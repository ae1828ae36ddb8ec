//! Metrics as the collector has printed them, brought into the form of a page.

use std::collections::BTreeMap;

use super::page::Page;

/// What the collector got with one export.
#[derive(Debug, Default)]
pub struct CollectedMetrics {
    /// As a page would show it: buckets with everything up to their bound.
    pub page: Page,
    /// Attributes of the resource.
    pub resource: BTreeMap<String, String>,
    /// Temporality and monotony by metric, such as `CUMULATIVE true`; a gauge has neither.
    pub temporality: BTreeMap<String, String>,
    /// Start and end of each series.
    pub times: Vec<(u64, u64)>,
}

impl CollectedMetrics {
    /// Reads all exports that were printed, in their order; one that is being printed may lack its end.
    pub fn parse_all(printed: &str) -> Vec<Self> {
        printed.split("ResourceMetrics #").skip(1).map(Self::parse).collect()
    }

    fn parse(printed: &str) -> Self {
        let mut collected = Self::default();
        let mut metrics = printed.split("\nMetric #");
        collected.resource = attributes(metrics.next().unwrap_or_default());
        for metric in metrics {
            collected.add(metric);
        }
        collected
    }

    fn add(&mut self, metric: &str) {
        let described = metric.split("DataPoints #").next().unwrap_or_default();
        let name = field(described, "-> Name: ").unwrap_or_default();
        let kind = match field(described, "-> DataType: ").as_deref() {
            Some("Sum") => "counter",
            Some("Gauge") => "gauge",
            Some("Histogram") => "histogram",
            other => panic!("{name} is {other:?}"),
        };
        let of = |key: &str| field(described, key).unwrap_or_default();
        let temporality = of("-> AggregationTemporality: AGGREGATION_TEMPORALITY_");
        let temporality = format!("{temporality} {}", of("-> IsMonotonic: ")).trim().to_owned();
        self.temporality.insert(name.clone(), temporality);
        self.page.help.insert(name.clone(), of("-> Description: "));
        self.page.types.insert(name.clone(), kind.to_owned());
        for point in metric.split("DataPoints #").skip(1) {
            let labels = attributes(point);
            let mut sample = |name: String, labels: BTreeMap<String, String>, value: Option<f64>| {
                if let Some(value) = value {
                    assert!(self.page.samples.insert((name, labels), value).is_none(), "a series comes twice: {point}");
                }
            };
            self.times.push((number(point, "StartTimestamp: "), number(point, "\nTimestamp: ")));
            if kind != "histogram" {
                sample(name.clone(), labels, value(point, "\nValue: "));
                continue;
            }
            let bounds = lines(point, "ExplicitBounds #").chain([f64::INFINITY]);
            let mut below = 0.0;
            for (bound, count) in bounds.zip(lines(point, "Buckets #")) {
                below += count;
                let mut labels = labels.clone();
                labels.insert("le".to_owned(), if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() });
                sample(format!("{name}_bucket"), labels, Some(below));
            }
            sample(format!("{name}_sum"), labels.clone(), value(point, "\nSum: "));
            sample(format!("{name}_count"), labels, value(point, "\nCount: "));
        }
    }
}

fn field(text: &str, key: &str) -> Option<String> {
    let rest = &text[text.find(key)? + key.len()..];
    Some(rest.lines().next().unwrap_or_default().trim().to_owned())
}

fn value(text: &str, key: &str) -> Option<f64> {
    field(text, key)?.parse().ok()
}

fn number(text: &str, key: &str) -> u64 {
    field(text, key).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The last number of each line that begins like this.
fn lines<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter(move |line| line.starts_with(start)).filter_map(|line| line.rsplit_once(": ")?.1.parse().ok())
}

fn attributes(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("-> ")?.split_once(": Str("));
    lines.map(|(key, value)| (key.to_owned(), value.trim_end_matches(')').to_owned())).collect()
}
