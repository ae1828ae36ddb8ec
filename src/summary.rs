//! The totals of a run by provider and model, to be printed at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::catalog;
use crate::cost::{CostStatus, usd};
use crate::snapshot::{Family, Snapshot, Value};

/// Sums up the calls of a run by provider and model; returned by [`Telemetry::summary`](crate::Telemetry::summary).
///
/// `Display` writes a table, without a line end after the last row:
///
/// ```text
/// provider  model             calls  errors  tokens     p50     p95
/// gemini    gemini-2.5-flash     40       2    5120  0.84 s  2.31 s
/// ```
///
/// Where costs were looked up there is one more column, such as `0.0125 USD` or `0.0125 USD, unknown for 3 calls`.
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
    /// What calls have cost in US dollars, as far as it is known; `None` if no cost is.
    pub cost: Option<f64>,
    /// The number of calls whose cost was looked up and is unknown.
    pub cost_unknown: u64,
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
        let mut pairs: BTreeMap<(&str, &str), (ModelSummary, Cost)> = BTreeMap::new();
        let metrics = [
            catalog::REQUESTS,
            catalog::ERRORS,
            catalog::TOKENS,
            catalog::DURATION,
            catalog::COST,
            catalog::COST_LOOKUPS,
        ];
        for metric in metrics {
            for (labels, value) in snapshot.family(metric.prometheus).into_iter().flat_map(Family::series) {
                let pair = (labels.get(metric.labels[0]), labels.get(metric.labels[1]));
                let (summary, cost) = pairs.entry(pair).or_default();
                match value {
                    Value::Counter(more) if metric.name == catalog::REQUESTS.name => add(&mut summary.calls, more),
                    Value::Counter(more) if metric.name == catalog::ERRORS.name => add(&mut summary.errors, more),
                    Value::Counter(more) if metric.name == catalog::TOKENS.name => add(&mut summary.tokens, more),
                    Value::Counter(more) if metric.name == catalog::COST.name => add(&mut cost.nano_usd, more),
                    Value::Counter(more) => match labels.get(metric.labels[2]) == CostStatus::Missing.as_str() {
                        true => summary.cost_unknown = more,
                        false => cost.is_known |= more > 0,
                    },
                    // There is one histogram for each pair.
                    Value::Histogram(durations) => {
                        let quantile = |quantile| Duration::try_from_secs_f64(durations.quantile(quantile)?).ok();
                        (summary.p50, summary.p95) = (quantile(0.5), quantile(0.95));
                    }
                    Value::Gauge(_) => {}
                }
            }
        }
        let models = pairs.into_iter().map(|((provider, model), (summary, cost))| ModelSummary {
            provider: provider.to_owned(),
            model: model.to_owned(),
            cost: cost.is_known.then(|| usd(cost.nano_usd)),
            ..summary
        });
        Self { models: models.collect() }
    }
}

fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// What is known of a pair's cost while it is summed up.
#[derive(Default)]
struct Cost {
    nano_usd: u64,
    is_known: bool,
}

fn cost(model: &ModelSummary) -> String {
    let known = model.cost.map(|usd| format!("{usd:.4} USD"));
    let calls = if model.cost_unknown == 1 { "call" } else { "calls" };
    let unknown = (model.cost_unknown > 0).then(|| format!("unknown for {} {calls}", model.cost_unknown));
    let parts: Vec<String> = known.into_iter().chain(unknown).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        let has_cost = self.models.iter().any(|model| model.cost.is_some() || model.cost_unknown > 0);
        let mut head = ["provider", "model", "calls", "errors", "tokens", "p50", "p95"].map(str::to_owned).to_vec();
        if has_cost {
            head.push("cost".to_owned());
        }
        let lines = self.models.iter().map(|model| {
            let numbers = [model.calls, model.errors, model.tokens].map(|number| number.to_string());
            let [calls, errors, tokens] = numbers;
            let (provider, name) = (model.provider.clone(), model.model.clone());
            let mut line = vec![provider, name, calls, errors, tokens, seconds(model.p50), seconds(model.p95)];
            if has_cost {
                line.push(cost(model));
            }
            line
        });
        let lines: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        for (index, line) in lines.iter().enumerate() {
            let [provider, model, numbers @ ..] = line.as_slice() else { continue };
            write!(f, "{}{provider:<1$}  {model:<2$}", if index == 0 { "" } else { "\n" }, widths[0], widths[1])?;
            for (number, width) in numbers.iter().zip(&widths[2..]) {
                write!(f, "  {number:>width$}")?;
            }
        }
        Ok(())
    }
}
