//! Exports spans in batches, tries again what may be taken later, and counts what becomes of each span.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;

use super::buffer::{Buffer, Numbered, Pause};
use super::counts::{Reason, SpanCounts};
use super::report::{Delay, Loss, Report};
use super::size::{cut, encoded_size};
use crate::otlp::LEAST_LIMIT;

/// Sends batches to a backend.
pub(super) trait Export: Send + Sync + 'static {
    /// Sends a batch.
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = Answer> + Send;
}

/// What a backend has done with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "_otlp"), expect(dead_code, reason = "standard output takes all or nothing"))]
pub(super) enum Answer {
    Taken,
    /// Taken, but not this number of its spans. OTLP forbids to send them again.
    TakenInPart {
        rejected: u64,
        why: String,
    },
    /// Refused for good.
    Refused {
        why: String,
    },
    /// Refused because the message is too large.
    TooLarge {
        why: String,
    },
    /// Not taken now. It may be taken later, after the pause that the backend has asked for.
    Later {
        why: String,
        pause: Option<Duration>,
    },
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// While a flush waits.
const LONGEST_PAUSE_OF_FLUSH: Duration = Duration::from_secs(1);
/// A backend that asks for a longer pause is not believed.
const LONGEST_REQUESTED_PAUSE: Duration = Duration::from_secs(600);

/// Takes spans out of the buffer and exports them.
#[derive(Debug)]
pub(super) struct Sender<E> {
    exporter: E,
    buffer: Arc<Buffer>,
    counts: Arc<SpanCounts>,
    report: Report,
    /// In bytes.
    limit: usize,
    /// Tries without success since the last success.
    failed_tries: u32,
}

impl<E: Export> Sender<E> {
    /// `limit` is for the spans of a batch, encoded, in bytes.
    pub(super) fn new(exporter: E, buffer: Arc<Buffer>, counts: Arc<SpanCounts>, target: String, limit: usize) -> Self {
        Self { exporter, buffer, counts, report: Report::new(target), limit: limit.max(LEAST_LIMIT), failed_tries: 0 }
    }

    /// Exports spans for ever, at the latest `delay` after they have ended.
    pub(super) async fn run(mut self, delay: Duration) {
        loop {
            let until = self.buffer.due(delay).await;
            while let Some(batch) = self.buffer.take(until) {
                self.send(batch).await;
            }
        }
    }

    async fn send(&mut self, batch: Vec<Numbered>) {
        let (batch, bytes) = self.fit(batch);
        if bytes > self.limit {
            self.drop_batch(Reason::TooLarge, &format!("a span of {bytes} bytes is above the limit of a message"));
            return;
        }
        let started = Instant::now();
        match self.exporter.export(batch.iter().map(|(_, span)| span.clone()).collect()).await {
            Answer::Taken => self.count_taken(0, ""),
            Answer::TakenInPart { rejected, why } => self.count_taken(rejected, &why),
            Answer::Refused { why } => {
                self.failed_tries = 0;
                self.counts.record_failure();
                self.drop_batch(Reason::ExportFailed, &why);
            }
            Answer::TooLarge { why } if self.limit > LEAST_LIMIT => {
                self.counts.record_failure();
                self.limit = (bytes / 2).max(LEAST_LIMIT);
                self.buffer.put_back(batch);
                tracing::debug!(target: "botticelli_obs", "traces: smaller batches from now on: {why}");
            }
            Answer::TooLarge { why } => {
                self.counts.record_failure();
                self.drop_batch(Reason::TooLarge, &why);
            }
            Answer::Later { why, pause } => {
                self.counts.record_failure();
                self.buffer.put_back(batch);
                let (pending, displaced) = (self.buffer.pending(), self.counts.displaced());
                self.report.add_delay(Delay { started, why: &why, pending, displaced });
                let pause = self.next_pause(pause);
                self.buffer.pause(pause).await;
            }
        }
    }

    /// Puts back what is too much for one message, and cuts texts of a span that is too large by itself. Returns the size of what
    /// remains, which is above the limit only if the span could not be cut enough.
    fn fit(&self, mut batch: Vec<Numbered>) -> (Vec<Numbered>, usize) {
        let mut bytes = 0;
        let mut fitting = 0;
        for (_, span) in &mut batch {
            let mut size = encoded_size(span);
            if size > self.limit {
                cut(span, size - self.limit);
                size = encoded_size(span);
            }
            if fitting > 0 && bytes + size > self.limit {
                break;
            }
            bytes += size;
            fitting += 1;
        }
        let rest = batch.split_off(fitting);
        if !rest.is_empty() {
            self.buffer.put_back(rest);
        }
        (batch, bytes)
    }

    fn count_taken(&mut self, rejected: u64, why: &str) {
        self.failed_tries = 0;
        let spans = self.buffer.settle();
        let rejected = rejected.min(spans);
        self.counts.record_exported(spans - rejected);
        self.counts.record_dropped(rejected, Reason::ExportFailed);
        self.buffer.finish();
        self.report.add_success();
        self.report.add_loss(Loss::Some, rejected, why);
    }

    fn drop_batch(&mut self, reason: Reason, why: &str) {
        let spans = self.buffer.settle();
        self.counts.record_dropped(spans, reason);
        self.buffer.finish();
        let loss = if matches!(reason, Reason::TooLarge) { Loss::Some } else { Loss::All };
        self.report.add_loss(loss, spans, why);
    }

    /// Returns how long to wait before the next try: what the backend has asked for, otherwise twice as long as before.
    fn next_pause(&mut self, requested: Option<Duration>) -> Pause {
        let own = FIRST_PAUSE.saturating_mul(1 << self.failed_tries.min(10));
        self.failed_tries += 1;
        let longest = if self.buffer.is_flushed() { LONGEST_PAUSE_OF_FLUSH } else { LONGEST_PAUSE };
        let own = own.min(longest);
        match requested {
            Some(requested) if requested > own => Pause::Requested(requested.min(LONGEST_REQUESTED_PAUSE)),
            _ => Pause::Own(own + jitter(own / 4)),
        }
    }
}

/// Returns a random time up to `most`, so that programs which lost the same backend do not come back at the same moment.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random % 1024) as f64 / 1024.0)
}
