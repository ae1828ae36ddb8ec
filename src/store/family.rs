//! The families that do not belong to a provider and model.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, SharedString};

use super::bounds::Bounds;
use super::count::{Count, Number, Sum};
use super::fanout::Extras;
use super::histogram::Histogram as Buckets;
use super::label::{self, OTHER};
use crate::catalog::MetricKind;
use crate::snapshot::{self, About, LabelSet, Labels, Values};

/// A family with its series: one for each label set up to the bound, and one for all further label sets.
pub(super) struct Family {
    pub(super) about: Arc<About>,
    /// The name in code that was used first.
    pub(super) spelling: KeyName,
    pub(super) bounds: Bounds,
    /// The lowest valid sample of a histogram.
    pub(super) lowest: f64,
    pub(super) limit: usize,
    /// The series in the order of the page.
    pub(super) series: Vec<Arc<Series>>,
    pub(super) overflow: Option<Overflow>,
    /// How many times a label set beyond the bound was looked up.
    pub(super) folded: Arc<AtomicU64>,
    /// The number of invalid samples.
    pub(super) invalid: Arc<AtomicU64>,
}

/// The series for all label sets beyond the bound. It has the label names of the first label set with labels, whatever names the
/// further ones have: a program that creates label names at run time would open a series for each. A label set of the program with
/// exactly these labels shares the series, and does not count against the bound.
pub(super) struct Overflow {
    key: Key,
    series: Option<Arc<Series>>,
}

/// The series of one label set.
pub(super) struct Series {
    key: Key,
    /// The description of the family when the series was opened.
    about: Arc<About>,
    labels: Labels,
    cell: Cell,
    lowest: f64,
    invalid: Arc<AtomicU64>,
}

enum Cell {
    Counter(Arc<Count>, OnceLock<Counter>),
    Gauge(Arc<Number>, OnceLock<Gauge>),
    /// The gauge for all label sets beyond the bound.
    Sum(Arc<Sum>, OnceLock<Gauge>),
    Histogram(Arc<Buckets>, OnceLock<Histogram>),
}

impl Family {
    pub(super) fn new(about: Arc<About>, spelling: KeyName, bounds: Bounds, limit: usize) -> Self {
        Self {
            about,
            spelling,
            bounds,
            lowest: f64::MIN,
            limit,
            series: Vec::new(),
            overflow: None,
            folded: Arc::default(),
            invalid: Arc::default(),
        }
    }

    /// Returns the key of this family for a key of a call site: with the spelling that was used first, and with clean labels.
    pub(super) fn key<'a>(&self, key: &'a Key, global: &[(String, String)]) -> Cow<'a, Key> {
        match (label::clean(key, global), self.spelling.as_str() == key.name()) {
            (None, true) => Cow::Borrowed(key),
            (None, false) => {
                Cow::Owned(Key::from_parts(self.spelling.clone(), key.labels().cloned().collect::<Vec<_>>()))
            }
            (Some(labels), _) => Cow::Owned(Key::from_parts(self.spelling.clone(), labels)),
        }
    }

    /// Returns the series for label sets beyond the bound, and counts the look-up. Returns `None` if that series is not open.
    pub(super) fn fold(&self, key: &Key) -> Option<Arc<Series>> {
        let Overflow { key: others, series } = self.overflow.as_ref()?;
        let series = series.as_ref()?;
        if others != key {
            self.folded.fetch_add(1, Ordering::Relaxed);
        }
        Some(Arc::clone(series))
    }

    /// Whether a clean key without a series must use the one for label sets beyond the bound.
    pub(super) fn is_beyond(&self, key: &Key) -> bool {
        let shared = self.overflow.iter().filter(|overflow| overflow.series.is_some()).count();
        let is_shared = match &self.overflow {
            Some(overflow) => overflow.key == *key,
            None => key.labels().len() > 0 && folded(key) == *key,
        };
        is_shared || self.series.len() - shared >= self.limit
    }

    /// Opens the series of a clean key.
    pub(super) fn open(&mut self, key: &Key, global: &[(String, String)]) -> Arc<Series> {
        if key.labels().len() > 0 {
            self.overflow.get_or_insert_with(|| Overflow { key: folded(key), series: None });
        }
        let series = self.series(key.to_retained(), global, false);
        self.insert(&series);
        series
    }

    /// Opens the series for label sets beyond the bound. The key is the first of them.
    pub(super) fn open_overflow(&mut self, key: &Key, global: &[(String, String)]) {
        let key = self.overflow.get_or_insert_with(|| Overflow { key: folded(key), series: None }).key.clone();
        let series = self.series(key, global, true);
        self.insert(&series);
        if let Some(overflow) = &mut self.overflow {
            overflow.series = Some(series);
        }
    }

    fn insert(&mut self, series: &Arc<Series>) {
        let place = self.series.partition_point(|other| other.labels < series.labels);
        self.series.insert(place, Arc::clone(series));
    }

    fn series(&self, key: Key, global: &[(String, String)], is_overflow: bool) -> Arc<Series> {
        let cell = match self.about.kind {
            MetricKind::Counter => Cell::Counter(Arc::default(), OnceLock::new()),
            MetricKind::Gauge if is_overflow => Cell::Sum(Arc::default(), OnceLock::new()),
            MetricKind::Gauge => Cell::Gauge(Arc::default(), OnceLock::new()),
            MetricKind::Histogram => {
                let buckets = Buckets::new(self.bounds.clone(), self.lowest, Arc::clone(&self.invalid));
                Cell::Histogram(Arc::new(buckets), OnceLock::new())
            }
        };
        let labels = labels(&key, global);
        let (about, invalid) = (Arc::clone(&self.about), Arc::clone(&self.invalid));
        Arc::new(Series { labels, cell, lowest: self.lowest, invalid, about, key })
    }

    /// Returns copies of what a snapshot needs, so that the snapshot can be taken without the lock.
    pub(super) fn parts(&self) -> (Arc<About>, Arc<[f64]>, Vec<Arc<Series>>) {
        (Arc::clone(&self.about), Arc::clone(self.bounds.all()), self.series.clone())
    }
}

