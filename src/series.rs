//! The series of one provider and model, registered with a recorder.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};

use crate::catalog::{self, METRICS, Metric, MetricKind};
use crate::error_type::ErrorType;
use crate::finish::FINISH_REASONS;
use crate::recorder::{self, Current, SharedRecorder};
use crate::usage::Usage;

pub(crate) static METADATA: Metadata<'static> = Metadata::new("botticelli_obs", Level::INFO, Some("botticelli_obs"));

/// Provider and model as label values that are cheap to repeat on many keys.
pub(crate) struct Pair {
    provider: Arc<str>,
    model: Arc<str>,
}

impl Pair {
    pub(crate) fn new(provider: &str, model: &str) -> Self {
        Self { provider: Arc::from(provider), model: Arc::from(model) }
    }

    fn key(&self, metric: &Metric) -> Key {
        Key::from_parts(metric.name, self.labels(2))
    }

    fn key_with(&self, metric: &Metric, value: &'static str) -> Key {
        let mut labels = self.labels(3);
        labels.push(Label::from_static_parts(metric.labels[2], value));
        Key::from_parts(metric.name, labels)
    }

    fn labels(&self, capacity: usize) -> Vec<Label> {
        let mut labels = Vec::with_capacity(capacity);
        labels.push(Label::new("provider", SharedString::from_shared(Arc::clone(&self.provider))));
        labels.push(Label::new("model", SharedString::from_shared(Arc::clone(&self.model))));
        labels
    }

    fn counter(&self, recorder: &dyn Recorder, metric: &Metric) -> Counter {
        recorder.register_counter(&self.key(metric), &METADATA)
    }

    fn gauge(&self, recorder: &dyn Recorder, metric: &Metric) -> Gauge {
        recorder.register_gauge(&self.key(metric), &METADATA)
    }

    fn histogram(&self, recorder: &dyn Recorder, metric: &Metric) -> Histogram {
        recorder.register_histogram(&self.key(metric), &METADATA)
    }

    fn finish_counter(&self, recorder: &dyn Recorder, reason: &'static str) -> Counter {
        recorder.register_counter(&self.key_with(&catalog::FINISH, reason), &METADATA)
    }

    fn error_counter(&self, recorder: &dyn Recorder, error: ErrorType) -> Counter {
        recorder.register_counter(&self.key_with(&catalog::ERRORS, error.as_str()), &METADATA)
    }
}

/// Publishes the series of a provider and model with the value 0, each `error_type` and `finish_reason` included.
///
/// Prometheus' `rate()` and `increase()` see an increase only between two scrapes of one series: a counter that is born with
/// its first event shows nothing for it. Call this where a driver is made; it is cheap, and calling it again changes nothing.
/// Like everything that records, it does nothing before something is installed: see also `Builder::add_model`.
///
/// ```
/// botticelli_obs::declare("gemini", "gemini-2.5-flash");
/// ```
pub fn declare(provider: impl AsRef<str>, model: impl AsRef<str>) {
    metrics::with_recorder(|recorder| declare_to(recorder, provider.as_ref(), model.as_ref()));
}

pub(crate) fn declare_to(recorder: &dyn Recorder, provider: &str, model: &str) {
    let pair = Pair::new(provider, model);
    for metric in METRICS.iter().filter(|metric| metric.is_per_model()) {
        match (metric.kind, metric.name) {
            (MetricKind::Counter, name) if name == catalog::ERRORS.name => {
                for &error in ErrorType::ALL {
                    pair.error_counter(recorder, error).increment(0);
                }
            }
            (MetricKind::Counter, name) if name == catalog::FINISH.name => {
                for &reason in FINISH_REASONS {
                    pair.finish_counter(recorder, reason).increment(0);
                }
            }
            (MetricKind::Counter, _) => pair.counter(recorder, metric).increment(0),
            (MetricKind::Histogram, _) => drop(pair.histogram(recorder, metric)),
            // A time stamp of 0 would say that the last success was in 1970.
            (MetricKind::Gauge, name) if name == catalog::LAST_SUCCESS.name => {}
            (MetricKind::Gauge, _) => pair.gauge(recorder, metric).increment(0.0),
        }
    }
}

