//! Real servers, real programs.

#[cfg(feature = "otlp-grpc")]
mod bot;
#[cfg(feature = "cli")]
mod doctor;
#[cfg(feature = "install")]
mod examples;
#[cfg(feature = "install")]
mod prometheus;
mod stack;
