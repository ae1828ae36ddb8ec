//! The bot's own counts, which tests compare with the metrics.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use botticelli_obs::{ClassifyError, ErrorType, Usage};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::client::Error;

/// A provider and one of its models.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub provider: String,
    pub model: String,
}

/// The number of characters in a line, for the usual terminal.
pub const WIDTH: usize = 79;

/// The number of characters that are kept of an error message.
const REASON: usize = 200;

/// Counts by provider and model.
#[derive(Default)]
pub struct Tally {
    pairs: Mutex<BTreeMap<Pair, Count>>,
    /// The first message of each class of errors.
    reasons: Mutex<BTreeMap<&'static str, String>>,
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

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that has ended. Returns a line about an error whose class is new.
    pub fn end(&self, pair: &Pair, took: Duration, outcome: Result<Option<Usage>, &Error>) -> Option<String> {
        let error = outcome.err().map(|error| (error.error_type().as_str(), cut(&error.to_string(), REASON)));
        self.count(pair, took, outcome.map_err(|error| error.error_type()));
        let (class, reason) = error?;
        match self.reasons().entry(class) {
            Entry::Occupied(_) => None,
            Entry::Vacant(first) => {
                let line = format!("{} {}: {class}: {reason}", pair.provider, pair.model);
                first.insert(reason);
                Some(line)
            }
        }
    }

    fn count(&self, pair: &Pair, took: Duration, outcome: Result<Option<Usage>, ErrorType>) {
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
        let quantile = |quantile| {
            short(Duration::from_millis(all.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile))))
        };
        format!(
            "{} calls, {} errors, {} running, {} tokens, p50 {}, p95 {}",
            sum(|count| count.ended),
            sum(|count| count.errors.values().sum()),
            sum(Count::unfinished),
            sum(|count| count.prompt + count.completion),
            quantile(0.5),
            quantile(0.95),
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

/// A table of all pairs, and the first message of each class of errors.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["provider", "model", "calls", "errors", "prompt", "completion", "p50", "p95"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.pairs().iter().map(|(pair, count)| {
            [
                pair.provider.clone(),
                pair.model.clone(),
                count.started.to_string(),
                count.failed().to_string(),
                count.prompt.to_string(),
                count.completion.to_string(),
                short(count.quantile(0.5)),
                short(count.quantile(0.95)),
            ]
        }));
        f.write_str(&table(&rows))?;
        let reasons = self.reasons();
        if !reasons.is_empty() {
            write!(f, "\n\nerrors, with the first message of each class:")?;
        }
        for (class, reason) in reasons.iter() {
            let count: u64 = self.pairs().values().filter_map(|count| count.errors.get(class)).sum();
            write!(f, "\n{count:>7} {class}: {reason}")?;
        }
        Ok(())
    }
}

/// Aligns the columns of a table: text on the left, then numbers. If it is wider than a terminal, the texts are cut.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    const TEXTS: usize = 2;
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut widths: [usize; N] = std::array::from_fn(width);
    let excess = (widths.iter().sum::<usize>() + N - 1).saturating_sub(WIDTH);
    for _ in 0..excess {
        if let Some(widest) = widths[..TEXTS].iter_mut().max() {
            *widest = (*widest - 1).max(8);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column < TEXTS {
            true => format!("{:<width$}", cut(cell, width)),
            false => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns a text of at most this many characters, in one line.
pub fn cut(text: &str, limit: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= limit { text } else { text.chars().take(limit - 1).chain(['…']).collect() }
}

/// Returns a duration in at most six characters.
fn short(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{}ms", duration.as_millis()),
        seconds if seconds < 10.0 => format!("{seconds:.1}s"),
        seconds => format!("{seconds:.0}s"),
    }
}
