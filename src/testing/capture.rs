//! A recorder and a subscriber for one test.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use opentelemetry_sdk::trace::{SdkTracerProvider, SimpleSpanProcessor};
use pin_project_lite::pin_project;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use super::llm::{Count, Llm};
use super::samples::SampleRecorder;
use super::span::{CapturedSpan, EndedSpans};
use crate::spans::{self, ending::EndProcessor};
use crate::store::{self, ExtraRecorder, MetricsRecorder};

/// Captures the metrics and spans of the code that runs in it. Cheap to clone; all clones share what was captured.
#[derive(Clone)]
pub struct Capture {
    recorder: MetricsRecorder,
    samples: SampleRecorder,
    spans: EndedSpans,
    subscriber: Dispatch,
    // Held because the tracer in the subscriber does not keep the provider alive.
    _provider: SdkTracerProvider,
}

impl Capture {
    /// Creates an empty capture.
    #[expect(clippy::new_without_default, reason = "it creates a recorder and a subscriber, not a plain value")]
    pub fn new() -> Self {
        let (samples, spans) = (SampleRecorder::new(), EndedSpans::default());
        let processor = EndProcessor::new(SimpleSpanProcessor::new(spans.clone()));
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let subscriber = tracing_subscriber::registry().with(spans::layer(&provider, "trace"));
        Self {
            recorder: MetricsRecorder::new(&store::Config::default(), vec![ExtraRecorder::added(samples.clone())]),
            samples,
            spans,
            subscriber: Dispatch::new(subscriber),
            _provider: provider,
        }
    }

    /// Runs a function on this thread, captures what it records, and returns its result.
    pub fn run<T>(&self, function: impl FnOnce() -> T) -> T {
        let _recorder = metrics::set_default_local_recorder(&self.recorder);
        tracing::dispatcher::with_default(&self.subscriber, function)
    }

    /// Wraps a future to capture what it records, on any thread that polls it.
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

    /// Returns what was recorded with these values of the labels `provider` and `model`.
    pub fn llm(&self, provider: &str, model: &str) -> Llm<'_> {
        Llm { capture: self, provider: provider.to_owned(), model: model.to_owned() }
    }

    /// Returns the value of the counter with this name in code, such as `llm.requests`, and exactly these labels in any order; 0
    /// if nothing was recorded.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Count<'_> {
        let counter = self.samples.find(self.samples.registry.get_counter_handles(), name, labels);
        Count { value: counter.map_or(0, |counter| counter.load(Ordering::Acquire)), capture: self }
    }

    /// Returns the value of the gauge with this name in code and exactly these labels; `None` if nothing was recorded.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let gauge = self.samples.find(self.samples.registry.get_gauge_handles(), name, labels);
        gauge.map(|gauge| f64::from_bits(gauge.load(Ordering::Acquire)))
    }

    /// Returns the samples of the histogram with this name in code and exactly these labels, in ascending order; none if nothing
    /// was recorded.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let bucket = self.samples.find(self.samples.registry.get_histogram_handles(), name, labels);
        let mut samples = bucket.map(|bucket| bucket.data()).unwrap_or_default();
        samples.sort_by(f64::total_cmp);
        samples
    }

    /// Returns the spans that have ended, in the order in which they ended.
    pub fn spans(&self) -> Vec<CapturedSpan> {
        self.spans.lock().iter().map(|span| CapturedSpan(span.clone())).collect()
    }
}

/// Writes each series that is not 0, and each span, on one line.
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
    /// A future whose metrics and spans are captured; returned by [`Capture::observe`].
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
            // Drop the future inside the capture: when the last child of a span ends, the registry closes the span with the
            // subscriber that is current then.
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
