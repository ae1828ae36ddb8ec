//! The store, where metrics are counted: families by name, each with a bounded number of series.
//!
//! A name is assigned to a family, and a label set to a series, when it is first used. Readers get a [`Snapshot`].

mod admitted;
mod bounds;
mod columns;
mod count;
mod exemplars;
mod family;
mod fanout;
mod guarded;
mod halves;
mod health;
mod histogram;
mod label;
mod name;
mod named;
mod pair;
mod pairs;
mod pattern;
#[cfg(feature = "process")]
mod process;
#[cfg(feature = "console")]
mod recent;
mod recorder;
mod sync;
mod words;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, Weak};

use metrics::Key;

use crate::catalog::{self, GenAiMetrics, METRICS, Metric, MetricKind};
use crate::fork::Origin;
use crate::label::clean_value;
use crate::lock::unpoisoned;
#[cfg(feature = "prices")]
use crate::price::PriceBook;
use crate::series::LazyHistogram;
use crate::snapshot::{Family, LabelSet, Labels, Snapshot, Values};
use crate::spend::{Budget, Ledger, Spend};
use crate::worker;
use admitted::{Admitted, Found};
use columns::Columns;
pub(crate) use fanout::ExtraRecorder;
use fanout::Extras;
pub(crate) use label::is_label_name;
#[cfg(feature = "exporter")]
pub(crate) use name::exposed;
pub(crate) use name::{own, sanitized};
use named::{MAX_KINDS, Names};
use pair::{Pair, Shared};
use pairs::Pairs;
pub(crate) use pattern::Pattern;
#[cfg(feature = "console")]
pub(crate) use recent::{KEPT, RecentCall, RecentCalls};
pub use recorder::MetricsRecorder;
pub(crate) use recorder::WeakRecorder;

/// The default bound: how many pairs of provider and model, and how many label sets of any other metric, have their own series.
pub(crate) const MAX_SERIES: usize = 1_000;

/// The configuration of the store. Every value is valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Bucket bounds by metric name, ascending and finite.
    pub(crate) buckets: Vec<(String, Vec<f64>)>,
    pub(crate) global_labels: Vec<(String, String)>,
    pub(crate) max_series: usize,
    /// Excluded metrics, which no reader gets.
    pub(crate) exclude: Vec<Pattern>,
    /// Whether calls with a trace are kept as exemplars.
    pub(crate) has_exemplars: bool,
    /// The versions of the GenAI conventions whose metrics are recorded, too; each once.
    pub(crate) genai: Vec<GenAiMetrics>,
    pub(crate) budgets: Vec<Budget>,
    #[cfg(feature = "prices")]
    pub(crate) prices: Option<Arc<PriceBook>>,
    /// Whether the last calls are kept.
    #[cfg(feature = "console")]
    pub(crate) keeps_calls: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            global_labels: Vec::new(),
            max_series: MAX_SERIES,
            exclude: Vec::new(),
            has_exemplars: true,
            genai: Vec::new(),
            budgets: Vec::new(),
            #[cfg(feature = "prices")]
            prices: None,
            #[cfg(feature = "console")]
            keeps_calls: false,
        }
    }
}

impl Config {
    /// Returns bucket bounds by sanitized name in code. Those of the program take precedence over those of the catalogue.
    pub(crate) fn bounds(&self) -> HashMap<String, Arc<[f64]>> {
        let catalogue = METRICS.iter().chain(self.genai_metrics());
        let catalogue = catalogue.filter(|metric| metric.kind == MetricKind::Histogram);
        let mut bounds: HashMap<_, _> =
            catalogue.map(|metric| (sanitized(metric.name), Arc::from(metric.buckets))).collect();
        for (metric, own_bounds) in &self.buckets {
            let name = own(metric).map_or(metric.as_str(), |metric| metric.name);
            bounds.insert(sanitized(name), Arc::from(own_bounds.as_slice()));
        }
        bounds
    }

