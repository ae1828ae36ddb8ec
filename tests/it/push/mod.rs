//! Metrics pushed by OTLP.

mod delivery;
mod trouble;
