//! What does a whole `LlmCall` cost: start, usage, end; with nothing installed, with metrics, and with a span?
//!
//! The globals of a process can't be reset, so each state is measured in its own process. Spans are sent to a server that accepts
//! everything and runs in the parent process.

mod sink;

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use botticelli_obs::metrics::{Counter, Gauge, Histogram};
use botticelli_obs::tracing::{self, field};
use botticelli_obs::{
    Builder, LlmCall, LogFormat, Sampler, Telemetry, TraceExporter, Usage, counter, gauge, histogram,
};
use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SdkTracerProvider};
use sink::Sink;
use tracing_subscriber::layer::SubscriberExt;

/// The variable that selects the state that this process measures.
const STATE: &str = "WHOLE_CALL_STATE";

/// The variable with the endpoint for the spans.
const SINK: &str = "WHOLE_CALL_SINK";

/// The number of calls that are timed together. Their spans are exported afterwards, untimed: a full queue would drop spans,
/// which costs less.
const BATCH: u64 = 512;

type State = (&'static str, fn(&mut BenchmarkGroup<'_, WallTime>, &str));

const STATES: &[State] = &[
    ("ours, nothing installed", |group, name| {
        group.bench_function(name, |bencher| bencher.iter(call));
    }),
    ("ours, metrics", |group, name| {
        let _telemetry = install(Builder::new().without_subscriber());
        group.bench_function(name, |bencher| bencher.iter(call));
    }),
    ("ours, default install", |group, name| {
        let _telemetry = install(Builder::new());
        group.bench_function(name, |bencher| bencher.iter(call));
    }),
    ("by hand, default install", |group, name| {
        let _telemetry = install(Builder::new());
        let by_hand = ByHand::new();
        group.bench_function(name, |bencher| bencher.iter(|| by_hand.call()));
    }),
    ("ours, metrics and a sampled-out span", |group, name| {
        let _telemetry = install(with_spans(Sampler::AlwaysOff));
        group.bench_function(name, |bencher| bencher.iter(call));
    }),
    ("ours, metrics and an exported span", |group, name| {
        let telemetry = install(with_spans(Sampler::AlwaysOn));
        let export = || telemetry.flush(Duration::from_secs(30)).expect("the sink takes everything");
        group.bench_function(name, |bencher| in_batches(bencher, call, export));
    }),
    ("tracing-opentelemetry alone, sampled out", |group, name| {
        let _provider = subscribe(SdkSampler::AlwaysOff);
        group.bench_function(name, |bencher| bencher.iter(span));
    }),
    ("tracing-opentelemetry alone, exported", |group, name| {
        let provider = subscribe(SdkSampler::AlwaysOn);
        let export = || provider.force_flush().expect("the sink takes everything");
        group.bench_function(name, |bencher| in_batches(bencher, span, export));
    }),
];

fn call() {
    let mut call = LlmCall::start("gemini", black_box("gemini-2.5-flash"));
    call.record_usage(Usage::new(900, 100));
    call.finish();
}

/// Creates the same span as that of a call, by hand.
fn span() {
    let model = black_box("gemini-2.5-flash");
    let span = tracing::info_span!(
        "llm_call",
        otel.name = format_args!("chat {model}"),
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = "gcp.gemini",
        gen_ai.request.model = model,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
    );
    span.record("gen_ai.usage.input_tokens", 900);
    span.record("gen_ai.usage.output_tokens", 100);
}

/// What that call does under the default install, by hand: handles that are held, a span with the same fields, two readings of the
/// clock.
struct ByHand {
    requests: Counter,
    duration: Histogram,
    tokens: [Counter; 3],
    in_flight: Gauge,
}

impl ByHand {
    fn new() -> Self {
        let labels = [("provider", "gemini"), ("model", "gemini-2.5-flash")];
        Self {
            requests: counter!("by.hand.requests", &labels),
            duration: histogram!("by.hand.duration", &labels),
            tokens: ["by.hand.tokens", "by.hand.tokens.prompt", "by.hand.tokens.completion"]
                .map(|name| counter!(name, &labels)),
            in_flight: gauge!("by.hand.in.flight", &labels),
        }
    }

