//! The recorders that a program adds: each is given everything that the store is given.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::count::add_saturating;
use super::pattern::Pattern;
use crate::catalog::{self, METADATA};

/// A recorder that a program adds.
pub(crate) type ExtraRecorder = Box<dyn Recorder + Send + Sync>;

/// All of them, in the order they were added.
#[derive(Clone)]
pub(super) struct Extras(Arc<[ExtraRecorder]>);

/// The most samples of one `record_many` that an added recorder is given: it may take them one by one.
pub(super) const MOST_SAMPLES: usize = 1_000;

impl Extras {
    /// Keeps the recorders. What no reader gets they don't get either.
    pub(super) fn new(recorders: Vec<ExtraRecorder>, exclude: &[Pattern]) -> Self {
        if exclude.is_empty() {
            return Self(recorders.into());
        }
        let filtered = recorders
            .into_iter()
            .map(|recorder| -> ExtraRecorder { Box::new(Filtered { recorder, exclude: exclude.to_vec() }) });
        Self(filtered.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &ExtraRecorder> {
        self.0.iter()
    }

    /// Registers a counter with all of them. No lock may be held: they may record something themselves.
    pub(super) fn counter(&self, own: Counter, key: &Key) -> Counter {
        let others = self.iter().map(|recorder| recorder.register_counter(key, &METADATA)).collect();
        Counter::from_arc(Arc::new(Fanout { own, others }))
    }

    /// Registers a gauge likewise.
    pub(super) fn gauge(&self, own: Gauge, key: &Key) -> Gauge {
        let others = self.iter().map(|recorder| recorder.register_gauge(key, &METADATA)).collect();
        Gauge::from_arc(Arc::new(Fanout { own, others }))
    }

    /// Registers a histogram likewise; samples below `lowest` are left out, and those that are too many count as invalid.
    pub(super) fn histogram(&self, own: Histogram, key: &Key, lowest: f64, invalid: Arc<AtomicU64>) -> Histogram {
        let others = self.iter().map(|recorder| recorder.register_histogram(key, &METADATA)).collect();
        Histogram::from_arc(Arc::new(Samples { handles: Fanout { own, others }, lowest, invalid }))
    }
}

/// The store's handle, and those of the added recorders.
struct Fanout<H> {
    own: H,
    others: Vec<H>,
}

impl<H> Fanout<H> {
    fn each(&self, record: impl Fn(&H)) {
        record(&self.own);
        self.others.iter().for_each(record);
    }
}

impl CounterFn for Fanout<Counter> {
    fn increment(&self, value: u64) {
        self.each(|counter| counter.increment(value));
    }

    fn absolute(&self, value: u64) {
        self.each(|counter| counter.absolute(value));
    }
}

impl GaugeFn for Fanout<Gauge> {
    fn increment(&self, value: f64) {
        self.each(|gauge| gauge.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.each(|gauge| gauge.decrement(value));
    }

    fn set(&self, value: f64) {
        self.each(|gauge| gauge.set(value));
    }
}

struct Samples {
    handles: Fanout<Histogram>,
    lowest: f64,
    invalid: Arc<AtomicU64>,
}

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        // The store counts what it does not take.
        self.handles.own.record_many(value, count);
        if !value.is_finite() || value < self.lowest || self.handles.others.is_empty() {
            return;
        }
        self.handles.others.iter().for_each(|other| other.record_many(value, count.min(MOST_SAMPLES)));
        add_saturating(&self.invalid, count.saturating_sub(MOST_SAMPLES) as u64);
    }
}

/// A recorder without the metrics that no reader gets.
struct Filtered {
    recorder: ExtraRecorder,
    exclude: Vec<Pattern>,
}

impl Filtered {
    fn has(&self, name: &str) -> bool {
        let on_page = catalog::find(name).map_or(name, |metric| metric.prometheus);
        !self.exclude.iter().any(|pattern| pattern.matches(name) || pattern.matches(on_page))
    }
}

impl Recorder for Filtered {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(name, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if self.has(key.name()) { self.recorder.register_counter(key, metadata) } else { Counter::noop() }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if self.has(key.name()) { self.recorder.register_gauge(key, metadata) } else { Gauge::noop() }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if self.has(key.name()) { self.recorder.register_histogram(key, metadata) } else { Histogram::noop() }
    }
}
