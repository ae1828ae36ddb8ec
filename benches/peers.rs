//! A finished call, recorded by this crate, by alternatives to it, and by bare atomics.
//!
//! Each records the same: one request, one duration into the same buckets, and three token counts, all with the labels provider
//! and model. The names are `&str`, as in a driver. Each peer is used as its documentation shows.
#![allow(dead_code, reason = "each bench is a crate of its own and uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use botticelli_obs::{
    Builder, MetricsHandle, MetricsRecorder, Telemetry, counter, histogram, llm_duration, llm_request, llm_tokens,
    metrics,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The bounds of `llm_duration`, in seconds.
pub const BOUNDS: [f64; 17] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36];

/// The facts of a call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub provider: &'a str,
    pub model: &'a str,
    pub duration: Duration,
    pub prompt: u64,
    pub completion: u64,
}

impl<'a> Call<'a> {
    pub fn of(provider: &'a str, model: &'a str) -> Self {
        Self { provider, model, duration: Duration::ZERO, prompt: 900, completion: 100 }
    }

    /// Returns the next of many calls, whose durations are spread over all buckets.
    pub fn next(&mut self) -> &Self {
        self.prompt += 1;
        self.duration = Duration::from_millis(7 << (self.prompt * 7 % 17));
        self
    }
}

/// A crate that records calls.
pub trait Peer: Sync {
    fn record(&self, call: &Call<'_>);

    /// Runs code during which calls on this thread are recorded by this peer.
    fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        run()
    }

    /// Returns how many calls of this provider and model were recorded.
    fn requests(&self, provider: &str, model: &str) -> u64;

    /// How many calls of these providers and models have been recorded, and of no others.
    fn requests_of(&self, pairs: &[(&str, &str)]) -> u64 {
        pairs.iter().map(|(provider, model)| self.requests(provider, model)).sum()
    }
}

/// A peer that has a page.
pub trait Scraped: Peer {
    fn page(&self) -> String;
}

/// Returns the number of requests that a page has of a provider and model.
pub fn requests_on_page(page: &str, provider: &str, model: &str) -> u64 {
    let beginning = format!("llm_requests_total{{provider=\"{provider}\",model=\"{model}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&beginning)).map_or(0, |value| value.parse().expect("a number"))
}

fn record_by_one_macro(call: &Call<'_>) {
    llm_request!(
        call.provider,
        call.model,
        duration: call.duration,
        prompt: call.prompt,
        completion: call.completion
    );
}

fn record_by_three_macros(call: &Call<'_>) {
    llm_request!(call.provider, call.model);
    llm_duration!(call.provider, call.model, call.duration);
    llm_tokens!(call.provider, call.model, prompt: call.prompt, completion: call.completion);
}

/// This crate with the recorder installed for the process: one macro for each call.
pub struct Installed {
    telemetry: Telemetry,
}

impl Installed {
    pub fn new() -> Self {
        let builder = Builder::new().without_listener().without_subscriber();
        Self { telemetry: builder.install().expect("it is the first of this process") }
    }
}

impl Peer for Installed {
    fn record(&self, call: &Call<'_>) {
        record_by_one_macro(call);
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        requests_on_page(&self.telemetry.render(), provider, model)
    }
}

/// The same with one macro for each fact.
pub struct ThreeMacros<'a>(pub &'a Installed);

impl Peer for ThreeMacros<'_> {
    fn record(&self, call: &Call<'_>) {
        record_by_three_macros(call);
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        self.0.requests(provider, model)
    }
}

/// This crate with the recorder local to the thread: one macro for each call.
pub struct Local {
    recorder: MetricsRecorder,
    page: MetricsHandle,
}

impl Local {
    pub fn new(builder: Builder) -> Self {
        let (recorder, page) = builder.recorder().expect("the settings are valid");
        Self { recorder, page }
    }
}

impl Scraped for Local {
    fn page(&self) -> String {
        self.page.render()
    }
}

impl Peer for Local {
    fn record(&self, call: &Call<'_>) {
        record_by_one_macro(call);
    }

    fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, run)
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        requests_on_page(&self.page(), provider, model)
    }
}

