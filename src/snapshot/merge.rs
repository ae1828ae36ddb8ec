//! Snapshots of different times or programs in one.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Distribution, Exemplar, Family, Histograms, Labels, Snapshot, Value, Values};

impl Snapshot {
    /// Adds the totals of a later run: counters and histograms add up, a gauge keeps the later value.
    ///
    /// # Errors
    ///
    /// When a name is of another kind there, or of a sample of another metric, with this name; nothing has been added then.
    pub(crate) fn add(&mut self, later: Self) -> Result<(), String> {
        let names = |family: &Family| {
            let suffixes = family.about.kind.sample_suffixes().iter();
            suffixes.map(|suffix| format!("{}{suffix}", family.about.name)).collect::<Vec<_>>()
        };
        let of_earlier =
            self.families.iter().flat_map(|family| names(family).into_iter().map(move |name| (name, family)));
        let taken: HashMap<String, &Family> = of_earlier.collect();
        for family in &later.families {
            let is_other = |of: &&Family| of.about.name != family.about.name || of.about.kind != family.about.kind;
            if let Some(name) = names(family).into_iter().find(|name| taken.get(name).is_some_and(is_other)) {
                return Err(name);
            }
        }
        for family in later.families {
            match self.families.iter_mut().find(|earlier| earlier.about.name == family.about.name) {
                Some(earlier) => *earlier = earlier.combined(&family, Combine::Add),
                None => self.families.push(family),
            }
        }
        Ok(())
    }

    /// Returns what was counted since an earlier snapshot of the same program: counters and histograms are differences, a gauge is
    /// as it is now. A series that was smaller then has begun anew, and counts whole.
    #[cfg_attr(not(any(test, feature = "otlp-metrics")), expect(dead_code, reason = "for pushes of differences"))]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let since = |family: &Family| match earlier.family(&family.about.name) {
            Some(earlier) if earlier.about.kind == family.about.kind => earlier.combined(family, Combine::Subtract),
            _ => family.clone(),
        };
        Self { families: self.families.iter().map(since).collect() }
    }
}

/// What becomes of the earlier value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combine {
    Add,
    Subtract,
}

impl Combine {
    fn counts(self, earlier: u64, later: u64) -> u64 {
        match self {
            Self::Add => earlier.saturating_add(later),
            Self::Subtract => later.checked_sub(earlier).unwrap_or(later),
        }
    }
}

impl Family {
    /// Combines a later state of this family with this one.
    ///
    /// Series of both are combined. Series of one alone are kept where the two are added, and those of the earlier one alone are
    /// gone where it is subtracted.
    fn combined(&self, later: &Self, combine: Combine) -> Self {
        let decimals = self.about.decimals.max(later.about.decimals);
        // A run that does not describe a metric leaves its description as it is.
        let help = if later.about.help.is_empty() { &self.about.help } else { &later.about.help };
        let about = Arc::new(super::About { decimals, help: help.clone(), ..(*later.about).clone() });
        let bounds = match (&self.values, &later.values) {
            (Values::Histograms(earlier), Values::Histograms(later)) => common(&earlier.bounds, &later.bounds),
            _ => Arc::default(),
        };
        let mut combined = Self::new(about, bounds);
        let mut unseen: HashMap<_, usize> =
            self.labels.iter().enumerate().map(|(at, labels)| (labels.identity(), at)).collect();
        let mut later_alone = Vec::new();
        let mut pairs: Vec<(Option<usize>, Option<usize>)> = Vec::new();
        for (at, labels) in later.labels.iter().enumerate() {
            match unseen.remove(&labels.identity()) {
                Some(earlier) => pairs.push((Some(earlier), Some(at))),
                None => later_alone.push((None, Some(at))),
            }
        }
        if combine == Combine::Add {
            pairs.extend(unseen.into_values().map(|earlier| (Some(earlier), None)));
            // The order of the earlier one, then what is new: a file that is written again and again stays easy to compare.
            pairs.sort_unstable_by_key(|(earlier, _)| *earlier);
        }
        for (of_earlier, of_later) in pairs.into_iter().chain(later_alone) {
            let earlier = of_earlier.map(|at| (&self.labels[at], self.values.at(at), self.exponent(decimals)));
            let now = of_later.map(|at| (&later.labels[at], later.values.at(at), later.exponent(decimals)));
            combined.push_combined(earlier, now, combine);
        }
        combined
    }

