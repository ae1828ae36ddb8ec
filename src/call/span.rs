//! The spans of calls, tasks and tool calls. What subscribers do with it is code of others: a panic there stays there.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::span::Entered;
use tracing::{Span, record_all};

use super::{Facts, attempt};
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::label::clean_pair_name;
use crate::series::TraceIds;
use crate::thread_end;

/// Makes a span, unless the subscriber panics, or would, because the thread is ending.
pub(crate) fn open(new: impl FnOnce() -> Span) -> Span {
    if thread_end::is_ending() {
        return Span::none();
    }
    let span = contained(new).unwrap_or_else(Span::none);
    thread_end::watch_new_span();
    span
}

/// Enters a span until the guard is dropped.
pub(crate) fn enter(span: &Span) -> Option<Inside<'_>> {
    if span.is_none() || thread_end::is_ending() {
        return None;
    }
    let entered = contained(|| span.enter());
    thread_end::watch_enter();
    entered.map(|entered| Inside(Some(entered)))
}

/// Leaves the span when it is dropped.
pub(crate) struct Inside<'a>(Option<Entered<'a>>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let entered = self.0.take();
        contained(|| drop(entered));
    }
}

/// Records on a span when the first chunk came, and returns its ids.
pub(super) fn first_chunk(span: &Span, elapsed: Duration) -> Option<TraceIds> {
    if span.is_disabled() {
        return None;
    }
    let record = || {
        span.record("gen_ai.response.time_to_first_chunk", elapsed.as_secs_f64());
        ids(span)
    };
    contained(record).flatten()
}

/// Records on a span what its call has cost, in US dollars.
#[cold]
pub(super) fn cost(span: &Span, usd: f64) {
    contained(|| span.record("gen_ai.usage.cost", usd));
}

/// Records on a span what its call has learnt, ends it, and returns its ids.
#[cold]
pub(super) fn end(span: Span, facts: &Facts, elapsed: Duration) -> Option<TraceIds> {
    let end = || {
        record(&span, facts);
        let ids = end_after(&span, elapsed);
        drop(span);
        ids
    };
    contained(end).flatten()
}

/// Records on the span of an attempt what it has learnt, and ends it.
///
/// One whose place others have taken that ran inside it is no attempt any more, but what they have in common.
pub(super) fn end_attempt(span: Span, facts: &attempt::Facts, is_replaced: bool, elapsed: Duration) {
    let end = || {
        if is_replaced {
            rename(&span, "attempts");
        } else {
            facts.answer.record_on(&span);
        }
        record_error(&span, facts.error);
        end_after(&span, elapsed);
        drop(span);
    };
    contained(end);
}

/// Records on the span of a task or a tool call whether it has failed, and ends it.
///
/// It lasts until now, so that it contains the calls inside: the time between the start of a span and that of its measurement differs
/// from span to span.
#[cold]
pub(crate) fn end_run(span: Span, error: Option<ErrorType>) {
    let end = || {
        record_error(&span, error);
        end_now(&span);
        drop(span);
    };
    contained(end);
}

/// Runs code of others; returns nothing if it panics.
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}

fn record(span: &Span, facts: &Facts) {
    // What is usually known together goes to the subscriber at once: each time is a walk through all of its layers. What is `None` is
    // not recorded.
    if facts.response_model.is_some() || facts.response_id.is_some() {
        record_all!(
            span,
            gen_ai.response.model = facts.response_model.as_deref(),
            gen_ai.response.id = facts.response_id.as_deref(),
        );
    }
    record_finish_reasons(span, &facts.finish_reasons);
    if let Some(usage) = facts.usage {
        record_all!(
            span,
            gen_ai.usage.input_tokens = signed(usage.prompt()),
            gen_ai.usage.output_tokens = signed(usage.completion()),
        );
        let parts = [usage.cache_read(), usage.cache_write(), usage.reasoning()];
        if parts != [0; 3] {
            let [cache_read, cache_write, reasoning] = parts.map(|tokens| (tokens > 0).then(|| signed(tokens)));
            record_all!(
                span,
                gen_ai.usage.cache_read.input_tokens = cache_read,
                gen_ai.usage.cache_creation.input_tokens = cache_write,
                gen_ai.usage.reasoning.output_tokens = reasoning,
            );
        }
    }
    record_error(span, facts.error);
    if let (Some(answer), true) = (&facts.answer, facts.error.is_some()) {
        answer.record_on(span);
    }
}

fn record_error(span: &Span, error: Option<ErrorType>) {
    if let Some(error) = error {
        record_all!(span, error.type = error.as_str(), otel.status_code = "ERROR");
    }
}

/// OpenTelemetry knows no unsigned attribute, and the layer would make a string of one.
fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// As a list where the OpenTelemetry layer is compiled in: `tracing` knows no lists.
fn record_finish_reasons(span: &Span, reasons: &FinishReasons) {
    if reasons.is_empty() {
        return;
    }
    #[cfg(feature = "install")]
    {
        use opentelemetry::{Array, StringValue, Value};
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        let list = reasons.iter().map(|(_, reason)| StringValue::from(reason.to_owned())).collect();
        span.set_attribute("gen_ai.response.finish_reasons", Value::Array(Array::String(list)));
    }
    #[cfg(not(feature = "install"))]
    {
        let reasons: Vec<&str> = reasons.iter().map(|(_, reason)| reason).collect();
        span.record("gen_ai.response.finish_reasons", reasons.join(","));
    }
}

/// Returns the ids of a span that is sampled, where a layer of OpenTelemetry has made one of it.
#[cfg(feature = "install")]
fn ids(span: &Span) -> Option<TraceIds> {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    sampled(span.context().span().span_context())
}

/// Renames the span that a layer of OpenTelemetry has made. A span of `tracing` keeps its name.
#[cfg(feature = "install")]
fn rename(span: &Span, name: &'static str) {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    span.context().span().update_name(name);
}

/// Ends a span after this time from its start, and returns its ids likewise.
#[cfg(feature = "install")]
fn end_after(span: &Span, elapsed: Duration) -> Option<TraceIds> {
    sampled(&crate::spans::ending::end(span, Some(elapsed)))
}

#[cfg(feature = "install")]
fn end_now(span: &Span) {
    crate::spans::ending::end(span, None);
}

#[cfg(not(feature = "install"))]
fn end_now(_: &Span) {}

#[cfg(feature = "install")]
fn sampled(span: &opentelemetry::trace::SpanContext) -> Option<TraceIds> {
    let ids = || TraceIds { trace: span.trace_id().to_bytes(), span: span.span_id().to_bytes() };
    (span.is_valid() && span.is_sampled()).then(ids)
}

#[cfg(not(feature = "install"))]
fn rename(_: &Span, _: &'static str) {}

#[cfg(not(feature = "install"))]
fn ids(_: &Span) -> Option<TraceIds> {
    None
}

#[cfg(not(feature = "install"))]
fn end_after(_: &Span, _: Duration) -> Option<TraceIds> {
    None
}

/// The name of a span: its operation, and the model, task or tool.
pub(crate) struct Name<'a>(pub(crate) [&'a str; 2]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.into_iter().filter_map(clean_pair_name);
        f.write_str(&parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(f, " {part}"))
    }
}