    fn call(&self) {
        let model = black_box("gemini-2.5-flash");
        self.in_flight.increment(1.0);
        let (max_tokens, temperature, top_p) = black_box((None::<i64>, None::<f64>, None::<f64>));
        let (streaming, address, port) = black_box((None::<bool>, None::<&str>, None::<i64>));
        let span = tracing::info_span!(
            target: "botticelli_obs::call",
            "llm_call",
            otel.name = format_args!("chat {model}"),
            otel.kind = "client",
            otel.status_code = field::Empty,
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "gcp.gemini",
            gen_ai.request.model = model,
            gen_ai.request.max_tokens = max_tokens,
            gen_ai.request.temperature = temperature,
            gen_ai.request.top_p = top_p,
            gen_ai.request.stream = streaming,
            server.address = address,
            server.port = port,
            gen_ai.response.model = field::Empty,
            gen_ai.response.id = field::Empty,
            gen_ai.response.finish_reasons = field::Empty,
            gen_ai.usage.input_tokens = field::Empty,
            gen_ai.usage.output_tokens = field::Empty,
            gen_ai.usage.cache_read.input_tokens = field::Empty,
            gen_ai.usage.cache_creation.input_tokens = field::Empty,
            gen_ai.usage.reasoning.output_tokens = field::Empty,
            error.type = field::Empty,
        );
        let started = Instant::now();
        let (prompt, completion) = black_box((900_u64, 100_u64));
        span.record("gen_ai.usage.input_tokens", prompt as i64);
        span.record("gen_ai.usage.output_tokens", completion as i64);
        self.duration.record(started.elapsed());
        self.requests.increment(1);
        for (counter, tokens) in self.tokens.iter().zip([prompt + completion, prompt, completion]) {
            counter.increment(tokens);
        }
        self.in_flight.decrement(1.0);
    }
}

fn install(builder: Builder) -> Telemetry {
    builder.without_listener().install().expect("it is the first of this process")
}

fn with_spans(sampler: Sampler) -> Builder {
    let builder = Builder::new().with_trace_exporter(TraceExporter::Otlp).with_sampler(sampler);
    builder.with_otlp_endpoint(sink()).with_log_format(LogFormat::Off)
}

fn subscribe(sampler: SdkSampler) -> SdkTracerProvider {
    let endpoint = format!("{}/v1/traces", sink());
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build().expect("a valid endpoint");
    let provider = SdkTracerProvider::builder().with_sampler(sampler).with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("it is the first of this process");
    provider
}

fn sink() -> String {
    std::env::var(SINK).expect("the process that starts this one says where")
}

fn in_batches(bencher: &mut Bencher<'_>, call: fn(), export: impl Fn()) {
    bencher.iter_custom(|calls| {
        let mut took = Duration::ZERO;
        let mut left = calls;
        while left > 0 {
            let batch = left.min(BATCH);
            let started = Instant::now();
            (0..batch).for_each(|_| call());
            took += started.elapsed();
            export();
            left -= batch;
        }
        took
    });
}

fn main() {
    if let Ok(state) = std::env::var(STATE) {
        let (name, measure) = STATES.iter().find(|(name, _)| *name == state).expect("a state of the list");
        let mut criterion = Criterion::default().configure_from_args();
        let mut group = criterion.benchmark_group("whole_call");
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1)).sample_size(50);
        measure(&mut group, name);
        return group.finish();
    }
    let sink = Sink::start().expect("a port on loopback");
    for (name, _) in STATES {
        let before = sink.exports();
        let mut child = Command::new(std::env::current_exe().expect("the path of this program"));
        let status = child.args(std::env::args().skip(1)).env(STATE, name).env(SINK, sink.url()).status();
        assert!(status.expect("the program runs again").success(), "{name}");
        assert_eq!(sink.exports() > before, name.ends_with("exported") || name.ends_with("an exported span"), "{name}");
    }
}
