//! The account of what was beyond a bound.

use std::sync::{Mutex, PoisonError, RwLock};

use hashbrown::HashMap;
use metrics::Counter;

use super::family::MAX_NAMES;
use super::sink::Sink;

/// The metric under which pairs of provider and model are counted, which are folded for all `llm` metrics together.
pub(super) const LLM: &str = "llm";

/// The metric under which names are counted that are left out.
pub(super) const NAMES: &str = "other";

/// Families with more label sets than they may have.
#[derive(Default)]
pub(super) struct Overflow {
    counters: RwLock<HashMap<String, Counter>>,
    unreported: Mutex<Vec<String>>,
}

impl Overflow {
    /// Counts a label set that was folded.
    pub(super) fn count(&self, family: &str, sink: &Sink) {
        if let Some(counter) = self.counters.read().unwrap_or_else(PoisonError::into_inner).get(family) {
            return counter.increment(1);
        }
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry_ref(family).or_insert_with(|| {
            self.unreported.lock().unwrap_or_else(PoisonError::into_inner).push(family.to_owned());
            sink.label_overflow(family)
        });
        counter.increment(1);
    }

    /// Logs each family once; for upkeep, as recording never logs.
    pub(super) fn report(&self, limit: usize) {
        let unreported = std::mem::take(&mut *self.unreported.lock().unwrap_or_else(PoisonError::into_inner));
        for family in unreported {
            if family == NAMES {
                tracing::warn!(
                    target: "botticelli_obs",
                    "metrics: there are more than {MAX_NAMES} metric names, and further ones are left out: put what changes at \
                     run time into a label"
                );
            } else {
                tracing::warn!(
                    target: "botticelli_obs",
                    "metrics: {family} has more than {limit} label sets, and what is beyond is recorded as `other`: see which \
                     label takes its values from users, or raise the bound by `Builder::with_max_series`"
                );
            }
        }
    }
}
