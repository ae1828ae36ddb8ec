//! Carries the trace context in HTTP headers: `traceparent`, `tracestate` and `baggage`. Feature `http`.
//!
//! The program selects the headers by `OTEL_PROPAGATORS` (default: all three). In a program that exports no spans nothing is
//! injected, so a provider library can always call [`inject`](LlmCall::inject).
//!
//! ```
//! use botticelli_obs::LlmCall;
//! use botticelli_obs::propagation::HeaderMap;
//!
//! let call = LlmCall::start("ollama", "llama3.2");
//! let mut headers = HeaderMap::new();
//! call.inject(&mut headers);
//! // … send the request with these headers …
//! call.finish();
//! ```

pub use http::HeaderMap;
use tracing::Span;

use crate::call::LlmCall;

impl LlmCall {
    /// Adds the trace context of the call to the headers of a request, so that the spans of the server become its children.
    ///
    /// Headers of the same name are replaced. A call that has no span of its own, because it is a part of another call, injects
    /// the context of the current span.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    /// use botticelli_obs::propagation::HeaderMap;
    ///
    /// let call = LlmCall::start("ollama", "llama3.2");
    /// let mut headers = HeaderMap::new();
    /// call.inject(&mut headers);
    /// assert!(headers.is_empty(), "this program exports no spans");
    /// call.finish();
    /// ```
    pub fn inject(&self, headers: &mut HeaderMap) {
        if self.span().is_disabled() {
            inject(&Span::current(), headers);
        } else {
            inject(self.span(), headers);
        }
    }
}

/// Adds the trace context of a span to the headers of a request. Headers of the same name are replaced.
///
/// ```
/// use botticelli_obs::propagation::{self, HeaderMap};
/// use botticelli_obs::tracing::Span;
///
/// let mut headers = HeaderMap::new();
/// propagation::inject(&Span::current(), &mut headers);
/// ```
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    #[cfg(feature = "install")]
    open_telemetry::inject(span, headers);
    #[cfg(not(feature = "install"))]
    let _ = (span, headers);
}

/// Makes the trace context in the headers of a request the parent of a span.
///
/// Call it before the span is entered and before it has children; later it has no effect. Without a valid `traceparent` header
/// the span keeps its parent.
///
/// ```
/// use botticelli_obs::propagation::{self, HeaderMap};
/// use botticelli_obs::tracing;
///
/// fn serve(headers: &HeaderMap) {
///     let span = tracing::info_span!("ask");
///     propagation::set_parent(&span, headers);
///     span.in_scope(|| tracing::info!("served"));
/// }
/// # serve(&HeaderMap::new());
/// ```
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    #[cfg(feature = "install")]
    open_telemetry::set_parent(span, headers);
    #[cfg(not(feature = "install"))]
    let _ = (span, headers);
}

#[cfg(feature = "install")]
mod open_telemetry {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
    use opentelemetry::trace::TraceContextExt;
    use opentelemetry::{Context, global};
    use tracing::Span;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    pub(super) fn inject(span: &Span, headers: &mut HeaderMap) {
        let context = span.context();
        global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
    }

    pub(super) fn set_parent(span: &Span, headers: &HeaderMap) {
        // Extracts into an empty context. The default is the current context, whose span is not the caller's.
        let extract =
            |propagator: &dyn TextMapPropagator| propagator.extract_with_context(&Context::new(), &Incoming(headers));
        let context = global::get_text_map_propagator(extract);
        if context.has_active_span() {
            // Fails if no layer exports the span, or if the span was entered before.
            let _ = span.set_parent(context);
        }
    }

    struct Outgoing<'a>(&'a mut HeaderMap);

    impl Injector for Outgoing<'_> {
        fn set(&mut self, name: &str, value: String) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                self.0.insert(name, value);
            }
        }
    }

    struct Incoming<'a>(&'a HeaderMap);

    impl Extractor for Incoming<'_> {
        fn get(&self, name: &str) -> Option<&str> {
            self.0.get(name).and_then(|value| value.to_str().ok())
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }
}
