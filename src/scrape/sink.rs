//! What is behind the names and labels: the page, beside it a program's own recorders, and a guard in front of the histograms.

use std::sync::{Arc, Weak};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::ExtraRecorder;
use super::family::family;
use crate::catalog::{self, MetricKind};
use crate::series::METADATA;

/// Takes keys that the page can show, and samples of histograms whatever they are.
pub(super) struct Sink {
    recorder: ExtraRecorder,
    me: Weak<Self>,
}

impl Sink {
    pub(super) fn new(recorder: ExtraRecorder) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { recorder, me: Weak::clone(me) })
    }

    /// Returns the counter of the samples dropped from the histogram of this family.
    pub(super) fn invalid_samples(&self, family: &str) -> Counter {
        self.counter_by_metric(&catalog::INVALID_SAMPLES, family)
    }

    /// Returns the counter of the label sets of this family that were folded.
    pub(super) fn label_overflow(&self, family: &str) -> Counter {
        self.counter_by_metric(&catalog::LABEL_OVERFLOW, family)
    }

    fn counter_by_metric(&self, metric: &catalog::Metric, family: &str) -> Counter {
        let key = Key::from_parts(metric.name, vec![metrics::Label::new(metric.labels[0], family.to_owned())]);
        self.register_counter(&key, &METADATA)
    }
}

impl Recorder for Sink {
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
        let own = catalog::find(key.name());
        Histogram::from_arc(Arc::new(Checked {
            inner: self.recorder.register_histogram(key, metadata),
            // The crate's own histograms are durations; a program's may well go below zero.
            lowest: if own.is_some() { 0.0 } else { f64::MIN },
            family: own
                .map_or_else(|| family(key.name(), MetricKind::Histogram), |metric| metric.prometheus.to_owned()),
            sink: Weak::clone(&self.me),
        }))
    }
}

/// A histogram that takes only samples its sum survives: one NaN would stay in it for ever.
struct Checked {
    inner: Histogram,
    lowest: f64,
    family: String,
    sink: Weak<Sink>,
}

impl Checked {
    fn takes(&self, value: f64, count: usize) -> bool {
        let takes = value.is_finite() && value >= self.lowest;
        if !takes && let Some(sink) = self.sink.upgrade() {
            sink.invalid_samples(&self.family).increment(count as u64);
        }
        takes
    }
}

impl HistogramFn for Checked {
    fn record(&self, value: f64) {
        if self.takes(value, 1) {
            self.inner.record(value);
        }
    }

    fn record_many(&self, value: f64, count: usize) {
        if self.takes(value, count) {
            self.inner.record_many(value, count);
        }
    }
}
