//! The account of what was beyond a bound.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::family::MAX_NAMES;
use super::sink::Sink;

/// The metric under which pairs of provider and model are counted, which are folded for all `llm` metrics together.
pub(super) const LLM: &str = "llm";

/// The metric under which names are counted that are left out.
pub(super) const NAMES: &str = "other";

/// Families with more label sets than they may have, and those of them that have not been reported.
#[derive(Default)]
pub(super) struct Overflow {
    families: Mutex<Families>,
}

#[derive(Default)]
struct Families {
    known: HashSet<String>,
    unreported: Vec<String>,
}

impl Overflow {
    /// Counts a label set that was folded.
    pub(super) fn count(&self, family: &str, sink: &Sink) {
        sink.label_overflow(family).increment(1);
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if !families.known.contains(family) {
            families.known.insert(family.to_owned());
            families.unreported.push(family.to_owned());
        }
    }

    /// Logs each family once; for upkeep, as recording never logs.
    pub(super) fn report(&self, limit: usize) {
        let unreported = std::mem::take(&mut self.families.lock().unwrap_or_else(PoisonError::into_inner).unreported);
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
