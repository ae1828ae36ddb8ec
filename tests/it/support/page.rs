//! A strict reader of the Prometheus text format 0.0.4: it panics on whatever Prometheus would refuse, and on more.

use std::collections::{BTreeMap, BTreeSet};

use botticelli_obs::Metric;

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// `# TYPE` by family.
    pub types: BTreeMap<String, String>,
    /// `# HELP` by family.
    pub help: BTreeMap<String, String>,
    /// Values by sample name and labels, the labels sorted.
    pub samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Page {
    /// Reads a page.
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut finished = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (family, kind) = rest.split_once(' ').expect("a type line names a family and its type");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "unexpected type: {line}");
                assert!(is_name(family), "bad family name: {line}");
                assert!(finished.insert(family.to_owned()), "family {family} comes twice");
                page.types.insert(family.to_owned(), kind.to_owned());
                current = family.to_owned();
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (family, help) = rest.split_once(' ').expect("a help line names a family");
                assert!(page.help.insert(family.to_owned(), help.to_owned()).is_none(), "help of {family} comes twice");
            } else {
                assert!(!line.starts_with('#'), "unexpected comment: {line}");
                let (name, labels, value) = sample(line);
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
                let is_histogram = page.types.get(&current).is_some_and(|kind| kind == "histogram");
                let family = if is_histogram { base.unwrap_or(&name) } else { &name };
                assert_eq!(family, current, "a sample outside its family: {line}");
                assert!(page.samples.insert((name, labels), value).is_none(), "a series comes twice: {line}");
            }
        }
        page.check_histograms();
        page
    }

    /// Returns the value of a sample, `None` if it is not there; labels in any order.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// Returns the value of a sample, and panics with the page's samples of that name if it is not there.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name}{labels:?}; there are {:#?}", self.of(name)))
    }

    /// Returns all samples of a name.
    pub fn of(&self, name: &str) -> Vec<(&BTreeMap<String, String>, f64)> {
        self.samples.iter().filter(|((of, _), _)| of == name).map(|((_, labels), &value)| (labels, value)).collect()
    }

    /// Adds up all samples of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.of(name).iter().map(|(_, value)| value).sum()
    }

    fn check_histograms(&self) {
        for (family, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            for (labels, count) in self.of(&format!("{family}_count")) {
                let mut buckets: Vec<(f64, f64)> = self
                    .of(&format!("{family}_bucket"))
                    .into_iter()
                    .filter_map(|(of, value)| {
                        let mut of = of.clone();
                        let bound = of.remove("le").expect("a bucket has its bound");
                        (of == *labels).then(|| (number(&bound), value))
                    })
                    .collect();
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{family}{labels:?}: buckets decrease");
                assert_eq!(
                    buckets.last().copied(),
                    Some((f64::INFINITY, count)),
                    "{family}{labels:?}: +Inf is the count"
                );
                assert!(
                    self.samples.contains_key(&(format!("{family}_sum"), labels.clone())),
                    "{family}{labels:?}: no sum"
                );
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("not a sample: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "bad sample name: {line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("bad labels: {line}"));
            assert!(is_name(label) && !label.contains(':'), "bad label name: {line}");
            let (value, after) = unescape(after, line);
            assert!(labels.insert(label.to_owned(), value).is_none(), "label {label} comes twice: {line}");
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("labels don't end: {line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_owned(), labels, number(value))
}

/// Reads a label value up to its closing quote; returns it with what follows the quote.
fn unescape<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => panic!("bad escape {other:?}: {line}"),
            },
            c => value.push(c),
        }
    }
    panic!("a label value does not end: {line}")
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or_else(|_| panic!("not a number: {text}")),
    }
}

/// Whether a metric is on the page only where a client records the attempts, waits and rate limits of its calls, what they cost, or what
/// they are for.
pub fn is_told_by_clients(metric: &Metric) -> bool {
    let starts =
        ["attempt", "wait", "ratelimit", "cost", "price", "budget", "task", "tool"].map(|word| format!("llm.{word}"));
    starts.iter().any(|start| metric.name.starts_with(start.as_str()))
}
