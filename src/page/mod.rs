//! The page as values: read back from the text that Prometheus gets, so that whatever goes another way says the same.

mod text;

use std::collections::HashMap;

use crate::catalog::MetricKind;

/// The families of a page, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    pub(crate) families: Vec<Family>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: MetricKind,
    pub(crate) help: String,
    pub(crate) series: Vec<Series>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram(Distribution),
}

/// A histogram as the page shows it: each bucket counts everything up to its bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    /// Bound and count, both ascending; the last bound is infinite.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) sum: f64,
}

impl Page {
    /// Returns the family of this name.
    pub(crate) fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// Adds the totals of a later run: counters and histograms add up, of a gauge the later value stays.
    ///
    /// # Errors
    ///
    /// When a family is of another kind there, with its name; nothing has been added then.
    pub(crate) fn add(&mut self, later: Self) -> Result<(), String> {
        let of_another_kind = later
            .families
            .iter()
            .find(|family| self.family(&family.name).is_some_and(|earlier| earlier.kind != family.kind));
        if let Some(family) = of_another_kind {
            return Err(family.name.clone());
        }
        for family in later.families {
            match self.families.iter_mut().find(|earlier| earlier.name == family.name) {
                Some(earlier) => earlier.add(family),
                None => self.families.push(family),
            }
        }
        Ok(())
    }
}

impl Family {
    fn add(&mut self, later: Self) {
        self.help = later.help;
        let mut places: HashMap<_, _> =
            self.series.iter().enumerate().map(|(place, series)| (series.identity(), place)).collect();
        for series in later.series {
            match places.get(&series.identity()) {
                Some(&place) => self.series[place].value.add(series.value),
                None => {
                    places.insert(series.identity(), self.series.len());
                    self.series.push(series);
                }
            }
        }
    }
}

impl Series {
    /// Returns the value of a label, empty if there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// Returns what makes it this series: its labels in whatever order.
    fn identity(&self) -> Vec<(String, String)> {
        let mut labels = self.labels.clone();
        labels.sort();
        labels
    }
}

impl Value {
    fn add(&mut self, later: Self) {
        match (self, later) {
            (Self::Counter(sum), Self::Counter(later)) => *sum = sum.saturating_add(later),
            (Self::Histogram(sum), Self::Histogram(later)) => sum.add(&later),
            (value, later) => *value = later,
        }
    }
}

impl Distribution {
    /// Returns how many samples there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |&(_, count)| count)
    }

    /// Adds another one. Of bounds that differ those remain that both have: only there both know their counts.
    pub(crate) fn add(&mut self, later: &Self) {
        self.buckets.retain_mut(|(bound, count)| {
            let found = later.buckets.iter().find(|(other, _)| other == bound);
            *count = count.saturating_add(found.map_or(0, |&(_, later)| later));
            found.is_some()
        });
        self.sum += later.sum;
    }

    /// Estimates a quantile from 0 to 1 as PromQL's `histogram_quantile` does: even within a bucket, the last finite bound for
    /// what lies beyond it; `None` without samples.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let place = self.buckets.iter().position(|&(_, count)| count > 0 && count as f64 >= rank)?;
        let (bound, count) = self.buckets[place];
        let (from, below) = place.checked_sub(1).map_or((0.0, 0), |place| self.buckets[place]);
        if bound.is_infinite() {
            return Some(from);
        }
        Some(from + (bound - from) * (rank - below as f64) / (count - below) as f64)
    }
}

#[cfg(test)]
mod tests;
