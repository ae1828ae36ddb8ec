//! The trace context on HTTP headers, out of a call and into a span.

use std::time::Duration;

use botticelli_obs::propagation::{self, HeaderMap};
use botticelli_obs::{LlmCall, tracing};
use futures_util::FutureExt;

use crate::support::in_own_process;

const INCOMING: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn incoming() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", INCOMING.parse().expect("a header value"));
    headers.insert("baggage", "tenant=uffizi".parse().expect("a header value"));
    headers
}

fn outgoing(inject: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
    let mut headers = HeaderMap::new();
    inject(&mut headers);
    headers
}

/// The trace and the span of a `traceparent`.
fn ids(headers: &HeaderMap) -> (String, String) {
    let value = headers.get("traceparent").expect("a traceparent").to_str().expect("text");
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { panic!("{value}") };
    assert_eq!((*version, trace.len(), span.len(), *flags), ("00", 32, 16, "01"), "{value}");
    ((*trace).to_owned(), (*span).to_owned())
}

/// Runs with spans exported to standard output, and these propagators.
fn with_traces(propagators: &str, scenario: impl FnOnce()) {
    let variables = [("OTEL_TRACES_EXPORTER", "console"), ("OTEL_PROPAGATORS", propagators)];
    in_own_process(&variables, || {
        let telemetry = botticelli_obs::Builder::new().without_listener().install().expect("it installs");
        scenario();
        telemetry.shutdown(Duration::from_secs(5)).expect("nothing is lost");
    });
}

#[test]
fn span_of_a_call_goes_out_and_comes_in_as_parent() {
    with_traces("tracecontext,baggage", || {
        let request = tracing::info_span!("request");
        propagation::set_parent(&request, &incoming());
        let (trace, parent) = ids(&outgoing(|headers| propagation::inject(&request, headers)));
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(parent, "00f067aa0ba902b7", "it has an id of its own");

        let call = request.in_scope(|| LlmCall::start("gemini", "gemini-2.5-flash"));
        let headers = outgoing(|headers| call.inject(headers));
        let (same_trace, span) = ids(&headers);
        assert_eq!(same_trace, trace);
        assert_ne!(span, parent);
        assert_eq!(headers.get("baggage").expect("baggage"), "tenant=uffizi");
        call.finish();
    });
}

#[test]
fn part_of_a_call_sends_the_span_around_it() {
    with_traces("tracecontext", || {
        let whole = LlmCall::start("gemini", "gemini-2.5-flash");
        let outer = outgoing(|headers| whole.inject(headers));
        let inner = whole.observe(async {
            let part = LlmCall::start("gemini", "gemini-2.5-flash");
            let headers = outgoing(|headers| part.inject(headers));
            part.finish();
            assert_eq!(ids(&headers), ids(&outer));
        });
        inner.now_or_never().expect("it is ready");
    });
}

#[test]
fn headers_that_make_no_sense_are_no_parent() {
    with_traces("tracecontext,baggage", || {
        for value in ["", "nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", value.parse().expect("a header value"));
            let outer = tracing::info_span!("middleware");
            let span = outer.in_scope(|| tracing::info_span!("request"));
            propagation::set_parent(&span, &headers);
            let inject = |span| ids(&outgoing(|headers| propagation::inject(span, headers)));
            assert_eq!(inject(&span).0, inject(&outer).0, "the span keeps the parent it has");

            let root = outer.in_scope(|| {
                let root = tracing::info_span!(parent: None, "request");
                propagation::set_parent(&root, &headers);
                root
            });
            assert_ne!(inject(&root).0, inject(&outer).0, "nor does it get the current span for one");
        }
    });
}

#[test]
fn header_of_before_is_replaced() {
    with_traces("tracecontext", || {
        let call = LlmCall::start("gemini", "gemini-2.5-flash");
        let mut headers = incoming();
        call.inject(&mut headers);
        call.inject(&mut headers);
        assert_eq!(headers.get_all("traceparent").iter().count(), 1);
        assert_ne!(ids(&headers).0, "4bf92f3577b34da6a3ce929d0e0e4736");
        call.finish();
    });
}

#[test]
fn program_that_propagates_nothing_sends_nothing() {
    with_traces("none", || {
        let call = LlmCall::start("gemini", "gemini-2.5-flash");
        assert!(outgoing(|headers| call.inject(headers)).is_empty());
        call.finish();
    });
}

#[test]
fn without_install_nothing_is_sent() {
    let call = LlmCall::start("gemini", "gemini-2.5-flash");
    assert!(outgoing(|headers| call.inject(headers)).is_empty());
    propagation::set_parent(&tracing::info_span!("request"), &incoming());
    call.finish();
}
