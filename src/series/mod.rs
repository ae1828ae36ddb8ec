//! The series of one provider and model, wherever they are counted.
//!
//! Two things have them: the store of this crate, and any other `metrics` recorder, through [`Handles`]. Calls and macros see
//! the trait [`PairSeries`] alone.

mod cost;
mod handles;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::SharedString;

use crate::catalog::{self, Metric};
use crate::cost::{Bill, CallCost};
use crate::error_type::ErrorType;
use crate::finish::FINISH_REASONS;
use crate::operation::Operation;
use crate::usage::Usage;

pub(crate) use cost::CostCounter;
#[cfg(feature = "install")]
pub(crate) use cost::PriceGauge;
pub(crate) use handles::Handles;

/// Where the calls of one provider and model are counted. Every method is quiet, and none may be called with a lock held.
pub(crate) trait PairSeries: Send + Sync {
    /// Returns the provider and the model as they are on labels.
    fn names(&self) -> [&str; 2];

    /// Publishes every series that has a zero.
    fn declare(&self);

    /// Counts a call as in flight.
    fn start(&self);

    /// Records the end of a call that [`start`](Self::start) has counted.
    fn end(&self, end: &CallEnd<'_>);

    /// Records the time from the start of a streamed call to its first chunk.
    fn first_chunk(&self, operation: Operation, elapsed: Duration, trace: Option<TraceIds>);

    /// Records the time between two chunks.
    fn chunk_gap(&self, operation: Operation, gap: Duration);

    /// Records the end of a request that was sent for a call.
    fn attempt(&self, elapsed: Duration, error: Option<ErrorType>);

    /// Records a rate limit that an answer has told.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "without headers nobody tells limits"))]
    fn rate_limit(&self, limit: LimitGauge, value: f64);

    /// Returns what a call costs by the prices of the recorder; `None` if it has no prices, or there is nothing to price.
    fn price(&self, _: &Bill<'_>) -> Option<CallCost> {
        None
    }

    /// Records the cost of a call that has ended.
    fn cost(&self, cost: &CallCost);

    /// Records something that is known apart from any [`LlmCall`](crate::LlmCall).
    fn record(&self, fact: &Fact);

    /// Records a whole call, likewise.
    fn finished(&self, call: &Finished<'_>);
}

/// The series of a call.
#[derive(Clone)]
pub(crate) enum Series {
    /// Those of the names that were asked for, with a recorder that is never dropped: nobody counts who refers to them.
    #[cfg_attr(not(feature = "install"), expect(dead_code, reason = "other recorders are not known to be such"))]
    Lasting(&'static dyn PairSeries),
    Shared(Arc<dyn PairSeries>),
}

impl Deref for Series {
    type Target = dyn PairSeries;

    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Lasting(series) => *series,
            Self::Shared(series) => &**series,
        }
    }
}

/// Everything that is counted when a call ends.
pub(crate) struct CallEnd<'a> {
    #[cfg_attr(not(feature = "install"), expect(dead_code, reason = "only the metrics of the conventions tell it"))]
    pub(crate) operation: Operation,
    pub(crate) elapsed: Duration,
    pub(crate) error: Option<ErrorType>,
    pub(crate) usage: Option<Usage>,
    /// How long it waited on this side; zero if it did not.
    pub(crate) waited: Duration,
    /// How many choices finished for each of [`FINISH_REASONS`].
    pub(crate) finished: [u8; FINISH_REASONS.len()],
    /// The call's span, where it is sampled and exported.
    #[cfg_attr(not(feature = "install"), expect(dead_code, reason = "other recorders have no exemplars"))]
    pub(crate) trace: Option<TraceIds>,
    /// Tells the rest, for readers that list calls.
    #[cfg_attr(not(feature = "console"), expect(dead_code, reason = "only the console lists calls"))]
    pub(crate) details: &'a dyn Fn() -> CallDetails,
}

/// What is known of a call besides what is counted.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "console"), expect(dead_code, reason = "only the console lists calls"))]
pub(crate) struct CallDetails {
    /// How many requests were sent for it, where the client records them.
    pub(crate) attempts: u32,
    pub(crate) first_chunk: Option<Duration>,
    /// The HTTP status of the last answer, if it was an error.
    pub(crate) status: Option<u16>,
    /// The provider's code of the error.
    pub(crate) code: Option<Box<str>>,
    /// The provider's id of the request.
    pub(crate) request_id: Option<Box<str>>,
    /// The innermost task around it.
    pub(crate) task: Option<SharedString>,
    /// In nano-dollars; `None` if it is not known.
    pub(crate) cost_nano_usd: Option<u64>,
}

