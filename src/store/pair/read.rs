//! What readers get of a pair.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{CALL_COMPLETION, CALL_PROMPT, COUNTS, LAST_SUCCESS_IS_SET, Pair, SINGLE_DURATIONS, bit};
use crate::catalog;
use crate::series::{LazyHistogram, LimitGauge, PairCounter};
use crate::snapshot::Labels;
use crate::store::columns::Columns;
use crate::store::exemplars::Exemplars;
use crate::store::halves::Totals;

impl Pair {
    /// Appends every series to its family.
    pub(in crate::store) fn read(&self, columns: &mut Columns) {
        let shown = self.shown.load(Ordering::Relaxed);
        let exemplars = match self.exemplars.try_lock() {
            Ok(exemplars) => exemplars.clone(),
            // Exemplars are only examples: it is better to leave them out than to wait.
            Err(_) => Exemplars::default(),
        };
        self.calls.read(|totals| {
            for counter in PairCounter::all() {
                let value = value(totals, counter);
                if value > 0 || shown & bit(counter) != 0 {
                    let labels = self.labels_of(counter);
                    columns.counter(counter, labels, value, exemplars.of_counter(counter));
                }
            }
            columns.duration(&self.labels, &totals.buckets, totals.sum, &exemplars);
            if totals.overflows > 0 {
                self.count_invalid_durations(mem::take(&mut totals.overflows));
            }
        });
        columns.gauge(&catalog::IN_FLIGHT, Labels::new(Arc::clone(&self.labels)), self.in_flight.get());
        if shown & LAST_SUCCESS_IS_SET != 0 {
            columns.gauge(&catalog::LAST_SUCCESS, Labels::new(Arc::clone(&self.labels)), self.last_success.get());
        }
        for histogram in LazyHistogram::ALL {
            if let Some(samples) = self.lazy[histogram as usize].get() {
                columns.histogram(&histogram.metric(), &self.labels, |family| {
                    samples.read(family);
                    if histogram == LazyHistogram::FirstChunk {
                        let exemplars = exemplars.of_first_chunks();
                        exemplars.for_each(|(bucket, exemplar)| family.push_exemplar(bucket, exemplar));
                    }
                });
            }
        }
        self.read_costs(columns);
        if let Some(limits) = self.rate_limits.get() {
            let shown = limits.shown.load(Ordering::Relaxed);
            for limit in LimitGauge::all().filter(|limit| shown & 1 << limit.index() != 0) {
                let labels = Labels::with(Arc::clone(&self.labels), limit.third());
                columns.gauge(&limit.metric(), labels, limits.gauges[limit.index()].get());
            }
        }
    }

    fn labels_of(&self, counter: PairCounter) -> Labels {
        match counter.third() {
            Some(third) => Labels::with(Arc::clone(&self.labels), third),
            None => Labels::new(Arc::clone(&self.labels)),
        }
    }
}

/// Returns what readers get of a counter.
pub(super) fn value(totals: &Totals<COUNTS>, counter: PairCounter) -> u64 {
    let count = |place: usize| totals.counts[place];
    let own = count(counter.index());
    match counter {
        PairCounter::REQUESTS => {
            let durations = totals.buckets.iter().fold(0_u64, |sum, more| sum.saturating_add(*more));
            own.saturating_add(durations.saturating_sub(count(SINGLE_DURATIONS)))
        }
        PairCounter::TOKENS => own.saturating_add(count(CALL_PROMPT)).saturating_add(count(CALL_COMPLETION)),
        PairCounter::PROMPT => own.saturating_add(count(CALL_PROMPT)),
        PairCounter::COMPLETION => own.saturating_add(count(CALL_COMPLETION)),
        _ => own,
    }
}
