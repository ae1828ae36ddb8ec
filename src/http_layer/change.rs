//! What is changed of a request: nothing, unless the user or the place of the server says so.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};

use super::recording::Recording;
use super::request::{HttpRequest, LlmRequest};
use super::settings::Settings;
use crate::propagation;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The changes of a request.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The trace context.
    headers: HeaderMap,
    asks_for_usage: bool,
}

impl Changes {
    /// Decides what is changed.
    pub(super) fn of(settings: &Settings, request: &HttpRequest<'_>, llm: &LlmRequest, recording: &Recording) -> Self {
        if is_signed(request) {
            return Self::default();
        }
        let takes_trace = settings.server(&request.target).takes_trace;
        Self {
            headers: if takes_trace { trace_context(request.headers(), recording) } else { HeaderMap::new() },
            asks_for_usage: settings.asks_for_usage && llm.lacks_stream_options,
        }
    }

    pub(super) fn apply_to_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Returns the body that is sent instead of this one, and corrects the header of its length.
    pub(super) fn body(&self, body: Option<&[u8]>, headers: &mut HeaderMap) -> Option<Vec<u8>> {
        let body = body.filter(|_| self.asks_for_usage).and_then(with_usage)?;
        if headers.contains_key(CONTENT_LENGTH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Some(body)
    }
}

/// Whether a request has a signature of AWS, which covers its headers and its body.
fn is_signed(request: &HttpRequest<'_>) -> bool {
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    authorization.starts_with(b"AWS4-") || request.query().contains("X-Amz-Signature=")
}

/// Returns the context of what is recorded. Nothing if the request has a context that is not of the call around it.
fn trace_context(headers: &HeaderMap, recording: &Recording) -> HeaderMap {
    let only_trace = |mut all: HeaderMap| {
        let mut headers = HeaderMap::new();
        for name in [TRACEPARENT, TRACESTATE] {
            if let Some(value) = all.remove(&name) {
                headers.insert(name, value);
            }
        }
        headers
    };
    if let Some(own) = headers.get(TRACEPARENT) {
        let mut around = HeaderMap::new();
        recording.inject_around(&mut around);
        if around.get(TRACEPARENT) != Some(own) {
            return HeaderMap::new();
        }
    }
    let mut all = HeaderMap::new();
    propagation::inject(recording.span(), &mut all);
    only_trace(all)
}

/// Adds the field to a JSON object that asks for the usage of a stream.
fn with_usage(body: &[u8]) -> Option<Vec<u8>> {
    let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace()).filter(|at| body[*at] == b'}')?;
    let last = body[..end].iter().rfind(|byte| !byte.is_ascii_whitespace())?;
    let comma = if *last == b'{' { "" } else { "," };
    Some([&body[..end], comma.as_bytes(), br#""stream_options":{"include_usage":true}"#, &body[end..]].concat())
}
