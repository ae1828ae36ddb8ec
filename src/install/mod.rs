//! What `main` touches: environment and code, through one plan, to the running pipelines.

mod address;
mod builder;
mod endpoint;
mod environment;
mod error;
mod fault;
mod file;
mod globals;
mod parts;
mod plan;
mod push;
mod run;
mod setting;
mod telemetry;

pub use builder::{Builder, FailurePolicy, TraceExporter};
#[cfg(feature = "cli")]
pub(crate) use environment::Environment;
pub use error::{FlushError, InstallError};
pub use parts::{MetricsHandle, TraceGuard};
#[cfg(feature = "cli")]
pub(crate) use plan::Plan;
pub use telemetry::Telemetry;

/// Installs metrics, traces and log output as the environment says: [`Builder::install`] with nothing set in code.
///
/// # Errors
///
/// See [`Builder::install`].
pub fn install() -> Result<Telemetry, InstallError> {
    Builder::new().install()
}
