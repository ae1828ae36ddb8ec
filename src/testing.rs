//! What a piece of provider code records, captured for a test.
//!
//! A [`Capture`] is a recorder and a subscriber of a test's own. Nothing global is touched, so tests run in parallel, whatever
//! is installed in the process.
//!
//! ```
//! use botticelli_obs::testing::Capture;
//! use botticelli_obs::{ErrorType, LlmCall, Usage};
//!
//! let capture = Capture::new();
//! capture.run(|| {
//!     let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
//!     call.record_usage(Usage::new(12, 30));
//!     call.finish();
//!     LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
//! });
//!
//! let llm = capture.llm("gemini", "gemini-2.5-flash");
//! assert_eq!(llm.requests(), 2);
//! assert_eq!(llm.errors_of(ErrorType::RateLimit), 1);
//! assert_eq!(llm.tokens(), 42);
//! assert_eq!(capture.spans()[0].name(), "chat gemini-2.5-flash");
//! ```
//!
//! Async code is captured by [`Capture::observe`]. What it spawns as tasks or threads is not: recorder and subscriber belong to
//! the thread that runs the code, and a call belongs to those that were current at its start. Wrap what is spawned, too, with a
//! clone of the capture.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use pin_project_lite::pin_project;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use crate::error_type::ErrorType;
use crate::store::{self, ExtraRecorder, MetricsRecorder};
use crate::{catalog, spans};

/// Captures the metrics and spans of what runs inside it; cheap to clone, and clones see the same.
#[derive(Clone)]
pub struct Capture {
    recorder: MetricsRecorder,
    samples: Samples,
    spans: Ended,
    subscriber: Dispatch,
    // The tracer in the subscriber does not keep it alive.
    _provider: SdkTracerProvider,
}

impl Capture {
    /// Creates an empty capture.
    #[expect(clippy::new_without_default, reason = "what it creates is no plain value")]
    pub fn new() -> Self {
        let (samples, spans) = (Samples::new(), Ended::default());
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let subscriber = tracing_subscriber::registry().with(spans::layer(&provider, "trace"));
        Self {
            recorder: MetricsRecorder::new(&store::Config::default(), vec![ExtraRecorder::added(samples.clone())]),
            samples,
            spans,
            subscriber: Dispatch::new(subscriber),
            _provider: provider,
        }
    }

    /// Runs a function and captures what it records.
    pub fn run<T>(&self, function: impl FnOnce() -> T) -> T {
        let _recorder = metrics::set_default_local_recorder(&self.recorder);
        tracing::dispatcher::with_default(&self.subscriber, function)
    }

    /// Captures what a future records, whichever thread polls it.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    /// use botticelli_obs::testing::Capture;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let capture = Capture::new();
    /// capture.observe(async { LlmCall::start("ollama", "llama3.2").finish() }).await;
    /// assert_eq!(capture.llm("ollama", "llama3.2").requests(), 1);
    /// # }
    /// ```
    pub fn observe<F: Future>(&self, future: F) -> Captured<F> {
        Captured { future: Some(future), capture: self.clone() }
    }

    /// Returns what was recorded for a provider and model, by their labels on the page.
    pub fn llm(&self, provider: &str, model: &str) -> Llm<'_> {
        Llm { capture: self, provider: provider.to_owned(), model: model.to_owned() }
    }

    /// Returns the value of a counter; 0 if it was not recorded.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Count<'_> {
        let counter = self.samples.find(self.samples.registry.get_counter_handles(), name, labels);
        Count { value: counter.map_or(0, |counter| counter.load(Ordering::Acquire)), capture: self }
    }

    /// Returns the value of a gauge, `None` if it was not recorded.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let gauge = self.samples.find(self.samples.registry.get_gauge_handles(), name, labels);
        gauge.map(|gauge| f64::from_bits(gauge.load(Ordering::Acquire)))
    }

    /// Returns the samples of a histogram, in ascending order.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let bucket = self.samples.find(self.samples.registry.get_histogram_handles(), name, labels);
        let mut samples = bucket.map(|bucket| bucket.data()).unwrap_or_default();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// Returns the spans that have ended, in the order they did.
    pub fn spans(&self) -> Vec<CapturedSpan> {
        self.spans.lock().iter().map(|span| CapturedSpan(span.clone())).collect()
    }
}

