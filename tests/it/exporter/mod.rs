//! The page and the listener of `metrics-exporter-prometheus`.

#[cfg(feature = "exporter")]
mod differential;
mod listener;