    /// Returns the metrics of the GenAI conventions.
    fn genai_metrics(&self) -> impl Iterator<Item = &'static Metric> {
        self.genai.iter().flat_map(|version| version.metrics())
    }

    #[cfg(feature = "prices")]
    fn has_prices(&self) -> bool {
        self.prices.is_some()
    }

    #[cfg(not(feature = "prices"))]
    fn has_prices(&self) -> bool {
        false
    }

    fn is_excluded(&self, metric: &Metric) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(metric.name) || pattern.matches(metric.prometheus))
    }
}

pub(crate) struct Store {
    config: Config,
    admitted: RwLock<Admitted>,
    pairs: Pairs,
    shared: Arc<Shared>,
    extras: Extras,
    tasks: Names,
    kinds: Names,
    tools: Names,
    ledger: Arc<Ledger>,
    /// How many times a name beyond the bound was looked up.
    refused_names: AtomicU64,
    reported: health::Reports,
    is_closed: AtomicBool,
    /// Whether it is open, and there are neither added recorders, nor metrics of the GenAI conventions, nor prices.
    is_simple: AtomicBool,
    origin: Origin,
}

impl Store {
    pub(crate) fn new(config: &Config, extras: Vec<ExtraRecorder>) -> Arc<Self> {
        let store = Arc::new_cyclic(|store| Self::referred_by(store, config, extras));
        for metric in config.genai_metrics() {
            metric.describe(&*store);
        }
        store
    }

    fn referred_by(store: &Weak<Self>, config: &Config, extras: Vec<ExtraRecorder>) -> Self {
        let mut global_labels: Vec<(String, String)> = Vec::new();
        for (name, value) in &config.global_labels {
            // Prometheus rejects a page if a series has two labels of one name. The last label is kept.
            global_labels.retain(|(earlier, _)| earlier != name);
            global_labels.push((name.clone(), clean_value(value).into_owned()));
        }
        let config = Config { global_labels, ..config.clone() };
        let extras = Extras::new(extras, &config.exclude);
        let is_forwarded = |metric: &&Metric| !config.is_excluded(metric) && !metric.is_of_process();
        for metric in METRICS.iter().filter(is_forwarded) {
            extras.iter().for_each(|recorder| metric.describe(recorder));
        }
        let admitted = Admitted::new(&config);
        let about = |metric: &Metric| {
            let family = &admitted.families[catalog::place(metric)];
            let (bounds, invalid) = (family.bounds.clone(), Arc::clone(&family.invalid));
            pair::About { bounds, invalid, is_excluded: config.is_excluded(metric) }
        };
        let ledger = Arc::new(Ledger::new(config.budgets.clone()));
        #[cfg(feature = "prices")]
        if config.prices.is_some() {
            crate::cost::turn_prices_on();
        }
        let shared = Shared {
            durations: about(&catalog::DURATION),
            lazy: LazyHistogram::ALL.map(|histogram| about(&histogram.metric())),
            invalid_tokens: Arc::clone(&admitted.families[catalog::place(&catalog::TOKENS)].invalid),
            invalid_costs: Arc::clone(&admitted.families[catalog::place(&catalog::COST)].invalid),
            ledger: Arc::clone(&ledger),
            #[cfg(feature = "prices")]
            prices: config.prices.clone(),
            extras: extras.clone(),
            has_exemplars: config.has_exemplars,
            genai: config.genai.as_slice().into(),
            #[cfg(feature = "console")]
            recent: config.keeps_calls.then(Arc::default),
            store: Weak::clone(store),
        };
        Self {
            pairs: Pairs::new(config.max_series),
            admitted: RwLock::new(admitted),
            shared: Arc::new(shared),
            is_simple: AtomicBool::new(extras.is_empty() && config.genai.is_empty() && !config.has_prices()),
            extras,
            tasks: Names::new(config.max_series),
            kinds: Names::new(MAX_KINDS),
            tools: Names::new(config.max_series),
            ledger,
            refused_names: AtomicU64::new(0),
            reported: health::Reports::default(),
            is_closed: AtomicBool::new(false),
            origin: Origin::here(),
            config,
        }
    }

