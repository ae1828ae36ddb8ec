//! Assigns names to families and label sets to series when they are first used.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use metrics::{Key, KeyName, SharedString, Unit};
use metrics_util::KeyHasher;

use super::Config;
use super::bounds::Bounds;
use super::family::{Family, Series};
use super::name::{canonical, exposed, of_samples, own, sanitized};
use crate::catalog::{DEFAULT_BUCKETS, METRICS, Metric, MetricKind};
use crate::snapshot::About;

/// How many names of each kind a program may use.
pub(super) const MAX_NAMES: usize = 1_000;

/// How many metrics a program may describe.
const MAX_DESCRIPTIONS: usize = 3 * MAX_NAMES;

/// How many label sets a pair may have on average in a metric of the GenAI conventions.
const SETS_OF_A_PAIR: usize = 16;

/// How many label sets a task or a tool may have on average.
const SETS_OF_A_TASK: usize = 16;

/// How many label sets a metric about the crate itself may have. The crate needs a few of them, whatever bound the program sets.
/// The others are for programs that record under the same name.
const MAX_HEALTH_SERIES: usize = 1_000;

/// The state behind the lock of the store. No code of another crate runs while the lock is held.
pub(super) struct Admitted {
    /// The families of the catalogue in its order, then those of the program.
    pub(super) families: Vec<Family>,
    /// By kind: the series of each key, with clean labels. Call sites mostly use such keys.
    series: [HashMap<Key, Arc<Series>, BuildHasherDefault<KeyHasher>>; 3],
    /// By kind: the meaning of each name in code, both as it is spelt and in its canonical form.
    spelt: [HashMap<String, Meaning>; 3],
    /// The index of the family that has this name of a sample.
    named: HashMap<String, usize>,
    /// By kind: the number of names that the program has used.
    names: [usize; 3],
    described: HashMap<String, (SharedString, Option<Unit>)>,
    /// Families that are not exposed, because another family has one of their sample names.
    pub(super) rejected: Vec<Rejection>,
    bounds: HashMap<String, Arc<[f64]>>,
}

/// The meaning of a name in code.
#[derive(Clone)]
enum Meaning {
    Family(usize),
    Rejected(Arc<AtomicU64>),
    Excluded,
}

/// A family that is not exposed, because another one has its name.
pub(super) struct Rejection {
    /// The name it would have.
    pub(super) name: String,
    /// Two names in code: that of the family that was used first, and that of this family.
    pub(super) spellings: [String; 2],
    /// How many records were rejected.
    pub(super) records: Arc<AtomicU64>,
}

/// The result of looking up a key.
pub(super) enum Found {
    Series(Arc<Series>),
    /// Another family has the name. Each record counts as invalid.
    Rejected(Arc<AtomicU64>),
    /// The metric is excluded by a setting.
    Excluded,
    /// The program uses too many names.
    Refused,
}

impl Admitted {
    pub(super) fn new(config: &Config) -> Self {
        let mut admitted = Self {
            families: Vec::new(),
            series: Default::default(),
            spelt: Default::default(),
            named: HashMap::new(),
            names: [0; 3],
            described: HashMap::new(),
            rejected: Vec::new(),
            bounds: config.bounds(),
        };
        for metric in METRICS {
            admitted.add_own(metric, config);
        }
        admitted
    }

    fn add_own(&mut self, metric: &Metric, config: &Config) {
        let about = About {
            name: metric.prometheus.into(),
            kind: metric.kind,
            help: metric.description.into(),
            decimals: metric.decimals(),
        };
        let bounds = Bounds::new(self.bounds.get(&sanitized(metric.name)).cloned().unwrap_or_default());
        let spelling = KeyName::from_const_str(metric.name);
        let limit = match metric.is_of_tasks() {
            // The names of tasks and tools are bounded, and have one label set for each kind and class of errors.
            true => config.max_series.saturating_mul(SETS_OF_A_TASK),
            false => MAX_HEALTH_SERIES,
        };
        let family = Family {
            // The histograms of this crate are durations. Those of a program may have negative samples.
            lowest: 0.0,
            ..Family::new(Arc::new(about), spelling, bounds, limit)
        };
        let at = self.add(family);
        if metric.is_of_process() {
            // Its values are read from the system. Records of a program under this name, in any spelling, are rejected.
            return;
        }
        let meaning = if config.is_excluded(metric) { Meaning::Excluded } else { Meaning::Family(at) };
        self.spelt[metric.kind as usize].insert(metric.name.to_owned(), meaning);
    }

    /// Looks up a key. Returns `None` if a family or a series must be opened for it.
    pub(super) fn find(&self, key: &Key, kind: MetricKind, config: &Config) -> Option<Found> {
        if let Some(series) = self.series[kind as usize].get(key) {
            return Some(Found::Series(Arc::clone(series)));
        }
        let family = match self.spelt[kind as usize].get(key.name()) {
            Some(Meaning::Family(at)) => &self.families[*at],
            Some(Meaning::Rejected(records)) => return Some(Found::Rejected(Arc::clone(records))),
            Some(Meaning::Excluded) => return Some(Found::Excluded),
            None if self.names[kind as usize] >= MAX_NAMES => return Some(Found::Refused),
            None => return None,
        };
        let key = family.key(key, &config.global_labels);
        match self.series[kind as usize].get(&*key) {
            Some(series) => Some(Found::Series(Arc::clone(series))),
            None if family.is_beyond(&key) => family.fold(&key).map(Found::Series),
            None => None,
        }
    }

