//! The totals of a run by provider and model, to be printed at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::catalog;
use crate::snapshot::{Family, Snapshot, Value};

/// Sums up the calls of a run by provider and model; returned by [`Telemetry::summary`](crate::Telemetry::summary).
///
/// `Display` writes a table, without a line end after the last row:
///
/// ```text
/// provider  model             calls  errors  tokens     p50     p95
/// gemini    gemini-2.5-flash     40       2    5120  0.84 s  2.31 s
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    models: Vec<ModelSummary>,
}

/// The totals of one provider and model in a [`Summary`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelSummary {
    /// The label `provider` on the page.
    pub provider: String,
    /// The label `model` on the page: the requested model.
    pub model: String,
    /// The number of calls that have ended, with any outcome.
    pub calls: u64,
    /// The number of calls that did not succeed.
    pub errors: u64,
    /// The sum of prompt and completion tokens.
    pub tokens: u64,
    /// The median duration of a call, estimated from the histogram's buckets; `None` before the first call has ended.
    pub p50: Option<Duration>,
    /// The 95th percentile of the duration, estimated in the same way.
    pub p95: Option<Duration>,
}

impl Summary {
    /// Returns the totals of each provider and model, ordered by provider and then model.
    pub fn models(&self) -> &[ModelSummary] {
        &self.models
    }

    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut pairs: BTreeMap<(&str, &str), ModelSummary> = BTreeMap::new();
        for metric in [catalog::REQUESTS, catalog::ERRORS, catalog::TOKENS, catalog::DURATION] {
            for (labels, value) in snapshot.family(metric.prometheus).into_iter().flat_map(Family::series) {
                let pair = (labels.get(metric.labels[0]), labels.get(metric.labels[1]));
                let summary = pairs.entry(pair).or_default();
                match value {
                    Value::Counter(more) if metric.name == catalog::REQUESTS.name => add(&mut summary.calls, more),
                    Value::Counter(more) if metric.name == catalog::ERRORS.name => add(&mut summary.errors, more),
                    Value::Counter(more) => add(&mut summary.tokens, more),
                    // There is one histogram for each pair.
                    Value::Histogram(durations) => {
                        let quantile = |quantile| Duration::try_from_secs_f64(durations.quantile(quantile)?).ok();
                        (summary.p50, summary.p95) = (quantile(0.5), quantile(0.95));
                    }
                    Value::Gauge(_) => {}
                }
            }
        }
        let models = pairs.into_iter().map(|((provider, model), summary)| ModelSummary {
            provider: provider.to_owned(),
            model: model.to_owned(),
            ..summary
        });
        Self { models: models.collect() }
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        let head = ["provider", "model", "calls", "errors", "tokens", "p50", "p95"].map(str::to_owned);
        let lines = self.models.iter().map(|model| {
            let numbers = [model.calls, model.errors, model.tokens].map(|number| number.to_string());
            let [calls, errors, tokens] = numbers;
            let (provider, name) = (model.provider.clone(), model.model.clone());
            [provider, name, calls, errors, tokens, seconds(model.p50), seconds(model.p95)]
        });
        let lines: Vec<[String; 7]> = std::iter::once(head).chain(lines).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for (index, line) in lines.iter().enumerate() {
            let [provider, model, numbers @ ..] = line;
            write!(f, "{}{provider:<1$}  {model:<2$}", if index == 0 { "" } else { "\n" }, widths[0], widths[1])?;
            for (number, width) in numbers.iter().zip(&widths[2..]) {
                write!(f, "  {number:>width$}")?;
            }
        }
        Ok(())
    }
}
