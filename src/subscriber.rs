//! What signatures of this crate need of [`tracing_subscriber`] 0.3, in the version they need.
//!
//! ```
//! use botticelli_obs::subscriber::{Layer, Registry};
//! use botticelli_obs::{Builder, tracing};
//!
//! /// Sees the program's events, beside the log output.
//! struct Alarms;
//!
//! impl Layer<Registry> for Alarms {}
//!
//! let telemetry = Builder::new().without_listener().add_layer(Alarms).install()?;
//! tracing::info!("seen by the layer");
//! # Ok::<(), botticelli_obs::InstallError>(())
//! ```

pub use tracing_subscriber::{Layer, Registry};
