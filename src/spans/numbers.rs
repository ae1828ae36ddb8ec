//! Keeps unsigned numbers in a program's own spans numbers.
//!
//! OpenTelemetry has signed numbers alone, and `tracing-opentelemetry` makes text of a field of an unsigned type. Which fields were
//! unsigned is known when they are recorded; the text is made a number again when the span ends, if it fits.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::call;

/// The names of fields that were recorded with an unsigned type.
#[derive(Default)]
struct Unsigned(Vec<&'static str>);

impl Visit for Unsigned {
    fn record_u64(&mut self, field: &Field, _: u64) {
        self.0.push(field.name());
    }

    fn record_u128(&mut self, field: &Field, _: u128) {
        self.0.push(field.name());
    }

    fn record_i128(&mut self, field: &Field, _: i128) {
        self.0.push(field.name());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

thread_local! {
    /// Those of the span that is being closed.
    static CLOSING: Cell<Option<Unsigned>> = const { Cell::new(None) };
}

/// Takes note of unsigned fields, before the layer that exports spans.
#[derive(Default)]
pub(super) struct Before {
    /// Whether there ever was one. Most programs have none, and pay for a look at this.
    any: AtomicBool,
}

impl Before {
    fn note<S: for<'a> LookupSpan<'a>>(&self, Unsigned(fields): Unsigned, span: Option<SpanRef<'_, S>>) {
        if let Some(span) = span.filter(|_| !fields.is_empty()) {
            self.any.store(true, Ordering::Relaxed);
            let mut extensions = span.extensions_mut();
            match extensions.get_mut::<Unsigned>() {
                Some(earlier) => earlier.0.extend(fields),
                None => extensions.insert(Unsigned(fields)),
            }
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Before {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, cx: Context<'_, S>) {
        if attributes.metadata().target() != call::TARGET {
            let mut unsigned = Unsigned::default();
            attributes.record(&mut unsigned);
            self.note(unsigned, cx.span(id));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, cx: Context<'_, S>) {
        let mut unsigned = Unsigned::default();
        values.record(&mut unsigned);
        self.note(unsigned, cx.span(id));
    }

    fn on_close(&self, id: Id, cx: Context<'_, S>) {
        if self.any.load(Ordering::Relaxed) {
            let unsigned = cx.span(&id).and_then(|span| span.extensions_mut().remove::<Unsigned>());
            let _ = CLOSING.try_with(|closing| closing.set(unsigned));
        }
    }
}

/// Makes numbers of the fields of a span that ends because it is being closed.
pub(super) fn restore(span: &mut SpanData) {
    let Some(Unsigned(fields)) = CLOSING.try_with(Cell::take).ok().flatten() else { return };
    for attribute in &mut span.attributes {
        if let Value::String(text) = &attribute.value
            && fields.contains(&attribute.key.as_str())
            && let Ok(number) = text.as_str().parse()
        {
            attribute.value = Value::I64(number);
        }
    }
}

/// Forgets the fields of a span that was not exported, after the layer that exports spans.
pub(super) struct After;

impl<S: Subscriber> Layer<S> for After {
    fn on_close(&self, _: Id, _: Context<'_, S>) {
        let _ = CLOSING.try_with(Cell::take);
    }
}
