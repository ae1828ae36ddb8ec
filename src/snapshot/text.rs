//! A snapshot as text: the Prometheus text format 0.0.4 and OpenMetrics 1.0.0.

use std::collections::HashSet;
use std::io::Write;

use super::{Exemplar, Family, Format, Labels, Snapshot, Value, Values};
use crate::catalog::MetricKind;

/// The most bytes that a number takes.
const NUMBER: usize = 24;

/// The most bytes that an exemplar takes.
const EXEMPLAR: usize = 140;

impl Snapshot {
    /// Writes the page.
    ///
    /// Memory is taken once, for the longest page that these families can have. What is not written is never touched.
    pub(crate) fn to_page(&self, format: Format) -> Vec<u8> {
        let mut page = Vec::with_capacity(self.families.iter().map(|family| family.longest(format)).sum::<usize>() + 8);
        let taken = if format == Format::OpenMetrics { self.openmetrics_names() } else { HashSet::new() };
        for family in &self.families {
            Writer { family, format, exposure: exposure(family, format, &taken) }.write(&mut page);
        }
        if format == Format::OpenMetrics {
            page.extend_from_slice(b"# EOF\n");
        }
        page
    }

    /// Writes the page in the text format 0.0.4.
    pub(crate) fn to_text(&self) -> String {
        self.to_string_of(Format::Text)
    }

    /// Writes the page in a format.
    pub(crate) fn to_string_of(&self, format: Format) -> String {
        // Names, labels and help are texts and everything else is ASCII, so nothing is replaced.
        String::from_utf8(self.to_page(format))
            .unwrap_or_else(|page| String::from_utf8_lossy(page.as_bytes()).into_owned())
    }

    /// Returns the names that families take in OpenMetrics, counters those of their samples.
    fn openmetrics_names(&self) -> HashSet<String> {
        let mut names: HashSet<String> = self.families.iter().map(|family| family.about.name.to_string()).collect();
        for family in self.families.iter().filter(|family| family.about.kind == MetricKind::Histogram) {
            names.extend(
                ["_bucket", "_count", "_sum", "_created"].map(|suffix| format!("{}{suffix}", family.about.name)),
            );
        }
        names
    }
}

/// How OpenMetrics, which is stricter than the text format, can have a family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposure {
    /// As what it is.
    Typed,
    /// As type `unknown`, under the names of its samples: these are the same for Prometheus, only the type is not told.
    Unknown,
}

/// A counter's family is called `jobs` there, not `jobs_total`, and takes the name `jobs_created` too: another family may have
/// either. A histogram's sum must not be negative, nor its bounds.
fn exposure(family: &Family, format: Format, taken: &HashSet<String>) -> Exposure {
    let can_be_typed = match (format, &family.values) {
        (Format::Text, _) | (_, Values::Gauges(_)) => true,
        (_, Values::Counters { .. }) => family.about.name.strip_suffix("_total").is_some_and(|base| {
            let is_created_of_other =
                base.strip_suffix("_created").is_some_and(|other| taken.contains(&format!("{other}_total")));
            !base.is_empty()
                && !is_created_of_other
                && !taken.contains(base)
                && !taken.contains(&format!("{base}_created"))
        }),
        (_, Values::Histograms(of)) => {
            of.bounds.first().is_none_or(|bound| *bound >= 0.0) && of.sums.iter().all(|sum| *sum >= 0.0)
        }
    };
    if can_be_typed { Exposure::Typed } else { Exposure::Unknown }
}

impl Family {
    /// Returns the most bytes that its text can have.
    pub(super) fn longest(&self, format: Format) -> usize {
        let about = &self.about;
        let (lines, bounds, exemplars) = match &self.values {
            Values::Counters { exemplars, .. } => (1, 0, exemplars.len()),
            Values::Gauges(_) => (1, 0, 0),
            Values::Histograms(of) => {
                let buckets = of.bounds.len() + 1;
                (buckets + 2, buckets * (NUMBER + ",le=\"\"".len()), of.exemplars.len())
            }
        };
        let line = about.name.len() + "_bucket{} \n".len() + NUMBER;
        let labels: usize = self.labels.iter().map(Labels::text_len).sum();
        let exemplars = if format == Format::OpenMetrics { exemplars * EXEMPLAR } else { 0 };
        let head = 2 * (about.name.len() + "# TYPE _bucket histogram\n".len()) + 2 * about.help.len();
        3 * head + self.len() * (lines * line + bounds) + lines * labels + exemplars
    }
}

