//! Ends the span of a call when the call ends, and likewise those of tasks and tool calls.
//!
//! `tracing-opentelemetry` ends a span when its last handle is dropped, with the time when it was last left. Tasks and connections may
//! hold the span of a call for long after the call, and a call that never enters its span would last no time.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tracing::{Dispatch, dispatcher};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{numbers, status};

/// A span that is being ended.
#[derive(Clone, Copy)]
struct Ending {
    span: SpanId,
    /// How long its call took; `None` of a span that lasts until now.
    elapsed: Option<Duration>,
}

/// A span that has ended, and what it goes to.
struct Ended {
    span: SpanData,
    processor: Arc<dyn SpanProcessor>,
}

thread_local! {
    static ENDING: Cell<Option<Ending>> = const { Cell::new(None) };
    static ENDED: Cell<Option<Ended>> = const { Cell::new(None) };
}

/// Ends the span of a call that took so long, or of something else now, and returns its ids: invalid ones where no layer of this version of
/// `tracing-opentelemetry` can be reached, such as behind a `reload::Layer`.
pub(crate) fn end(span: &tracing::Span, elapsed: Option<Duration>) -> SpanContext {
    let context = span.context();
    let of_call = context.span();
    let ids = of_call.span_context();
    if !ids.is_valid() {
        return SpanContext::NONE;
    }
    ENDING.set(Some(Ending { span: ids.span_id(), elapsed }));
    // The span is locked while the processors of its provider run. If one of them wrote a log line inside the call, the line would
    // be added to the span, which would wait for the lock for ever. A program's own provider takes the time that is given here.
    dispatcher::with_default(&Dispatch::none(), || of_call.end_with_timestamp(SystemTime::now()));
    ENDING.set(None);
    // Now that the lock is released.
    if let Some(Ended { span, processor }) = ENDED.try_with(Cell::take).ok().flatten() {
        processor.on_end(span);
    }
    ids.clone()
}

/// Passes on the spans that end. The span of a call gets the duration of the call, and is passed on outside of the span's lock.
#[derive(Debug)]
pub(crate) struct EndProcessor<P>(Arc<P>);

impl<P> EndProcessor<P> {
    pub(crate) fn new(processor: P) -> Self {
        Self(Arc::new(processor))
    }
}

impl<P: SpanProcessor + 'static> SpanProcessor for EndProcessor<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.0.on_start(span, cx);
    }

    fn on_end(&self, mut span: SpanData) {
        status::settle(&mut span);
        let ending = ENDING.get().filter(|ending| ending.span == span.span_context.span_id());
        let Some(Ending { elapsed, .. }) = ending else {
            numbers::restore(&mut span);
            return self.0.on_end(span);
        };
        if let Some(elapsed) = elapsed {
            span.end_time = span.start_time.checked_add(elapsed).unwrap_or(span.end_time);
        }
        let processor: Arc<dyn SpanProcessor> = Arc::<P>::clone(&self.0);
        let mut ended = Some(Ended { span, processor });
        let _ = ENDED.try_with(|place| place.set(ended.take()));
        if let Some(Ended { span, processor }) = ended {
            // At the end of a thread, when there is no place any more.
            processor.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Called while the provider is built, when nothing else has the processor yet.
        if let Some(processor) = Arc::get_mut(&mut self.0) {
            processor.set_resource(resource);
        }
    }
}
