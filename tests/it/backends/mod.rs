//! Real servers, real programs.

#[cfg(feature = "otlp-grpc")]
mod bot;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http", feature = "otlp-metrics"))]
mod collector;
#[cfg(feature = "cli")]
mod doctor;
#[cfg(feature = "install")]
mod examples;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
mod faults;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
mod jaeger;
#[cfg(feature = "install")]
mod prometheus;
#[cfg(feature = "cli")]
mod set_ups;
mod stack;
