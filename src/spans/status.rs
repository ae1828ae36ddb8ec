//! The status that a span is exported with.

use opentelemetry::Value;
use opentelemetry::trace::{Event, Status};
use opentelemetry_sdk::trace::SpanData;

/// Takes back an error that is only a log line, and describes the failure of a call by its class.
///
/// The description is set here and nowhere else: of two descriptions the SDK keeps the greater one.
pub(super) fn settle(span: &mut SpanData) {
    let Status::Error { description } = &span.status else { return };
    let is_described = !description.is_empty();
    if is_error_only_by_log_line(span, is_described) {
        span.status = Status::Unset;
    } else if (!is_described || is_call(span))
        && let Some(class) = attribute(span, "error.type")
    {
        span.status = Status::error(class.as_str().into_owned());
    }
}

/// Whether a span has the status "error" only because an event of level ERROR was logged inside it.
///
/// `tracing-opentelemetry` sets the status for every such event, even if the operation succeeded afterwards. Two kinds of spans
/// are real errors: a call span with the attribute `error.type`, and another span whose status has a description, which
/// `#[instrument(err)]` sets by an event with a field `error` and no message.
fn is_error_only_by_log_line(span: &SpanData, is_described: bool) -> bool {
    let logged = |event: &Event| {
        event
            .attributes
            .iter()
            .any(|attribute| attribute.key.as_str() == "level" && attribute.value.as_str() == "ERROR")
    };
    let is_real_error = attribute(span, "error.type").is_some() || is_described && !is_call(span);
    !is_real_error && span.events.events.iter().any(logged)
}

fn is_call(span: &SpanData) -> bool {
    attribute(span, "gen_ai.operation.name").is_some()
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    span.attributes.iter().rfind(|attribute| attribute.key.as_str() == key).map(|attribute| &attribute.value)
}