/// Writes one family.
struct Writer<'a> {
    family: &'a Family,
    format: Format,
    exposure: Exposure,
}

impl Writer<'_> {
    fn write(&self, page: &mut Vec<u8>) {
        let about = &self.family.about;
        let is_typed_openmetrics = self.format == Format::OpenMetrics && self.exposure == Exposure::Typed;
        match &self.family.values {
            Values::Counters { counts, exemplars } => {
                let base = about.name.strip_suffix("_total").filter(|_| is_typed_openmetrics);
                self.head(page, base.unwrap_or(&about.name));
                self.counters(page, counts, exemplars);
            }
            Values::Gauges(values) => {
                self.head(page, &about.name);
                for (labels, value) in self.family.labels.iter().zip(values) {
                    self.sample(page, labels);
                    write_float(page, *value);
                    page.push(b'\n');
                }
            }
            Values::Histograms(_) => self.histograms(page),
        }
    }

    fn head(&self, page: &mut Vec<u8>, name: &str) {
        let about = &self.family.about;
        if !about.help.is_empty() {
            extend(page, &["# HELP ", name, " "]);
            write_help(page, &about.help, self.format);
            page.push(b'\n');
        }
        let kind = if self.exposure == Exposure::Unknown { "unknown" } else { about.kind.as_str() };
        extend(page, &["# TYPE ", name, " ", kind, "\n"]);
    }

    fn has_exemplars(&self) -> bool {
        self.format == Format::OpenMetrics && self.exposure == Exposure::Typed
    }

    fn counters(&self, page: &mut Vec<u8>, counts: &[u64], exemplars: &[(usize, Exemplar)]) {
        let mut exemplars = exemplars.iter().peekable();
        for (at, (labels, count)) in self.family.labels.iter().zip(counts).enumerate() {
            self.sample(page, labels);
            write_count(page, *count, self.family.about.decimals);
            if let Some((_, exemplar)) = exemplars.next_if(|(of, _)| *of == at)
                && self.has_exemplars()
            {
                write_exemplar(page, exemplar);
            }
            page.push(b'\n');
        }
    }

    /// Begins the line of a sample that has the name of its family.
    fn sample(&self, page: &mut Vec<u8>, labels: &Labels) {
        page.extend_from_slice(self.family.about.name.as_bytes());
        let before = page.len();
        page.push(b'{');
        if labels.write(page) {
            page.extend_from_slice(b"} ");
        } else {
            page[before] = b' ';
        }
    }

    /// Writes the histograms one after another; as type `unknown` first all buckets, then all sums, then all counts, as these are
    /// families there.
    fn histograms(&self, page: &mut Vec<u8>) {
        let name = &self.family.about.name;
        let Values::Histograms(histograms) = &self.family.values else { return };
        let bounds: Vec<Vec<u8>> = histograms.bounds.iter().map(|bound| self.bound(*bound)).collect();
        let bounds: Vec<&[u8]> = bounds.iter().map(Vec::as_slice).chain([&b"le=\"+Inf\"} "[..]]).collect();
        let parts: &[&[Part]] = match self.exposure {
            Exposure::Typed => &[&[Part::Buckets, Part::Sum, Part::Count]],
            Exposure::Unknown => &[&[Part::Buckets], &[Part::Sum], &[Part::Count]],
        };
        let mut labels = Vec::new();
        for parts in parts {
            match parts {
                [part] => self.head(page, &format!("{name}{}", part.suffix())),
                _ => self.head(page, name),
            }
            for (at, (of, value)) in self.family.series().enumerate() {
                let Value::Histogram(distribution) = value else { continue };
                labels.clear();
                of.write(&mut labels);
                for part in *parts {
                    match part {
                        Part::Buckets => {
                            let exemplars = histograms.exemplars_of(at);
                            self.buckets(page, &labels, &bounds, distribution.counts, exemplars);
                        }
                        Part::Sum => {
                            self.part(page, *part, &labels);
                            write_float(page, distribution.sum);
                            page.push(b'\n');
                        }
                        Part::Count => {
                            self.part(page, *part, &labels);
                            write_count(page, distribution.count(), 0);
                            page.push(b'\n');
                        }
                    }
                }
            }
        }
    }

    /// Begins the line of a histogram's sum or count.
    fn part(&self, page: &mut Vec<u8>, part: Part, labels: &[u8]) {
        extend(page, &[&self.family.about.name, part.suffix()]);
        if !labels.is_empty() {
            page.push(b'{');
            page.extend_from_slice(labels);
            page.push(b'}');
        }
        page.push(b' ');
    }

    fn buckets<'e>(
        &self,
        page: &mut Vec<u8>,
        labels: &[u8],
        bounds: &[&[u8]],
        counts: &[u64],
        exemplars: impl Iterator<Item = (usize, &'e Exemplar)>,
    ) {
        let separator: &[u8] = if labels.is_empty() { b"" } else { b"," };
        let start = [self.family.about.name.as_bytes(), b"_bucket{", labels, separator].concat();
        let mut exemplars = exemplars.peekable();
        let mut up_to = 0_u64;
        for (bucket, (bound, count)) in bounds.iter().zip(counts).enumerate() {
            up_to = up_to.saturating_add(*count);
            page.extend_from_slice(&start);
            page.extend_from_slice(bound);
            write_count(page, up_to, 0);
            if let Some((_, exemplar)) = exemplars.next_if(|(of, _)| *of == bucket)
                && self.has_exemplars()
            {
                write_exemplar(page, exemplar);
            }
            page.push(b'\n');
        }
    }

    /// The end of a bucket's labels: `le="1"} ` in text, `le="1.0"} ` in OpenMetrics. In text it has no exponent, as in 0.1:
    /// another text is another series.
    fn bound(&self, bound: f64) -> Vec<u8> {
        let mut text = b"le=\"".to_vec();
        match self.format {
            Format::Text => {
                // Writing to a vector does not fail.
                let _ = write!(text, "{bound}");
            }
            Format::OpenMetrics => write_canonical(&mut text, bound),
        }
        text.extend_from_slice(b"\"} ");
        text
    }
}

