//! Adds attributes under older names, which some backends still ask for.

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use crate::provider;

const REASONING: &str = "gen_ai.usage.reasoning.output_tokens";

/// Adds the older names of the attributes that a span has, as far as it has not those itself and may have more attributes.
pub(super) fn add(span: &mut SpanData, most: usize) {
    let number = |name: &str| match attribute(span, name) {
        Some(Value::I64(number)) => Some(*number),
        _ => None,
    };
    let system = match attribute(span, "gen_ai.provider.name") {
        // Older conventions had other names than `gcp.gemini`, and some backends cut a name at its first dot.
        Some(Value::String(name)) => Some(Value::from(provider::label(name.as_str()).to_owned())),
        _ => None,
    };
    let total = match (number("gen_ai.usage.input_tokens"), number("gen_ai.usage.output_tokens")) {
        (Some(input), Some(output)) => Some(Value::I64(input.saturating_add(output))),
        _ => None,
    };
    let reasoning = number(REASONING).map(Value::I64);
    let aliases = [
        ("gen_ai.system", system),
        ("gen_ai.usage.total_tokens", total),
        ("gen_ai.usage.reasoning_tokens", reasoning.clone()),
        ("llm.token_count.completion_details.reasoning", reasoning),
    ];
    for (name, value) in aliases {
        let Some(value) = value.filter(|_| attribute(span, name).is_none()) else { continue };
        if span.attributes.len() < most {
            span.attributes.push(KeyValue::new(name, value));
        } else {
            span.dropped_attributes_count += 1;
        }
    }
}

fn attribute<'a>(span: &'a SpanData, name: &str) -> Option<&'a Value> {
    span.attributes.iter().rfind(|attribute| attribute.key.as_str() == name).map(|attribute| &attribute.value)
}
