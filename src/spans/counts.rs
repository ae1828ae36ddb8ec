//! Counts what becomes of each sampled span.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Key, Label, Recorder};

use super::buffer::Uncounted;
use crate::catalog::{self, METADATA, Metric};

/// Counts the spans that were exported or dropped, on the page and for the errors of `flush` and `shutdown`.
///
/// No counter is incremented where spans end, since added recorders, which are foreign code, get the increments too.
#[derive(Debug)]
pub(super) struct SpanCounts {
    lost: AtomicU64,
    displaced: AtomicU64,
    exported: Counter,
    failures: Counter,
    queue_full: Counter,
    export_failed: Counter,
    too_large: Counter,
    shut_down: Counter,
}

/// Why a span was dropped; the label `reason` on the page.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    QueueFull,
    ExportFailed,
    TooLarge,
    ShutDown,
}

impl SpanCounts {
    pub(super) fn new(recorder: &dyn Recorder) -> Self {
        let counter = |metric: &Metric, value: Option<&'static str>| {
            let label = metric.labels.first().zip(value).map(|(&name, value)| Label::from_static_parts(name, value));
            recorder.register_counter(&Key::from_parts(metric.name, Vec::from_iter(label)), &METADATA)
        };
        Self {
            lost: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            exported: counter(&catalog::SPANS_EXPORTED, None),
            failures: counter(&catalog::EXPORT_FAILURES, Some("traces")),
            queue_full: counter(&catalog::SPANS_DROPPED, Some("queue_full")),
            export_failed: counter(&catalog::SPANS_DROPPED, Some("export_failed")),
            too_large: counter(&catalog::SPANS_DROPPED, Some("too_large")),
            shut_down: counter(&catalog::SPANS_DROPPED, Some("shutdown")),
        }
    }

    /// Returns the spans that were dropped, for whatever reason.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Returns the spans that a full queue has dropped.
    pub(super) fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Acquire)
    }

    /// Counts an export that failed, whether or not it is tried again.
    pub(super) fn record_failure(&self) {
        self.failures.increment(1);
    }

    pub(super) fn record_exported(&self, spans: u64) {
        self.exported.increment(spans);
    }

    /// Counts spans that were dropped where they ended.
    pub(super) fn record_uncounted(&self, uncounted: Uncounted) {
        self.displaced.fetch_add(uncounted.displaced, Ordering::AcqRel);
        self.record_dropped(uncounted.displaced, Reason::QueueFull);
        self.record_dropped(uncounted.late, Reason::ShutDown);
    }

    /// Counts spans that are lost.
    pub(super) fn record_dropped(&self, spans: u64, reason: Reason) {
        let counter = match reason {
            Reason::QueueFull => &self.queue_full,
            Reason::ExportFailed => &self.export_failed,
            Reason::TooLarge => &self.too_large,
            Reason::ShutDown => &self.shut_down,
        };
        if spans == 0 {
            return;
        }
        self.lost.fetch_add(spans, Ordering::AcqRel);
        counter.increment(spans);
    }
}
