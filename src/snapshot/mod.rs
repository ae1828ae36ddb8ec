//! What readers read: the values of every family at one moment, typed.
//!
//! The page, the push, the text file and the summary are made from a [`Snapshot`]. The values of one provider and model are
//! consistent in it: never more errors than requests, as many durations as calls, all tokens the sum of prompt and completion.

mod decode;
mod distribution;
mod format;
mod labels;
mod merge;
mod text;

use std::sync::Arc;

use crate::catalog::MetricKind;
use crate::series::TraceIds;

pub(crate) use distribution::{Distribution, Histograms};
pub(crate) use format::Format;
pub(crate) use labels::{LabelSet, Labels};

/// The families at one moment, in the order of the page: those of the catalogue first, then by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) families: Vec<Family>,
}

/// One metric with all its series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) about: Arc<About>,
    /// A set of labels for each of the values, in their order.
    pub(crate) labels: Vec<Labels>,
    pub(crate) values: Values,
}

/// What is the same in every snapshot of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// The name as text 0.0.4 has it, `_total` included.
    pub(crate) name: Box<str>,
    pub(crate) kind: MetricKind,
    pub(crate) help: Box<str>,
    /// How many decimals a counter has: it is counted in units of 10^-decimals, so that its sums are exact.
    pub(crate) decimals: u8,
}

/// The values of a family, one for each series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// Counts, in units of 10^-decimals.
    Counters {
        counts: Vec<u64>,
        exemplars: Vec<(usize, Exemplar)>,
    },
    Gauges(Vec<f64>),
    Histograms(Histograms),
}

/// A sample that shows where a value came from: the span of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) ids: TraceIds,
    pub(crate) value: f64,
    /// Seconds since 1970.
    pub(crate) time: f64,
}

impl Snapshot {
    /// Returns the family of this name.
    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| *family.about.name == *name)
    }

    /// Whether another snapshot has the same values; exemplars make no difference.
    #[cfg(feature = "otlp-metrics")]
    pub(crate) fn has_values_of(&self, other: &Self) -> bool {
        self.families.len() == other.families.len()
            && self.families.iter().zip(&other.families).all(|(family, other)| {
                family.about == other.about && family.labels == other.labels && family.values.equal(&other.values)
            })
    }
}

impl Family {
    pub(crate) fn new(about: Arc<About>, bounds: Arc<[f64]>) -> Self {
        let values = match about.kind {
            MetricKind::Counter => Values::Counters { counts: Vec::new(), exemplars: Vec::new() },
            MetricKind::Gauge => Values::Gauges(Vec::new()),
            MetricKind::Histogram => Values::Histograms(Histograms::new(bounds)),
        };
        Self { about, labels: Vec::new(), values }
    }

    /// Returns how many series there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Adds up the counts of all series, up to `u64::MAX`; 0 for other kinds.
    #[cfg(feature = "cli")]
    pub(crate) fn total(&self) -> u64 {
        match &self.values {
            Values::Counters { counts, .. } => counts.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            Values::Gauges(_) | Values::Histograms(_) => 0,
        }
    }

    /// Returns each series with its value.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&Labels, Value<'_>)> {
        self.labels.iter().enumerate().map(|(at, labels)| (labels, self.values.at(at)))
    }
}

/// The value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// In units of 10^-decimals.
    Counter(u64),
    Gauge(f64),
    Histogram(Distribution<'a>),
}

impl Values {
    fn at(&self, series: usize) -> Value<'_> {
        match self {
            Self::Counters { counts, .. } => Value::Counter(counts[series]),
            Self::Gauges(values) => Value::Gauge(values[series]),
            Self::Histograms(histograms) => Value::Histogram(histograms.at(series)),
        }
    }

    #[cfg(feature = "otlp-metrics")]
    fn equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counters { counts, .. }, Self::Counters { counts: other, .. }) => counts == other,
            (Self::Gauges(values), Self::Gauges(other)) => {
                values.len() == other.len() && values.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Self::Histograms(values), Self::Histograms(other)) => values.equal(other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
