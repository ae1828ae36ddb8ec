//! Where counters and histograms are counted before the exporter is told.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hashbrown::HashMap;
use metrics::{Counter, CounterFn, Histogram, HistogramFn, Key};

use crate::buckets::Buckets;

/// The series of one kind.
pub(super) struct Ledger<S> {
    series: RwLock<Series<S>>,
}

struct Series<S> {
    by_key: HashMap<Key, Arc<S>>,
    in_order: Vec<Arc<S>>,
}

impl<S> Default for Ledger<S> {
    fn default() -> Self {
        Self { series: RwLock::new(Series { by_key: HashMap::new(), in_order: Vec::new() }) }
    }
}

impl<S> Ledger<S> {
    /// Returns the series of this key, made by `open` if there is none.
    pub(super) fn series(&self, key: &Key, open: impl FnOnce(&Key) -> S) -> Arc<S> {
        if let Some(known) = self.series.read().unwrap_or_else(PoisonError::into_inner).by_key.get(key) {
            return Arc::clone(known);
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let Series { by_key, in_order } = &mut *series;
        let opened = by_key.entry(key.to_retained()).or_insert_with_key(|key| {
            in_order.push(Arc::new(open(key)));
            Arc::clone(&in_order[in_order.len() - 1])
        });
        Arc::clone(opened)
    }

    /// Returns all series, the latest first; they are copied, so that new ones don't have to wait.
    pub(super) fn latest_first(&self) -> impl Iterator<Item = Arc<S>> + use<S> {
        self.series.read().unwrap_or_else(PoisonError::into_inner).in_order.clone().into_iter().rev()
    }
}

/// A counter, and what the exporter shows of it.
pub(super) struct Counted {
    value: AtomicU64,
    shown: AtomicU64,
    exporter: Counter,
}

impl Counted {
    pub(super) fn new(exporter: Counter) -> Self {
        Self { value: AtomicU64::new(0), shown: AtomicU64::new(0), exporter }
    }

    /// Tells the exporter.
    pub(super) fn hand_over(&self) {
        let value = self.value.load(Ordering::Acquire);
        if self.shown.swap(value, Ordering::Relaxed) != value {
            self.exporter.absolute(value);
        }
    }
}

impl CounterFn for Counted {
    fn increment(&self, value: u64) {
        self.value.increment(value);
    }

    fn absolute(&self, value: u64) {
        self.value.absolute(value);
    }
}

/// A histogram, and what the exporter shows of it.
pub(super) struct Bucketed {
    buckets: Buckets,
    /// Count and sum of the samples of each bucket that were taken and that the exporter has not been told of.
    untold: Mutex<Box<[(u64, f64)]>>,
    exporter: Histogram,
}

impl Bucketed {
    pub(super) fn new(buckets: Buckets, exporter: Histogram) -> Self {
        let untold = Mutex::new(vec![(0, 0.0); buckets.bounds().len() + 1].into_boxed_slice());
        Self { buckets, untold, exporter }
    }

    /// Tells the exporter of samples, one by one as it wants it, as long as `each` lets it go on.
    pub(super) fn hand_over(&self, mut each: impl FnMut() -> ControlFlow<()>) -> ControlFlow<()> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        self.buckets.take(|bucket, count, sum| {
            untold[bucket].0 += count;
            untold[bucket].1 += sum;
        });
        for (bucket, (count, sum)) in untold.iter_mut().enumerate().filter(|(_, (count, _))| *count > 0) {
            let sample = mean_within(self.buckets.bounds(), bucket, *sum / *count as f64);
            while *count > 0 {
                each()?;
                self.exporter.record(sample);
                *count -= 1;
                *sum -= sample;
            }
            *sum = 0.0;
        }
        ControlFlow::Continue(())
    }
}

impl HistogramFn for Bucketed {
    fn record(&self, value: f64) {
        self.buckets.record(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.buckets.record(value, count as u64);
    }
}

/// The mean of a bucket's samples, which rounding must not carry into another bucket, nor into infinity.
fn mean_within(bounds: &[f64], bucket: usize, mean: f64) -> f64 {
    let lowest = bucket.checked_sub(1).map_or(f64::MIN, |below| bounds[below].next_up());
    let highest = bounds.get(bucket).copied().unwrap_or(f64::MAX);
    mean.clamp(lowest, highest)
}
