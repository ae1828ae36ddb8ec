//! The exporter as the batch thread sees it: counted, and quiet.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::queue::Account;
use crate::lock::unpoisoned;
use crate::throttle::Throttle;
use crate::worker::mark_own_thread;

/// An exporter whose every export is booked, and reported when it fails, once a minute at most.
#[derive(Debug)]
pub(super) struct Observed<E> {
    inner: E,
    target: String,
    account: Arc<Account>,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    throttle: Throttle,
    unreported: u64,
    /// Whether the last word was that the backend takes nothing.
    is_open: bool,
}

impl Trouble {
    /// Adds lost spans; returns how many to report, if it is time to.
    fn lose(&mut self, spans: u64, now: Instant) -> Option<u64> {
        self.unreported += spans;
        if !self.throttle.allow(now) {
            return None;
        }
        self.is_open = true;
        Some(mem::take(&mut self.unreported))
    }
}

impl<E> Observed<E> {
    pub(super) fn new(inner: E, target: String, account: Arc<Account>) -> Self {
        Self { inner, target, account, trouble: Mutex::default() }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        unpoisoned(self.trouble.lock())
    }

    fn report_success(&self) {
        // The lock is not held while something is logged.
        if mem::take(&mut self.trouble().is_open) {
            tracing::info!(target: "botticelli_obs", "traces: {} takes spans again", self.target);
        }
    }

    fn report_loss(&self, error: &OTelSdkError, spans: u64) {
        // What a shutdown has given up, it has reported.
        if spans == 0 {
            return;
        }
        let lost = self.trouble().lose(spans, Instant::now());
        let Some(lost) = lost else { return };
        tracing::warn!(
            target: "botticelli_obs",
            "traces: {} takes no spans, {lost} lost: {error}; the program goes on, and so do the tries",
            self.target
        );
    }
}

impl<E: SpanExporter> SpanExporter for Observed<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        // The batch thread is the SDK's, but its work is ours.
        mark_own_thread();
        let spans = batch.len() as u64;
        let result = self.inner.export(batch).await;
        match &result {
            Ok(()) => {
                self.account.book_exported(spans);
                self.report_success();
            }
            Err(error) => self.report_loss(error, self.account.book_failed(spans)),
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
    fn losses_are_reported_at_once_and_then_once_a_minute_with_all_that_came_between() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        let mut lose = |second, spans| trouble.lose(spans, start + Duration::from_secs(second));
        assert_eq!(lose(0, 5), Some(5));
        assert_eq!((lose(1, 1), lose(30, 2), lose(59, 3)), (None, None, None));
        assert_eq!(lose(60, 4), Some(10));
        assert_eq!(lose(119, 1), None);
        assert_eq!(lose(1_000, 1), Some(2));
    }
}
