//! Single numbers: counters and gauges.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metrics::{CounterFn, GaugeFn};

/// A counter that is capped at `u64::MAX`.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        add_saturating(&self.0, value);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
    }
}

/// Adds to a number, which is capped at `u64::MAX`.
pub(super) fn add_saturating(number: &AtomicU64, more: u64) {
    // Release: a reader that sees this count also sees everything that was recorded before it.
    let _ = number.fetch_update(Ordering::Release, Ordering::Relaxed, |value| Some(value.saturating_add(more)));
}

/// A gauge.
#[derive(Debug, Default)]
pub(super) struct Number(AtomicU64);

impl Number {
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Acquire))
    }

    pub(super) fn add(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add);
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Release);
    }
}

/// The gauge for all label sets beyond the bound. Increments and decrements of different label sets can be added. Setting it has no
/// effect, since the value of one label set is not that of all.
#[derive(Debug, Default)]
pub(super) struct Sum {
    sum: Number,
    is_used: AtomicBool,
}

impl Sum {
    /// Returns the sum, or `None` if nothing was added.
    pub(super) fn get(&self) -> Option<f64> {
        self.is_used.load(Ordering::Acquire).then(|| self.sum.get())
    }

    fn add(&self, value: f64) {
        self.sum.add(value);
        self.is_used.store(true, Ordering::Release);
    }
}

impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {}
}

/// A handle that records nothing, and counts each record as invalid.
#[derive(Debug)]
pub(super) struct Rejected(pub(super) std::sync::Arc<AtomicU64>);

impl Rejected {
    fn count(&self, records: u64) {
        add_saturating(&self.0, records);
    }
}

impl CounterFn for Rejected {
    fn increment(&self, _: u64) {
        self.count(1);
    }

    fn absolute(&self, _: u64) {
        self.count(1);
    }
}

impl GaugeFn for Rejected {
    fn increment(&self, _: f64) {
        self.count(1);
    }

    fn decrement(&self, _: f64) {
        self.count(1);
    }

    fn set(&self, _: f64) {
        self.count(1);
    }
}

impl metrics::HistogramFn for Rejected {
    fn record(&self, _: f64) {
        self.count(1);
    }

    fn record_many(&self, _: f64, count: usize) {
        self.count(count as u64);
    }
}
