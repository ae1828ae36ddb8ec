//! The traces pipeline.

#[cfg(feature = "otlp-grpc")]
mod aliases;
#[cfg(all(feature = "macros", feature = "otlp-grpc"))]
mod call_end;
#[cfg(feature = "otlp-grpc")]
mod content;
#[cfg(feature = "otlp-grpc")]
mod decoupling;
#[cfg(feature = "otlp-grpc")]
mod decoupling_end;
#[cfg(feature = "otlp-grpc")]
mod delivery;
#[cfg(feature = "otlp-grpc")]
mod exporters;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http", feature = "otlp-metrics"))]
mod hostile;
#[cfg(feature = "otlp-grpc")]
mod large;
#[cfg(feature = "otlp-grpc")]
mod many_threads;
#[cfg(feature = "otlp-grpc")]
mod otlp;
#[cfg(all(feature = "otlp-tls", feature = "otlp-grpc"))]
mod otlp_tls;
mod own_provider;
#[cfg(feature = "http")]
mod propagation;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
mod proxy;
#[cfg(feature = "otlp-grpc")]
mod settings;
mod thread_end;
#[cfg(feature = "otlp-http")]
mod throttling;
#[cfg(feature = "otlp-grpc")]
mod words;
