//! The recorders that a program adds. Each gets everything that the store gets.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::count::{Sum, add_saturating};
use super::guarded::Guarded;
use super::pattern::Pattern;
use crate::catalog::{self, METADATA, MetricKind};
use crate::snapshot::About;

/// A recorder that gets the same metrics as the store.
pub(crate) struct ExtraRecorder {
    recorder: Box<dyn Recorder + Send + Sync>,
    names: Names,
}

/// The names that a recorder gets for the metrics of the program. Metrics of the catalogue have their names in code for all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// The names in code, with the descriptions of the program.
    Code,
    /// The names and descriptions of the page.
    Page,
}

impl ExtraRecorder {
    /// Wraps a recorder that the program adds.
    pub(crate) fn added(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self { recorder: Box::new(Guarded::new(recorder)), names: Names::Code }
    }

    /// Wraps a recorder that renders a page with the families of the store.
    #[cfg_attr(not(feature = "exporter"), expect(dead_code, reason = "the exporter is the only one"))]
    pub(crate) fn with_page_names(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self { recorder: Box::new(recorder), names: Names::Page }
    }

    fn describe_family(&self, about: &About) {
        let (name, text) = (KeyName::from(about.name.to_string()), SharedString::from(about.help.to_string()));
        match about.kind {
            MetricKind::Counter => self.recorder.describe_counter(name, None, text),
            MetricKind::Gauge => self.recorder.describe_gauge(name, None, text),
            MetricKind::Histogram => self.recorder.describe_histogram(name, None, text),
        }
    }
}

/// All added recorders, in the order in which they were added.
#[derive(Clone)]
pub(super) struct Extras(Arc<[ExtraRecorder]>);

/// The maximum number of samples of one `record_many` that an added recorder gets, because it may record them one by one.
pub(super) const MOST_SAMPLES: usize = 1_000;

