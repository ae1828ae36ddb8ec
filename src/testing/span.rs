//! Captured spans and their attributes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::lock::unpoisoned;

/// A captured span, which has ended.
#[derive(Clone)]
pub struct CapturedSpan(pub(super) SpanData);

impl CapturedSpan {
    /// Returns the exported name, such as `chat gemini-2.5-flash`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether the span's kind is client, which is the kind of call spans.
    pub fn is_client(&self) -> bool {
        self.0.span_kind == SpanKind::Client
    }

    /// Whether the span's status is error.
    pub fn is_error(&self) -> bool {
        matches!(self.0.status, Status::Error { .. })
    }

    /// Returns the description of the status "error", which is the error class for a call that has failed; `None` for another status.
    pub fn error_description(&self) -> Option<&str> {
        match &self.0.status {
            Status::Error { description } => Some(description),
            _ => None,
        }
    }

    /// Returns the time from the start of the span to its end. The span of a call lasts as long as the call.
    pub fn duration(&self) -> Duration {
        self.0.end_time.duration_since(self.0.start_time).unwrap_or_default()
    }

    /// Returns the span's id as 16 hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.span_context.span_id().to_string()
    }

    /// Returns the id of the trace as 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.span_context.trace_id().to_string()
    }

    /// Returns the id of the parent span as 16 hexadecimal digits; `None` for a root span.
    pub fn parent_id(&self) -> Option<String> {
        Some(self.0.parent_span_id).filter(|&parent| parent != SpanId::INVALID).map(|parent| parent.to_string())
    }

    /// Returns the value of an attribute; `None` if it was not recorded.
    pub fn attribute(&self, name: &str) -> Option<Attribute> {
        // An attribute may be recorded more than once; backends show the last value.
        let found = self.0.attributes.iter().rev().find(|attribute| attribute.key.as_str() == name)?;
        Some(Attribute::from(&found.value))
    }
}

impl fmt::Debug for CapturedSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut span = f.debug_struct("Span");
        span.field("name", &self.name()).field("error", &self.is_error());
        for attribute in &self.0.attributes {
            span.field(attribute.key.as_str(), &Attribute::from(&attribute.value));
        }
        span.finish()
    }
}

/// The value of an attribute, with its type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list of strings.
    Texts(Vec<String>),
    /// A list of other values, written as a string.
    List(String),
}

impl Attribute {
    fn from(value: &opentelemetry::Value) -> Self {
        use opentelemetry::{Array, Value};
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::I64(value) => Self::Int(*value),
            Value::F64(value) => Self::Float(*value),
            Value::String(value) => Self::Text(value.as_str().to_owned()),
            Value::Array(Array::String(values)) => {
                Self::Texts(values.iter().map(|value| value.as_str().to_owned()).collect())
            }
            other => Self::List(other.as_str().into_owned()),
        }
    }
}

impl PartialEq<&str> for Attribute {
    fn eq(&self, other: &&str) -> bool {
        matches!(self, Self::Text(text) if text == other)
    }
}

impl PartialEq<i64> for Attribute {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, Self::Int(value) if value == other)
    }
}

/// An exporter that keeps the spans it gets.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedSpans(Arc<Mutex<Vec<SpanData>>>);

impl EndedSpans {
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<SpanData>> {
        unpoisoned(self.0.lock())
    }
}

impl SpanExporter for EndedSpans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.lock().extend(batch);
        Ok(())
    }
}