    /// Discards everything that is recorded from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.is_simple.store(false, Ordering::Relaxed);
        self.pairs.forget();
    }

    pub(crate) fn spend(&self) -> Spend {
        self.ledger.spend()
    }

    /// Calls the callbacks of budgets that are due, each on a thread of its own, where it may block.
    pub(crate) fn call_budgets(&self) {
        for due in self.ledger.take_due() {
            worker::start_apart("botticelli-obs-budget", move || due.call());
        }
    }

    /// Looks up a key, and opens its series if it is new.
    fn found(&self, key: &Key, kind: MetricKind) -> Found {
        let found = unpoisoned(self.admitted.read()).find(key, kind, &self.config);
        let found = found.unwrap_or_else(|| unpoisoned(self.admitted.write()).open(key, kind, &self.config));
        if matches!(found, Found::Refused) {
            self.refused_names.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Calls the function with the series of a provider and model, whose names need not be clean.
    #[inline]
    fn with_pair<T>(&self, provider: &str, model: &str, then: impl Fn(&Arc<Pair>) -> T) -> T {
        let cached = self.pairs.with_cached(provider, model, &then);
        cached.unwrap_or_else(|| then(&self.pair_uncached(provider, model)))
    }

    fn pair_uncached(&self, provider: &str, model: &str) -> Arc<Pair> {
        self.pairs.open(provider, model, |provider, model| self.new_pair(provider, model))
    }

    fn new_pair(&self, provider: &str, model: &str) -> Pair {
        let own = [("provider", provider), ("model", model)];
        let global = self.config.global_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let global = global.filter(|(name, _)| own.iter().all(|(own, _)| own != name));
        Pair::new(provider, model, LabelSet::new(global.chain(own)), &self.shared)
    }

    /// Reads all values. Those of one provider and model are consistent with each other.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.ledger.publish(self);
        let admitted = unpoisoned(self.admitted.read());
        let mut columns = Columns::new(|metric| {
            let family = &admitted.families[catalog::place(metric)];
            (metric.is_per_model() && !self.config.is_excluded(metric))
                .then(|| (Arc::clone(&family.about), Arc::clone(family.bounds.all())))
        });
        let parts: Vec<_> = admitted.families.iter().map(|family| family.parts()).collect();
        let own_counts: Vec<_> = METRICS.iter().map(|metric| self.own_counts(metric, &admitted)).collect();
        // Values are read after the lock is released: the reads wait for running updates, and meanwhile other threads must be
        // able to open series.
        drop(admitted);
        self.pairs.all().iter().for_each(|pair| pair.read(&mut columns));
        let mut families: Vec<Family> = parts
            .into_iter()
            .enumerate()
            .map(|(at, (about, bounds, series))| {
                let mut family = columns.take(at).unwrap_or_else(|| Family::new(about, bounds));
                series.iter().for_each(|series| series.read(&mut family));
                if let Some(counts) = own_counts.get(at) {
                    self.push_own(&mut family, at, counts);
                }
                family
            })
            .collect();
        #[cfg(feature = "process")]
        self.push_process(&mut families);
        families[METRICS.len()..].sort_unstable_by(|a, b| a.about.name.cmp(&b.about.name));
        families.retain(|family| family.len() > 0);
        Snapshot { families }
    }

    /// Returns the calls that have ended lately; `None` if they are not kept.
    #[cfg(feature = "console")]
    fn recent_calls(&self) -> Option<&Arc<RecentCalls>> {
        self.shared.recent.as_ref()
    }

    fn push_own(&self, family: &mut Family, at: usize, own: &[(String, u64)]) {
        let metric = &METRICS[at];
        let Values::Counters { counts, .. } = &mut family.values else { return };
        if own.is_empty() || self.config.is_excluded(metric) {
            return;
        }
        for (value, count) in own {
            let label = (metric.labels[0], value.as_str());
            let global = self.config.global_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels = Labels::from_iter(global.filter(|(name, _)| *name != label.0).chain([label]));
            // The program may have recorded under this name.
            match family.labels.iter().position(|of| *of == labels) {
                Some(series) => counts[series] = counts[series].saturating_add(*count),
                None => {
                    family.labels.push(labels);
                    counts.push(*count);
                }
            }
        }
    }
}