/// What one of the `llm_*!` macros records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fact {
    Request,
    Error(ErrorType),
    /// In seconds.
    Duration(f64),
    Tokens(Usage),
}

/// A whole call that has succeeded, known apart from any `LlmCall`. Passed by reference from the macro to the counts: it is what is
/// recorded most often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) seconds: f64,
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

impl Finished<'_> {
    /// Whether its tokens are such as a call can have, by one comparison. What it does not let through need not be invalid.
    #[cfg(feature = "install")]
    #[inline]
    pub(crate) fn is_plausible(&self) -> bool {
        self.prompt | self.completion < MAX_TOKENS
    }
}

/// One of the gauges of rate limits that a provider and model has: which number, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitGauge(u8);

impl LimitGauge {
    /// The kinds of limits, as they are on labels.
    const KINDS: [&str; 16] = [
        "requests",
        "requests_minute",
        "requests_hour",
        "requests_day",
        "tokens",
        "tokens_minute",
        "tokens_hour",
        "tokens_day",
        "input_tokens",
        "input_tokens_minute",
        "input_tokens_hour",
        "input_tokens_day",
        "output_tokens",
        "output_tokens_minute",
        "output_tokens_hour",
        "output_tokens_day",
    ];

    /// How many there are.
    pub(crate) const COUNT: usize = 2 * Self::KINDS.len();

    /// The gauge of the most that a provider allows of a kind; `None` if there is no such kind.
    #[cfg(any(feature = "http", feature = "install"))]
    pub(crate) fn limit(kind: &str) -> Option<Self> {
        Self::KINDS.iter().position(|known| *known == kind).map(|kind| Self(kind as u8))
    }

    /// The gauge of what is left of a kind.
    #[cfg(any(feature = "http", feature = "install"))]
    pub(crate) fn remaining(kind: &str) -> Option<Self> {
        Self::limit(kind).map(|limit| Self(limit.0 + Self::KINDS.len() as u8))
    }

    #[cfg(feature = "install")]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn metric(self) -> Metric {
        if self.index() < Self::KINDS.len() { catalog::RATE_LIMIT } else { catalog::RATE_LIMIT_REMAINING }
    }

    /// The third label, its name and value.
    pub(crate) fn third(self) -> &'static (&'static str, &'static str) {
        static LABELS: [(&str, &str); LimitGauge::KINDS.len()] = LimitGauge::third_labels();
        &LABELS[self.index() % LABELS.len()]
    }

    const fn third_labels<const N: usize>() -> [(&'static str, &'static str); N] {
        let mut labels = [("", ""); N];
        let mut at = 0;
        while at < N {
            labels[at] = (catalog::RATE_LIMIT.labels[2], Self::KINDS[at]);
            at += 1;
        }
        labels
    }
}

/// The ids of a span, as OpenTelemetry's bytes. Metrics take them as they are and know nothing of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceIds {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
}

/// A counter that every provider and model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PairCounter(u8);

impl PairCounter {
    pub(crate) const REQUESTS: Self = Self(0);
    pub(crate) const TOKENS: Self = Self(1);
    pub(crate) const PROMPT: Self = Self(2);
    pub(crate) const COMPLETION: Self = Self(3);
    pub(crate) const CACHE_READ: Self = Self(4);
    pub(crate) const CACHE_WRITE: Self = Self(5);
    pub(crate) const REASONING: Self = Self(6);
    pub(crate) const USAGE_MISSING: Self = Self(7);

    /// The counters that have no label besides provider and model, in the order of their constants.
    const PLAIN: [Metric; 8] = [
        catalog::REQUESTS,
        catalog::TOKENS,
        catalog::TOKENS_PROMPT,
        catalog::TOKENS_COMPLETION,
        catalog::TOKENS_CACHE_READ,
        catalog::TOKENS_CACHE_WRITE,
        catalog::TOKENS_REASONING,
        catalog::USAGE_MISSING,
    ];

    const ERRORS: usize = Self::PLAIN.len();
    const FINISH: usize = Self::ERRORS + ErrorType::ALL.len();
    const OF_CALLS: usize = Self::FINISH + FINISH_REASONS.len();
    const ATTEMPT_ERRORS: usize = Self::OF_CALLS + 1;

    /// The counter of requests that were sent for calls.
    pub(crate) const ATTEMPTS: Self = Self(Self::OF_CALLS as u8);

    /// How many there are.
    pub(crate) const COUNT: usize = Self::ATTEMPT_ERRORS + ErrorType::ALL.len();

