//! What `main` keeps while the program runs.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::FlushError;
use crate::worker::deadline;
use crate::{scrape, spans};

/// The installed pipelines: keep it until the program ends, then [`shutdown`](Self::shutdown).
///
/// Dropping it shuts down too, within 2 seconds and without a word about what was lost. After that recording does nothing,
/// and takes no memory.
#[derive(Debug)]
#[must_use = "dropping this shuts the telemetry down: keep it until the program ends, as in `let telemetry = …`"]
pub struct Telemetry {
    // In this order: the end of the traces is still counted on the page.
    traces: Option<spans::Pipeline>,
    metrics: Option<scrape::Pipeline>,
}

impl Telemetry {
    pub(super) fn new(metrics: Option<scrape::Pipeline>, traces: Option<spans::Pipeline>) -> Self {
        Self { traces, metrics }
    }

    /// Returns the address the page is served on, with the real port where 0 was asked for; `None` without a listener.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(scrape::Pipeline::addr)
    }

    /// Returns the page, in the Prometheus text format 0.0.4; empty without metrics.
    pub fn render(&self) -> String {
        self.metrics.as_ref().map(scrape::Pipeline::render).unwrap_or_default()
    }

    /// Exports every span that has ended, blocking this thread for `timeout` at most.
    ///
    /// # Errors
    ///
    /// When spans were lost or are still waiting.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        match &self.traces {
            Some(traces) => traces.flush(deadline(timeout)).map_err(FlushError::from),
            None => Ok(()),
        }
    }

    /// Exports every span that has ended and stops both pipelines, blocking this thread for `timeout` at most.
    ///
    /// # Errors
    ///
    /// When spans were lost.
    pub fn shutdown(mut self, timeout: Duration) -> Result<(), FlushError> {
        match self.traces.take() {
            Some(traces) => traces.shutdown(deadline(timeout)).map_err(FlushError::from),
            None => Ok(()),
        }
    }
}

impl From<spans::Lost> for FlushError {
    fn from(spans: spans::Lost) -> Self {
        Self::new(spans.lost, spans.waiting)
    }
}
