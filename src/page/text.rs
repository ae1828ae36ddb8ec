//! The Prometheus text format 0.0.4, as far as the page uses it: read strictly, written back alike.

use std::collections::HashSet;
use std::fmt;

use super::{Distribution, Family, Page, Series, Value};
use crate::catalog::MetricKind;

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The line and what is wrong with it, for anything that a page of ours does not have.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut names = HashSet::new();
        let mut help = None;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let wrong = |why: &str| format!("line {}: {why}", index + 1);
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = Some(rest.split_once(' ').unwrap_or((rest, "")));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("a type without a name"))?;
                let kinds = [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram];
                let kind = kinds.into_iter().find(|known| known.as_str() == kind);
                let kind = kind.ok_or_else(|| wrong("neither a counter nor a gauge nor a histogram"))?;
                if !names.insert(name) {
                    return Err(wrong("the metric comes twice"));
                }
                let help = help.take().filter(|(of, _)| *of == name).map_or("", |(_, help)| help);
                let (name, help) = (name.to_owned(), help.to_owned());
                page.families.push(Family { name, kind, help, series: Vec::new() });
            } else {
                let family = page.families.last_mut().ok_or_else(|| wrong("a sample before any type"))?;
                let sample = Sample::parse(line).ok_or_else(|| wrong("not a sample"))?;
                family.take(sample).map_err(wrong)?;
            }
        }
        page.families.iter().try_for_each(Family::check)?;
        Ok(page)
    }
}

/// One line.
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    value: &'a str,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, quoted) = rest.split_once("=\"")?;
                let (value, after) = unescape(quoted)?;
                labels.push((label.to_owned(), value));
                match after.strip_prefix(',') {
                    Some(next) => rest = next,
                    None => break rest = after.strip_prefix('}')?,
                }
            }
        }
        // A timestamp would follow after a blank, and node_exporter takes none.
        let value = rest.strip_prefix(' ').filter(|value| !value.is_empty() && !value.contains(' '))?;
        Some(Self { name, labels, value })
    }

    fn value<T: std::str::FromStr>(&self) -> Result<T, &'static str> {
        self.value.parse().map_err(|_| "not a number of the metric's kind")
    }
}

/// Reads a label's value up to its closing quote; returns it with what follows.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            c => value.push(c),
        }
    }
    None
}

impl Family {
    fn take(&mut self, sample: Sample<'_>) -> Result<(), &'static str> {
        const ELSEWHERE: &str = "the sample is not of the metric above it";
        let part = sample.name.strip_prefix(self.name.as_str()).ok_or(ELSEWHERE)?;
        let value = match (self.kind, part) {
            (MetricKind::Counter, "") => Value::Counter(sample.value()?),
            (MetricKind::Gauge, "") => Value::Gauge(sample.value()?),
            (MetricKind::Histogram, "_bucket" | "_sum" | "_count") => return self.take_part(part, sample),
            _ => return Err(ELSEWHERE),
        };
        self.series.push(Series { labels: sample.labels, value });
        Ok(())
    }

    /// Takes one of the lines that make up a histogram; they stand together.
    fn take_part(&mut self, part: &str, mut sample: Sample<'_>) -> Result<(), &'static str> {
        let bound = match sample.labels.iter().position(|(name, _)| name == "le") {
            Some(place) if part == "_bucket" => Some(sample.labels.remove(place).1),
            None if part != "_bucket" => None,
            _ => return Err("`le` belongs to buckets, and to each of them"),
        };
        let labels = std::mem::take(&mut sample.labels);
        if self.series.last().is_none_or(|last| last.labels != labels) {
            self.series.push(Series { labels, value: Value::Histogram(Distribution::default()) });
        }
        let Some(Series { value: Value::Histogram(distribution), .. }) = self.series.last_mut() else {
            return Err("not a histogram");
        };
        match bound {
            Some(bound) => {
                let bound: f64 = bound.parse().map_err(|_| "`le` is not a number")?;
                let count = sample.value()?;
                if distribution.buckets.last().is_some_and(|last| last.0 >= bound || last.1 > count) {
                    return Err("the buckets do not ascend");
                }
                distribution.buckets.push((bound, count));
            }
            None if part == "_sum" => distribution.sum = sample.value()?,
            None if distribution.count() != sample.value::<u64>()? => return Err("the last bucket is not the count"),
            None => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for series in &self.series {
            if !seen.insert(series.identity()) {
                return Err(format!("{}: a series comes twice", self.name));
            }
            if let Value::Histogram(distribution) = &series.value
                && distribution.buckets.last().is_none_or(|&(bound, _)| bound != f64::INFINITY)
            {
                return Err(format!("{}: the last bucket is missing", self.name));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family { name, kind, help, series } in &self.families {
            if !help.is_empty() {
                writeln!(f, "# HELP {name} {help}")?;
            }
            writeln!(f, "# TYPE {name} {}", kind.as_str())?;
            for Series { labels, value } in series {
                match value {
                    Value::Counter(value) => writeln!(f, "{name}{} {value}", Labels(labels, None))?,
                    Value::Gauge(value) => writeln!(f, "{name}{} {value}", Labels(labels, None))?,
                    Value::Histogram(Distribution { buckets, sum }) => {
                        for &(bound, count) in buckets {
                            writeln!(f, "{name}_bucket{} {count}", Labels(labels, Some(bound)))?;
                        }
                        writeln!(f, "{name}_sum{} {sum}", Labels(labels, None))?;
                        let count = buckets.last().map_or(0, |&(_, count)| count);
                        writeln!(f, "{name}_count{} {count}", Labels(labels, None))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Labels in braces, with the bound of a bucket.
struct Labels<'a>(&'a [(String, String)], Option<f64>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.1.map(|bound| if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() });
        let bound = bound.map(|bound| ("le", bound));
        let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let labels = self.0.iter().map(|(name, value)| (name.as_str(), escape(value))).chain(bound);
        for (index, (name, value)) in labels.enumerate() {
            write!(f, "{}{name}=\"{value}\"", if index == 0 { '{' } else { ',' })?;
        }
        if self.0.is_empty() && self.1.is_none() { Ok(()) } else { f.write_str("}") }
    }
}
