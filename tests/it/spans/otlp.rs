//! Spans arrive at a real collector, and at peers that look closely.

use std::time::Duration;

use botticelli_obs::{Builder, ErrorType, LlmCall, Telemetry, Usage};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::support::in_own_process;
use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};
use crate::support::server::Collector;

const FLUSH: Duration = Duration::from_secs(30);

fn start() -> Telemetry {
    Builder::new().without_listener().with_service_name("bot").install().expect("it installs")
}

/// A message with a call that succeeds and one that fails.
fn calls() {
    tracing::info_span!("bot.message", channel = "discord").in_scope(|| {
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(12, 30).with_cache_read(10).with_reasoning(5));
        call.finish();
        LlmCall::start("groq", "llama-3.3-70b-versatile").fail(ErrorType::RateLimit);
    });
}

/// Runs the scenario in a process of its own that exports to a peer.
fn exporting_to(endpoint: &str, more: &[(&str, &str)], scenario: impl FnOnce()) -> Option<std::process::Output> {
    let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], more].concat();
    in_own_process(&variables, scenario)
}

fn exports_calls() {
    let telemetry = start();
    calls();
    telemetry.shutdown(FLUSH).expect("every span arrives");
}

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    match attribute(span, name) {
        Some(Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

/// What a real collector process makes of the calls.
fn arrives_in_a_collector(protocol: &str) {
    let Some(collector) = Collector::start() else { return };
    let addr = if protocol == "grpc" { collector.grpc } else { collector.http };
    let more = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=a%20b"),
    ];
    if exporting_to(&format!("http://{addr}"), &more, exports_calls).is_none() {
        return;
    }
    let spans = collector.spans(3);
    assert_eq!(spans.len(), 3, "{spans:?}");
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
    let message = named("bot.message");
    let good = named("chat gemini-2.5-flash");
    let bad = named("chat llama-3.3-70b-versatile");
    assert_eq!(message.kind, "SPAN_KIND_INTERNAL");
    for call in [good, bad] {
        assert_eq!((call.kind.as_str(), &call.parent, &call.trace), ("SPAN_KIND_CLIENT", &message.id, &message.trace));
    }
    assert_eq!((good.status.as_str(), bad.status.as_str()), ("STATUS_CODE_UNSET", "STATUS_CODE_ERROR"));
    for (name, value) in [
        ("gen_ai.operation.name", "Str(chat)"),
        ("gen_ai.provider.name", "Str(gcp.gemini)"),
        ("gen_ai.request.model", "Str(gemini-2.5-flash)"),
        ("gen_ai.usage.input_tokens", "Int(12)"),
        ("gen_ai.usage.output_tokens", "Int(30)"),
        ("gen_ai.usage.cache_read.input_tokens", "Int(10)"),
        ("gen_ai.usage.reasoning.output_tokens", "Int(5)"),
    ] {
        assert_eq!(good.attributes.get(name).map(String::as_str), Some(value), "{name}: {good:#?}");
    }
    assert_eq!(good.attributes.get("error.type"), None);
    assert_eq!(bad.attributes.get("error.type").map(String::as_str), Some("Str(rate_limit)"));
    for attribute in ["service.name: Str(bot)", "deployment.environment.name: Str(test)", "team: Str(a b)"] {
        assert!(collector.received().contains(attribute), "{attribute}: {}", collector.received());
    }
}

#[test]
fn spans_arrive_in_a_collector_by_grpc() {
    arrives_in_a_collector("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn spans_arrive_in_a_collector_by_http() {
    arrives_in_a_collector("http/protobuf");
}

#[test]
fn headers_and_compression_are_sent_by_grpc() {
    let peer = Peer::grpc(Mood::Takes);
    let more =
        [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    if exporting_to(&format!("http://{}", peer.addr), &more, exports_calls).is_some() {
        let received = peer.received();
        assert_eq!(received.spans.len(), 3);
        assert_eq!(received.headers.get("authorization").map(String::as_str), Some("Bearer abc"));
        assert_eq!(received.headers.get("grpc-encoding").map(String::as_str), Some("gzip"));
    }
}

#[cfg(feature = "otlp-http")]
#[test]
fn headers_and_compression_are_sent_by_http() {
    let peer = Peer::http(Mood::Takes);
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=1,x-other=2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    if exporting_to(&format!("http://{}", peer.addr), &more, exports_calls).is_some() {
        let received = peer.received();
        assert_eq!(received.spans.len(), 3);
        assert_eq!(received.headers.get("content-encoding").map(String::as_str), Some("gzip"));
        assert_eq!((received.headers["x-key"].as_str(), received.headers["x-other"].as_str()), ("1", "2"));
    }
}

/// With everything exported, the export itself must not make spans, which would be exported in turn.
fn never_traces_itself(endpoint: &str, protocol: &str) -> bool {
    let more = [
        ("BOTTICELLI_OBS_SPAN_FILTER", "trace"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
    ];
    let run = || {
        let telemetry = start();
        for _ in 0..5 {
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
            telemetry.flush(FLUSH).expect("every span arrives");
        }
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.sum("botticelli_obs_spans_exported_total"), 5.0);
        telemetry.shutdown(FLUSH).expect("there is nothing left");
    };
    exporting_to(endpoint, &more, run).is_some()
}

#[test]
fn the_grpc_exporter_never_traces_itself() {
    let peer = Peer::grpc(Mood::Takes);
    if never_traces_itself(&format!("http://{}", peer.addr), "grpc") {
        assert_eq!(peer.received().spans.len(), 5);
    }
}

#[cfg(feature = "otlp-http")]
#[test]
fn the_http_exporter_never_traces_itself() {
    let peer = Peer::http(Mood::Takes);
    if never_traces_itself(&format!("http://{}", peer.addr), "http/protobuf") {
        assert_eq!(peer.received().spans.len(), 5);
    }
}

fn description(span: &Span) -> &str {
    span.status.as_ref().map_or("", |status| &status.message)
}

fn code(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

#[test]
fn a_logged_error_leaves_the_status_alone() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let error = std::io::Error::other("connection reset");
        let call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.span().in_scope(|| {
            tracing::error!("the first try failed, trying again");
            tracing::error!(error = %error, "the second try failed, trying again");
            tracing::error!(error = &error as &dyn std::error::Error, "the third try failed, trying again");
            tracing::error!(%error);
        });
        call.finish();
        tracing::info_span!("bot.message").in_scope(|| tracing::error!(%error, "no reply, never mind"));
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if exporting_to(&format!("http://{}", peer.addr), &[], run).is_some() {
        let spans = peer.received().spans;
        let [call, message] = spans.as_slice() else { panic!("two spans: {spans:?}") };
        assert_eq!((code(call), call.events.len()), (StatusCode::Unset, 4));
        assert_eq!((code(message), message.events.len()), (StatusCode::Unset, 1));
    }
}

#[test]
fn a_failed_call_is_an_error_whatever_was_logged() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let call = LlmCall::start("gemini", "gemini-2.5-flash");
        // A line that sets a description, which the SDK would take for the greater one.
        call.span().in_scope(|| tracing::error!(error = "zzz"));
        call.fail(ErrorType::Timeout);
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if exporting_to(&format!("http://{}", peer.addr), &[], run).is_some() {
        let spans = peer.received().spans;
        let [span] = spans.as_slice() else { panic!("one span: {spans:?}") };
        assert_eq!((code(span), text(span, "error.type")), (StatusCode::Error, Some("timeout")));
        assert_eq!(description(span), "timeout");
    }
}

#[test]
fn a_function_that_returns_an_error_makes_its_span_one() {
    #[tracing::instrument(err)]
    fn post() -> Result<(), std::fmt::Error> {
        Err(std::fmt::Error)
    }
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        post().expect_err("it always fails");
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if exporting_to(&format!("http://{}", peer.addr), &[], run).is_some() {
        let spans = peer.received().spans;
        let [span] = spans.as_slice() else { panic!("one span: {spans:?}") };
        assert_eq!(code(span), StatusCode::Error, "{span:?}");
        assert!(description(span).contains("an error occurred"), "{span:?}");
    }
}

#[test]
fn what_is_known_at_the_start_is_on_the_span() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let mut call = LlmCall::builder("openai", "gpt-4o")
            .with_server("api.openai.com", 443)
            .with_max_tokens(256)
            .with_temperature(0.5)
            .with_streaming()
            .start();
        call.record_response_model("gpt-4o-2024-08-06");
        call.record_finish_reason("stop");
        call.finish();
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if exporting_to(&format!("http://{}", peer.addr), &[], run).is_some() {
        let spans = peer.received().spans;
        let [span] = spans.as_slice() else { panic!("one span: {spans:?}") };
        assert_eq!(text(span, "server.address"), Some("api.openai.com"));
        assert_eq!(attribute(span, "server.port"), Some(&Value::IntValue(443)));
        assert_eq!(attribute(span, "gen_ai.request.max_tokens"), Some(&Value::IntValue(256)));
        assert_eq!(attribute(span, "gen_ai.request.temperature"), Some(&Value::DoubleValue(0.5)));
        assert_eq!(attribute(span, "gen_ai.request.stream"), Some(&Value::BoolValue(true)));
        assert_eq!(text(span, "gen_ai.response.model"), Some("gpt-4o-2024-08-06"));
        let reasons = attribute(span, "gen_ai.response.finish_reasons");
        assert!(matches!(reasons, Some(Value::ArrayValue(list)) if list.values.len() == 1), "{reasons:?}");
    }
}
