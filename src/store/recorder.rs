//! The store as a `metrics::Recorder`.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};

use super::admitted::Found;
use super::count::Rejected;
use super::label::UNKNOWN;
use super::name::own;
use super::pair::{ByName, Pair};
#[cfg(feature = "console")]
use super::recent::RecentCalls;
use super::{Config, ExtraRecorder, Store};
use crate::catalog::{Metric, MetricKind};
use crate::current;
use crate::lock::unpoisoned;
use crate::series::{Finished, PairSeries, Series};
use crate::snapshot::Snapshot;

/// The recorder behind the page, for a program that sets its own global recorder or serves the page itself.
///
/// The name of a family is decided when the metric is first used, and later descriptions don't change it. Labels are clean, the
/// number of series is bounded, and no sample is lost or counted twice. Created by
/// [`Builder::recorder`](crate::Builder::recorder). It is cheap to clone.
#[derive(Clone)]
pub struct MetricsRecorder {
    store: Arc<Store>,
}

impl MetricsRecorder {
    pub(crate) fn new(config: &Config, extras: Vec<ExtraRecorder>) -> Self {
        Self { store: Store::new(config, extras) }
    }

    /// Discards everything that is recorded from now on.
    pub(crate) fn close(&self) {
        self.store.close();
    }

    /// Reads all values; none in the child of a fork.
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.store.origin.is_forked() { Snapshot::default() } else { self.store.snapshot() }
    }

    /// Logs once for each metric that it was beyond a bound or rejected, and passes these counts to the added recorders.
    pub(crate) fn report(&self) {
        self.store.report();
    }

    /// Publishes the series of a provider and model with the value 0.
    pub(crate) fn declare(&self, provider: &str, model: &str) {
        if let Some(pair) = self.store.pair(provider, model) {
            pair.declare();
        }
    }

    pub(crate) fn shared(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Returns the calls that have ended lately; `None` if they are not kept.
    #[cfg(feature = "console")]
    pub(crate) fn recent_calls(&self) -> Option<Arc<RecentCalls>> {
        self.store.recent_calls().cloned()
    }

    pub(crate) fn downgrade(&self) -> WeakRecorder {
        WeakRecorder(Arc::downgrade(&self.store))
    }
}

/// A recorder as long as anyone else keeps it.
#[derive(Clone)]
pub(crate) struct WeakRecorder(Weak<Store>);

impl WeakRecorder {
    /// Returns the recorder unless it is gone or closed.
    pub(crate) fn upgrade(&self) -> Option<MetricsRecorder> {
        self.0.upgrade().filter(|store| !store.is_closed()).map(|store| MetricsRecorder { store })
    }
}

impl Store {
    /// Returns the series of a provider and model, whose names need not be clean; `None` once the store is closed.
    pub(crate) fn pair(&self, provider: &str, model: &str) -> Option<Arc<dyn PairSeries>> {
        // A closed store is not in any cache.
        match self.pairs.with_cached(provider, model, Arc::<Pair>::clone) {
            Some(pair) => Some(pair),
            None if self.is_closed() => None,
            None => Some(self.pair_uncached(provider, model)),
        }
    }

    /// The same for the process' store, which is never dropped, and so never drops its series.
    #[inline]
    pub(crate) fn lasting_pair(&'static self, provider: &str, model: &str) -> Option<Series> {
        if self.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let lately = self.pairs.lately(provider, model, |pair| Series::Lasting(pair));
        Some(lately.unwrap_or_else(|| self.open_lasting(provider, model)))
    }

    /// Records a whole call that has succeeded in the process' store, if it is as nearly all are; `false` if it is not.
    #[inline(always)]
    pub(crate) fn finished(&'static self, call: &Finished<'_>) -> bool {
        self.is_simple.load(Ordering::Relaxed)
            && self.pairs.lately(call.provider, call.model, |pair| pair.finished_plain(call)).unwrap_or(false)
    }

    /// Returns this store as a recorder.
    pub(crate) fn recorder(&self) -> &dyn Recorder {
        self
    }

    /// Returns the name and the kind of a task as they are on labels.
    pub(crate) fn task_labels(&self, task: &str, kind: &str) -> [SharedString; 2] {
        [self.tasks.admit(task), self.kinds.admit(kind)]
    }

