//! Metrics and traces for programs that call LLMs: one install, one guard a call.
//!
//! | on the page | kind | labels |
//! |---|---|---|
//! | `llm_requests_total` | counter | provider, model |
//! | `llm_errors_total` | counter | provider, model, error_type |
//! | `llm_duration` (seconds) | histogram | provider, model |
//! | `llm_tokens_total`, `llm_tokens_prompt_total`, `llm_tokens_completion_total` | counters | provider, model |
//!
//! and more: [`METRICS`] lists them all. Each call is also one span, with the attributes of OpenTelemetry's GenAI conventions.
//!
//! ```
//! # #[cfg(feature = "install")] {
//! use botticelli_obs::{Builder, LlmCall, Usage};
//!
//! let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").install()?;
//!
//! let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
//! call.record_usage(Usage::new(12, 30));
//! call.finish();
//! drop(LlmCall::start("gemini", "gemini-2.5-flash")); // dropped: counted as cancelled
//!
//! let page = telemetry.render(); // what Prometheus gets at http://{telemetry.metrics_addr()}/metrics
//! assert!(page.contains(r#"llm_requests_total{provider="gemini",model="gemini-2.5-flash"} 2"#));
//! assert!(page.contains(r#"llm_tokens_total{provider="gemini",model="gemini-2.5-flash"} 42"#));
//! assert!(page.contains(r#"{provider="gemini",model="gemini-2.5-flash",error_type="cancelled"} 1"#));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In libraries
//!
//! Depend on the crate with `default-features = false`: recording then needs little more than [`metrics`] and [`tracing`], and does
//! nothing until a program installs something. Implement [`LlmResponse`] and [`ClassifyError`] for the types of your client, and
//! put an [`LlmCall`] around each call, by [`observe`](LlmCall::observe), [`observe_stream`](LlmCall::observe_stream) or
//! `#[llm_call]`; [`declare`] the models a driver is made for. The page [`guide`] shows all of it, from single facts such as
//! [`llm_request!`] to a decorator around all drivers. Any other metric goes through [`counter!`], [`gauge!`] and [`histogram!`].
//!
//! # In executables
//!
//! Call `install` once, at the start of `main`, and keep the `Telemetry` it returns until the end. The environment says where the
//! page is served and where spans go; `Builder` says it in code. Nothing of the pipelines runs on the program's runtime, which may be
//! of any kind, or none.
//!
//! A program that has a recorder, a subscriber or a web server of its own takes one part at a time: `Builder::recorder` gives the
//! recorder and its page, `Builder::trace_layer` the layer that exports spans.
//!
//! A program that nothing scrapes pushes its metrics (`OTEL_METRICS_EXPORTER=otlp`), or adds its totals to a text file at its end
//! (`BOTTICELLI_OBS_TEXTFILE`). When a dashboard stays empty, `botticelli-obs doctor` says why.
//!
//! # What it does not do
//!
//! - It never records prompts, completions or arguments, and never ids as labels.
//! - It keeps no more than a thousand series of a metric apart, unless told otherwise: what is beyond is recorded as `other`.
//!
//! # Features
//!
//! - `install`, default: `install()`, `Builder`, `Telemetry`, and all that `main` needs. Without it this is the facade alone.
//! - `exporter`, default: the listener of `metrics-exporter-prometheus`, for programs that choose it.
//! - `otlp-grpc`, default: export of spans by OTLP/gRPC.
//! - `otlp-http`: export of spans by OTLP/HTTP with protobuf bodies.
//! - `otlp-tls`: `https://` endpoints for either, with the system's roots or `OTEL_EXPORTER_OTLP_CERTIFICATE`.
//! - `otlp-metrics`: metrics pushed by OTLP; it brings gRPC with it, and `otlp-http` the other transport.
//! - `process`: CPU, memory, descriptors, threads and start of the process on the page, on Linux.
//! - `cli`: the program `botticelli-obs`, and the module `doctor`.
//! - `macros`, default: `#[llm_call]`.
//! - `json`: tokens, finish reasons and failures read out of what OpenAI, Anthropic, Gemini and Ollama answer.
//! - `http`: `traceparent` and `baggage` on the headers of requests.
//! - `reqwest`: the class of a `reqwest::Error`.
//! - `testing`: what a piece of code records, captured for its tests.
//!
//! The minimum Rust version is 1.91.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(unreachable_pub)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod call;
mod catalog;
#[cfg(feature = "otlp-metrics")]
mod cause;
mod client_error;
mod current;
#[cfg(feature = "cli")]
pub mod doctor;
mod error_type;
mod finish;
#[cfg(feature = "install")]
mod install;
#[cfg(feature = "json")]
pub mod json;
mod lock;
mod macros;
#[cfg(feature = "install")]
mod otlp;
mod outcome;
#[cfg(feature = "http")]
pub mod propagation;
#[cfg(feature = "otlp-metrics")]
mod push;
mod record;
#[cfg(feature = "install")]
mod scrape;
mod series;
#[cfg(feature = "install")]
mod snapshot;
#[cfg(feature = "install")]
mod spans;
#[cfg(feature = "install")]
mod store;
#[cfg(feature = "install")]
pub mod subscriber;
#[cfg(feature = "install")]
mod summary;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "install")]
mod textfile;
#[cfg(feature = "install")]
mod throttle;
mod usage;
mod word;
#[cfg(feature = "install")]
mod worker;

#[cfg(feature = "macros")]
#[doc = include_str!("llm_call.md")]
pub use botticelli_obs_macros::llm_call;
pub use call::{
    LlmCall, LlmCallBuilder, Observe, ObserveStream, ObserveStreamWith, ObserveWith, ObservedStream, ObservedStreamWith,
};
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
pub use record::declare;
#[cfg(feature = "install")]
#[doc(hidden)]
pub use subscriber::{Layer, Registry};
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
    not(all(feature = "http", feature = "json", feature = "macros")),
    allow(rustdoc::broken_intra_doc_links, reason = "what a feature adds is there with the feature")
)]
#[doc = include_str!("guide.md")]
pub mod guide {}

#[cfg(all(doctest, feature = "install"))]
#[doc = include_str!("../README.md")]
struct Readme;
