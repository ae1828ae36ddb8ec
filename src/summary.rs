//! What a run has done, to be printed at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::catalog;
use crate::snapshot::{Family, Snapshot, Value};

/// What the calls of a run came to, by provider and model; see [`Telemetry::summary`](crate::Telemetry::summary).
///
/// As text it is a table:
///
/// ```text
/// provider  model             calls  errors  tokens     p50     p95
/// gemini    gemini-2.5-flash     40       2    5120  0.84 s  2.31 s
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    models: Vec<ModelSummary>,
}

/// One line of a [`Summary`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelSummary {
    /// The provider, as on the page.
    pub provider: String,
    /// The model asked for, as on the page.
    pub model: String,
    /// Calls that have ended, whatever the outcome.
    pub calls: u64,
    /// Those that did not succeed.
    pub errors: u64,
    /// Prompt and completion tokens.
    pub tokens: u64,
    /// The median duration of a call, estimated from the buckets; `None` before the first has ended.
    pub p50: Option<Duration>,
    /// The duration that 95 of 100 calls stay below, estimated likewise.
    pub p95: Option<Duration>,
}

impl Summary {
    /// Returns a line for each provider and model, in alphabetical order.
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
                    // Each pair has one.
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
        let lines = self.models.iter().map(|of| {
            let numbers = [of.calls, of.errors, of.tokens].map(|number| number.to_string());
            let [calls, errors, tokens] = numbers;
            [of.provider.clone(), of.model.clone(), calls, errors, tokens, seconds(of.p50), seconds(of.p95)]
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
