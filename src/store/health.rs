//! The metrics of the store about itself: label sets beyond a bound, and invalid samples.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::SharedString;

use super::Store;
use super::admitted::{Admitted, MAX_NAMES};
use super::named::MAX_KINDS;
use crate::catalog::{self, METADATA, METRICS, Metric, MetricKind};
use crate::lock::unpoisoned;

/// The label of kinds of tasks beyond the bound.
const KINDS: &str = "llm_task_kind";

/// What was logged, and what was passed to the added recorders.
#[derive(Default)]
pub(super) struct Reported {
    /// The metrics of which it was logged that they have too many label sets.
    full: Vec<String>,
    has_too_many_names: bool,
    /// The number of rejected families that were logged. Their list only grows.
    rejected: usize,
    /// The counts that were passed to the added recorders, by metric and the value of its label.
    forwarded: HashMap<(&'static str, String), u64>,
}

impl Store {
    /// Returns the counts of a metric about the store, each with the value of its only label.
    pub(super) fn own_counts(&self, metric: &Metric, admitted: &Admitted) -> Vec<(String, u64)> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let families = admitted.families.iter().map(|family| (&*family.about.name, family));
        if metric.name == catalog::LABEL_OVERFLOW.name {
            let folded = families.map(|(name, family)| (name.to_owned(), load(&family.folded)));
            let names = ("other".to_owned(), load(&self.refused_names));
            let counts = folded.chain([names]).filter(|(_, count)| *count > 0);
            // A metric of the program may be called `llm` or `other` too.
            let named = [("llm_task", &self.tasks), (KINDS, &self.kinds), ("llm_tool", &self.tools)];
            let named = named.map(|(label, names)| (label.to_owned(), names.folded()));
            let named = named.into_iter().filter(|(_, count)| *count > 0);
            summed([("llm".to_owned(), self.pairs.folded())].into_iter().chain(named).chain(counts))
        } else if metric.name == catalog::INVALID_SAMPLES.name {
            let invalid = families.enumerate().map(|(at, (name, family))| {
                let is_shown = at < METRICS.len() && family.about.kind == MetricKind::Histogram;
                (is_shown, name.to_owned(), load(&family.invalid))
            });
            let rejected = admitted.rejected.iter().map(|of| (false, of.name.clone(), load(&of.records)));
            // A name may be rejected for two kinds, beside the family that has it.
            let counts = invalid.chain(rejected).filter(|(is_shown, _, count)| *is_shown || *count > 0);
            summed(counts.map(|(_, name, count)| (name, count)))
        } else {
            Vec::new()
        }
    }

    /// Logs once for each metric that label sets were beyond its bound, or that its name was rejected, and passes the counts to the
    /// added recorders. It is called from time to time, because recording never logs.
    pub(crate) fn report(&self) {
        self.ledger.publish(self);
        self.call_budgets();
        let mut lines = Vec::new();
        for pair in self.pairs.all().iter().filter(|pair| pair.has_to_tell_of_missing_cost()) {
            lines.push(format!(
                "the cost of calls to {} {} is unknown, since it has no price: add one by `PriceBook::with_price`, or a file by \
                 BOTTICELLI_OBS_PRICES; llm_cost_lookups_total counts these calls",
                pair.provider, pair.model
            ));
        }
        let mut forward = Vec::new();
        {
            let mut reported = unpoisoned(self.reported.lock());
            let admitted = unpoisoned(self.admitted.read());
            for (metric, _) in
                self.own_counts(&catalog::LABEL_OVERFLOW, &admitted).iter().filter(|(_, count)| *count > 0)
            {
                if metric == "other" {
                    if !std::mem::replace(&mut reported.has_too_many_names, true) {
                        lines.push(format!(
                            "there are more than {MAX_NAMES} metric names, and further ones are left out: put what changes at run \
                             time into a label"
                        ));
                    }
                } else if !reported.full.contains(metric) {
                    reported.full.push(metric.clone());
                    lines.push(if metric == KINDS {
                        format!("tasks have more than {MAX_KINDS} kinds, and further ones are recorded as `other`")
                    } else {
                        format!(
                            "{metric} has more than {} label sets, and what is beyond is recorded as `other`: see which label \
                             takes its values from users, or raise the bound by `Builder::with_max_series`",
                            self.config.max_series
                        )
                    });
                }
            }
            for rejection in &admitted.rejected[reported.rejected..] {
                let [first, second] = &rejection.spellings;
                lines.push(format!(
                    "`{second}` would have the name {} on the page, which `{first}` has: what is recorded as `{second}` is left \
                     out and counts as invalid; rename one of them",
                    rejection.name
                ));
            }
            reported.rejected = admitted.rejected.len();
            if !self.extras.is_empty() {
                for metric in [&catalog::LABEL_OVERFLOW, &catalog::INVALID_SAMPLES] {
                    for (value, count) in self.own_counts(metric, &admitted) {
                        let known = reported.forwarded.insert((metric.name, value.clone()), count);
                        if known != Some(count) {
                            forward.push((metric.key([SharedString::from(value)]), count));
                        }
                    }
                }
            }
        }
        // Without the locks: an added recorder or a subscriber may record something itself.
        for line in lines {
            tracing::warn!(target: "botticelli_obs", "metrics: {line}");
        }
        for (key, count) in forward {
            self.extras.iter().for_each(|extra| extra.register_counter(&key, &METADATA).absolute(count));
        }
    }
}

/// Adds up the counts of each name, in the order in which the names come.
fn summed(counts: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for (name, count) in counts {
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => sums.push((name, count)),
        }
    }
    sums
}

/// The state of reports, behind a lock that only the reporting thread takes.
pub(super) type Reports = Mutex<Reported>;
