//! Bounds the batch queue and counts each sampled span: pending, exported or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Key, Label, Recorder};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::catalog::METADATA;
use crate::catalog::{self, Metric};

/// The value of `SpanCounts::pending` after `close`. It is above any capacity, so no span is admitted.
const CLOSED: u64 = u64::MAX;

/// Counts sampled spans as pending, exported or dropped, here and on the `/metrics` page.
///
/// Each span is counted exactly once as exported or dropped.
#[derive(Debug)]
pub(super) struct SpanCounts {
    /// Spans that have ended and are neither exported nor dropped yet, or `CLOSED`.
    ///
    /// Count and state are one atomic: a span that ends during a shutdown is counted as lost either by `close` or by `admit`,
    /// never by both.
    pending: AtomicU64,
    lost: AtomicU64,
    exported: Counter,
    failures: Counter,
    queue_full: Counter,
    export_failed: Counter,
    shut_down: Counter,
}

impl SpanCounts {
    pub(super) fn new(recorder: &dyn Recorder) -> Self {
        let counter = |metric: &Metric, value: Option<&'static str>| {
            let label = metric.labels.first().zip(value).map(|(&name, value)| Label::from_static_parts(name, value));
            recorder.register_counter(&Key::from_parts(metric.name, Vec::from_iter(label)), &METADATA)
        };
        Self {
            pending: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            exported: counter(&catalog::SPANS_EXPORTED, None),
            failures: counter(&catalog::EXPORT_FAILURES, Some("traces")),
            queue_full: counter(&catalog::SPANS_DROPPED, Some("queue_full")),
            export_failed: counter(&catalog::SPANS_DROPPED, Some("export_failed")),
            shut_down: counter(&catalog::SPANS_DROPPED, Some("shutdown")),
        }
    }

    /// Returns the spans that have ended and are neither exported nor dropped yet.
    pub(super) fn pending(&self) -> u64 {
        match self.pending.load(Ordering::Acquire) {
            CLOSED => 0,
            pending => pending,
        }
    }

    /// Returns the spans that were dropped, for whatever reason.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Counts the pending spans as dropped, and every span that ends from now on.
    pub(super) fn close(&self) {
        let abandoned = match self.pending.swap(CLOSED, Ordering::AcqRel) {
            CLOSED => 0,
            pending => pending,
        };
        self.lost.fetch_add(abandoned, Ordering::AcqRel);
        self.shut_down.increment(abandoned);
    }

    /// Counts a span that has ended as pending, or as dropped when `capacity` spans are pending. Returns whether it is pending.
    fn admit(&self, capacity: u64) -> bool {
        let one_more = |pending| (pending < capacity).then(|| pending + 1);
        let reason = match self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => return true,
            Err(CLOSED) => &self.shut_down,
            Err(_) => &self.queue_full,
        };
        self.lost.fetch_add(1, Ordering::AcqRel);
        reason.increment(1);
        false
    }

    /// Counts a batch that the backend has taken.
    pub(super) fn record_exported(&self, spans: u64) {
        self.exported.increment(self.settle(spans));
    }

    /// Counts a batch that the backend has not taken. Returns how many of its spans `close` has not counted before.
    pub(super) fn record_failed(&self, spans: u64) -> u64 {
        let spans = self.settle(spans);
        self.lost.fetch_add(spans, Ordering::AcqRel);
        self.failures.increment(1);
        self.export_failed.increment(spans);
        spans
    }

    /// Subtracts spans from the pending ones and returns how many; 0 after `close`, which has counted them already.
    fn settle(&self, spans: u64) -> u64 {
        let remaining = |pending: u64| (pending != CLOSED).then(|| pending.saturating_sub(spans));
        let before = self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, remaining);
        before.map_or(0, |pending| pending.min(spans))
    }
}

/// Passes at most `capacity` pending spans to the batch processor, whose queue holds as many. So the processor never drops a span
/// itself, and every drop is counted here.
#[derive(Debug)]
pub(super) struct BoundedProcessor<P> {
    inner: P,
    counts: Arc<SpanCounts>,
    capacity: u64,
    value_length: Option<usize>,
}

impl<P> BoundedProcessor<P> {
    pub(super) fn new(inner: P, counts: Arc<SpanCounts>, capacity: usize, value_length: Option<usize>) -> Self {
        Self { inner, counts, capacity: capacity as u64, value_length }
    }
}

impl<P: SpanProcessor> SpanProcessor for BoundedProcessor<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, mut span: SpanData) {
        if !span.span_context.is_sampled() || !self.counts.admit(self.capacity) {
            return;
        }
        if let Some(length) = self.value_length {
            let events = span.events.events.iter_mut().flat_map(|event| &mut event.attributes);
            let links = span.links.links.iter_mut().flat_map(|link| &mut link.attributes);
            for attribute in span.attributes.iter_mut().chain(events).chain(links) {
                truncate(attribute, length);
            }
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Truncates strings to `length` characters. The SDK has no such limit.
fn truncate(attribute: &mut KeyValue, length: usize) {
    let truncate = |text: &mut StringValue| {
        if let Some((end, _)) = text.as_str().char_indices().nth(length) {
            *text = StringValue::from(text.as_str()[..end].to_owned());
        }
    };
    match &mut attribute.value {
        Value::String(text) => truncate(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(truncate),
        _ => {}
    }
}