/// The handles one call records through, all of the recorder that was current at its start.
pub(crate) struct CallSeries {
    pair: Pair,
    requests: Counter,
    duration: Histogram,
    tokens: [Counter; 6],
    usage_missing: Counter,
    in_flight: Gauge,
    by_outcome: ByOutcome,
}

/// The series that only some outcomes have.
enum ByOutcome {
    /// A recorder of ours is kept, and asked when the outcome is known.
    OnDemand(SharedRecorder),
    /// Another's is only lent, so everything is asked for while it is at hand.
    Registered(Box<Registered>),
}

struct Registered {
    errors: Vec<Counter>,
    finish: Vec<Counter>,
    first_chunk: Histogram,
    chunk_gap: Histogram,
    last_success: Gauge,
}

impl CallSeries {
    /// Registers the pair's series with the recorder that is current now and counts the call as in flight; `None` without a
    /// recorder.
    pub(crate) fn start(provider: &str, model: &str) -> Option<Self> {
        let series = match recorder::current() {
            Current::None => return None,
            Current::Ours(ours) => {
                Self::register(Pair::new(provider, model), &*Arc::clone(&ours), ByOutcome::OnDemand(ours))
            }
            Current::Another => metrics::with_recorder(|recorder| {
                let pair = Pair::new(provider, model);
                let registered = Registered {
                    errors: ErrorType::ALL.iter().map(|&error| pair.error_counter(recorder, error)).collect(),
                    finish: FINISH_REASONS.iter().map(|&reason| pair.finish_counter(recorder, reason)).collect(),
                    first_chunk: pair.histogram(recorder, &catalog::FIRST_CHUNK),
                    chunk_gap: pair.histogram(recorder, &catalog::CHUNK_GAP),
                    last_success: pair.gauge(recorder, &catalog::LAST_SUCCESS),
                };
                Self::register(pair, recorder, ByOutcome::Registered(Box::new(registered)))
            }),
        };
        series.in_flight.increment(1.0);
        Some(series)
    }

    fn register(pair: Pair, recorder: &dyn Recorder, by_outcome: ByOutcome) -> Self {
        Self {
            requests: pair.counter(recorder, &catalog::REQUESTS),
            duration: pair.histogram(recorder, &catalog::DURATION),
            tokens: TOKEN_PARTS.map(|(metric, _)| pair.counter(recorder, &metric)),
            usage_missing: pair.counter(recorder, &catalog::USAGE_MISSING),
            in_flight: pair.gauge(recorder, &catalog::IN_FLIGHT),
            by_outcome,
            pair,
        }
    }

    /// Records the end of the call. Whoever reads the page midway never sees more errors than requests.
    pub(crate) fn end(
        &self,
        elapsed: Duration,
        error: Option<ErrorType>,
        usage: Option<Usage>,
        finish_reasons: impl Iterator<Item = &'static str>,
    ) {
        self.requests.increment(1);
        self.duration.record(elapsed);
        if let Some(usage) = usage {
            for (counter, (_, part)) in self.tokens.iter().zip(TOKEN_PARTS) {
                counter.increment(part(&usage));
            }
        }
        for reason in finish_reasons {
            self.finish_counter(reason).increment(1);
        }
        match error {
            Some(error) => self.error_counter(error).increment(1),
            None => {
                self.last_success().set(unix_time());
                if usage.is_none() {
                    self.usage_missing.increment(1);
                }
            }
        }
        self.in_flight.decrement(1.0);
    }

    /// Records the time from the start to the first chunk.
    pub(crate) fn first_chunk(&self, elapsed: Duration) {
        match &self.by_outcome {
            ByOutcome::OnDemand(recorder) => self.pair.histogram(&**recorder, &catalog::FIRST_CHUNK).record(elapsed),
            ByOutcome::Registered(registered) => registered.first_chunk.record(elapsed),
        }
    }

