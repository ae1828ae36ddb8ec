//! Histograms: counts by bucket, and what can be told from them.

use std::sync::Arc;

use super::Exemplar;

/// The histograms of a family, column by column: one allocation for the counts of them all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histograms {
    /// Upper bounds, ascending and finite; the last bucket has none.
    pub(crate) bounds: Arc<[f64]>,
    /// For each series the samples in each bucket, not cumulative; one bucket more than there are bounds.
    pub(crate) counts: Vec<u64>,
    pub(crate) sums: Vec<f64>,
    /// With the place of its bucket in `counts`, ascending.
    pub(crate) exemplars: Vec<(usize, Exemplar)>,
}

/// One histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Distribution<'a> {
    pub(crate) bounds: &'a [f64],
    /// The samples in each bucket; one bucket more than there are bounds.
    pub(crate) counts: &'a [u64],
    pub(crate) sum: f64,
}

impl Histograms {
    pub(crate) fn new(bounds: Arc<[f64]>) -> Self {
        Self { bounds, counts: Vec::new(), sums: Vec::new(), exemplars: Vec::new() }
    }

    pub(crate) fn at(&self, series: usize) -> Distribution<'_> {
        let buckets = self.bounds.len() + 1;
        let counts = &self.counts[series * buckets..][..buckets];
        Distribution { bounds: &self.bounds, counts, sum: self.sums[series] }
    }

    /// Returns the exemplars of one series, each with its bucket.
    pub(crate) fn exemplars_of(&self, series: usize) -> impl Iterator<Item = (usize, &Exemplar)> {
        let buckets = self.bounds.len() + 1;
        let first = self.exemplars.partition_point(|(at, _)| *at < series * buckets);
        self.exemplars[first..]
            .iter()
            .map(move |(at, exemplar)| (*at - series * buckets, exemplar))
            .take_while(move |(bucket, _)| *bucket < buckets)
    }

    #[cfg(feature = "otlp-metrics")]
    pub(super) fn equal(&self, other: &Self) -> bool {
        self.bounds == other.bounds && self.counts == other.counts && self.sums == other.sums
    }
}

impl Distribution<'_> {
    /// Returns how many samples there are, at most `u64::MAX`.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().fold(0, |count, more| count.saturating_add(*more))
    }

    /// Estimates a quantile from 0 to 1 as PromQL's `histogram_quantile` does: samples are spread evenly within a bucket, the last
    /// finite bound stands for everything above it. `None` without samples.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let mut below = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            let up_to = below.saturating_add(*count);
            if up_to > 0 && up_to as f64 >= rank {
                let from = bucket.checked_sub(1).map_or(0.0, |before| self.bounds[before]);
                let Some(bound) = self.bounds.get(bucket) else { return Some(from) };
                // The first bucket may hold samples below zero, of which no more is known.
                if bucket == 0 && *bound <= 0.0 {
                    return Some(*bound);
                }
                return Some(from + (bound - from) * (rank - below as f64).max(0.0) / (*count).max(1) as f64);
            }
            below = up_to;
        }
        None
    }
}
