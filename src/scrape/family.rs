//! Which family of the page a program's metric belongs to.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use metrics::KeyName;
use metrics_exporter_prometheus::formatting::sanitize_metric_name;

use crate::catalog::{METRICS, MetricKind};

/// How many names of each kind a program may use.
pub(super) const MAX_NAMES: usize = 1_000;

/// The names a program has used. Several may mean one family of the page: as `jobs.done` and `jobs_done` the exporter would
/// let one overwrite the other, and as two kinds it would show the family twice, which `promtool` and others refuse.
pub(super) struct Families {
    names: RwLock<Names>,
}

/// Why a metric is not on the page.
pub(super) enum Refusal {
    /// Another metric has the family.
    Taken,
    /// The program has made up more names than there may be.
    TooMany,
}

#[derive(Default)]
struct Names {
    /// By kind: how a name is to be spelt, or `None` if it can't be shown.
    decided: [HashMap<String, Option<KeyName>>; 3],
    /// What is on the page: families with kind and first spelling, and the names of histograms' samples.
    taken: HashMap<String, Option<(MetricKind, KeyName)>>,
}

impl Families {
    pub(super) fn new() -> Self {
        let own = METRICS.iter().flat_map(|metric| samples(metric.prometheus, metric.kind));
        let taken = own.map(|name| (name, None)).collect();
        Self { names: RwLock::new(Names { taken, ..Names::default() }) }
    }

    /// Returns the first spelling of the name's family.
    pub(super) fn spelling(&self, name: &str, kind: MetricKind) -> Result<KeyName, Refusal> {
        let decided = self.names.read().unwrap_or_else(PoisonError::into_inner).decided(name, kind);
        decided.unwrap_or_else(|| {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have been here meanwhile.
            names.decided(name, kind).unwrap_or_else(|| {
                let spelling = names.decide(name, kind);
                names.decided[kind as usize].insert(name.to_owned(), spelling.clone());
                spelling.ok_or(Refusal::Taken)
            })
        })
    }
}

impl Names {
    /// What has been decided of a name, or of all that come now; `None` where it is to be decided.
    fn decided(&self, name: &str, kind: MetricKind) -> Option<Result<KeyName, Refusal>> {
        let decided = &self.decided[kind as usize];
        match decided.get(name) {
            Some(spelling) => Some(spelling.clone().ok_or(Refusal::Taken)),
            None => (decided.len() >= MAX_NAMES).then_some(Err(Refusal::TooMany)),
        }
    }

    fn decide(&mut self, name: &str, kind: MetricKind) -> Option<KeyName> {
        let family = family(name, kind);
        if let Some(Some((of_kind, spelling))) = self.taken.get(&family) {
            return (*of_kind == kind).then(|| spelling.clone());
        }
        let samples = samples(&family, kind);
        if samples.iter().any(|sample| self.taken.contains_key(sample)) {
            return None;
        }
        let spelling = KeyName::from(name.to_owned());
        self.taken.extend(samples.into_iter().map(|sample| (sample, None)));
        self.taken.insert(family, Some((kind, spelling.clone())));
        Some(spelling)
    }
}

/// The name of the family, as the exporter makes it where no unit is described.
pub(super) fn family(name: &str, kind: MetricKind) -> String {
    let name = sanitize_metric_name(name);
    if kind == MetricKind::Counter && !name.ends_with("total") { name + "_total" } else { name }
}

/// The names a family takes on the page.
fn samples(family: &str, kind: MetricKind) -> Vec<String> {
    let parts: &[&str] = if kind == MetricKind::Histogram { &["", "_bucket", "_sum", "_count"] } else { &[""] };
    parts.iter().map(|part| format!("{family}{part}")).collect()
}
