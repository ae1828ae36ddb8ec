//! Metrics and traces for programs that call LLMs: one install at the start, one guard around each call.
//!
//! | on the page | kind | labels |
//! |---|---|---|
//! | `llm_requests_total` | counter | provider, model |
//! | `llm_errors_total` | counter | provider, model, error_type |
//! | `llm_duration` (seconds) | histogram | provider, model |
//! | `llm_tokens_total` | counter | provider, model |
//! | `llm_tokens_prompt_total` | counter | provider, model |
//! | `llm_tokens_completion_total` | counter | provider, model |
//!
//! [`METRICS`] lists all metrics. The page is served in the Prometheus text format 0.0.4, and in OpenMetrics 1.0.0 with exemplars
//! for scrapers that ask for it. Each call is also one span, with the attributes of OpenTelemetry's GenAI conventions.
//!
//! ```
//! # #[cfg(feature = "install")] {
//! use botticelli_obs::{Builder, LlmCall, Usage};
//!
//! let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").install()?;
//!
//! let mut call = LlmCall::start("ollama", "llama3.2");
//! call.record_usage(Usage::new(12, 30));
//! call.finish();
//! drop(LlmCall::start("ollama", "llama3.2")); // dropped: counted as cancelled
//!
//! // Prometheus scrapes the same page from `telemetry.metrics_addr()`.
//! let page = telemetry.render();
//! assert!(page.contains(r#"llm_requests_total{provider="ollama",model="llama3.2"} 2"#));
//! assert!(page.contains(r#"llm_tokens_total{provider="ollama",model="llama3.2"} 42"#));
//! assert!(page.contains(r#"{provider="ollama",model="llama3.2",error_type="cancelled"} 1"#));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In libraries
//!
//! Depend on the crate with `default-features = false`. Recording then needs little more than the crates
//! [metrics](https://docs.rs/metrics) and [tracing](https://docs.rs/tracing), and does nothing until a program installs a recorder
//! or a subscriber.
//!
//! 1. Implement [`LlmResponse`] and [`ClassifyError`] for the types of your client.
//! 2. Put an [`LlmCall`] around each call, with [`observe`](LlmCall::observe), [`observe_stream`](LlmCall::observe_stream) or
//!    `#[llm_call]`.
//! 3. [`declare`] each model for which a driver is created.
//!
//! The page [`guide`] shows every way to do this, from single facts such as [`llm_request!`] to a decorator around all drivers.
//! The page [`bots`] shows how bots, agents and narratives become tasks, and what they cost.
//!
//! Record other metrics with the macros of `metrics`, which this crate re-exports: `counter!`, `gauge!` and `histogram!`.
//!
//! # In executables
//!
//! Call [`install()`] once, at the start of `main`, and keep the [`Telemetry`] it returns until the program ends. Environment
//! variables set where the page is served and where spans are exported; [`Builder`] sets the same in code. The pipelines run on
//! threads of this crate, so the program may use any async runtime or none.
//!
//! A program that has its own recorder, subscriber or web server can use single parts: [`Builder::recorder`] returns the recorder
//! and its page, [`Builder::trace_layer`] returns the layer that exports spans.
//!
//! A program that nobody scrapes can push its metrics (`OTEL_METRICS_EXPORTER=otlp`), or add its totals to a text file when it
//! ends (`BOTTICELLI_OBS_TEXTFILE`). When a dashboard stays empty, `botticelli-obs doctor` finds the reason.
//!
//! # What it does not do
//!
//! - It never records prompts, completions or arguments, and it never uses ids as labels.
//! - By default it keeps at most 1,000 pairs of provider and model, and at most 1,000 label sets of any other metric. Further ones
//!   are recorded as `other`.
//!
//! # Features
//!
//! - `install`, default: [`install()`], [`Builder`], [`Telemetry`] and the pipelines. Without it the crate only records.
//! - `exporter`, default: the listener of `metrics-exporter-prometheus`, as an alternative to this crate's own.
//! - `otlp-grpc`, default: export of spans by OTLP/gRPC.
//! - `otlp-http`: export of spans by OTLP/HTTP with protobuf bodies.
//! - `otlp-tls`: `https://` endpoints for either, with the system's roots or `OTEL_EXPORTER_OTLP_CERTIFICATE`.
//! - `otlp-metrics`: push of metrics by OTLP. It includes gRPC; `otlp-http` adds HTTP.
//! - `process`: CPU time, memory, file descriptors, threads and start time of the process on the page, on Linux.
//! - `prices`: `PriceBook`, by which calls are priced.
//! - `console`: a live page of calls, errors, times, tokens and costs at `/` of the listener.
//! - `full`: what most programs want: `console`, `http`, `json`, `otlp-http`, `otlp-metrics`, `otlp-tls`, `prices`, `process`,
//!   `reqwest-middleware`, `span-metrics`, `tower`.
//! - `cli`: the program `botticelli-obs`, and the module `doctor`.
//! - `macros`, default: `#[llm_call]`.
//! - `json`: tokens, finish reasons and failures from the answers and streams of OpenAI, Anthropic, Gemini, Ollama and others.
//! - `http`: the headers `traceparent` and `baggage` of requests, and the rate limits in the headers of answers.
//! - `reqwest`: [`ClassifyError`] for `reqwest::Error`.
//! - `reqwest-middleware`, `tower`, `async-openai`: the module `http_layer`, which records all LLM requests of such a client.
//! - `span-metrics`: `SpanMetrics`, which counts the calls that other libraries, such as rig and genai, have on their spans.
//! - `testing`: a test kit that captures what a piece of code records.
//!
//! The minimum Rust version is 1.91.
#![cfg_attr(
    not(feature = "install"),
    doc = "",
    doc = "[`install()`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/fn.install.html",
    doc = "[`Builder`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/struct.Builder.html",
    doc = "[`Builder::recorder`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/struct.Builder.html#method.recorder",
    doc = "[`Builder::trace_layer`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/struct.Builder.html#method.trace_layer",
    doc = "[`Telemetry`]: https://docs.rs/botticelli_obs/latest/botticelli_obs/struct.Telemetry.html"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(unreachable_pub)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod call;
