//! Who gets the trace context.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use botticelli_obs::http_layer::LlmLayer;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use super::scripted::{Script, post};
use crate::support::in_own_process;

const BODY: &str = r#"{"model": "m", "messages": [], "stream": true}"#;

/// Returns the headers with which a request is sent through these layers, the outermost first.
fn sent(layers: &[LlmLayer], request: Request<Full<Bytes>>) -> HeaderMap {
    let headers = Arc::new(Mutex::new(HeaderMap::new()));
    let seen = Arc::clone(&headers);
    let service = service_fn(move |request: Request<Full<Bytes>>| {
        *seen.lock().expect("nobody panics") = request.headers().clone();
        async { Ok::<_, Infallible>(Response::new(Script::default())) }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
    let span = botticelli_obs::tracing::info_span!("around");
    let _entered = span.enter();
    match layers {
        [layer] => drop(runtime.block_on(layer.layer(service).oneshot(request))),
        [outer, inner] => drop(runtime.block_on(outer.layer(inner.layer(service)).oneshot(request))),
        _ => unreachable!("one or two"),
    }
    let headers = headers.lock().expect("nobody panics").clone();
    assert_eq!(headers.get("baggage"), None);
    headers
}

fn with_traces(scenario: impl FnOnce()) {
    let variables = [("OTEL_TRACES_EXPORTER", "console"), ("OTEL_PROPAGATORS", "tracecontext,baggage")];
    in_own_process(&variables, || {
        let telemetry = botticelli_obs::Builder::new().without_listener().install().expect("it installs");
        scenario();
        drop(telemetry);
    });
}

#[test]
fn this_machine_and_named_servers_get_it_and_no_public_host() {
    with_traces(|| {
        let layer = LlmLayer::new()
            .with_endpoint("http://10.0.0.5:8000/v1", "vllm")
            .with_propagation()
            .with_endpoint("http://10.0.0.6:8000/v1", "vllm")
            .with_endpoint("https://api.openai.com/v1", "openai")
            .with_propagation();
        for (url, takes) in [
            ("http://localhost:11434/v1/chat/completions", true),
            ("http://127.0.0.1:8000/v1/chat/completions", true),
            ("http://[::1]:8000/v1/chat/completions", true),
            ("http://10.0.0.5:8000/v1/chat/completions", true),
            ("http://10.0.0.6:8000/v1/chat/completions", false),
            ("https://gateway.uffizi.it/v1/chat/completions", false),
            ("https://api.openai.com/v1/chat/completions", false),
            ("https://api.groq.com/openai/v1/chat/completions", false),
            ("http://localhost:11434/v1/files", false),
        ] {
            let headers = sent(std::slice::from_ref(&layer), post(url, BODY));
            assert_eq!(headers.contains_key("traceparent"), takes, "{url}");
        }
    });
}

#[test]
fn signed_requests_stay_as_they_are() {
    with_traces(|| {
        let layer = LlmLayer::new().with_endpoint("localhost", "bedrock").with_propagation().with_stream_usage();
        let mut request = post("http://localhost:8000/v1/chat/completions", BODY);
        let signature = "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=y";
        request.headers_mut().insert("authorization", signature.parse().expect("a header"));
        assert_eq!(sent(std::slice::from_ref(&layer), request).len(), 1);
        let presigned = post("http://localhost:8000/v1/chat/completions?X-Amz-Signature=y", BODY);
        assert_eq!(sent(&[layer], presigned).len(), 0);
    });
}

#[test]
fn the_program_s_own_context_stays() {
    with_traces(|| {
        let own = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut request = post("http://localhost:8000/v1/chat/completions", BODY);
        request.headers_mut().insert("traceparent", own.parse().expect("a header"));
        assert_eq!(sent(&[LlmLayer::new()], request)["traceparent"], own);
    });
}

#[test]
fn the_span_of_an_attempt_goes_out_and_not_that_of_its_call() {
    with_traces(|| {
        let request = || post("http://localhost:8000/v1/chat/completions", BODY);
        let context = |headers: HeaderMap| headers["traceparent"].to_str().expect("text").to_owned();
        let outer = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&outer);
        let spy = LlmLayer::new().with_recognizer(move |request| {
            let header = request.headers().get("traceparent");
            *kept.lock().expect("nobody panics") =
                header.map(|value| value.to_str().unwrap_or_default().to_owned()).unwrap_or_default();
            None
        });
        let sent = context(sent(&[LlmLayer::new(), spy], request()));
        let outer = outer.lock().expect("nobody panics").clone();
        assert!(!outer.is_empty() && sent != outer, "{outer}, {sent}");
        assert_eq!(sent[..35], outer[..35], "it is one trace");
    });
}
