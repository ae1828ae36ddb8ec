//! Metrics pushed by OTLP.

mod delivery;
mod genai;
mod large;
mod temporality;
mod trouble;