    /// Returns the name of a tool as it is on labels.
    pub(crate) fn tool_label(&self, tool: &str) -> SharedString {
        self.tools.admit(tool)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed) || self.origin.is_forked()
    }

    #[cold]
    fn open_lasting(&'static self, provider: &str, model: &str) -> Series {
        let pair = self.with_pair(provider, model, Arc::clone);
        match self.pairs.keep_lasting(&pair, provider, model) {
            Some(lasting) => Series::Lasting(lasting),
            None => Series::Shared(pair),
        }
    }

    /// Registers a series by its name in code. Metrics of the catalogue keep only their own labels.
    fn register<T>(
        &self,
        key: &Key,
        kind: MetricKind,
        noop: fn() -> T,
        of_pair: impl FnOnce(Arc<Pair>, &'static Metric, Option<&str>) -> T,
        of_key: impl FnOnce(Found) -> T,
    ) -> T {
        if self.is_closed() || key.name().is_empty() {
            return noop();
        }
        match own(key.name()) {
            Some(metric) if self.config.is_excluded(metric) => noop(),
            Some(metric) if metric.kind != kind => of_key(self.found(key, kind)),
            Some(metric) if metric.is_per_model() => {
                let value = |name: &str| key.labels().find(|label| label.key() == name).map(Label::value);
                let [provider, model] = ["provider", "model"].map(|name| value(name).unwrap_or(UNKNOWN));
                let third = metric.labels.get(2).map(|name| value(name).unwrap_or(UNKNOWN));
                of_pair(self.with_pair(provider, model, Arc::clone), metric, third)
            }
            Some(metric) if metric.name != key.name() => {
                let key = Key::from_parts(metric.name, key.labels().cloned().collect::<Vec<_>>());
                of_key(self.found(&key, kind))
            }
            _ => of_key(self.found(key, kind)),
        }
    }

    /// Describes a metric of the program. Metrics of the catalogue keep their descriptions.
    fn describe(
        &self,
        name: KeyName,
        unit: Option<Unit>,
        text: SharedString,
        to: fn(&dyn Recorder, KeyName, Option<Unit>, SharedString),
    ) {
        if own(name.as_str()).is_some() || self.origin.is_forked() {
            return;
        }
        self.extras.describe(|extra| to(extra, name.clone(), unit, text.clone()));
        let described = unpoisoned(self.admitted.write()).describe(name.as_str(), unit, text);
        self.extras.describe_families(&described);
    }
}

impl Recorder for Store {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description, |extra, name, unit, text| extra.describe_counter(name, unit, text));
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description, |extra, name, unit, text| extra.describe_gauge(name, unit, text));
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(name, unit, description, |extra, name, unit, text| extra.describe_histogram(name, unit, text));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let of_pair = |pair, metric: &Metric, third: Option<&str>| match metric.cost_counter(third) {
            Some(series) => ByName { pair, series }.open(),
            None => ByName { pair, series: metric.pair_counter(third) }.open(),
        };
        self.register(key, MetricKind::Counter, Counter::noop, of_pair, |found| match found {
            Found::Series(series) => series.counter(&self.extras),
            Found::Rejected(records) => Counter::from_arc(Arc::new(Rejected(records))),
            Found::Excluded | Found::Refused => Counter::noop(),
        })
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let of_pair = |pair, metric: &Metric, third: Option<&str>| match metric.pair_gauge(third) {
            Some(series) => ByName { pair, series }.open(),
            None => Gauge::noop(),
        };
        self.register(key, MetricKind::Gauge, Gauge::noop, of_pair, |found| match found {
            Found::Series(series) => series.gauge(&self.extras),
            Found::Rejected(records) => Gauge::from_arc(Arc::new(Rejected(records))),
            Found::Excluded | Found::Refused => Gauge::noop(),
        })
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let of_pair = |pair, metric: &Metric, _: Option<&str>| ByName { pair, series: metric.pair_histogram() }.open();
        self.register(key, MetricKind::Histogram, Histogram::noop, of_pair, |found| match found {
            Found::Series(series) => series.histogram(&self.extras),
            Found::Rejected(records) => Histogram::from_arc(Arc::new(Rejected(records))),
            Found::Excluded | Found::Refused => Histogram::noop(),
        })
    }
}

impl Recorder for MetricsRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.store.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        if !current::identify(self, &name, || self.shared()) {
            self.store.describe_gauge(name, unit, description);
        }
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.store.describe_histogram(name, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.store.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.store.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.store.register_histogram(key, metadata)
    }
}

impl fmt::Debug for MetricsRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsRecorder").finish_non_exhaustive()
    }
}