    /// Records the time between two chunks.
    pub(crate) fn chunk_gap(&self, gap: Duration) {
        match &self.by_outcome {
            ByOutcome::OnDemand(recorder) => self.pair.histogram(&**recorder, &catalog::CHUNK_GAP).record(gap),
            ByOutcome::Registered(registered) => registered.chunk_gap.record(gap),
        }
    }

    fn error_counter(&self, error: ErrorType) -> Counter {
        match &self.by_outcome {
            ByOutcome::OnDemand(recorder) => self.pair.error_counter(&**recorder, error),
            ByOutcome::Registered(registered) => registered.errors[error.index()].clone(),
        }
    }

    fn finish_counter(&self, reason: &'static str) -> Counter {
        match &self.by_outcome {
            ByOutcome::OnDemand(recorder) => self.pair.finish_counter(&**recorder, reason),
            ByOutcome::Registered(registered) => {
                let index = FINISH_REASONS.iter().position(|&known| known == reason);
                index.map_or_else(Counter::noop, |index| registered.finish[index].clone())
            }
        }
    }

    fn last_success(&self) -> Gauge {
        match &self.by_outcome {
            ByOutcome::OnDemand(recorder) => self.pair.gauge(&**recorder, &catalog::LAST_SUCCESS),
            ByOutcome::Registered(registered) => registered.last_success.clone(),
        }
    }
}

type TokenPart = (Metric, fn(&Usage) -> u64);

/// The token counters, and what each takes of a usage.
const TOKEN_PARTS: [TokenPart; 6] = [
    (catalog::TOKENS, Usage::total),
    (catalog::TOKENS_PROMPT, Usage::prompt),
    (catalog::TOKENS_COMPLETION, Usage::completion),
    (catalog::TOKENS_CACHE_READ, Usage::cache_read),
    (catalog::TOKENS_CACHE_WRITE, Usage::cache_write),
    (catalog::TOKENS_REASONING, Usage::reasoning),
];

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Records one metric of a pair through the current recorder: what the `llm_*!` macros expand to.
pub(crate) mod single {
    use metrics::IntoF64;

    use super::{ErrorType, Pair, Usage, catalog};

    /// Counts one call.
    pub fn request(provider: impl AsRef<str>, model: impl AsRef<str>) {
        let pair = Pair::new(provider.as_ref(), model.as_ref());
        metrics::with_recorder(|recorder| pair.counter(recorder, &catalog::REQUESTS).increment(1));
    }

    /// Counts one failed call.
    pub fn error(provider: impl AsRef<str>, model: impl AsRef<str>, error: impl Into<ErrorType>) {
        let pair = Pair::new(provider.as_ref(), model.as_ref());
        metrics::with_recorder(|recorder| pair.error_counter(recorder, error.into()).increment(1));
    }

    /// Records one duration, in seconds.
    pub fn duration(provider: impl AsRef<str>, model: impl AsRef<str>, elapsed: impl IntoF64) {
        let pair = Pair::new(provider.as_ref(), model.as_ref());
        metrics::with_recorder(|recorder| pair.histogram(recorder, &catalog::DURATION).record(elapsed));
    }

    /// Counts prompt and completion tokens, and both together.
    pub fn tokens(provider: impl AsRef<str>, model: impl AsRef<str>, prompt: u64, completion: u64) {
        let pair = Pair::new(provider.as_ref(), model.as_ref());
        metrics::with_recorder(|recorder| {
            pair.counter(recorder, &catalog::TOKENS).increment(Usage::new(prompt, completion).total());
            pair.counter(recorder, &catalog::TOKENS_PROMPT).increment(prompt);
            pair.counter(recorder, &catalog::TOKENS_COMPLETION).increment(completion);
        });
    }
}