    /// Returns by how many powers of ten the counts have to be multiplied to have so many decimals.
    fn exponent(&self, decimals: u8) -> u32 {
        u32::from(decimals - self.about.decimals)
    }

    fn push_combined(
        &mut self,
        earlier: Option<(&Labels, Value<'_>, u32)>,
        later: Option<(&Labels, Value<'_>, u32)>,
        combine: Combine,
    ) {
        let Some((labels, ..)) = later.or(earlier) else { return };
        self.labels.push(labels.clone());
        match &mut self.values {
            Values::Counters { counts, .. } => {
                let count = |of: Option<(&Labels, Value<'_>, u32)>| match of {
                    Some((_, Value::Counter(count), exponent)) => count.saturating_mul(10_u64.saturating_pow(exponent)),
                    _ => 0,
                };
                counts.push(combine.counts(count(earlier), count(later)));
            }
            Values::Gauges(values) => values.push(match later.or(earlier) {
                Some((_, Value::Gauge(value), _)) => value,
                _ => 0.0,
            }),
            Values::Histograms(histograms) => {
                let of = |of: Option<(&Labels, Value<'_>, u32)>| match of {
                    Some((_, Value::Histogram(distribution), _)) => histograms.rebucket(&distribution),
                    _ => (vec![0; histograms.bounds.len() + 1], 0.0),
                };
                let ((earlier, earlier_sum), (later, later_sum)) = (of(earlier), of(later));
                let has_begun_anew =
                    combine == Combine::Subtract && earlier.iter().zip(&later).any(|(earlier, later)| later < earlier);
                if has_begun_anew {
                    histograms.counts.extend(later);
                    histograms.sums.push(later_sum);
                    return;
                }
                let counts = earlier.iter().zip(&later).map(|(earlier, later)| combine.counts(*earlier, *later));
                histograms.counts.extend(counts);
                let sum = if combine == Combine::Add { earlier_sum + later_sum } else { later_sum - earlier_sum };
                histograms.sums.push(sum.clamp(f64::MIN, f64::MAX));
            }
        }
    }
}

impl Histograms {
    /// Returns the counts of a distribution in the buckets of this family, whose bounds it has all, and its sum.
    fn rebucket(&self, distribution: &Distribution<'_>) -> (Vec<u64>, f64) {
        let mut counts = vec![0_u64; self.bounds.len() + 1];
        for (bucket, count) in distribution.counts.iter().enumerate() {
            let bound = distribution.bounds.get(bucket).copied().unwrap_or(f64::INFINITY);
            let bucket = self.bounds.partition_point(|own| *own < bound);
            counts[bucket] = counts[bucket].saturating_add(*count);
        }
        (counts, distribution.sum)
    }

    /// Appends a series.
    pub(crate) fn push(&mut self, counts: &[u64], sum: f64) {
        self.counts.extend_from_slice(counts);
        self.sums.push(sum);
    }

    /// Adds an exemplar to a bucket of the series that was appended last.
    pub(crate) fn push_exemplar(&mut self, bucket: usize, exemplar: Exemplar) {
        let first = self.counts.len() - (self.bounds.len() + 1);
        self.exemplars.push((first + bucket, exemplar));
    }
}

/// Returns the bounds that both have: only at those both know their counts.
fn common(earlier: &Arc<[f64]>, later: &Arc<[f64]>) -> Arc<[f64]> {
    if earlier == later {
        return Arc::clone(later);
    }
    later.iter().copied().filter(|bound| earlier.contains(bound)).collect()
}
