//! The gate in front of the batch queue, and the account of every span that passes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Key, Label, Recorder};
use opentelemetry::trace::{Event, Status};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::catalog::METADATA;
use crate::catalog::{self, Metric};

/// The number of waiting spans once the account is closed: there is room for none.
const CLOSED: u64 = u64::MAX;

/// Where each sampled span is: waiting, exported, or dropped; also on the /metrics page.
#[derive(Debug)]
pub(super) struct Account {
    /// Spans that have ended and neither been exported nor lost, or `CLOSED`. One number, so that a span which ends during a
    /// shutdown is given up either by that or by itself.
    pending: AtomicU64,
    lost: AtomicU64,
    exported: Counter,
    failures: Counter,
    queue_full: Counter,
    export_failed: Counter,
    shut_down: Counter,
}

impl Account {
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

    /// Spans that have ended and neither been exported nor lost.
    pub(super) fn pending(&self) -> u64 {
        match self.pending.load(Ordering::Acquire) {
            CLOSED => 0,
            pending => pending,
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// Gives up what still waits, and whatever ends from now on.
    pub(super) fn close(&self) {
        let abandoned = match self.pending.swap(CLOSED, Ordering::AcqRel) {
            CLOSED => 0,
            pending => pending,
        };
        self.lost.fetch_add(abandoned, Ordering::AcqRel);
        self.shut_down.increment(abandoned);
    }

    /// Books a span that has ended as waiting, or as dropped where so many wait already; says whether it waits.
    fn admit(&self, capacity: u64) -> bool {
        let room = |pending| (pending < capacity).then(|| pending + 1);
        let reason = match self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => return true,
            Err(CLOSED) => &self.shut_down,
            Err(_) => &self.queue_full,
        };
        self.lost.fetch_add(1, Ordering::AcqRel);
        reason.increment(1);
        false
    }

    /// Books a batch that the backend has taken.
    pub(super) fn book_exported(&self, spans: u64) {
        self.exported.increment(self.settle(spans));
    }

    /// Books a batch that was lost; returns how many of its spans nobody had given up before.
    pub(super) fn book_failed(&self, spans: u64) -> u64 {
        let spans = self.settle(spans);
        self.lost.fetch_add(spans, Ordering::AcqRel);
        self.failures.increment(1);
        self.export_failed.increment(spans);
        spans
    }

    /// Takes spans off the waiting ones; none, if a shutdown has given them up already.
    fn settle(&self, spans: u64) -> u64 {
        let rest = |pending: u64| (pending != CLOSED).then(|| pending.saturating_sub(spans));
        let before = self.pending.fetch_update(Ordering::AcqRel, Ordering::Acquire, rest);
        before.map_or(0, |pending| pending.min(spans))
    }
}

/// Lets no more spans into the batch queue than it holds, so that none is dropped there unseen.
#[derive(Debug)]
pub(super) struct Gate<P> {
    inner: P,
    account: Arc<Account>,
    capacity: u64,
    value_length: Option<usize>,
}

impl<P> Gate<P> {
    pub(super) fn new(inner: P, account: Arc<Account>, capacity: usize, value_length: Option<usize>) -> Self {
        Self { inner, account, capacity: capacity as u64, value_length }
    }
}

impl<P: SpanProcessor> SpanProcessor for Gate<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, mut span: SpanData) {
        if !span.span_context.is_sampled() || !self.account.admit(self.capacity) {
            return;
        }
        if is_error_by_log_line(&span) {
            span.status = Status::Unset;
        }
        if let Some(length) = self.value_length {
            let events = span.events.events.iter_mut().flat_map(|event| &mut event.attributes);
            let links = span.links.links.iter_mut().flat_map(|link| &mut link.attributes);
            for attribute in span.attributes.iter_mut().chain(events).chain(links) {
                cut(attribute, length);
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

/// Whether a span is an error only because a line of level ERROR was logged inside it.
///
/// `tracing-opentelemetry` sets the status for any such line, also where the program went on and succeeded. A failed call has
/// its `error.type`; another span is meant if there is a description, as of `#[instrument(err)]`, which looks like a line that
/// has no message but a field `error`.
fn is_error_by_log_line(span: &SpanData) -> bool {
    let Status::Error { description } = &span.status else { return false };
    let has = |key: &str| span.attributes.iter().any(|attribute| attribute.key.as_str() == key);
    let logged = |event: &Event| {
        event
            .attributes
            .iter()
            .any(|attribute| attribute.key.as_str() == "level" && attribute.value.as_str() == "ERROR")
    };
    let is_meant = has("error.type") || !has("gen_ai.operation.name") && !description.is_empty();
    !is_meant && span.events.events.iter().any(logged)
}

/// Cuts strings to a number of characters: the SDK has no such limit.
fn cut(attribute: &mut KeyValue, length: usize) {
    let cut = |text: &mut StringValue| {
        if let Some((end, _)) = text.as_str().char_indices().nth(length) {
            *text = StringValue::from(text.as_str()[..end].to_owned());
        }
    };
    match &mut attribute.value {
        Value::String(text) => cut(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(cut),
        _ => {}
    }
}