/// What a histogram consists of.
#[derive(Clone, Copy)]
enum Part {
    Buckets,
    Sum,
    Count,
}

impl Part {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Buckets => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

fn extend(page: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| page.extend_from_slice(part.as_bytes()));
}

fn write_help(page: &mut Vec<u8>, help: &str, format: Format) {
    for byte in help.bytes() {
        match byte {
            b'\\' => page.extend_from_slice(br"\\"),
            b'\n' => page.extend_from_slice(br"\n"),
            b'"' if format == Format::OpenMetrics => page.extend_from_slice(b"\\\""),
            // Not the end of a line in the formats, but in what people look at pages with.
            b'\r' => page.push(b' '),
            byte => page.push(byte),
        }
    }
}

/// Writes a count of units of 10^-decimals.
fn write_count(page: &mut Vec<u8>, count: u64, decimals: u8) {
    let mut digits = itoa::Buffer::new();
    if decimals == 0 {
        page.extend_from_slice(digits.format(count).as_bytes());
        return;
    }
    let unit = 10_u64.saturating_pow(decimals.into());
    page.extend_from_slice(digits.format(count / unit).as_bytes());
    let fraction = count % unit;
    if fraction > 0 {
        let fraction = format!(".{fraction:0width$}", width = decimals.into());
        page.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
}

fn write_float(page: &mut Vec<u8>, value: f64) {
    // Writing to a vector does not fail.
    let _ = match value {
        value if value.is_nan() => page.write_all(b"NaN"),
        f64::INFINITY => page.write_all(b"+Inf"),
        f64::NEG_INFINITY => page.write_all(b"-Inf"),
        // Without an exponent `f64::MAX` has 309 digits.
        value if value != 0.0 && !(1e-5..1e16).contains(&value.abs()) => write!(page, "{value:e}"),
        value => write!(page, "{value}"),
    };
}

/// Writes a number as OpenMetrics wants the bounds of buckets, so that one bound has one text: `1.0`, `0.25`, `1e+06`.
fn write_canonical(page: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    let _ = if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        write!(page, "{mantissa}e{sign}{digits:0>2}")
    } else {
        write!(page, "{value:?}")
    };
}

fn write_exemplar(page: &mut Vec<u8>, exemplar: &Exemplar) {
    page.extend_from_slice(b" # {trace_id=\"");
    write_hex(page, &exemplar.ids.trace);
    page.extend_from_slice(b"\",span_id=\"");
    write_hex(page, &exemplar.ids.span);
    page.extend_from_slice(b"\"} ");
    write_float(page, exemplar.value);
    let _ = write!(page, " {:.3}", exemplar.time);
}

fn write_hex(page: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        page.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
}
