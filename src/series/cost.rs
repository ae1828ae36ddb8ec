//! The series of what calls cost.

use crate::catalog::{self, Metric};
use crate::cost::{CostOutcome, CostStatus};

/// A counter of cost that a provider and model has once a cost is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CostCounter(u8);

impl CostCounter {
    const STATUSES: usize = CostOutcome::ALL.len();

    /// How many there are.
    pub(crate) const COUNT: usize = Self::STATUSES + CostStatus::ALL.len();

    /// The third labels, in the order of the counters.
    const LABELS: [(&str, &str); Self::COUNT] = {
        let mut labels = [("", ""); Self::COUNT];
        let mut at = 0;
        while at < Self::COUNT {
            labels[at] = if at < Self::STATUSES {
                (catalog::COST.labels[2], CostOutcome::ALL[at].as_str())
            } else {
                (catalog::COST_LOOKUPS.labels[2], CostStatus::ALL[at - Self::STATUSES].as_str())
            };
            at += 1;
        }
        labels
    };

    /// What calls of an outcome have cost, in nano-USD.
    pub(crate) const fn cost(outcome: CostOutcome) -> Self {
        Self(outcome as u8)
    }

    /// How many costs were looked up with this result.
    pub(crate) const fn lookups(status: CostStatus) -> Self {
        Self(Self::STATUSES as u8 + status as u8)
    }

    #[cfg(feature = "install")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn metric(self) -> Metric {
        if self.index() < Self::STATUSES { catalog::COST } else { catalog::COST_LOOKUPS }
    }

    /// The third label, its name and value.
    pub(crate) fn third(self) -> &'static (&'static str, &'static str) {
        static LABELS: [(&str, &str); CostCounter::COUNT] = CostCounter::LABELS;
        &LABELS[self.index()]
    }
}

/// The price of one kind of token.
#[cfg(feature = "install")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PriceGauge(u8);

#[cfg(feature = "install")]
impl PriceGauge {
    /// The kinds, as they are on labels.
    const KINDS: [(&str, &str); 5] =
        [("kind", "input"), ("kind", "output"), ("kind", "cache_read"), ("kind", "cache_write"), ("kind", "reasoning")];

    /// How many there are.
    pub(crate) const COUNT: usize = Self::KINDS.len();

    pub(crate) fn of(kind: &str) -> Option<Self> {
        Self::KINDS.iter().position(|(_, known)| *known == kind).map(|at| Self(at as u8))
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The third label, its name and value.
    pub(crate) fn third(self) -> &'static (&'static str, &'static str) {
        static LABELS: [(&str, &str); PriceGauge::COUNT] = PriceGauge::KINDS;
        &LABELS[self.index()]
    }
}
