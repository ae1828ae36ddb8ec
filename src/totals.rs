//! The totals of each provider and model in a snapshot, as the console and `botticelli-obs top` show them.

use std::collections::HashMap;

use crate::catalog;
use crate::error_type::ErrorType;
use crate::snapshot::{Distribution, Labels, Snapshot, Value};

/// The totals since the start of the program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) models: Vec<Model>,
    /// The bounds of the durations, and of the times to the first chunk.
    pub(crate) bounds: [Vec<f64>; 2],
}

/// The totals of one provider and model, or of several together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) labels: Labels,
    pub(crate) calls: u64,
    pub(crate) errors: [u64; ErrorType::ALL.len()],
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) cache_read: u64,
    pub(crate) attempts: u64,
    /// In nano-dollars; `None` where nothing is known of costs.
    pub(crate) cost: Option<u64>,
    /// Calls whose cost is not known, or known in part.
    pub(crate) unpriced: u64,
    pub(crate) in_flight: f64,
    pub(crate) last_success: f64,
    pub(crate) durations: Box<[u64]>,
    pub(crate) first_chunks: Box<[u64]>,
}

/// The decimals of [`Model::cost`].
pub(crate) const COST_DECIMALS: u8 = 9;

impl Totals {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut totals = Self::default();
        let mut places = HashMap::new();
        for family in &snapshot.families {
            let Some(fact) = Fact::of(&family.about.name) else { continue };
            for (labels, value) in family.series() {
                let pair = [labels.get("provider"), labels.get("model")];
                let place = *places.entry(pair).or_insert_with(|| {
                    totals.models.push(Model { labels: labels.clone(), ..Model::default() });
                    totals.models.len() - 1
                });
                let model = &mut totals.models[place];
                match (fact, value) {
                    (Fact::Calls, Value::Counter(count)) => model.calls += count,
                    (Fact::Errors, Value::Counter(count)) => {
                        let class = labels.get("error_type").parse().unwrap_or(ErrorType::Unknown);
                        model.errors[class as usize] += count;
                    }
                    (Fact::Prompt, Value::Counter(count)) => model.prompt += count,
                    (Fact::Completion, Value::Counter(count)) => model.completion += count,
                    (Fact::CacheRead, Value::Counter(count)) => model.cache_read += count,
                    (Fact::Attempts, Value::Counter(count)) => model.attempts += count,
                    (Fact::Cost, Value::Counter(count)) => {
                        let is_nano = *family.about.name == *COST_IN_NANO_DOLLARS;
                        let decimals = if is_nano { COST_DECIMALS } else { family.about.decimals };
                        let cost = in_decimals(count, decimals, COST_DECIMALS);
                        model.cost = Some(model.cost.unwrap_or(0).saturating_add(cost));
                    }
                    (Fact::CostLookups, Value::Counter(count)) => {
                        if matches!(labels.get("status"), "missing" | "partial") {
                            model.unpriced += count;
                        }
                    }
                    (Fact::InFlight, Value::Gauge(value)) => model.in_flight += value,
                    (Fact::LastSuccess, Value::Gauge(value)) => model.last_success = value,
                    (Fact::Durations, Value::Histogram(distribution)) => {
                        add(&mut model.durations, &mut totals.bounds[0], &distribution);
                    }
                    (Fact::FirstChunks, Value::Histogram(distribution)) => {
                        add(&mut model.first_chunks, &mut totals.bounds[1], &distribution);
                    }
                    _ => {}
                }
            }
        }
        totals
    }

    /// Returns the totals of all models together.
    pub(crate) fn sum(&self) -> Model {
        let mut sum = Model::default();
        self.models.iter().for_each(|model| sum.add(model));
        sum
    }

    pub(crate) fn quantile(&self, of: Times, model: &Model, quantile: f64) -> Option<f64> {
        let counts = match of {
            Times::Durations => &model.durations,
            Times::FirstChunks => &model.first_chunks,
        };
        let bounds = &self.bounds[of as usize];
        (counts.len() == bounds.len() + 1)
            .then(|| Distribution { bounds, counts, sum: 0.0 }.quantile(quantile))
            .flatten()
            .filter(|_| counts.iter().any(|count| *count > 0))
    }
}

