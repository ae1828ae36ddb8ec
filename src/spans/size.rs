//! How large a span is in a message, and cutting of one that is too large.

use std::borrow::Cow;
use std::cmp::Reverse;

use opentelemetry::trace::{SpanContext, Status};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// The tag and the length of a field; a length below 4 GiB takes at most 5 bytes.
const FIELD: usize = 6;
/// A number with its tag.
const NUMBER: usize = 11;
/// Ids, times, kind, flags, counts and status code of a span, and its own frame.
const SPAN: usize = 160;
const EVENT: usize = 2 * FIELD + 2 * NUMBER;
/// Ids, flags and counts.
const LINK: usize = 2 * FIELD + 64;

/// Returns the size of a span in OTLP, in bytes. The real one may be lower, never higher.
pub(super) fn encoded_size(span: &SpanData) -> usize {
    let events = span.events.iter().map(|event| EVENT + event.name.len() + attributes(&event.attributes));
    let links = span.links.iter().map(|link| LINK + trace_state(&link.span_context) + attributes(&link.attributes));
    let scope = &span.instrumentation_scope;
    let scope = scope.name().len()
        + scope.version().unwrap_or_default().len()
        + scope.schema_url().unwrap_or_default().len()
        + scope.attributes().map(attribute).sum::<usize>()
        + 6 * FIELD;
    let description = if let Status::Error { description } = &span.status { description.len() } else { 0 };
    SPAN + span.name.len()
        + description
        + trace_state(&span.span_context)
        + attributes(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
        + scope
}

fn attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(attribute).sum()
}

/// Returns the size of an attribute in OTLP, in bytes, likewise.
pub(super) fn attribute(attribute: &KeyValue) -> usize {
    let value = match &attribute.value {
        Value::String(text) => FIELD + text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(|text| 2 * FIELD + text.as_str().len()).sum(),
        Value::Array(Array::Bool(items)) => items.len() * (FIELD + NUMBER),
        Value::Array(Array::I64(items)) => items.len() * (FIELD + NUMBER),
        Value::Array(Array::F64(items)) => items.len() * (FIELD + NUMBER),
        _ => NUMBER,
    };
    4 * FIELD + attribute.key.as_str().len() + value
}

fn trace_state(context: &SpanContext) -> usize {
    context.trace_state().header().len()
}

/// A text is not made shorter than that, in bytes: it could not say anything.
const SHORTEST: usize = 256;

/// Cuts texts of a span, the longest first, until it is smaller by `excess` bytes. Each one that is cut ends with a mark.
///
/// The span is smaller by less if it has not enough text.
pub(super) fn cut(span: &mut SpanData, mut excess: usize) {
    let mut texts: Vec<&mut dyn Text> = vec![&mut span.name];
    if let Status::Error { description } = &mut span.status {
        texts.push(description);
    }
    texts.extend(span.attributes.iter_mut().flat_map(texts_of));
    for event in &mut span.events.events {
        texts.push(&mut event.name);
        texts.extend(event.attributes.iter_mut().flat_map(texts_of));
    }
    texts.extend(span.links.links.iter_mut().flat_map(|link| &mut link.attributes).flat_map(texts_of));
    texts.sort_by_key(|text| Reverse(text.as_str().len()));
    for text in texts {
        if excess == 0 {
            return;
        }
        excess = excess.saturating_sub(shorten(text, excess));
    }
}

fn texts_of(attribute: &mut KeyValue) -> Vec<&mut dyn Text> {
    match &mut attribute.value {
        Value::String(text) => vec![text],
        Value::Array(Array::String(texts)) => texts.iter_mut().map(|text| text as &mut dyn Text).collect(),
        _ => Vec::new(),
    }
}

/// Shortens a text by `excess` bytes, or as far as it goes. Returns by how many.
fn shorten(text: &mut dyn Text, excess: usize) -> usize {
    let before = text.as_str().len();
    // A text may be cut again for a backend that takes less.
    let mark = mark_of(text.as_str()).map_or_else(|| format!("{MARK}{before} bytes]"), str::to_owned);
    let kept = before.saturating_sub(excess.saturating_add(mark.len())).max(SHORTEST);
    if kept + mark.len() >= before {
        return 0;
    }
    let end = text.as_str().floor_char_boundary(kept);
    let cut = [&text.as_str()[..end], &mark].concat();
    let shorter = before - cut.len();
    text.replace(cut);
    shorter
}

