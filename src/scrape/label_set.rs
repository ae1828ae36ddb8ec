//! The label sets that have series of their own, of metrics that are not per provider and model.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::{HashMap, HashSet};
use metrics::{Key, KeyName, Label, SharedString};

use super::label::OTHER;
use crate::catalog::MetricKind;

/// The label sets of every metric up to the bound; all further ones of a metric share one whose values are `other`.
pub(super) struct LabelSets {
    limit: usize,
    admitted: RwLock<[Admitted; 3]>,
}

#[derive(Default)]
struct Admitted {
    keys: HashSet<Key>,
    metrics: HashMap<KeyName, LabelSetsOf>,
}

/// The label sets of a metric.
struct LabelSetsOf {
    count: usize,
    /// The one that stands for all others. It has the label names of the metric's first: names made up at run time are as many
    /// as values.
    folded: Key,
}

impl LabelSets {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, admitted: RwLock::default() }
    }

    /// Whether a key has been admitted, as it is.
    pub(super) fn has(&self, key: &Key, kind: MetricKind) -> bool {
        self.admitted.read().unwrap_or_else(PoisonError::into_inner)[kind as usize].keys.contains(key)
    }

    /// Admits a clean key, or returns the one to use instead.
    pub(super) fn admit(&self, key: &Key, kind: MetricKind) -> Result<(), Key> {
        if self.has(key, kind) {
            return Ok(());
        }
        if let Some(folded) =
            self.admitted.read().unwrap_or_else(PoisonError::into_inner)[kind as usize].full(key, self.limit)
        {
            return Err(folded);
        }
        let mut admitted = self.admitted.write().unwrap_or_else(PoisonError::into_inner);
        let admitted = &mut admitted[kind as usize];
        if admitted.keys.contains(key) {
            return Ok(());
        }
        if let Some(folded) = admitted.full(key, self.limit) {
            return Err(folded);
        }
        let key = key.to_retained();
        admitted
            .metrics
            .entry(key.name_shared())
            .or_insert_with(|| LabelSetsOf { count: 0, folded: folded(&key) })
            .count += 1;
        admitted.keys.insert(key);
        Ok(())
    }
}

impl Admitted {
    /// Returns the key to use instead, if the metric has as many label sets as it may.
    fn full(&self, key: &Key, limit: usize) -> Option<Key> {
        let of_metric = self.metrics.get(key.name()).filter(|metric| metric.count >= limit)?;
        (of_metric.folded != *key).then(|| of_metric.folded.clone())
    }
}

fn folded(key: &Key) -> Key {
    let other = SharedString::const_str(OTHER);
    let labels: Vec<Label> = key
        .labels()
        .map(|label| Label::new(SharedString::from_shared(Arc::from(label.key())), other.clone()))
        .collect();
    Key::from_parts(key.name_shared(), labels)
}
