//! Metrics and traces for programs that call LLMs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod call;
mod catalog;
mod error_type;
#[cfg(feature = "install")]
mod install;
mod macros;
mod recorder;
#[cfg(feature = "install")]
mod scrape;
mod series;
#[cfg(feature = "install")]
mod spans;
mod usage;
#[cfg(feature = "install")]
mod worker;

pub use call::LlmCall;
pub use catalog::{METRICS, Metric, MetricKind};
pub use error_type::{ClassifyError, ErrorType};
pub use metrics::{
    self, Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit, counter,
    describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
pub use series::declare;
pub use tracing;
pub use usage::Usage;
#[cfg(feature = "install")]
pub use {
    install::{
        Builder, FailurePolicy, FlushError, InstallError, PageHandle, Telemetry, TraceExporter, TraceGuard, install,
    },
    scrape::PageRecorder,
    spans::logs::LogFormat,
    spans::{OtlpProtocol, Sampler},
    tracing_subscriber::{Layer, Registry},
};

#[doc(hidden)]
pub use series::single as __private;
