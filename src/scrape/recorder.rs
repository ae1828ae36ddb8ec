//! The recorder in front of the exporter: whatever is recorded, the page stays true and readable.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;

use super::family::Families;
use super::{ExtraRecorder, label};
use crate::catalog::{self, METRICS, Metric, MetricKind};
use crate::recorder;

/// The recorder behind the page, for a program that owns the metrics set-up or serves the page itself.
///
/// It keeps the promises of the page: fixed names whatever is described later, clean labels, no sample that is not a number.
/// Made by [`Builder::recorder`](crate::Builder::recorder); cheap to clone.
#[derive(Clone)]
pub struct PageRecorder {
    core: Arc<Core>,
}

struct Core {
    sink: ExtraRecorder,
    families: Families,
    closed: AtomicBool,
}

impl PageRecorder {
    pub(crate) fn new(sink: ExtraRecorder) -> Self {
        Self { core: Arc::new(Core { sink, families: Families::new(), closed: AtomicBool::new(false) }) }
    }

    /// Makes everything recorded from now on vanish: without upkeep, samples would pile up.
    pub(super) fn close(&self) {
        self.core.closed.store(true, Ordering::Relaxed);
    }

    /// Returns the counter of the samples dropped from the histogram of this name.
    pub(super) fn invalid_samples(&self, prometheus_name: &str) -> Counter {
        let key = Key::from_parts(
            catalog::INVALID_SAMPLES.name,
            vec![metrics::Label::new(catalog::INVALID_SAMPLES.labels[0], prometheus_name.to_owned())],
        );
        self.register_counter(&key, &crate::series::METADATA)
    }

    /// Returns the key under which the page can show a metric, or `None` if it can't.
    fn admit<'a>(&self, key: &'a Key, kind: MetricKind) -> Option<Cow<'a, Key>> {
        if self.core.closed.load(Ordering::Relaxed) || key.name().is_empty() {
            return None;
        }
        let name = match own(key.name()) {
            Some(metric) if metric.kind != kind => return None,
            Some(metric) => KeyName::from_const_str(metric.name),
            None => self.core.families.spelling(key.name(), kind)?,
        };
        let key = if name.as_str() == key.name() {
            Cow::Borrowed(key)
        } else {
            Cow::Owned(Key::from_parts(name, key.labels().cloned().collect::<Vec<_>>()))
        };
        Some(match label::clean(&key) {
            Some(labels) => Cow::Owned(Key::from_parts(key.name().to_owned(), labels)),
            None => key,
        })
    }
}

/// Finds the metric of the catalogue whose family a name would end up in, however it is spelt.
///
/// The exporter turns `llm.requests`, `llm_requests` and `llm_requests_total` into one family, in which one would overwrite
/// the other.
pub(super) fn own(name: &str) -> Option<&'static Metric> {
    if !["llm", "botticelli", "target"].iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    METRICS.iter().find(|metric| metric.name == name).or_else(|| {
        let name = sanitize_metric_name(name);
        METRICS.iter().find(|metric| metric.prometheus == name || sanitize_metric_name(metric.name) == name)
    })
}

impl Recorder for PageRecorder {
    // The catalogue's metrics were described when the exporter was built; whatever is said of them later must not rename them.

    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if own(key.as_str()).is_none() {
            self.core.sink.describe_counter(key, unit, description);
        }
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if recorder::answer(self, &key, || Arc::new(self.clone())) {
            return;
        }
        if own(key.as_str()).is_none() {
            self.core.sink.describe_gauge(key, unit, description);
        }
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if own(key.as_str()).is_none() {
            self.core.sink.describe_histogram(key, unit, description);
        }
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        match self.admit(key, MetricKind::Counter) {
            Some(key) => self.core.sink.register_counter(&key, metadata),
            None => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        match self.admit(key, MetricKind::Gauge) {
            Some(key) => self.core.sink.register_gauge(&key, metadata),
            None => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        match self.admit(key, MetricKind::Histogram) {
            Some(key) => Histogram::from_arc(Arc::new(Checked {
                inner: self.core.sink.register_histogram(&key, metadata),
                metric: key.name_shared(),
                recorder: self.clone(),
            })),
            None => Histogram::noop(),
        }
    }
}

impl fmt::Debug for PageRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRecorder").finish_non_exhaustive()
    }
}

/// A histogram that takes only samples its sum survives: one NaN would stay in it for ever.
struct Checked {
    inner: Histogram,
    metric: KeyName,
    recorder: PageRecorder,
}

impl Checked {
    fn takes(&self, value: f64, count: usize) -> bool {
        if self.recorder.core.closed.load(Ordering::Relaxed) {
            return false;
        }
        // The crate's own histograms are durations; a program's may well go below zero.
        if value.is_finite() && (value >= 0.0 || own(self.metric.as_str()).is_none()) {
            return true;
        }
        let family = own(self.metric.as_str())
            .map_or_else(|| sanitize_metric_name(self.metric.as_str()), |metric| metric.prometheus.to_owned());
        self.recorder.invalid_samples(&family).increment(count as u64);
        false
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