impl Extras {
    /// Wraps the recorders, so that they don't get excluded metrics.
    pub(super) fn new(recorders: Vec<ExtraRecorder>, exclude: &[Pattern]) -> Self {
        if exclude.is_empty() {
            return Self(recorders.into());
        }
        let filtered = recorders.into_iter().map(|extra| ExtraRecorder {
            recorder: Box::new(Filtered { recorder: extra.recorder, exclude: exclude.to_vec() }),
            names: extra.names,
        });
        Self(filtered.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &(dyn Recorder + Send + Sync)> {
        self.0.iter().map(|extra| &*extra.recorder)
    }

    /// Passes a description to the recorders that use the names in code. No lock may be held, here and in the functions below,
    /// because these recorders may record metrics themselves.
    pub(super) fn describe(&self, to: impl Fn(&dyn Recorder)) {
        self.0.iter().filter(|extra| extra.names == Names::Code).for_each(|extra| to(&*extra.recorder));
    }

    /// Passes the new descriptions of families to the recorders that use the names of the page.
    pub(super) fn describe_families(&self, families: &[Arc<About>]) {
        for extra in self.0.iter().filter(|extra| extra.names == Names::Page) {
            families.iter().for_each(|about| extra.describe_family(about));
        }
    }

    /// Registers a counter with all recorders.
    pub(super) fn counter(&self, own: Counter, key: &Key, about: &About) -> Counter {
        let others = self.register(key, about, |recorder, key| recorder.register_counter(key, &METADATA));
        Counter::from_arc(Arc::new(Fanout { own, others }))
    }

    /// Registers a gauge with all recorders.
    pub(super) fn gauge(&self, own: Gauge, key: &Key, about: &About) -> Gauge {
        Gauge::from_arc(Arc::new(Fanout { own, others: self.gauges(key, about) }))
    }

    /// Returns the gauge for label sets beyond the bound. It is registered when something is first added to it.
    pub(super) fn sum(&self, own: Arc<Sum>, key: &Key, about: &Arc<About>) -> Gauge {
        let (extras, key, about) = (self.clone(), key.clone(), Arc::clone(about));
        Gauge::from_arc(Arc::new(SumFanout { own, extras, key, about, others: OnceLock::new() }))
    }

    /// Registers a histogram with all recorders. They don't get samples below `lowest`. Samples beyond [`MOST_SAMPLES`] count as
    /// invalid.
    pub(super) fn histogram(
        &self,
        own: Histogram,
        key: &Key,
        about: &About,
        (lowest, invalid): (f64, Arc<AtomicU64>),
    ) -> Histogram {
        let others = self.register(key, about, |recorder, key| recorder.register_histogram(key, &METADATA));
        Histogram::from_arc(Arc::new(Samples { handles: Fanout { own, others }, lowest, invalid }))
    }

    fn gauges(&self, key: &Key, about: &About) -> Vec<Gauge> {
        self.register(key, about, |recorder, key| recorder.register_gauge(key, &METADATA))
    }

    fn register<H>(&self, key: &Key, about: &About, register: impl Fn(&dyn Recorder, &Key) -> H) -> Vec<H> {
        let of = |extra: &ExtraRecorder| match extra.names {
            Names::Code => register(&*extra.recorder, &in_whole_numbers(key)),
            Names::Page if catalog::find(key.name()).is_some() => register(&*extra.recorder, &in_whole_numbers(key)),
            Names::Page => {
                if !about.help.is_empty() {
                    extra.describe_family(about);
                }
                let labels: Vec<_> = key.labels().cloned().collect();
                register(&*extra.recorder, &Key::from_parts(about.name.to_string(), labels))
            }
        };
        self.0.iter().map(of).collect()
    }
}

/// Returns the key under which other recorders get a metric: those of the catalogue may have another name there.
fn in_whole_numbers(key: &Key) -> Cow<'_, Key> {
    match catalog::find(key.name()).map(|metric| metric.whole_number_name()) {
        Some(name) if name != key.name() => {
            Cow::Owned(Key::from_parts(name, key.labels().cloned().collect::<Vec<_>>()))
        }
        _ => Cow::Borrowed(key),
    }
}

/// The handle of the store, and those of the added recorders.
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

/// The gauge for all label sets beyond the bound. It can be incremented and decremented. Setting it has no effect.
struct SumFanout {
    own: Arc<Sum>,
    extras: Extras,
    key: Key,
    about: Arc<About>,
    others: OnceLock<Vec<Gauge>>,
}

impl SumFanout {
    fn others(&self) -> &[Gauge] {
        self.others.get().unwrap_or_else(|| {
            let registered = self.extras.gauges(&self.key, &self.about);
            self.others.get_or_init(|| registered)
        })
    }
}

impl GaugeFn for SumFanout {
    fn increment(&self, value: f64) {
        self.own.increment(value);
        self.others().iter().for_each(|gauge| gauge.increment(value));
    }

    fn decrement(&self, value: f64) {
        self.own.decrement(value);
        self.others().iter().for_each(|gauge| gauge.decrement(value));
    }

    fn set(&self, _: f64) {}
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
        // The store counts them as invalid.
        self.handles.own.record_many(value, count);
        if !value.is_finite() || value < self.lowest || self.handles.others.is_empty() {
            return;
        }
        self.handles.others.iter().for_each(|other| other.record_many(value, count.min(MOST_SAMPLES)));
        add_saturating(&self.invalid, count.saturating_sub(MOST_SAMPLES) as u64);
    }
}

/// A recorder that does not get the excluded metrics.
struct Filtered {
    recorder: Box<dyn Recorder + Send + Sync>,
    exclude: Vec<Pattern>,
}

impl Filtered {
    fn has(&self, name: &str) -> bool {
        let names = catalog::find(name).map_or([name; 2], |metric| [metric.name, metric.prometheus]);
        !self.exclude.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)))
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
