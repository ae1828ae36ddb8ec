//! The exporter as the batch thread sees it: bounded in time, counted, and quiet.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::queue::Account;
use crate::worker::mark_own_thread;

/// How often a backend that is away is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// An exporter whose every export ends in time, is booked, and is reported when it fails, once a minute at most.
#[derive(Debug)]
pub(super) struct Observed<E> {
    inner: E,
    target: String,
    timeout: Duration,
    account: Arc<Account>,
    runtime: Handle,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    reported: Instant,
    unreported: u64,
}

impl<E> Observed<E> {
    pub(super) fn new(inner: E, target: String, timeout: Duration, account: Arc<Account>, runtime: Handle) -> Self {
        Self { inner, target, timeout, account, runtime, trouble: Mutex::new(None) }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_success(&self) {
        if self.trouble().take().is_some() {
            tracing::info!(target: "botticelli_obs", "traces: {} takes spans again", self.target);
        }
    }

    fn report_loss(&self, error: &OTelSdkError, spans: u64) {
        let lost = match &mut *self.trouble() {
            // What a shutdown has given up, it has reported.
            _ if spans == 0 => return,
            Some(known) if known.reported.elapsed() < REPORT_INTERVAL => {
                known.unreported += spans;
                return;
            }
            trouble => {
                let unreported = trouble.as_ref().map_or(0, |known| known.unreported);
                *trouble = Some(Trouble { reported: Instant::now(), unreported: 0 });
                unreported + spans
            }
        };
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
        let limited = {
            // The batch thread has no runtime, and the time limit needs one.
            let _entered = self.runtime.enter();
            tokio::time::timeout(self.timeout, self.inner.export(batch))
        };
        let result = limited.await.unwrap_or(Err(OTelSdkError::Timeout(self.timeout)));
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
