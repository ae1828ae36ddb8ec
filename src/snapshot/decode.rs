//! A page read back, strictly: the text format 0.0.4 as this crate writes it.
//!
//! Only for pages of other programs or earlier runs: the text file, and what looks at a program from outside.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{About, Family, Labels, Snapshot, Values};
use crate::catalog::MetricKind;

impl Snapshot {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// The line and what is wrong with it, for anything that a page of this crate does not have.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut families: Vec<Draft> = Vec::new();
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
                families.push(Draft::new(name, kind, help));
            } else {
                let family = families.last_mut().ok_or_else(|| wrong("a sample before any type"))?;
                let sample = Sample::parse(line).ok_or_else(|| wrong("not a sample"))?;
                family.take(sample).map_err(wrong)?;
            }
        }
        Ok(Self { families: families.into_iter().map(Draft::finish).collect::<Result<_, _>>()? })
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

    /// Reads a count with its decimals: `12.05` are 1205 of two decimals.
    fn count(&self) -> Result<(u64, u8), &'static str> {
        let Some((whole, fraction)) = self.value.split_once('.') else { return Ok((self.value()?, 0)) };
        let digits = [whole, fraction].concat();
        let decimals = u8::try_from(fraction.len()).ok().filter(|decimals| (1..=18).contains(decimals));
        match (digits.bytes().all(|digit| digit.is_ascii_digit()), digits.parse(), decimals) {
            (true, Ok(count), Some(decimals)) => Ok((count, decimals)),
            _ => Err("not a number of the metric's kind"),
        }
    }
}

/// Reads the value of a label up to its closing quote; returns it with what follows.
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

/// Reads a help text, in which `\n` stands for the end of a line and two backslashes for one.
fn unescape_help(text: &str) -> String {
    let mut help = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        help.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(escaped) => escaped,
                None => '\\',
            },
            c => c,
        });
    }
    help
}

/// A family while its lines are read.
struct Draft {
    name: String,
    kind: MetricKind,
    help: String,
    labels: Vec<Vec<(String, String)>>,
    counts: Vec<(u64, u8)>,
    gauges: Vec<f64>,
    histograms: Vec<Buckets>,
}

/// A histogram as the page has it: each bucket counts everything up to its bound.
#[derive(Default)]
struct Buckets {
    up_to: Vec<(f64, u64)>,
    sum: f64,
}

impl Buckets {
    fn count(&self) -> u64 {
        self.up_to.last().map_or(0, |(_, count)| *count)
    }
}

impl Draft {
    fn new(name: &str, kind: MetricKind, help: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            help: unescape_help(help),
            labels: Vec::new(),
            counts: Vec::new(),
            gauges: Vec::new(),
            histograms: Vec::new(),
        }
    }

    fn take(&mut self, sample: Sample<'_>) -> Result<(), &'static str> {
        const ELSEWHERE: &str = "the sample is not of the metric above it";
        let part = sample.name.strip_prefix(self.name.as_str()).ok_or(ELSEWHERE)?;
        match (self.kind, part) {
            (MetricKind::Counter, "") => self.counts.push(sample.count()?),
            (MetricKind::Gauge, "") => self.gauges.push(sample.value()?),
            (MetricKind::Histogram, "_bucket" | "_sum" | "_count") => return self.take_part(part, sample),
            _ => return Err(ELSEWHERE),
        }
        self.labels.push(sample.labels);
        Ok(())
    }

    /// Takes one of the lines that make up a histogram; they stand together.
    fn take_part(&mut self, part: &str, mut sample: Sample<'_>) -> Result<(), &'static str> {
        let bound = match sample.labels.iter().position(|(name, _)| name == "le") {
            Some(place) if part == "_bucket" => Some(sample.labels.remove(place).1),
            None if part != "_bucket" => None,
            _ => return Err("`le` belongs to buckets, and to each of them"),
        };
        if self.labels.last().is_none_or(|last| *last != sample.labels) {
            self.labels.push(std::mem::take(&mut sample.labels));
            self.histograms.push(Buckets::default());
        }
        let histogram = self.histograms.last_mut().ok_or("not a histogram")?;
        match bound {
            Some(bound) => {
                let bound: f64 = bound.parse().map_err(|_| "`le` is not a number")?;
                let count = sample.value()?;
                if histogram.up_to.last().is_some_and(|last| last.0 >= bound || last.1 > count) {
                    return Err("the buckets do not ascend");
                }
                histogram.up_to.push((bound, count));
            }
            None if part == "_sum" => histogram.sum = sample.value()?,
            None if histogram.count() != sample.value::<u64>()? => return Err("the last bucket is not the count"),
            None => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Family, String> {
        let labels: Vec<Labels> = self.labels.into_iter().map(Labels::from_iter).collect();
        let mut seen = HashSet::new();
        if !labels.iter().all(|labels| seen.insert(labels.identity())) {
            return Err(format!("{}: a series comes twice", self.name));
        }
        let is_whole = |of: &Buckets| of.up_to.last().is_some_and(|(bound, _)| *bound == f64::INFINITY);
        if !self.histograms.iter().all(is_whole) {
            return Err(format!("{}: the last bucket is missing", self.name));
        }
        let decimals = self.counts.iter().map(|(_, decimals)| *decimals).max().unwrap_or(0);
        let about = About { name: self.name.into(), kind: self.kind, help: self.help.into(), decimals };
        let mut family = Family::new(Arc::new(about), bounds(&self.histograms));
        family.labels = labels;
        match &mut family.values {
            Values::Counters { counts, .. } => counts.extend(
                self.counts
                    .into_iter()
                    .map(|(count, of)| count.saturating_mul(10_u64.saturating_pow(u32::from(decimals - of)))),
            ),
            Values::Gauges(values) => *values = self.gauges,
            Values::Histograms(histograms) => {
                for Buckets { up_to, sum } in &self.histograms {
                    let at: HashMap<u64, u64> = up_to.iter().map(|(bound, count)| (bound.to_bits(), *count)).collect();
                    let mut below = 0;
                    let bounds: Vec<f64> = histograms.bounds.iter().copied().chain([f64::INFINITY]).collect();
                    let counts = bounds.iter().map(|bound| {
                        let up_to = at.get(&bound.to_bits()).copied().unwrap_or(below);
                        let count = up_to.saturating_sub(below);
                        below = up_to;
                        count
                    });
                    let counts: Vec<u64> = counts.collect();
                    histograms.push(&counts, *sum);
                }
            }
        }
        Ok(family)
    }
}

/// The finite bounds that every histogram of a family has: only at those all counts are known.
fn bounds(histograms: &[Buckets]) -> Arc<[f64]> {
    let Some((first, others)) = histograms.split_first() else { return Arc::default() };
    let is_common = |bound: &f64| others.iter().all(|other| other.up_to.iter().any(|(of, _)| of == bound));
    first.up_to.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite() && is_common(bound)).collect()
}
