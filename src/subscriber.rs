//! Re-exports of items of [tracing-subscriber](https://docs.rs/tracing-subscriber/0.3) 0.3 that are in this crate's signatures.
//!
//! With them a program does not have to match the version itself.
//!
//! ```
//! use botticelli_obs::subscriber::{Layer, Registry};
//! use botticelli_obs::{Builder, tracing};
//!
//! /// Receives the program's spans and events, in addition to the log output.
//! struct Alarms;
//!
//! impl Layer<Registry> for Alarms {}
//!
//! let telemetry = Builder::new().without_listener().add_layer(Alarms).install()?;
//! tracing::info!("the layer receives this event");
//! # Ok::<(), botticelli_obs::InstallError>(())
//! ```

pub use tracing_subscriber::{Layer, Registry};
