//! The traces pipeline.

#[cfg(feature = "otlp-grpc")]
mod decoupling;
#[cfg(feature = "otlp-grpc")]
mod decoupling_end;
#[cfg(feature = "otlp-grpc")]
mod otlp;
#[cfg(all(feature = "otlp-tls", feature = "otlp-grpc"))]
mod otlp_tls;
#[cfg(feature = "http")]
mod propagation;
#[cfg(feature = "otlp-grpc")]
mod settings;
#[cfg(feature = "otlp-http")]
mod throttling;
