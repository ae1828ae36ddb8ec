//! What the exporter shows, and the histograms that are handed to it just before it does.
//!
//! Samples are counted where they are recorded, see [`crate::buckets`]; the exporter gets as many samples of the same mean. It may
//! lose a sample that it is given while it renders, so only whoever has the turn hands over or renders.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::buckets::Buckets;
use crate::catalog::{DEFAULT_BUCKETS, METRICS, MetricKind};

/// How many samples the exporter is given before it has to fold them in; until then each takes 16 bytes.
const BATCH: usize = 1 << 16;

/// The upper bounds of the buckets of every histogram.
#[derive(Debug)]
pub(super) struct Bounds {
    default: Arc<[f64]>,
    /// By the name as the exporter spells it.
    by_metric: HashMap<String, Arc<[f64]>>,
}

impl Bounds {
    /// Takes the bounds of the catalogue, overruled by a program's own.
    pub(super) fn new<'a>(own: impl Iterator<Item = (&'a str, &'a [f64])>) -> Self {
        let catalogue = METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram);
        let all = catalogue.map(|metric| (metric.name, metric.buckets)).chain(own);
        let by_metric = all.map(|(name, bounds)| (sanitize_metric_name(name), Arc::from(bounds))).collect();
        Self { default: Arc::from(DEFAULT_BUCKETS), by_metric }
    }

    /// Tells the exporter the same.
    pub(super) fn tell(&self, exporter: PrometheusBuilder) -> PrometheusBuilder {
        // Setting bounds fails on an empty list only, and no list here is empty.
        let exporter = exporter.set_buckets(&self.default).expect("bounds are not empty");
        self.by_metric.iter().fold(exporter, |exporter, (name, bounds)| {
            exporter.set_buckets_for_metric(Matcher::Full(name.clone()), bounds).expect("bounds are not empty")
        })
    }

    fn of(&self, name: &str) -> &Arc<[f64]> {
        self.by_metric.get(&sanitize_metric_name(name)).unwrap_or(&self.default)
    }
}

/// The page; as a recorder, the way to it.
pub(super) struct Page {
    recorder: PrometheusRecorder,
    exporter: PrometheusHandle,
    bounds: Arc<Bounds>,
    histograms: RwLock<HashMap<Key, Arc<Counted>>>,
    turn: Turn,
}

impl Page {
    pub(super) fn new(recorder: PrometheusRecorder, bounds: Arc<Bounds>) -> Self {
        Self { exporter: recorder.handle(), recorder, bounds, histograms: RwLock::default(), turn: Turn::default() }
    }

    pub(super) fn render(&self) -> String {
        self.begin();
        let page = self.exporter.render();
        self.end();
        page
    }

    /// Takes the turn and hands over what was recorded, for a render by the exporter.
    pub(super) fn begin(&self) {
        self.turn.take();
        self.hand_over();
    }

    /// Gives back the turn.
    pub(super) fn end(&self) {
        self.turn.give_back();
    }

    /// Waits until nobody has the turn.
    pub(super) fn wait(&self) {
        drop(self.turn.free());
    }

    /// Hands over what was recorded, unless somebody else is at it.
    pub(super) fn run_upkeep(&self) {
        if self.turn.try_take() {
            self.hand_over();
            self.exporter.run_upkeep();
            self.end();
        }
    }

    fn hand_over(&self) {
        // Copied, so that new series don't have to wait.
        let histograms: Vec<_> =
            self.histograms.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut waiting = 0;
        for histogram in histograms {
            histogram.buckets.take(|bucket, count, sum| {
                let sample = mean_within(histogram.buckets.bounds(), bucket, sum / count as f64);
                for _ in 0..count {
                    histogram.exporter.record(sample);
                    waiting += 1;
                    if waiting == BATCH {
                        self.exporter.run_upkeep();
                        waiting = 0;
                    }
                }
            });
        }
    }
}

/// The mean of a bucket's samples, which rounding must not carry into another bucket, nor into infinity.
fn mean_within(bounds: &[f64], bucket: usize, mean: f64) -> f64 {
    let lowest = bucket.checked_sub(1).map_or(f64::MIN, |below| bounds[below].next_up());
    let highest = bounds.get(bucket).copied().unwrap_or(f64::MAX);
    mean.clamp(lowest, highest)
}

impl Recorder for Page {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if let Some(known) = self.histograms.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Histogram::from_arc(Arc::clone(known));
        }
        let mut histograms = self.histograms.write().unwrap_or_else(PoisonError::into_inner);
        let counted = histograms.entry(key.to_retained()).or_insert_with(|| {
            Arc::new(Counted {
                buckets: Buckets::new(Arc::clone(self.bounds.of(key.name()))),
                exporter: self.recorder.register_histogram(key, metadata),
            })
        });
        Histogram::from_arc(Arc::clone(counted))
    }
}

/// A histogram, and what the exporter shows of it.
struct Counted {
    buckets: Buckets,
    exporter: Histogram,
}

impl HistogramFn for Counted {
    fn record(&self, value: f64) {
        self.buckets.record(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.buckets.record(value, count as u64);
    }
}

/// A lock that may be given back from another place than it was taken.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    given_back: Condvar,
}

impl Turn {
    fn free(&self) -> MutexGuard<'_, bool> {
        self.given_back.wait_while(self.lock(), |taken| *taken).unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) {
        *self.free() = true;
    }

    fn try_take(&self) -> bool {
        !std::mem::replace(&mut *self.lock(), true)
    }

    fn give_back(&self) {
        *self.lock() = false;
        self.given_back.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
