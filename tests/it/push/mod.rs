//! Metrics pushed by OTLP.

mod delivery;
mod temporality;
mod trouble;
