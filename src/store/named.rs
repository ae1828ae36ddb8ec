//! Labels that are bounded by themselves: names of tasks, their kinds, and tools.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use metrics::SharedString;

use super::label::{OTHER, UNKNOWN};
use crate::label::clean_value;
use crate::lock::unpoisoned;

/// How many kinds of tasks are kept apart.
pub(super) const MAX_KINDS: usize = 16;

/// The names of one label. A label set has such a name, or `other` instead of it, and keeps its further labels: sums over these stay
/// right beyond the bound.
pub(super) struct Names {
    limit: usize,
    admitted: RwLock<HashSet<Arc<str>>>,
    /// How many times a name beyond the bound was looked up.
    folded: AtomicU64,
}

impl Names {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, admitted: RwLock::default(), folded: AtomicU64::new(0) }
    }

    /// Returns a name as it is on labels.
    pub(super) fn admit(&self, name: &str) -> SharedString {
        let name = clean_value(name.trim());
        if name.is_empty() {
            return SharedString::const_str(UNKNOWN);
        }
        if *name == *OTHER {
            return SharedString::const_str(OTHER);
        }
        let known = unpoisoned(self.admitted.read()).get(&*name).map(Arc::clone);
        let known = known.or_else(|| {
            let mut admitted = unpoisoned(self.admitted.write());
            if admitted.len() < self.limit {
                admitted.insert(Arc::from(&*name));
            }
            admitted.get(&*name).map(Arc::clone)
        });
        match known {
            Some(name) => SharedString::from_shared(name),
            None => {
                self.folded.fetch_add(1, Ordering::Relaxed);
                SharedString::const_str(OTHER)
            }
        }
    }

    pub(super) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }
}
