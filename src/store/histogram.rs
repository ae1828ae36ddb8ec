//! A histogram whose samples are counted without a lock.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use metrics::HistogramFn;

use super::bounds::Bounds;
use super::count::add_saturating;
use super::halves::Halves;
use crate::snapshot::Histograms;

/// The number of samples in each bucket, and the sum of the samples.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Bounds,
    /// The lowest valid sample, such as 0 for durations.
    lowest: f64,
    /// The number of invalid samples of the whole family.
    invalid: Arc<AtomicU64>,
    buckets: Halves<0>,
}

impl Histogram {
    pub(super) fn new(bounds: Bounds, lowest: f64, invalid: Arc<AtomicU64>) -> Self {
        Self { lowest, invalid, buckets: Halves::new(bounds.len() + 1), bounds }
    }

    /// Records a sample `count` times. A sample that is not finite, or that would make the sum infinite, counts as invalid.
    #[inline]
    pub(super) fn add(&self, value: f64, count: u64) {
        if !value.is_finite() || value < self.lowest {
            return add_saturating(&self.invalid, count);
        }
        let bucket = self.bucket(value);
        let more = value * count as f64;
        let update = self.buckets.update();
        update.add_to_bucket(bucket, count);
        let is_in_sum = update.add_to_sum(more);
        drop(update);
        if !is_in_sum {
            add_saturating(&self.invalid, count);
        }
    }

    /// Returns the bucket of a sample.
    #[inline]
    pub(super) fn bucket(&self, value: f64) -> usize {
        self.bounds.bucket(value)
    }

    /// Appends the series to its family.
    pub(super) fn read(&self, family: &mut Histograms) {
        self.buckets.read(|totals| {
            family.push(&totals.buckets, totals.sum);
            if totals.overflows > 0 {
                add_saturating(&self.invalid, mem::take(&mut totals.overflows));
            }
        });
    }
}

impl HistogramFn for Histogram {
    fn record(&self, value: f64) {
        self.add(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.add(value, count as u64);
    }
}