    /// The counter of failed calls of a class.
    pub(crate) const fn error(error: ErrorType) -> Self {
        Self((Self::ERRORS + error.index()) as u8)
    }

    /// The counter of choices that finished for one of [`FINISH_REASONS`].
    pub(crate) const fn finish(reason: usize) -> Self {
        Self((Self::FINISH + reason) as u8)
    }

    /// The counter of failed attempts of a class.
    pub(crate) const fn attempt_error(error: ErrorType) -> Self {
        Self((Self::ATTEMPT_ERRORS + error.index()) as u8)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The counters of calls: all but those of attempts, of which only some programs tell.
    pub(crate) fn of_calls() -> impl Iterator<Item = Self> {
        (0..Self::OF_CALLS as u8).map(Self)
    }

    /// The counters that are on the page from a pair's first call: those without a third label.
    #[cfg(feature = "install")]
    pub(crate) fn plain() -> impl Iterator<Item = Self> {
        (0..Self::ERRORS as u8).map(Self)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) const fn metric(self) -> Metric {
        match self.index() {
            Self::ATTEMPT_ERRORS.. => catalog::ATTEMPT_ERRORS,
            Self::OF_CALLS => catalog::ATTEMPTS,
            Self::FINISH.. => catalog::FINISH,
            Self::ERRORS.. => catalog::ERRORS,
            plain => Self::PLAIN[plain],
        }
    }

    /// The third label, its name and value, where there is one.
    pub(crate) fn third(self) -> Option<&'static (&'static str, &'static str)> {
        static LABELS: [(&str, &str); PairCounter::COUNT - PairCounter::ERRORS] = PairCounter::third_labels();
        self.index().checked_sub(Self::ERRORS).map(|at| &LABELS[at]).filter(|_| self != Self::ATTEMPTS)
    }

    const fn third_labels<const N: usize>() -> [(&'static str, &'static str); N] {
        let mut labels = [("", ""); N];
        let mut at = 0;
        while at < N {
            let counter = Self((Self::ERRORS + at) as u8);
            let value = match counter.index() {
                error @ Self::ATTEMPT_ERRORS.. => ErrorType::ALL[error - Self::ATTEMPT_ERRORS].as_str(),
                Self::OF_CALLS => "",
                finish @ Self::FINISH.. => FINISH_REASONS[finish - Self::FINISH],
                error => ErrorType::ALL[error - Self::ERRORS].as_str(),
            };
            if !value.is_empty() {
                labels[at] = (counter.metric().labels[2], value);
            }
            at += 1;
        }
        labels
    }
}

/// A histogram that a provider and model has once something is recorded in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LazyHistogram {
    FirstChunk,
    ChunkGap,
    AttemptDuration,
    Wait,
}

impl LazyHistogram {
    pub(crate) const ALL: [Self; 4] = [Self::FirstChunk, Self::ChunkGap, Self::AttemptDuration, Self::Wait];

    pub(crate) const fn metric(self) -> Metric {
        match self {
            Self::FirstChunk => catalog::FIRST_CHUNK,
            Self::ChunkGap => catalog::CHUNK_GAP,
            Self::AttemptDuration => catalog::ATTEMPT_DURATION,
            Self::Wait => catalog::WAIT,
        }
    }

    /// Those of streams, which are declared with a pair.
    pub(crate) const OF_STREAMS: [Self; 2] = [Self::FirstChunk, Self::ChunkGap];
}

/// A number of tokens in a usage.
pub(crate) type TokenPart = fn(&Usage) -> u64;

/// The parts of a usage, each with its counter; all tokens first.
pub(crate) const TOKEN_PARTS: [(PairCounter, TokenPart); 6] = [
    (PairCounter::TOKENS, Usage::total),
    (PairCounter::PROMPT, Usage::prompt),
    (PairCounter::COMPLETION, Usage::completion),
    (PairCounter::CACHE_READ, Usage::cache_read),
    (PairCounter::CACHE_WRITE, Usage::cache_write),
    (PairCounter::REASONING, Usage::reasoning),
];

/// The most tokens of one kind that a call may have used: above 2^53 a count is not exact as a sample of Prometheus, and no call
/// comes near it. `total - prompt` that wraps around does.
pub(crate) const MAX_TOKENS: u64 = 1 << 53;

/// Whether every part of a usage is one that a call can have.
#[inline]
pub(crate) fn is_plausible(usage: &Usage) -> bool {
    // The bits of all parts together are below a power of two if each part is.
    usage.bits() < MAX_TOKENS || TOKEN_PARTS[1..].iter().all(|(_, part)| part(usage) <= MAX_TOKENS)
}

/// The time now in seconds since 1970.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
