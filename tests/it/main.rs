//! What the crate does, through its public API.

// For `macros::lints`: it can be denied for a whole crate only.
#![deny(future_incompatible)]

mod backends;
mod call;
mod catalog;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "install")]
mod costs;
mod documents;
#[cfg(feature = "install")]
mod exporter;
#[cfg(all(feature = "async-openai", feature = "reqwest-middleware", feature = "testing", feature = "tower"))]
mod http_layer;
#[cfg(feature = "install")]
mod install;
#[cfg(all(feature = "json", feature = "testing"))]
mod json;
#[cfg(feature = "install")]
mod listener;
#[cfg(feature = "install")]
mod logs;
#[cfg(feature = "macros")]
mod macros;
#[cfg(feature = "install")]
mod page;
#[cfg(all(feature = "otlp-metrics", feature = "otlp-grpc", feature = "otlp-http"))]
mod push;
#[cfg(feature = "http")]
mod rate_limits;
#[cfg(all(feature = "span-metrics", feature = "testing"))]
mod span_metrics;
#[cfg(feature = "install")]
mod spans;
mod support;
#[cfg(all(feature = "install", feature = "testing"))]
mod tasks;
#[cfg(feature = "testing")]
mod testing;
#[cfg(feature = "cli")]
mod top;