/// The macros of `metrics` with a `String` for each label, directly into `metrics-exporter-prometheus`. Its recorder is local to
/// the thread, because a process has one global recorder.
pub struct RawMacros {
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
}

impl RawMacros {
    /// Starts upkeep at the default interval of the exporter, for the rest of the process.
    pub fn new() -> Self {
        let raw = Self::without_upkeep();
        let page = raw.page.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(5));
                page.run_upkeep();
            }
        });
        raw
    }

    pub fn without_upkeep() -> Self {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let recorder = builder.set_buckets(&BOUNDS).expect("there are bounds").build_recorder();
        Self { page: recorder.handle(), recorder }
    }
}

impl Scraped for RawMacros {
    fn page(&self) -> String {
        self.page.render()
    }
}

impl Peer for RawMacros {
    fn record(&self, call: &Call<'_>) {
        let (provider, model) = (call.provider, call.model);
        counter!("llm.requests", "provider" => provider.to_owned(), "model" => model.to_owned()).increment(1);
        histogram!("llm.duration", "provider" => provider.to_owned(), "model" => model.to_owned())
            .record(call.duration);
        let tokens = call.prompt + call.completion;
        counter!("llm.tokens", "provider" => provider.to_owned(), "model" => model.to_owned()).increment(tokens);
        counter!("llm.tokens.prompt", "provider" => provider.to_owned(), "model" => model.to_owned())
            .increment(call.prompt);
        counter!("llm.tokens.completion", "provider" => provider.to_owned(), "model" => model.to_owned())
            .increment(call.completion);
    }

    fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, run)
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        requests_on_page(&self.page(), provider, model)
    }
}

/// `prometheus`: five vectors, `with_label_values` on each.
pub struct Prometheus {
    registry: prometheus::Registry,
    requests: prometheus::IntCounterVec,
    duration: prometheus::HistogramVec,
    tokens: [prometheus::IntCounterVec; 3],
}

impl Prometheus {
    pub fn new() -> Self {
        const LABELS: &[&str] = &["provider", "model"];
        let counter =
            |name| prometheus::IntCounterVec::new(prometheus::Opts::new(name, name), LABELS).expect("a valid name");
        let duration = prometheus::HistogramOpts::new("llm_duration", "llm_duration").buckets(BOUNDS.to_vec());
        let peer = Self {
            registry: prometheus::Registry::new(),
            requests: counter("llm_requests_total"),
            duration: prometheus::HistogramVec::new(duration, LABELS).expect("a valid name"),
            tokens: ["llm_tokens_total", "llm_tokens_prompt_total", "llm_tokens_completion_total"].map(counter),
        };
        let register = |collector| peer.registry.register(collector).expect("each name is there once");
        register(Box::new(peer.duration.clone()));
        [&peer.requests].into_iter().chain(&peer.tokens).for_each(|counter| register(Box::new(counter.clone())));
        peer
    }
}

impl Scraped for Prometheus {
    fn page(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).expect("it is encoded")
    }
}

impl Peer for Prometheus {
    fn record(&self, call: &Call<'_>) {
        let labels = [call.provider, call.model];
        self.requests.with_label_values(&labels).inc();
        self.duration.with_label_values(&labels).observe(call.duration.as_secs_f64());
        for (counter, tokens) in self.tokens.iter().zip(call.tokens()) {
            counter.with_label_values(&labels).inc_by(tokens);
        }
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        self.requests.with_label_values(&[provider, model]).get()
    }
}

impl Call<'_> {
    fn tokens(&self) -> [u64; 3] {
        [self.prompt + self.completion, self.prompt, self.completion]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    provider: String,
    model: String,
}

type Durations = Family<Labels, Histogram, fn() -> Histogram>;

/// `prometheus-client`: five families; the labels are built once per call.
pub struct PrometheusClient {
    registry: Registry,
    requests: Family<Labels, Counter>,
    duration: Durations,
    tokens: [Family<Labels, Counter>; 3],
}

