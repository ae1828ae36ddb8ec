//! The page and its other readers.

mod added_recorders;
mod bound;
mod by_name;
mod content;
mod exact;
mod exclude;
mod genai;
mod health;
mod hostile;
#[cfg(feature = "otlp-grpc")]
mod openmetrics;
#[cfg(feature = "process")]
mod process;
mod samples;
mod summary;
mod textfile;
