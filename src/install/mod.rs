//! The API for `main`: resolves code and environment variables to one plan, and starts the pipelines of the plan.

mod address;
mod builder;
mod endpoint;
mod environment;
mod error;
mod fault;
mod file;
mod globals;
mod late;
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
/// A signal that the program does not handle, and [`std::process::exit`], end the process without a shutdown: spans that wait are
/// lost, and the text file is not written. A server waits for the signals and returns from `main`:
///
/// ```no_run
/// use std::time::Duration;
///
/// use tokio::signal::unix::{SignalKind, signal};
///
/// async fn serve() {
///     // … the program …
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let telemetry = botticelli_obs::install()?;
///     let mut terminate = signal(SignalKind::terminate())?;
///     tokio::select! {
///         () = serve() => {}
///         _ = terminate.recv() => {}
///         _ = tokio::signal::ctrl_c() => {}
///     }
///     telemetry.shutdown(Duration::from_secs(5))?;
///     Ok(())
/// }
/// ```
///
/// `examples/bot_server.rs` finishes its calls before.
///
/// # Errors
///
/// See [`Builder::install`].
pub fn install() -> Result<Telemetry, InstallError> {
    Builder::new().install()
}
