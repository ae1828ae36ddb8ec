//! The series of one provider and model, registered with a recorder.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString};

use crate::catalog::{self, Metric};
use crate::error_type::ErrorType;
use crate::finish::FINISH_REASONS;
use crate::recorder::{self, Current};
use crate::usage::Usage;

pub(crate) static METADATA: Metadata<'static> = Metadata::new("botticelli_obs", Level::INFO, Some("botticelli_obs"));

/// Provider and model as label values that are cheap to repeat on many keys.
#[derive(Clone)]
pub(crate) struct Pair {
    provider: Arc<str>,
    model: Arc<str>,
}

impl Pair {
    pub(crate) fn new(provider: &str, model: &str) -> Self {
        Self { provider: Arc::from(provider), model: Arc::from(model) }
    }

    /// Returns the key of a metric that has these two labels alone.
    pub(crate) fn key(&self, metric: &Metric) -> Key {
        Key::from_parts(metric.name, self.labels(2))
    }

    /// Returns the key of a metric that has a third label.
    pub(crate) fn key_with(&self, metric: &Metric, value: &'static str) -> Key {
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

    fn tokens(&self, recorder: &dyn Recorder, usage: &Usage) {
        self.counter(recorder, &catalog::TOKENS).increment(usage.total());
        self.counter(recorder, &catalog::TOKENS_PROMPT).increment(usage.prompt());
        self.counter(recorder, &catalog::TOKENS_COMPLETION).increment(usage.completion());
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
    if let Some(series) = PairSeries::current(provider.as_ref(), model.as_ref()) {
        series.declare();
    }
}

/// The handles of a provider and model.
///
/// What every call records is registered at once, so that it is on the page with 0 when the first call starts; the rest when it
/// is first needed.
pub(crate) struct PairSeries {
    pair: Pair,
    recorder: Weak<dyn Recorder + Send + Sync>,
    requests: Counter,
    duration: Histogram,
    tokens: [Counter; TOKEN_PARTS.len()],
    usage_missing: Counter,
    in_flight: Gauge,
    errors: [OnceLock<Counter>; ErrorType::ALL.len()],
    finish: [OnceLock<Counter>; FINISH_REASONS.len()],
    first_chunk: OnceLock<Histogram>,
    chunk_gap: OnceLock<Histogram>,
    last_success: OnceLock<Gauge>,
}

impl PairSeries {
    /// Returns the series of a pair with the recorder that is current now; `None` without one.
    pub(crate) fn current(provider: &str, model: &str) -> Option<Arc<Self>> {
        recorder::with_current(|current| match current {
            Current::Ours(ours) => {
                let mut series = None;
                ours.with_pair(provider, model, &mut |own| series = Some(Arc::clone(own)));
                series
            }
            // Another's recorder is only lent, so everything is asked for while it is at hand.
            Current::Another(another) => Some(Arc::new(Self::complete(another, Pair::new(provider, model)))),
            Current::None => None,
        })
    }

    /// Registers what every call records.
    #[cfg(feature = "install")]
    pub(crate) fn register<R: Recorder + Send + Sync + 'static>(recorder: &Arc<R>, pair: Pair) -> Self {
        let weak = Arc::downgrade(recorder);
        Self::new(&**recorder, weak, pair)
    }

    fn complete(recorder: &dyn Recorder, pair: Pair) -> Self {
        let series = Self::new(recorder, Weak::<metrics::NoopRecorder>::new(), pair);
        for &error in ErrorType::ALL {
            series.errors[error.index()].get_or_init(|| series.pair.error_counter(recorder, error));
        }
        for (counter, reason) in series.finish.iter().zip(FINISH_REASONS) {
            counter.get_or_init(|| series.pair.finish_counter(recorder, reason));
        }
        series.first_chunk.get_or_init(|| series.pair.histogram(recorder, &catalog::FIRST_CHUNK));
        series.chunk_gap.get_or_init(|| series.pair.histogram(recorder, &catalog::CHUNK_GAP));
        series.last_success.get_or_init(|| series.pair.gauge(recorder, &catalog::LAST_SUCCESS));
        series
    }

    fn new(recorder: &dyn Recorder, weak: Weak<dyn Recorder + Send + Sync>, pair: Pair) -> Self {
        Self {
            requests: pair.counter(recorder, &catalog::REQUESTS),
            duration: pair.histogram(recorder, &catalog::DURATION),
            tokens: TOKEN_PARTS.map(|(metric, _)| pair.counter(recorder, &metric)),
            usage_missing: pair.counter(recorder, &catalog::USAGE_MISSING),
            in_flight: pair.gauge(recorder, &catalog::IN_FLIGHT),
            errors: Default::default(),
            finish: Default::default(),
            first_chunk: OnceLock::new(),
            chunk_gap: OnceLock::new(),
            last_success: OnceLock::new(),
            recorder: weak,
            pair,
        }
    }

    /// Returns provider and model as they are on the labels.
    #[cfg(feature = "install")]
    pub(crate) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Registers all that has a zero; a time stamp of 0 would say that the last success was in 1970.
    pub(crate) fn declare(&self) {
        for &error in ErrorType::ALL {
            self.error_counter(error).increment(0);
        }
        for index in 0..FINISH_REASONS.len() {
            self.finish_counter(index).increment(0);
        }
        let counters = self.tokens.iter().chain([&self.requests, &self.usage_missing]);
        counters.for_each(|counter| counter.increment(0));
        self.in_flight.increment(0.0);
        self.first_chunk_histogram();
        self.chunk_gap_histogram();
    }

    /// Counts a call as in flight.
    pub(crate) fn start(&self) {
        self.in_flight.increment(1.0);
    }

    /// Records the end of the call. Whoever reads the page midway never sees more errors than requests.
    pub(crate) fn end(
        &self,
        elapsed: Duration,
        error: Option<ErrorType>,
        usage: Option<Usage>,
        finish_reasons: impl Iterator<Item = &'static str>,
    ) {
        self.request();
        self.duration(elapsed);
        if let Some(usage) = usage {
            self.tokens(&usage);
        }
        for reason in finish_reasons {
            if let Some(index) = FINISH_REASONS.iter().position(|&known| known == reason) {
                self.finish_counter(index).increment(1);
            }
        }
        match error {
            Some(error) => self.error_counter(error).increment(1),
            None => {
                self.last_success_gauge().set(unix_time());
                if usage.is_none() {
                    self.usage_missing.increment(1);
                }
            }
        }
        self.in_flight.decrement(1.0);
    }

    #[inline]
    fn request(&self) {
        self.requests.increment(1);
    }

    #[inline]
    fn duration(&self, elapsed: impl metrics::IntoF64) {
        self.duration.record(elapsed);
    }

    #[inline]
    fn tokens(&self, usage: &Usage) {
        let [all, prompt, completion, parts @ ..] = &self.tokens;
        all.increment(usage.total());
        prompt.increment(usage.prompt());
        completion.increment(usage.completion());
        // Most calls have neither cached nor reasoning tokens.
        if usage.has_parts() {
            for (counter, (_, part)) in parts.iter().zip(&TOKEN_PARTS[3..]) {
                counter.increment(part(usage));
            }
        }
    }

    /// Records the time from the start to the first chunk.
    pub(crate) fn first_chunk(&self, elapsed: Duration) {
        self.first_chunk_histogram().record(elapsed);
    }

    /// Records the time between two chunks.
    pub(crate) fn chunk_gap(&self, gap: Duration) {
        self.chunk_gap_histogram().record(gap);
    }

    fn error_counter(&self, error: ErrorType) -> &Counter {
        self.lazy(&self.errors[error.index()], |recorder| self.pair.error_counter(recorder, error))
    }

    fn finish_counter(&self, index: usize) -> &Counter {
        self.lazy(&self.finish[index], |recorder| self.pair.finish_counter(recorder, FINISH_REASONS[index]))
    }

    fn first_chunk_histogram(&self) -> &Histogram {
        self.lazy(&self.first_chunk, |recorder| self.pair.histogram(recorder, &catalog::FIRST_CHUNK))
    }

    fn chunk_gap_histogram(&self) -> &Histogram {
        self.lazy(&self.chunk_gap, |recorder| self.pair.histogram(recorder, &catalog::CHUNK_GAP))
    }

    fn last_success_gauge(&self) -> &Gauge {
        self.lazy(&self.last_success, |recorder| self.pair.gauge(recorder, &catalog::LAST_SUCCESS))
    }

    /// Returns a handle, made when it is first needed; when the recorder is gone, one with the recorder that records nothing.
    fn lazy<'a, H>(&self, handle: &'a OnceLock<H>, register: impl FnOnce(&dyn Recorder) -> H) -> &'a H {
        handle.get_or_init(|| match self.recorder.upgrade() {
            Some(recorder) => register(&*recorder),
            None => register(&metrics::NoopRecorder),
        })
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

