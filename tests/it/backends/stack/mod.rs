//! The stack of `examples/stack`.

#[cfg(all(feature = "otlp-grpc", feature = "otlp-http", feature = "otlp-metrics"))]
mod collector;
#[cfg(feature = "cli")]
mod command;
mod dashboards;
mod files;
#[cfg(feature = "install")]
mod live;
mod panel;
#[cfg(all(target_os = "linux", target_endian = "little"))]
mod ports;
mod promql;
pub(super) mod queries;
#[cfg(feature = "install")]
mod servers;
#[cfg(feature = "install")]
mod unwell;
