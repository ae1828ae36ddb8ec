//! A recorder and a subscriber of a test.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use opentelemetry_sdk::trace::SdkTracerProvider;
use pin_project_lite::pin_project;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use super::llm::{Count, Llm};
use super::samples::Samples;
use super::span::{CapturedSpan, Ended};
use crate::spans;
use crate::store::{self, ExtraRecorder, MetricsRecorder};

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