const MARK: &str = "… [cut, ";

/// Returns the mark of a text that has been cut.
fn mark_of(text: &str) -> Option<&str> {
    let mark = &text[text.rfind(MARK)?..];
    let bytes = mark.strip_prefix(MARK)?.strip_suffix(" bytes]")?;
    bytes.bytes().all(|byte| byte.is_ascii_digit()).then_some(mark)
}

/// A text of a span.
trait Text {
    fn as_str(&self) -> &str;
    fn replace(&mut self, text: String);
}

impl Text for StringValue {
    fn as_str(&self) -> &str {
        self.as_str()
    }

    fn replace(&mut self, text: String) {
        *self = text.into();
    }
}

impl Text for Cow<'static, str> {
    fn as_str(&self) -> &str {
        self
    }

    fn replace(&mut self, text: String) {
        *self = text.into();
    }
}

#[cfg(all(test, feature = "_otlp"))]
mod tests {
    use std::time::{Duration, SystemTime};

    use opentelemetry::trace::{Event, Link, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
    use opentelemetry::{InstrumentationScope, Key};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            ".{0,300}".prop_map(Value::from),
            prop::collection::vec(any::<i64>(), 0..5).prop_map(|items| Value::Array(items.into())),
            prop::collection::vec(any::<bool>(), 0..5).prop_map(|items| Value::Array(items.into())),
            prop::collection::vec(any::<f64>(), 0..5).prop_map(|items| Value::Array(items.into())),
            prop::collection::vec(".{0,40}".prop_map(StringValue::from), 0..5)
                .prop_map(|items| Value::Array(items.into())),
        ]
    }

    fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
        prop::collection::vec((".{0,20}", value()).prop_map(|(key, value)| KeyValue::new(Key::new(key), value)), 0..6)
    }

    fn context() -> SpanContext {
        let state = TraceState::from_key_value([("vendor", "value")]).expect("it is valid");
        SpanContext::new(TraceId::from(u128::MAX), SpanId::from(u64::MAX), TraceFlags::SAMPLED, true, state)
    }

    prop_compose! {
        fn span()(
            name in ".{0,50}",
            description in prop::option::of(".{0,50}"),
            own in attributes(),
            lines in prop::collection::vec((".{0,50}", attributes()), 0..4),
            others in prop::collection::vec(attributes(), 0..3),
        ) -> SpanData {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
            let mut events = SpanEvents::default();
            events.dropped_count = u32::MAX;
            events.events.extend(lines.into_iter().map(|(name, own)| Event::new(name, time, own, u32::MAX)));
            let mut links = SpanLinks::default();
            links.dropped_count = u32::MAX;
            links.links.extend(others.into_iter().map(|own| Link::new(context(), own, u32::MAX)));
            SpanData {
                span_context: context(),
                parent_span_id: SpanId::from(u64::MAX),
                parent_span_is_remote: true,
                span_kind: SpanKind::Consumer,
                name: name.into(),
                start_time: time,
                end_time: time,
                attributes: own,
                dropped_attributes_count: u32::MAX,
                events,
                links,
                status: description.map_or(Status::Ok, Status::error),
                instrumentation_scope: InstrumentationScope::builder("scope").with_version("1.0").build(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_message_is_never_larger_than_its_spans_are_together(spans in prop::collection::vec(span(), 1..4)) {
            let together: usize = spans.iter().map(encoded_size).sum();
            let resource_spans = group_spans_by_resource_and_scope(spans, &Default::default());
            let message = ExportTraceServiceRequest { resource_spans }.encoded_len();
            // The frame of the resource.
            prop_assert!(message <= together + 2 * FIELD, "{message} is above {together}");
        }

        #[test]
        fn a_span_is_cut_by_as_much_as_it_has_text_for(mut span in span(), long in 1_000..20_000_usize, excess in 1..30_000_usize) {
            span.attributes.push(KeyValue::new("long", "ÿ".repeat(long)));
            let before = encoded_size(&span);
            cut(&mut span, excess);
            let after = encoded_size(&span);
            prop_assert!(after <= before);
            if excess < 2 * long - 2 * SHORTEST {
                prop_assert!(before - after >= excess, "{} of {excess}", before - after);
                // The cut is no deeper than needed: at most by a character.
                prop_assert!(before - after <= excess + 2);
            }
        }
    }
}
