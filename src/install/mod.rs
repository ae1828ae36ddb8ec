//! The API for `main`: resolves code and environment variables to one plan, and starts the pipelines of the plan.

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

/// Installs metrics, traces and log output as the environment variables configure them.
///
/// This is [`Builder::install`] with nothing set in code.
///
/// ```no_run
/// use std::time::Duration;
///
/// let telemetry = botticelli_obs::install()?;
/// // … the program …
/// telemetry.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// See [`Builder::install`].
pub fn install() -> Result<Telemetry, InstallError> {
    Builder::new().install()
}
