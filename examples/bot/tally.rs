//! The bot's own counts, which tests compare with the metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use botticelli_obs::{ErrorType, Usage};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// A provider and one of its models.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub provider: String,
    pub model: String,
}

/// Counts by provider and model.
#[derive(Default)]
pub struct Tally {
    pairs: Mutex<BTreeMap<Pair, Count>>,
}

#[derive(Default)]
struct Count {
    started: u64,
    ended: u64,
    errors: BTreeMap<&'static str, u64>,
    prompt: u64,
    completion: u64,
    milliseconds: Option<Histogram<u64>>,
}

impl Count {
    /// Calls that have not ended: still running, or dropped when the bot was stopped.
    fn unfinished(&self) -> u64 {
        self.started - self.ended
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.unfinished()
    }

    fn quantile(&self, quantile: f64) -> Duration {
        let histogram = self.milliseconds.as_ref();
        Duration::from_millis(histogram.map_or(0, |histogram| histogram.value_at_quantile(quantile)))
    }
}

impl Tally {
    fn pairs(&self) -> MutexGuard<'_, BTreeMap<Pair, Count>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start(&self, pair: &Pair) {
        self.pairs().entry(pair.clone()).or_default().started += 1;
    }

    pub fn end(&self, pair: &Pair, took: Duration, outcome: Result<Option<Usage>, ErrorType>) {
        let mut pairs = self.pairs();
        let count = pairs.entry(pair.clone()).or_default();
        count.ended += 1;
        match outcome {
            Ok(usage) => {
                count.prompt += usage.map_or(0, |usage| usage.prompt());
                count.completion += usage.map_or(0, |usage| usage.completion());
            }
            Err(error) => *count.errors.entry(error.as_str()).or_default() += 1,
        }
        if count.milliseconds.is_none() {
            count.milliseconds = Histogram::new(2).ok();
        }
        if let Some(histogram) = &mut count.milliseconds {
            // The histogram grows as needed. `saturating_record` would reduce every value to its initial maximum of 2 ms.
            let _ = histogram.record(took.as_millis() as u64);
        }
    }

    /// Returns the sums over all pairs, in one line.
    pub fn line(&self) -> String {
        let pairs = self.pairs();
        let sum = |part: fn(&Count) -> u64| pairs.values().map(part).sum::<u64>();
        let mut all: Option<Histogram<u64>> = None;
        for histogram in pairs.values().filter_map(|count| count.milliseconds.as_ref()) {
            match &mut all {
                None => all = Some(histogram.clone()),
                Some(all) => drop(all.add(histogram)),
            }
        }
        let milliseconds = |quantile| all.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile));
        format!(
            "{} calls, {} errors, {} running, {} tokens, p50 {} ms, p95 {} ms",
            sum(|count| count.ended),
            sum(|count| count.errors.values().sum()),
            sum(Count::unfinished),
            sum(|count| count.prompt + count.completion),
            milliseconds(0.5),
            milliseconds(0.95),
        )
    }

    pub fn to_json(&self) -> Value {
        let pairs = self.pairs();
        let rows = pairs.iter().map(|(pair, count)| {
            let mut errors = count.errors.clone();
            if count.unfinished() > 0 {
                errors.insert("cancelled", count.unfinished());
            }
            json!({
                "provider": pair.provider,
                "model": pair.model,
                "requests": count.started,
                "errors": errors,
                "prompt_tokens": count.prompt,
                "completion_tokens": count.completion,
                "p50_ms": count.quantile(0.5).as_millis() as u64,
                "p95_ms": count.quantile(0.95).as_millis() as u64,
            })
        });
        rows.collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["provider", "model", "calls", "errors", "prompt", "completion", "p50", "p95"];
        let [provider, model, calls, errors, prompt, completion, p50, p95] = head;
        writeln!(
            f,
            "{provider:<10} {model:<26} {calls:>7} {errors:>7} {prompt:>9} {completion:>10} {p50:>8} {p95:>8}"
        )?;
        for (pair, count) in self.pairs().iter() {
            writeln!(
                f,
                "{:<10} {:<26} {:>7} {:>7} {:>9} {:>10} {:>8} {:>8}",
                pair.provider,
                pair.model,
                count.started,
                count.failed(),
                count.prompt,
                count.completion,
                format!("{:?}", count.quantile(0.5)),
                format!("{:?}", count.quantile(0.95)),
            )?;
        }
        Ok(())
    }
}