    /// Looks up a key, and opens its family and series if they are new.
    pub(super) fn open(&mut self, key: &Key, kind: MetricKind, config: &Config) -> Found {
        // Another thread may have opened it since the look-up.
        if let Some(found) = self.find(key, kind, config) {
            return found;
        }
        let at = match self.meaning(key.name(), kind, config) {
            Meaning::Family(at) => at,
            Meaning::Rejected(records) => return Found::Rejected(records),
            Meaning::Excluded => return Found::Excluded,
        };
        let family = &mut self.families[at];
        let key = family.key(key, &config.global_labels);
        if let Some(known) = self.series[kind as usize].get(&*key) {
            return Found::Series(Arc::clone(known));
        }
        if family.is_beyond(&key) {
            if family.fold(&key).is_none() {
                family.open_overflow(&key, &config.global_labels);
            }
            return family.fold(&key).map_or(Found::Refused, Found::Series);
        }
        let opened = family.open(&key, &config.global_labels);
        self.series[kind as usize].insert(key.to_retained(), Arc::clone(&opened));
        Found::Series(opened)
    }

    /// Returns the meaning of a name, which is decided when the name is first used.
    fn meaning(&mut self, spelling: &str, kind: MetricKind, config: &Config) -> Meaning {
        let sanitized = sanitized(spelling);
        let canonical = canonical(&sanitized, kind).to_owned();
        if let Some(known) = self.spelt[kind as usize].get(spelling) {
            return known.clone();
        }
        let meaning = match self.spelt[kind as usize].get(&canonical) {
            Some(known) => known.clone(),
            None => self.decide(spelling, &sanitized, kind, config),
        };
        self.names[kind as usize] += 1;
        for name in [spelling.to_owned(), canonical] {
            self.spelt[kind as usize].insert(name, meaning.clone());
        }
        meaning
    }

    fn decide(&mut self, spelling: &str, sanitized: &str, kind: MetricKind, config: &Config) -> Meaning {
        // One of the crate's own metrics, of another kind: whoever records it means that one.
        if let Some(metric) = own(spelling) {
            return self.reject(metric.prometheus.to_owned(), metric.name.to_owned(), spelling);
        }
        let (help, unit) = self.described.get(sanitized).cloned().unwrap_or((SharedString::const_str(""), None));
        let name = exposed(sanitized, kind, unit);
        if [spelling, sanitized, &name].iter().any(|name| config.exclude.iter().any(|pattern| pattern.matches(name))) {
            return Meaning::Excluded;
        }
        let first = of_samples(&name, kind).find_map(|sample| self.named.get(&sample).copied());
        if let Some(first) = first {
            let first = self.families[first].spelling.as_str().to_owned();
            return self.reject(name, first, spelling);
        }
        let bounds = self.bounds.get(sanitized).cloned().unwrap_or_else(|| Arc::from(DEFAULT_BUCKETS));
        let bounds = Bounds::new(if kind == MetricKind::Histogram { bounds } else { Arc::default() });
        let about = About { name: name.into(), kind, help: (*help).into(), decimals: 0 };
        let limit = match config.genai_metrics().any(|metric| *metric.prometheus == *about.name) {
            // Pairs are bounded themselves, and have one label set for each operation and class of errors.
            true => config.max_series.saturating_mul(SETS_OF_A_PAIR),
            false => config.max_series,
        };
        let spelling = KeyName::from(spelling.to_owned());
        Meaning::Family(self.add(Family::new(Arc::new(about), spelling, bounds, limit)))
    }

    fn reject(&mut self, name: String, first: String, spelling: &str) -> Meaning {
        let records = Arc::default();
        let meaning = Meaning::Rejected(Arc::clone(&records));
        self.rejected.push(Rejection { name, spellings: [first, spelling.to_owned()], records });
        meaning
    }

    fn add(&mut self, family: Family) -> usize {
        let at = self.families.len();
        self.named.extend(of_samples(&family.about.name, family.about.kind).map(|name| (name, at)));
        self.families.push(family);
        at
    }

    /// Keeps a description. A family that is open already keeps its name and gets the text. Returns the families whose text has
    /// changed.
    pub(super) fn describe(&mut self, name: &str, unit: Option<Unit>, description: SharedString) -> Vec<Arc<About>> {
        let name = sanitized(name);
        let mut described = Vec::new();
        for kind in [MetricKind::Counter, MetricKind::Gauge, MetricKind::Histogram] {
            if let Some(Meaning::Family(at)) = self.spelt[kind as usize].get(canonical(&name, kind)) {
                let about = &mut self.families[*at].about;
                if about.help.is_empty() && !description.is_empty() {
                    *about = Arc::new(About { help: (*description).into(), ..(**about).clone() });
                    described.push(Arc::clone(about));
                }
            }
        }
        if self.described.len() < MAX_DESCRIPTIONS {
            self.described.entry(name).or_insert((description, unit));
        }
        described
    }
}