mod catalog;
#[cfg(feature = "_otlp")]
mod cause;
mod client_error;
#[cfg(feature = "console")]
mod console;
mod cost;
mod current;
#[cfg(feature = "cli")]
pub mod doctor;
mod error_type;
#[cfg(feature = "install")]
mod file;
mod finish;
mod fork;
#[cfg(feature = "_http-layer")]
pub mod http_layer;
#[cfg(feature = "install")]
mod install;
#[cfg(feature = "json")]
pub mod json;
mod label;
mod lock;
mod macros;
mod operation;
#[cfg(feature = "install")]
mod otlp;
mod outcome;
#[cfg(feature = "prices")]
mod price;
#[cfg(feature = "http")]
pub mod propagation;
mod provider;
#[cfg(feature = "otlp-metrics")]
mod push;
#[cfg(feature = "http")]
mod rate_limits;
mod record;
#[cfg(feature = "install")]
mod scrape;
mod series;
#[cfg(feature = "install")]
mod snapshot;
#[cfg(feature = "span-metrics")]
mod span_metrics;
#[cfg(feature = "install")]
mod spans;
#[cfg(feature = "install")]
mod spend;
#[cfg(feature = "install")]
mod store;
#[cfg(feature = "install")]
pub mod subscriber;
#[cfg(feature = "install")]
mod summary;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "install")]
mod textfile;
mod thread_end;
#[cfg(feature = "install")]
mod throttle;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod top;
#[cfg(feature = "console")]
mod totals;
mod usage;
mod word;
#[cfg(feature = "install")]
mod worker;

#[cfg(feature = "macros")]
#[doc = include_str!("llm_call.md")]
pub use botticelli_obs_macros::llm_call;
#[cfg(feature = "macros")]
#[doc = include_str!("task/llm_task.md")]
pub use botticelli_obs_macros::llm_task;
#[cfg(feature = "macros")]
#[doc = include_str!("task/llm_tool.md")]
pub use botticelli_obs_macros::llm_tool;
pub use call::{
    Attempt, CurrentCall, LlmCall, LlmCallBuilder, Observe, ObserveAttempt, ObserveStream, ObserveStreamWith,
    ObserveWith, ObservedStream, ObservedStreamWith, Scope, Wait,
};
#[cfg(feature = "install")]
pub use catalog::GenAiMetrics;
pub use catalog::{METRICS, Metric, MetricKind, Stability};
#[cfg(feature = "cli")]
pub use doctor::doctor;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use doctor::{Diagnosis, Finding, Mistake, Verdict};
pub use error_type::{ClassifyError, ErrorType};
pub use metrics::{
    self, Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit, counter,
    describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
pub use outcome::{LlmResponse, Outcome};
#[cfg(feature = "prices")]
pub use price::{Price, PriceBook, PriceError};
#[cfg(feature = "http")]
pub use rate_limits::{RateLimit, RateLimits};
pub use record::declare;
#[cfg(feature = "span-metrics")]
pub use span_metrics::SpanMetrics;
#[cfg(feature = "install")]
#[doc(hidden)]
pub use subscriber::{Layer, Registry};
pub use task::{
    ClassifyResult, CurrentTask, LlmTask, LlmTaskBuilder, LlmToolCall, LlmToolCallBuilder, ObserveRun, TaskScope,
};
pub use tracing;
pub use usage::Usage;
pub use word::ParseError;
#[cfg(feature = "install")]
pub use {
    install::{
        Builder, FailurePolicy, FlushError, InstallError, MetricsHandle, Telemetry, TraceExporter, TraceGuard, install,
    },
    otlp::OtlpProtocol,
    spans::Sampler,
    spans::logs::LogFormat,
    spend::{Budget, BudgetExceeded, BudgetStatus, Spend},
    store::MetricsRecorder,
    summary::{ModelSummary, Summary},
};

/// The name of [`MetricsRecorder`] in 0.1.
#[cfg(feature = "install")]
#[deprecated(since = "0.2.0", note = "renamed to `MetricsRecorder`")]
pub type PageRecorder = MetricsRecorder;

/// The name of [`MetricsHandle`] in 0.1.
#[cfg(feature = "install")]
#[deprecated(since = "0.2.0", note = "renamed to `MetricsHandle`")]
pub type PageHandle = MetricsHandle;

#[cfg(any(doc, doctest))]
#[cfg_attr(
    not(all(feature = "http", feature = "json", feature = "macros", feature = "_http-layer")),
    allow(rustdoc::broken_intra_doc_links, reason = "the guide links to items of these features")
)]
#[doc = include_str!("guide.md")]
pub mod guide {}

#[cfg(any(doc, doctest))]
#[cfg_attr(not(feature = "install"), allow(rustdoc::broken_intra_doc_links, reason = "likewise"))]
#[doc = include_str!("bots.md")]
pub mod bots {}

#[cfg(all(doctest, feature = "install"))]
#[doc = include_str!("../README.md")]
struct Readme;