impl PrometheusClient {
    pub fn new() -> Self {
        let mut peer = Self {
            registry: Registry::default(),
            requests: Family::default(),
            duration: Durations::new_with_constructor(|| Histogram::new(BOUNDS)),
            tokens: Default::default(),
        };
        // It appends `_total` itself.
        let names = ["llm_requests", "llm_tokens", "llm_tokens_prompt", "llm_tokens_completion"];
        for (name, family) in names.into_iter().zip([&peer.requests].into_iter().chain(&peer.tokens)) {
            peer.registry.register(name, name, family.clone());
        }
        peer.registry.register("llm_duration", "llm_duration", peer.duration.clone());
        peer
    }
}

impl Scraped for PrometheusClient {
    fn page(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).expect("it is encoded");
        page
    }
}

impl Peer for PrometheusClient {
    fn record(&self, call: &Call<'_>) {
        let labels = Labels { provider: call.provider.to_owned(), model: call.model.to_owned() };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(call.duration.as_secs_f64());
        for (family, tokens) in self.tokens.iter().zip(call.tokens()) {
            family.get_or_create(&labels).inc_by(tokens);
        }
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        self.requests.get_or_create(&Labels { provider: provider.to_owned(), model: model.to_owned() }).get()
    }
}

/// `opentelemetry_sdk`: five instruments; the attributes are built once per call; a periodic reader calls the exporter once a
/// minute.
pub struct OpenTelemetry {
    requests: opentelemetry::metrics::Counter<u64>,
    duration: opentelemetry::metrics::Histogram<f64>,
    tokens: [opentelemetry::metrics::Counter<u64>; 3],
    provider: SdkMeterProvider,
    exported: Arc<AtomicU64>,
}

impl OpenTelemetry {
    pub fn new() -> Self {
        let exported = Arc::new(AtomicU64::new(0));
        let provider = SdkMeterProvider::builder().with_periodic_exporter(Requests(Arc::clone(&exported))).build();
        let meter = provider.meter("llm");
        let counter = |name| meter.u64_counter(name).build();
        Self {
            requests: counter("llm.requests"),
            duration: meter.f64_histogram("llm.duration").with_boundaries(BOUNDS.to_vec()).build(),
            tokens: ["llm.tokens", "llm.tokens.prompt", "llm.tokens.completion"].map(counter),
            provider,
            exported,
        }
    }
}

impl Peer for OpenTelemetry {
    fn record(&self, call: &Call<'_>) {
        let attributes =
            [KeyValue::new("provider", call.provider.to_owned()), KeyValue::new("model", call.model.to_owned())];
        self.requests.add(1, &attributes);
        self.duration.record(call.duration.as_secs_f64(), &attributes);
        for (counter, tokens) in self.tokens.iter().zip(call.tokens()) {
            counter.add(tokens, &attributes);
        }
    }

    fn requests_of(&self, _: &[(&str, &str)]) -> u64 {
        self.requests("", "")
    }

    fn requests(&self, provider: &str, model: &str) -> u64 {
        let _ = (provider, model);
        self.provider.force_flush().expect("the exporter takes everything");
        self.exported.load(Ordering::Relaxed)
    }
}

/// An exporter that stores the number of requests.
#[derive(Default)]
pub struct Requests(Arc<AtomicU64>);

impl PushMetricExporter for Requests {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let metrics = metrics.scope_metrics().flat_map(|scope| scope.metrics());
        for metric in metrics.filter(|metric| metric.name() == "llm.requests") {
            if let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() {
                self.0.store(sum.data_points().map(|point| point.value()).sum(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// The floor: an atomic addition for each of the five metrics, and the search for the bucket; without labels, sum of durations
/// and page.
#[derive(Default)]
pub struct Atomics {
    requests: AtomicU64,
    duration: [AtomicU64; BOUNDS.len() + 1],
    tokens: [AtomicU64; 3],
}

impl Peer for Atomics {
    fn record(&self, call: &Call<'_>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let seconds = call.duration.as_secs_f64();
        self.duration[BOUNDS.partition_point(|bound| *bound < seconds)].fetch_add(1, Ordering::Relaxed);
        for (counter, tokens) in self.tokens.iter().zip(call.tokens()) {
            counter.fetch_add(tokens, Ordering::Relaxed);
        }
    }

    fn requests_of(&self, _: &[(&str, &str)]) -> u64 {
        self.requests("", "")
    }

    fn requests(&self, _: &str, _: &str) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}