impl Series {
    // A handle is created when it is first requested, while no lock is held, because added recorders may record metrics themselves.

    pub(super) fn counter(&self, extras: &Extras) -> Counter {
        let Cell::Counter(cell, handle) = &self.cell else { return Counter::noop() };
        let own = || Counter::from_arc(Arc::clone(cell));
        get_or_make(handle, || if extras.is_empty() { own() } else { extras.counter(own(), &self.key, &self.about) })
    }

    pub(super) fn gauge(&self, extras: &Extras) -> Gauge {
        let (own, handle) = match &self.cell {
            Cell::Gauge(cell, handle) => (Gauge::from_arc(Arc::clone(cell)), handle),
            Cell::Sum(cell, handle) => (Gauge::from_arc(Arc::clone(cell)), handle),
            _ => return Gauge::noop(),
        };
        get_or_make(handle, || match &self.cell {
            _ if extras.is_empty() => own,
            Cell::Sum(sum, _) => extras.sum(Arc::clone(sum), &self.key, &self.about),
            _ => extras.gauge(own, &self.key, &self.about),
        })
    }

    pub(super) fn histogram(&self, extras: &Extras) -> Histogram {
        let Cell::Histogram(cell, handle) = &self.cell else { return Histogram::noop() };
        let own = Histogram::from_arc(Arc::clone(cell));
        get_or_make(handle, || {
            if extras.is_empty() {
                own
            } else {
                extras.histogram(own, &self.key, &self.about, (self.lowest, Arc::clone(&self.invalid)))
            }
        })
    }

    /// Appends the series to its family, unless it has no value.
    pub(super) fn read(&self, family: &mut snapshot::Family) {
        match (&self.cell, &mut family.values) {
            (Cell::Counter(cell, _), Values::Counters { counts, .. }) => counts.push(cell.get()),
            (Cell::Gauge(cell, _), Values::Gauges(values)) => values.push(cell.get()),
            (Cell::Sum(cell, _), Values::Gauges(values)) => match cell.get() {
                Some(sum) => values.push(sum),
                None => return,
            },
            (Cell::Histogram(cell, _), Values::Histograms(histograms)) => cell.read(histograms),
            _ => return,
        }
        family.labels.push(self.labels.clone());
    }
}

fn get_or_make<T: Clone>(handle: &OnceLock<T>, make: impl FnOnce() -> T) -> T {
    match handle.get() {
        Some(handle) => handle.clone(),
        None => {
            let made = make();
            handle.get_or_init(|| made).clone()
        }
    }
}

/// Returns the labels of a key and the global labels. The key's own labels take precedence.
fn labels(key: &Key, global: &[(String, String)]) -> Labels {
    let own = key.labels().map(|label| (label.key(), label.value()));
    let global = global.iter().filter(|(name, _)| key.labels().all(|label| label.key() != name));
    Labels::new(Arc::new(LabelSet::new(global.map(|(name, value)| (name.as_str(), value.as_str())).chain(own))))
}

fn folded(key: &Key) -> Key {
    let other = SharedString::const_str(OTHER);
    let labels: Vec<Label> = key
        .labels()
        .map(|label| Label::new(SharedString::from_shared(Arc::from(label.key())), other.clone()))
        .collect();
    Key::from_parts(key.name_shared(), labels)
}