/// One of the times that have quantiles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    Durations,
    FirstChunks,
}

impl Model {
    pub(crate) fn provider(&self) -> &str {
        self.labels.get("provider")
    }

    pub(crate) fn model(&self) -> &str {
        self.labels.get("model")
    }

    pub(crate) fn error_count(&self) -> u64 {
        self.errors.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
        self.in_flight += other.in_flight;
        self.last_success = self.last_success.max(other.last_success);
    }

    /// Returns what has come since an earlier time; gauges stay.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.combine(earlier, u64::saturating_sub);
        since
    }

    fn combine(&mut self, other: &Self, combine: fn(u64, u64) -> u64) {
        for (count, other) in [
            (&mut self.calls, other.calls),
            (&mut self.prompt, other.prompt),
            (&mut self.completion, other.completion),
            (&mut self.cache_read, other.cache_read),
            (&mut self.attempts, other.attempts),
            (&mut self.unpriced, other.unpriced),
        ] {
            *count = combine(*count, other);
        }
        if let Some(other) = other.cost {
            self.cost = Some(combine(self.cost.unwrap_or(0), other));
        }
        let all = |counts: &mut [u64], other: &[u64]| {
            counts.iter_mut().zip(other).for_each(|(count, other)| *count = combine(*count, *other));
        };
        all(&mut self.errors, &other.errors);
        for (counts, other) in [(&mut self.durations, &other.durations), (&mut self.first_chunks, &other.first_chunks)]
        {
            if counts.is_empty() {
                *counts = vec![0; other.len()].into();
            }
            all(counts, other);
        }
    }
}

/// A family that the console reads by provider and model.
#[derive(Clone, Copy)]
enum Fact {
    Calls,
    Errors,
    Durations,
    FirstChunks,
    Prompt,
    Completion,
    CacheRead,
    Attempts,
    InFlight,
    LastSuccess,
    Cost,
    CostLookups,
}

impl Fact {
    fn of(family: &str) -> Option<Self> {
        let facts = [
            (catalog::REQUESTS.prometheus, Self::Calls),
            (catalog::ERRORS.prometheus, Self::Errors),
            (catalog::DURATION.prometheus, Self::Durations),
            (catalog::FIRST_CHUNK.prometheus, Self::FirstChunks),
            (catalog::TOKENS_PROMPT.prometheus, Self::Prompt),
            (catalog::TOKENS_COMPLETION.prometheus, Self::Completion),
            (catalog::TOKENS_CACHE_READ.prometheus, Self::CacheRead),
            (catalog::ATTEMPTS.prometheus, Self::Attempts),
            (catalog::IN_FLIGHT.prometheus, Self::InFlight),
            (catalog::LAST_SUCCESS.prometheus, Self::LastSuccess),
            (catalog::COST.prometheus, Self::Cost),
            (COST_IN_NANO_DOLLARS, Self::Cost),
            (catalog::COST_LOOKUPS.prometheus, Self::CostLookups),
        ];
        facts.into_iter().find(|(name, _)| *name == family).map(|(_, fact)| fact)
    }
}

/// The cost on the page of `metrics-exporter-prometheus`, which has integers alone.
const COST_IN_NANO_DOLLARS: &str = "llm_cost_nano_usd_total";

fn add(counts: &mut Box<[u64]>, bounds: &mut Vec<f64>, distribution: &Distribution<'_>) {
    if bounds.is_empty() {
        *bounds = distribution.bounds.to_vec();
    }
    if counts.is_empty() {
        *counts = distribution.counts.into();
    } else {
        counts.iter_mut().zip(distribution.counts).for_each(|(count, more)| *count = count.saturating_add(*more));
    }
}

/// Converts a count in units of 10^-`from` to units of 10^-`to`.
pub(crate) fn in_decimals(count: u64, from: u8, to: u8) -> u64 {
    let factor = |decimals: u8| 10_u64.saturating_pow(u32::from(decimals));
    if from <= to { count.saturating_mul(factor(to - from)) } else { count / factor(from - to) }
}
