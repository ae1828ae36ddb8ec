//! An exporter that counts what it exports, and logs failures at most once a minute.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::queue::SpanCounts;
use crate::lock::unpoisoned;
use crate::throttle::Throttle;
use crate::worker::mark_own_thread;

/// Counts the result of every export of the inner exporter, and logs failures, once a minute at most.
#[derive(Debug)]
pub(super) struct CountingExporter<E> {
    inner: E,
    /// The backend, as log lines name it.
    target: String,
    counts: Arc<SpanCounts>,
    losses: Mutex<Losses>,
}

/// Decides when lost spans are logged.
#[derive(Debug, Default)]
struct Losses {
    throttle: Throttle,
    unreported: u64,
    /// Whether a loss was logged and no success after it.
    is_failing: bool,
}

impl Losses {
    /// Adds lost spans. Returns how many to log now, those since the last report included.
    fn add(&mut self, spans: u64, now: Instant) -> Option<u64> {
        self.unreported += spans;
        if !self.throttle.allow(now) {
            return None;
        }
        self.is_failing = true;
        Some(mem::take(&mut self.unreported))
    }
}

impl<E> CountingExporter<E> {
    pub(super) fn new(inner: E, target: String, counts: Arc<SpanCounts>) -> Self {
        Self { inner, target, counts, losses: Mutex::default() }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        unpoisoned(self.losses.lock())
    }

    fn report_success(&self) {
        // The lock is released before the log line is written: no lock is held while a subscriber runs.
        let is_over = mem::take(&mut self.losses().is_failing);
        if is_over {
            tracing::info!(target: "botticelli_obs", "traces: {} takes spans again", self.target);
        }
    }

    fn report_loss(&self, error: &OTelSdkError, spans: u64) {
        // The shutdown has reported these spans already.
        if spans == 0 {
            return;
        }
        let lost = self.losses().add(spans, Instant::now());
        let Some(lost) = lost else { return };
        tracing::warn!(
            target: "botticelli_obs",
            "traces: {} takes no spans, {lost} lost: {error}; the program goes on, later spans are still sent",
            self.target
        );
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // The SDK starts the batch thread. Spans of its HTTP stack must not be exported either.
        mark_own_thread();
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        match &result {
            Ok(()) => {
                self.counts.record_exported(spans);
                self.report_success();
            }
            Err(error) => self.report_loss(error, self.counts.record_failed(spans)),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_reported_at_once_and_then_once_a_minute_in_sum() {
        let mut losses = Losses::default();
        let start = Instant::now();
        let mut add = |second, spans| losses.add(spans, start + Duration::from_secs(second));
        assert_eq!(add(0, 5), Some(5));
        assert_eq!((add(1, 1), add(30, 2), add(59, 3)), (None, None, None));
        assert_eq!(add(60, 4), Some(10));
        assert_eq!(add(119, 1), None);
        assert_eq!(add(1_000, 1), Some(2));
    }
}
