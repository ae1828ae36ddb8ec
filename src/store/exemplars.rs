//! The last sample of each bucket that has a trace.

use crate::series::{PairCounter, TraceIds, unix_time};
use crate::snapshot::Exemplar;

/// The exemplars of one provider and model. The calls of a pair use few of the buckets, so a short list is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct Exemplars(Vec<(Of, Exemplar)>);

/// The bucket or counter that an exemplar belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A bucket of the durations.
    Duration(usize),
    /// A bucket of the times to the first chunk.
    FirstChunk(usize),
    Counter(PairCounter),
}

impl Exemplars {
    /// Keeps a sample, which replaces the last one of its bucket.
    pub(super) fn keep(&mut self, of: Of, ids: TraceIds, value: f64) {
        let exemplar = Exemplar { ids, value, time: unix_time() };
        match self.0.iter_mut().find(|(known, _)| *known == of) {
            Some((_, kept)) => *kept = exemplar,
            None => self.0.push((of, exemplar)),
        }
    }

    pub(super) fn of_counter(&self, counter: PairCounter) -> Option<Exemplar> {
        self.0.iter().find(|(of, _)| *of == Of::Counter(counter)).map(|(_, exemplar)| *exemplar)
    }

    /// Returns the exemplars of the durations by ascending bucket.
    pub(super) fn of_durations(&self) -> impl Iterator<Item = (usize, Exemplar)> {
        self.sorted(|of| if let Of::Duration(bucket) = of { Some(bucket) } else { None })
    }

    /// Returns the exemplars of the times to the first chunk by ascending bucket.
    pub(super) fn of_first_chunks(&self) -> impl Iterator<Item = (usize, Exemplar)> {
        self.sorted(|of| if let Of::FirstChunk(bucket) = of { Some(bucket) } else { None })
    }

    fn sorted(&self, bucket: impl Fn(Of) -> Option<usize>) -> impl Iterator<Item = (usize, Exemplar)> {
        let mut found: Vec<_> = self.0.iter().filter_map(|(of, exemplar)| Some((bucket(*of)?, *exemplar))).collect();
        found.sort_unstable_by_key(|(bucket, _)| *bucket);
        found.into_iter()
    }
}