/// Everything that was recorded and is not 0, a series a line.
impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = BTreeMap::new();
        let registry = &self.samples.registry;
        for (key, counter) in registry.get_counter_handles() {
            let value = counter.load(Ordering::Acquire);
            lines.extend((value != 0).then(|| (key.to_string(), value.to_string())));
        }
        for (key, gauge) in registry.get_gauge_handles() {
            let value = f64::from_bits(gauge.load(Ordering::Acquire));
            lines.extend((value != 0.0).then(|| (key.to_string(), value.to_string())));
        }
        for (key, bucket) in registry.get_histogram_handles() {
            let samples = bucket.data();
            lines.extend((!samples.is_empty()).then(|| (key.to_string(), format!("{samples:?}"))));
        }
        for (key, value) in lines {
            writeln!(f, "{key} = {value}")?;
        }
        self.spans().iter().try_for_each(|span| writeln!(f, "{span:?}"))
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pin_project! {
    /// A future inside a capture, made by [`Capture::observe`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    #[derive(Debug)]
    pub struct Captured<F> {
        #[pin]
        future: Option<F>,
        capture: Capture,
    }

    impl<F> PinnedDrop for Captured<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // The registry closes a parent by the subscriber that is current when its last child ends.
            this.capture.run(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Captured<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.future.as_pin_mut() {
            Some(future) => this.capture.run(|| future.poll(cx)),
            None => Poll::Pending,
        }
    }
}

/// A number that was counted: compare it with a `u64`. Its `Debug` shows everything that was recorded, so that a failed
/// `assert_eq!` says why.
#[derive(Clone, Copy)]
pub struct Count<'a> {
    value: u64,
    capture: &'a Capture,
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
    capture: &'a Capture,
    provider: String,
    model: String,
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

/// A span that has ended.
#[derive(Clone)]
pub struct CapturedSpan(SpanData);

impl CapturedSpan {
    /// Returns the name, as a backend shows it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether its kind is client, as it is for calls.
    pub fn is_client(&self) -> bool {
        self.0.span_kind == SpanKind::Client
    }

    /// Whether its status is error.
    pub fn is_error(&self) -> bool {
        matches!(self.0.status, Status::Error { .. })
    }

    /// Returns its id, in hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.span_context.span_id().to_string()
    }

    /// Returns the id of its trace, in hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.span_context.trace_id().to_string()
    }

    /// Returns the id of its parent, `None` for a root.
    pub fn parent_id(&self) -> Option<String> {
        Some(self.0.parent_span_id).filter(|&parent| parent != SpanId::INVALID).map(|parent| parent.to_string())
    }

    /// Returns an attribute.
    pub fn attribute(&self, name: &str) -> Option<Attribute> {
        // The last one recorded is the one that a backend shows.
        let found = self.0.attributes.iter().rev().find(|attribute| attribute.key.as_str() == name)?;
        Some(Attribute::from(&found.value))
    }
}

impl fmt::Debug for CapturedSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut span = f.debug_struct("Span");
        span.field("name", &self.name()).field("error", &self.is_error());
        for attribute in &self.0.attributes {
            span.field(attribute.key.as_str(), &Attribute::from(&attribute.value));
        }
        span.finish()
    }
}

/// The value of an attribute, with its type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of something else, as text.
    List(String),
}

impl Attribute {
    fn from(value: &opentelemetry::Value) -> Self {
        use opentelemetry::{Array, Value};
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::I64(value) => Self::Int(*value),
            Value::F64(value) => Self::Float(*value),
            Value::String(value) => Self::Text(value.as_str().to_owned()),
            Value::Array(Array::String(values)) => {
                Self::Texts(values.iter().map(|value| value.as_str().to_owned()).collect())
            }
            other => Self::List(other.as_str().into_owned()),
        }
    }
}

impl PartialEq<&str> for Attribute {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, Self::Text(text) if text == other)
    }
}

impl PartialEq<i64> for Attribute {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, Self::Int(value) if value == other)
    }
}

/// A recorder that keeps every sample.
#[derive(Clone)]
struct Samples {
    registry: Arc<Registry<Key, AtomicStorage>>,
}

impl Samples {
    fn new() -> Self {
        Self { registry: Arc::new(Registry::atomic()) }
    }

    fn find<T>(&self, handles: impl IntoIterator<Item = (Key, T)>, name: &str, labels: &[(&str, &str)]) -> Option<T> {
        let wanted: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let is_wanted = |key: &Key| {
            key.name() == name
                && key.labels().map(|label| (label.key(), label.value())).collect::<BTreeMap<_, _>>() == wanted
        };
        handles.into_iter().find_map(|(key, handle)| is_wanted(&key).then_some(handle))
    }
}

impl Recorder for Samples {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.registry.get_or_create_counter(&key.to_retained(), |counter| Counter::from_arc(Arc::clone(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.registry.get_or_create_gauge(&key.to_retained(), |gauge| Gauge::from_arc(Arc::clone(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.registry.get_or_create_histogram(&key.to_retained(), |bucket| Histogram::from_arc(Arc::clone(bucket)))
    }
}

/// Spans that have ended.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl Ended {
    fn lock(&self) -> MutexGuard<'_, Vec<SpanData>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.lock().extend(batch);
        Ok(())
    }
}
