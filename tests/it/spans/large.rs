//! Spans that are too many or too large for one message.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};
use crate::support::program::observe;

const FLUSH: Duration = Duration::from_secs(30);

/// Makes spans in a program that exports to the peer. Returns the spans that the peer has received.
fn received(
    peer: &Peer,
    protocol: &str,
    more: &[(&'static str, &str)],
    spans: impl FnOnce(),
    dropped: f64,
) -> Option<Vec<Span>> {
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", peer.addr)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        // Everything is exported at once.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048".to_owned()),
    ];
    variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));

    let is_parent = observe(&variables, 0..=0, || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        spans();
        let flushed = telemetry.flush(FLUSH);
        let page = Page::parse(&telemetry.render());
        let too_large = page.value("botticelli_obs_spans_dropped_total", &[("reason", "too_large")]);
        assert_eq!((too_large, page.sum("botticelli_obs_spans_dropped_total")), (dropped, dropped), "{flushed:?}");
        assert_eq!(flushed.is_ok(), dropped == 0.0, "{flushed:?}");
    });
    is_parent.then(|| peer.received().spans)
}

/// 300 calls, each in a span with a field of 20 kB: about 6 MB.
fn calls_in_long_spans() {
    let document = "x".repeat(20_000);
    for number in 0..300 {
        let _entered = tracing::info_span!("work", number, document = %document).entered();
        LlmCall::start("openai", "gpt-4o-mini").finish();
    }
}

#[test]
fn many_long_spans_all_arrive_by_grpc() {
    let peer = Peer::grpc(Mood::Takes);
    if let Some(spans) = received(&peer, "grpc", &[], calls_in_long_spans, 0.0) {
        assert_eq!(spans.len(), 600);
        assert!(spans.iter().all(|span| document(span).is_none_or(|text| text.len() == 20_000)));
        assert_eq!(peer.received().tries, 2, "messages are filled");
    }
}

#[test]
fn many_long_spans_all_arrive_compressed() {
    let peer = Peer::grpc(Mood::Takes);
    let more = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    if let Some(spans) = received(&peer, "grpc", &more, calls_in_long_spans, 0.0) {
        assert_eq!(spans.len(), 600);
    }
}

/// The server takes 2 MB, as a proxy before a collector may.
#[cfg(feature = "otlp-http")]
#[test]
fn a_backend_with_a_lower_limit_gets_smaller_messages() {
    let peer = Peer::http(Mood::Takes);
    if let Some(spans) = received(&peer, "http/protobuf", &[], calls_in_long_spans, 0.0) {
        assert_eq!(spans.len(), 600);
    }
}

fn document(span: &Span) -> Option<&str> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "document")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// One span with a field of 6 MB, then 20 calls.
fn a_huge_span_and_calls() {
    drop(tracing::info_span!("huge", document = %"ÿ".repeat(3_000_000), short = "kept").entered());
    (0..20).for_each(|_| LlmCall::start("openai", "gpt-4o-mini").finish());
}

fn is_cut(spans: &[Span]) {
    assert_eq!(spans.len(), 21);
    let huge = spans.iter().find(|span| span.name == "huge").expect("it arrives");
    let text = document(huge).expect("it has its field");
    assert!(text.starts_with("ÿÿ") && text.ends_with("… [cut, 6000000 bytes]"), "{}", text.len());
    assert!(format!("{huge:?}").contains("kept"));
}

#[test]
fn a_field_above_the_limit_is_cut_and_marked_by_grpc() {
    let peer = Peer::grpc(Mood::Takes);
    if let Some(spans) = received(&peer, "grpc", &[], a_huge_span_and_calls, 0.0) {
        is_cut(&spans);
    }
}

#[cfg(feature = "otlp-http")]
#[test]
fn a_field_above_the_limit_is_cut_and_marked_by_http() {
    let peer = Peer::http(Mood::Takes);
    if let Some(spans) = received(&peer, "http/protobuf", &[], a_huge_span_and_calls, 0.0) {
        is_cut(&spans);
    }
}

/// A span with so many log lines that no cut would help, and 20 calls.
#[test]
fn a_span_that_no_cut_makes_small_enough_is_dropped_alone() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        tracing::info_span!("chatty").in_scope(|| {
            for number in 0..60_000 {
                tracing::info!(number, "one of very many log lines inside one span, each of them rather short");
            }
        });
        (0..20).for_each(|_| LlmCall::start("openai", "gpt-4o-mini").finish());
    };
    let more = [("OTEL_SPAN_EVENT_COUNT_LIMIT", "100000"), ("RUST_LOG", "warn")];
    if let Some(spans) = received(&peer, "grpc", &more, run, 1.0) {
        assert_eq!(spans.len(), 20);
    }
}
