//! Metrics pushed by OTLP.

mod delivery;
mod large;
mod temporality;
mod trouble;
