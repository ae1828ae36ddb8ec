//! The captured metrics of one provider and model.

use std::fmt;

use super::Capture;
use crate::catalog;
use crate::error_type::ErrorType;

/// A count that can be compared with a `u64`.
///
/// Its `Debug` output includes everything that was captured, so that a failed `assert_eq!` shows the cause.
#[derive(Clone, Copy)]
pub struct Count<'a> {
    pub(super) value: u64,
    pub(super) capture: &'a Capture,
}

impl Count<'_> {
    /// Returns the count as a number.
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
        write!(f, "{}, of what was captured:\n{}", self.value, self.capture)
    }
}

/// The captured metrics of one provider and model; returned by [`Capture::llm`].
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

    /// Returns the count of the series with this value of the third label.
    fn count_of(&self, metric: &catalog::Metric, value: &str) -> Count<'a> {
        let [provider, model] = self.labels();
        self.capture.counter(metric.name, &[provider, model, (metric.labels[2], value)])
    }

    fn samples(&self, metric: &catalog::Metric) -> Vec<f64> {
        self.capture.histogram(metric.name, &self.labels())
    }

    /// Returns how many calls have ended, with any outcome.
    pub fn requests(&self) -> Count<'a> {
        self.count(&catalog::REQUESTS)
    }

    /// Returns how many calls did not succeed, with any class of error.
    pub fn errors(&self) -> Count<'a> {
        let errors = ErrorType::ALL.iter().map(|&error| self.errors_of(error).value).sum();
        Count { value: errors, capture: self.capture }
    }

    /// Returns how many calls failed with this class of error.
    pub fn errors_of(&self, error: ErrorType) -> Count<'a> {
        self.count_of(&catalog::ERRORS, error.as_str())
    }

    /// Returns the duration of each call in seconds, in ascending order.
    pub fn durations(&self) -> Vec<f64> {
        self.samples(&catalog::DURATION)
    }

    /// Returns the sum of prompt and completion tokens.
    pub fn tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS)
    }

    /// Returns the prompt tokens, including those read from or written to a cache.
    pub fn prompt_tokens(&self) -> Count<'a> {
        self.count(&catalog::TOKENS_PROMPT)
    }

    /// Returns the completion tokens, including those spent on reasoning.
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

    /// Returns how many calls succeeded but reported no usage.
    pub fn usage_missing(&self) -> Count<'a> {
        self.count(&catalog::USAGE_MISSING)
    }

    /// Returns how many choices finished for this reason, which is `stop`, `length`, `tool_calls`, `content_filter`, `error` or
    /// `other`.
    pub fn finished(&self, reason: &str) -> Count<'a> {
        self.count_of(&catalog::FINISH, reason)
    }

    /// Returns how many calls have started and not ended.
    pub fn in_flight(&self) -> f64 {
        self.capture.gauge(catalog::IN_FLIGHT.name, &self.labels()).unwrap_or(0.0)
    }

    /// Returns the time to the first chunk of each stream in seconds, in ascending order.
    pub fn first_chunks(&self) -> Vec<f64> {
        self.samples(&catalog::FIRST_CHUNK)
    }

    /// Returns the times between two chunks of a stream in seconds, in ascending order.
    pub fn chunk_gaps(&self) -> Vec<f64> {
        self.samples(&catalog::CHUNK_GAP)
    }

    /// Returns how many requests were sent for calls, as far as attempts were recorded.
    pub fn attempts(&self) -> Count<'a> {
        self.count(&catalog::ATTEMPTS)
    }

    /// Returns how many attempts failed with this class of error.
    pub fn attempt_errors_of(&self, error: ErrorType) -> Count<'a> {
        self.count_of(&catalog::ATTEMPT_ERRORS, error.as_str())
    }

    /// Returns the duration of each attempt in seconds, in ascending order.
    pub fn attempt_durations(&self) -> Vec<f64> {
        self.samples(&catalog::ATTEMPT_DURATION)
    }

    /// Returns how long each call that waited has waited in seconds, in ascending order.
    pub fn waits(&self) -> Vec<f64> {
        self.samples(&catalog::WAIT)
    }
}
