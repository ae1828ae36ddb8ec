//! The recorder in front of the exporter: whatever is recorded, the page stays true, readable and bounded.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;

use super::ExtraRecorder;
use super::family::{Families, Refusal, family};
use super::label::{self, OTHER, UNKNOWN};
use super::label_set::LabelSets;
use super::overflow::{LLM, NAMES, Overflow};
use super::pairs::{Admission, Pairs};
use super::sink::Sink;
use crate::catalog::{self, Metric, MetricKind};
use crate::error_type::ErrorType;
use crate::finish::FINISH_REASONS;
use crate::recorder::{self, Ours, SharedRecorder};
use crate::series::{METADATA, PairSeries};

/// The recorder behind the page, for a program that owns the metrics set-up or serves the page itself.
///
/// It keeps the promises of the page: fixed names whatever is described later, clean labels, a bounded number of series, no
/// sample that is not a number. Made by [`Builder::recorder`](crate::Builder::recorder); cheap to clone.
#[derive(Clone)]
pub struct PageRecorder {
    core: Arc<Core>,
}

struct Core {
    sink: Arc<Sink>,
    max_series: usize,
    families: Families,
    label_sets: LabelSets,
    pairs: Pairs,
    overflow: Overflow,
    closed: AtomicBool,
}

/// The key under which the page shows a metric.
enum Place<'a> {
    Its(Cow<'a, Key>),
    /// That of everything beyond the bound.
    Folded(Key),
}

impl PageRecorder {
    pub(crate) fn new(sink: ExtraRecorder, max_series: usize) -> Self {
        Self {
            core: Arc::new(Core {
                sink: Sink::new(sink),
                max_series,
                families: Families::new(),
                label_sets: LabelSets::new(max_series),
                pairs: Pairs::new(max_series),
                overflow: Overflow::default(),
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Makes everything recorded from now on vanish.
    pub(super) fn close(&self) {
        self.core.closed.store(true, Ordering::Relaxed);
    }

    /// Registers the counters by metric, with 0 for those that are known beforehand.
    pub(super) fn publish_zeros(&self) {
        self.core.sink.label_overflow(LLM).increment(0);
        for metric in catalog::METRICS.iter().filter(|metric| metric.kind == MetricKind::Histogram) {
            self.core.sink.invalid_samples(metric.prometheus).increment(0);
        }
    }

    pub(crate) fn shared(&self) -> SharedRecorder {
        Arc::<Core>::clone(&self.core)
    }

    /// Logs each metric once that has had more label sets than it may.
    pub(super) fn report_overflow(&self) {
        self.core.overflow.report(self.core.max_series);
    }
}

impl Core {
    /// Returns the key under which the page can show a metric, or `None` if it can't.
    fn place<'a>(&self, key: &'a Key, kind: MetricKind) -> Option<Place<'a>> {
        if self.closed.load(Ordering::Relaxed) || key.name().is_empty() {
            return None;
        }
        if self.label_sets.has(key, kind) {
            return Some(Place::Its(Cow::Borrowed(key)));
        }
        let name = match own(key.name()) {
            Some(metric) if metric.kind != kind => return None,
            Some(metric) if metric.is_per_model() => return self.place_of_pair(metric, key),
            Some(metric) => KeyName::from_const_str(metric.name),
            None => match self.families.spelling(key.name(), kind) {
                Ok(spelling) => spelling,
                Err(Refusal::Taken) => return None,
                Err(Refusal::TooMany) => {
                    self.overflow.count(NAMES, &self.sink);
                    return None;
                }
            },
        };
        let key = match (label::clean(key), name.as_str() == key.name()) {
            (None, true) => Cow::Borrowed(key),
            (None, false) => Cow::Owned(Key::from_parts(name, key.labels().cloned().collect::<Vec<_>>())),
            (Some(labels), _) => Cow::Owned(Key::from_parts(name, labels)),
        };
        Some(match self.label_sets.admit(&key, kind) {
            Ok(()) => Place::Its(key),
            Err(folded) => {
                let family =
                    own(key.name()).map_or_else(|| family(key.name(), kind), |metric| metric.prometheus.to_owned());
                self.overflow.count(&family, &self.sink);
                Place::Folded(folded)
            }
        })
    }

    /// The same for an `llm` metric that is recorded by its name: the labels are those of the catalogue and no others.
    fn place_of_pair<'a>(&self, metric: &'static Metric, key: &Key) -> Option<Place<'a>> {
        let value = |name: &str| key.labels().find(|label| label.key() == name).map_or(UNKNOWN, Label::value);
        let third = metric.labels.get(2).map(|&name| match name {
            "error_type" => closest(ErrorType::ALL.iter().map(|error| error.as_str()), value(name), UNKNOWN),
            _ => closest(FINISH_REASONS.iter().copied(), value(name), OTHER),
        });
        let mut place = None;
        self.admit(value("provider"), value("model"), |series| {
            place = Some(match third {
                Some(third) => series.pair().key_with(metric, third),
                None => series.pair().key(metric),
            });
        });
        place.map(|key| Place::Its(Cow::Owned(key)))
    }

