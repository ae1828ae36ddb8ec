//! The families with labels `provider` and `model` while a snapshot is taken. Each pair appends its series.

use std::sync::Arc;

use super::exemplars::Exemplars;
use crate::catalog::{self, METRICS, Metric, place};
use crate::series::PairCounter;
use crate::snapshot::{About, Exemplar, Family, Histograms, LabelSet, Labels, Values};

/// The families of pairs by their index in the catalogue. `None` if the family is not one of pairs, or is excluded.
pub(super) struct Columns {
    families: Vec<Option<Family>>,
    counters: [usize; PairCounter::COUNT],
}

impl Columns {
    /// Creates empty families from the description and the bounds of each metric.
    pub(super) fn new(about: impl Fn(&Metric) -> Option<(Arc<About>, Arc<[f64]>)>) -> Self {
        let family = |metric| about(metric).map(|(about, bounds)| Family::new(about, bounds));
        let mut counters = [0; PairCounter::COUNT];
        for counter in PairCounter::all() {
            counters[counter.index()] = place(&counter.metric());
        }
        Self { families: METRICS.iter().map(family).collect(), counters }
    }

    pub(super) fn counter(&mut self, counter: PairCounter, labels: Labels, value: u64, exemplar: Option<Exemplar>) {
        let Some(Family { labels: all, values: Values::Counters { counts, exemplars }, .. }) =
            &mut self.families[self.counters[counter.index()]]
        else {
            return;
        };
        exemplars.extend(exemplar.map(|exemplar| (counts.len(), exemplar)));
        all.push(labels);
        counts.push(value);
    }

    /// Appends a counter that is not one of [`PairCounter`].
    pub(super) fn count(&mut self, metric: &Metric, labels: Labels, value: u64) {
        if let Some(Family { labels: all, values: Values::Counters { counts, .. }, .. }) =
            &mut self.families[place(metric)]
        {
            all.push(labels);
            counts.push(value);
        }
    }

    pub(super) fn duration(&mut self, labels: &Arc<LabelSet>, counts: &[u64], sum: f64, exemplars: &Exemplars) {
        self.histogram(&catalog::DURATION, labels, |family| {
            family.push(counts, sum);
            exemplars.of_durations().for_each(|(bucket, exemplar)| family.push_exemplar(bucket, exemplar));
        });
    }

    pub(super) fn gauge(&mut self, metric: &Metric, labels: Labels, value: f64) {
        if let Some(Family { labels: all, values: Values::Gauges(values), .. }) = &mut self.families[place(metric)] {
            all.push(labels);
            values.push(value);
        }
    }

    pub(super) fn histogram(&mut self, metric: &Metric, labels: &Arc<LabelSet>, push: impl FnOnce(&mut Histograms)) {
        if let Some(Family { labels: all, values: Values::Histograms(histograms), .. }) =
            &mut self.families[place(metric)]
        {
            all.push(Labels::new(Arc::clone(labels)));
            push(histograms);
        }
    }

    /// Takes the family at an index of the catalogue. Returns `None` if it is not one of pairs.
    pub(super) fn take(&mut self, place: usize) -> Option<Family> {
        self.families.get_mut(place)?.take()
    }
}