    use super::{Current, ErrorType, Pair, PairSeries, Recorder, Usage, catalog, recorder};

    /// Counts one call.
    pub fn request(provider: impl AsRef<str>, model: impl AsRef<str>) {
        record(provider.as_ref(), model.as_ref(), PairSeries::request, |pair, recorder| {
            pair.counter(recorder, &catalog::REQUESTS).increment(1);
        });
    }

    /// Counts one failed call.
    pub fn error(provider: impl AsRef<str>, model: impl AsRef<str>, error: impl Into<ErrorType>) {
        let error = error.into();
        record(
            provider.as_ref(),
            model.as_ref(),
            |series| series.error_counter(error).increment(1),
            |pair, recorder| pair.error_counter(recorder, error).increment(1),
        );
    }

    /// Records one duration, in seconds.
    pub fn duration(provider: impl AsRef<str>, model: impl AsRef<str>, elapsed: impl IntoF64) {
        let elapsed = elapsed.into_f64();
        record(
            provider.as_ref(),
            model.as_ref(),
            |series| series.duration(elapsed),
            |pair, recorder| pair.histogram(recorder, &catalog::DURATION).record(elapsed),
        );
    }

    /// Counts prompt and completion tokens, and both together.
    pub fn tokens(provider: impl AsRef<str>, model: impl AsRef<str>, prompt: u64, completion: u64) {
        let usage = Usage::new(prompt, completion);
        record(
            provider.as_ref(),
            model.as_ref(),
            |series| series.tokens(&usage),
            |pair, recorder| pair.tokens(recorder, &usage),
        );
    }

    /// Counts one call, its duration in seconds and its prompt and completion tokens.
    pub fn finished(
        provider: impl AsRef<str>,
        model: impl AsRef<str>,
        elapsed: impl IntoF64,
        (prompt, completion): (u64, u64),
    ) {
        let (elapsed, usage) = (elapsed.into_f64(), Usage::new(prompt, completion));
        record(
            provider.as_ref(),
            model.as_ref(),
            |series| {
                series.request();
                series.duration(elapsed);
                series.tokens(&usage);
            },
            |pair, recorder| {
                pair.counter(recorder, &catalog::REQUESTS).increment(1);
                pair.histogram(recorder, &catalog::DURATION).record(elapsed);
                pair.tokens(recorder, &usage);
            },
        );
    }

    /// Records through the series that a recorder of ours keeps, or with another's, which knows none, just this.
    fn record(provider: &str, model: &str, kept: impl Fn(&PairSeries), alone: impl FnOnce(&Pair, &dyn Recorder)) {
        recorder::with_current(|current| match current {
            Current::Ours(ours) => {
                ours.with_pair(provider, model, &mut |series| kept(series));
            }
            Current::Another(another) => alone(&Pair::new(provider, model), another),
            Current::None => {}
        });
    }
}
