//! The trace context on HTTP headers: `traceparent` and `tracestate`, and `baggage`. Feature `http`.
//!
//! What is carried is for the program to say, by `OTEL_PROPAGATORS`; where it exports no spans, that is nothing. A provider library
//! can therefore inject without asking: its users pay for it when they want traces.
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
    /// Puts the trace context of the call on the headers of a request, so that the spans of the server become its children; of a
    /// call that is a part of another one, the context of the current span.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if self.span().is_disabled() {
            inject(&Span::current(), headers);
        } else {
            inject(self.span(), headers);
        }
    }
}

/// Puts the trace context of a span on the headers of a request.
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

/// Makes the trace context on the headers of a request the parent of the span that serves it. Call it before the span is entered
/// and before it has children: later it changes nothing.
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
        // Into an empty context: the default is that of the current span, which is no request's.
        let extract =
            |propagator: &dyn TextMapPropagator| propagator.extract_with_context(&Context::new(), &Incoming(headers));
        let context = global::get_text_map_propagator(extract);
        if context.has_active_span() {
            // Fails where no layer exports the span, and where it is too late.
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
