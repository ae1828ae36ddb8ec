//! What was recorded for a provider and model.

use std::fmt;

use super::Capture;
use crate::catalog;
use crate::error_type::ErrorType;

/// A number that was counted: compare it with a `u64`. Its `Debug` shows everything that was recorded, so that a failed
/// `assert_eq!` says why.
#[derive(Clone, Copy)]
pub struct Count<'a> {
    pub(super) value: u64,
    pub(super) capture: &'a Capture,
}

impl Count<'_> {
    /// Returns the number.
    pub fn get(self) -> u64 {
        self.value
    }
}

impl PartialEq<u64> for Count<'_> {
    fn eq(&self, other: &u64) -> bool {
        self.value == *other
    }
}

impl PartialEq for Count<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl PartialOrd<u64> for Count<'_> {
    fn partial_cmp(&self, other: &u64) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(other)
    }
}

impl fmt::Debug for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, where this was recorded:\n{}", self.value, self.capture)
    }
}

/// What was recorded for a provider and model.
#[derive(Clone, Debug)]
pub struct Llm<'a> {
    pub(super) capture: &'a Capture,
    pub(super) provider: String,
    pub(super) model: String,
}

impl<'a> Llm<'a> {
    fn labels(&self) -> [(&str, &str); 2] {
        [("provider", &self.provider), ("model", &self.model)]
    }

    fn count(&self, metric: &catalog::Metric) -> Count<'a> {
        self.capture.counter(metric.name, &self.labels())
    }

    fn count_of(&self, metric: &catalog::Metric, value: &str) -> Count<'a> {
        let [provider, model] = self.labels();
        self.capture.counter(metric.name, &[provider, model, (metric.labels[2], value)])
    }

    fn samples(&self, metric: &catalog::Metric) -> Vec<f64> {
        self.capture.histogram(metric.name, &self.labels())
    }

    /// Returns how many calls have ended.
    pub fn requests(&self) -> Count<'a> {
        self.count(&catalog::REQUESTS)
    }

    /// Returns how many of them did not succeed, of every class.
    pub fn errors(&self) -> Count<'a> {
        let errors = ErrorType::ALL.iter().map(|&error| self.errors_of(error).value).sum();
        Count { value: errors, capture: self.capture }
    }

    /// Returns how many of them failed with this class.
    pub fn errors_of(&self, error: ErrorType) -> Count<'a> {
        self.count_of(&catalog::ERRORS, error.as_str())
    }

    /// Returns how long each call took, in seconds, ascending.
    pub fn durations(&self) -> Vec<f64> {
        self.samples(&catalog::DURATION)
    }

    /// Returns all tokens.
    pub fn tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS)
    }

    /// Returns the prompt tokens.
    pub fn prompt_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_PROMPT)
    }

    /// Returns the completion tokens.
    pub fn completion_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_COMPLETION)
    }

    /// Returns the prompt tokens that were read from a cache.
    pub fn cache_read_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_CACHE_READ)
    }

    /// Returns the prompt tokens that were written to a cache.
    pub fn cache_write_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_CACHE_WRITE)
    }

    /// Returns the completion tokens spent on reasoning.
    pub fn reasoning_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_REASONING)
    }

    /// Returns how many calls succeeded without usage.
    pub fn usage_missing(&self) -> Count<'a> {
        self.count(&catalog::USAGE_MISSING)
    }

    /// Returns how many choices finished for this reason: `stop`, `length`, `tool_calls`, `content_filter`, `error`, `other`.
    pub fn finished(&self, reason: &str) -> Count<'a> {
        self.count_of(&catalog::FINISH, reason)
    }

    /// Returns how many calls have started and not ended.
    pub fn in_flight(&self) -> f64 {
        self.capture.gauge(catalog::IN_FLIGHT.name, &self.labels()).unwrap_or(0.0)
    }

    /// Returns the time to the first chunk of each stream, in seconds, ascending.
    pub fn first_chunks(&self) -> Vec<f64> {
        self.samples(&catalog::FIRST_CHUNK)
    }

    /// Returns the gaps between chunks of streams, in seconds, ascending.
    pub fn chunk_gaps(&self) -> Vec<f64> {
        self.samples(&catalog::CHUNK_GAP)
    }
}