    fn admit(&self, provider: &str, model: &str, then: impl FnOnce(&Arc<PairSeries>)) {
        if self.pairs.with((provider, model), &self.sink, then) == Admission::Folded {
            self.overflow.count(LLM, &self.sink);
        }
    }
}

/// Returns a value out of a closed set, or the one for all others.
fn closest(mut set: impl Iterator<Item = &'static str>, value: &str, other: &'static str) -> &'static str {
    set.find(|known| *known == value).unwrap_or(other)
}

impl Ours for Core {
    fn with_pair(&self, provider: &str, model: &str, then: &mut dyn FnMut(&Arc<PairSeries>)) {
        if !self.closed.load(Ordering::Relaxed) {
            self.admit(provider, model, then);
        }
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
    catalog::find(name).or_else(|| {
        let name = sanitize_metric_name(name);
        catalog::METRICS.iter().find(|metric| metric.prometheus == name || sanitize_metric_name(metric.name) == name)
    })
}

impl Recorder for Core {
    // The catalogue's metrics were described when the exporter was built; whatever is said of them later must not rename them.

    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if own(key.as_str()).is_none() {
            self.sink.describe_counter(key, unit, description);
        }
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if own(key.as_str()).is_none() {
            self.sink.describe_gauge(key, unit, description);
        }
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if own(key.as_str()).is_none() {
            self.sink.describe_histogram(key, unit, description);
        }
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        match self.place(key, MetricKind::Counter) {
            Some(Place::Its(key)) => self.sink.register_counter(&key, metadata),
            Some(Place::Folded(key)) => self.sink.register_counter(&key, metadata),
            None => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        match self.place(key, MetricKind::Gauge) {
            Some(Place::Its(key)) => self.sink.register_gauge(&key, metadata),
            Some(Place::Folded(key)) => {
                Gauge::from_arc(Arc::new(Summed { sink: Arc::clone(&self.sink), key, gauge: OnceLock::new() }))
            }
            None => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        match self.place(key, MetricKind::Histogram) {
            Some(Place::Its(key)) => self.sink.register_histogram(&key, metadata),
            Some(Place::Folded(key)) => self.sink.register_histogram(&key, metadata),
            None => Histogram::noop(),
        }
    }
}

impl Recorder for PageRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.core.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        if !recorder::answer(self, &key, || self.shared()) {
            self.core.describe_gauge(key, unit, description);
        }
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.core.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.core.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.core.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.core.register_histogram(key, metadata)
    }
}

impl fmt::Debug for PageRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageRecorder").finish_non_exhaustive()
    }
}

/// A gauge that stands for many: what is added to them adds up, while what they are set to would mean nothing.
struct Summed {
    sink: Arc<Sink>,
    key: Key,
    gauge: OnceLock<Gauge>,
}

impl Summed {
    fn gauge(&self) -> &Gauge {
        self.gauge.get_or_init(|| self.sink.register_gauge(&self.key, &METADATA))
    }
}

impl GaugeFn for Summed {
    fn increment(&self, value: f64) {
        self.gauge().increment(value);
    }

    fn decrement(&self, value: f64) {
        self.gauge().decrement(value);
    }

    fn set(&self, _: f64) {}
}
