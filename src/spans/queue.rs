//! Brings each span that has ended into the form in which it is exported, and adds it to the buffer.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::buffer::Buffer;
use super::{aliases, content};
use crate::fork::Origin;

/// Adds the sampled spans to the buffer. The pipeline itself flushes and closes the buffer, since the SDK has no deadline for it.
#[derive(Debug)]
pub(super) struct BoundedProcessor {
    buffer: Arc<Buffer>,
    value_length: Option<usize>,
    captures_content: bool,
    /// The most attributes of a span with aliases; `None` if spans get none.
    aliases: Option<usize>,
    origin: Origin,
}

impl BoundedProcessor {
    pub(super) fn new(buffer: Arc<Buffer>, config: &super::Config) -> Self {
        Self {
            buffer,
            value_length: config.limits.value_length,
            captures_content: config.captures_content,
            aliases: config.aliases.then_some(config.limits.attributes as usize),
            origin: Origin::here(),
        }
    }
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        // In the child of a fork a span that the parent has started may end.
        if !span.span_context.is_sampled() || self.origin.is_forked() {
            return;
        }
        if !self.captures_content {
            content::remove(&mut span);
        }
        if let Some(most) = self.aliases {
            aliases::add(&mut span, most);
        }
        if let Some(length) = self.value_length {
            let events = span.events.events.iter_mut().flat_map(|event| &mut event.attributes);
            let links = span.links.links.iter_mut().flat_map(|link| &mut link.attributes);
            for attribute in span.attributes.iter_mut().chain(events).chain(links) {
                truncate(attribute, length);
            }
        }
        self.buffer.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
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
