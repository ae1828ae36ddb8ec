//! Attributes under older names, which spans have where they were asked for.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, Usage};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};

const FLUSH: Duration = Duration::from_secs(30);
const ALIASES: &str = "BOTTICELLI_OBS_SPAN_ALIASES";
const NAMES: [&str; 4] = [
    "gen_ai.system",
    "gen_ai.usage.total_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
];

fn run(builder: Builder) {
    let telemetry = builder.without_listener().install().expect("it installs");
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30).with_reasoning(20));
    call.finish();
    let mut plain = LlmCall::start("ollama", "llama3.2");
    plain.record_usage(Usage::new(1, 2));
    plain.finish();
    LlmCall::start("bedrock", "failed").fail(botticelli_obs::ErrorType::Auth);
    // Of another library, which still has one of the older names.
    tracing::info_span!(
        "chat",
        gen_ai.system = "vertexai",
        gen_ai.provider.name = "gcp.vertex_ai",
        gen_ai.usage.input_tokens = 5_i64,
        gen_ai.usage.output_tokens = 6_i64,
    )
    .in_scope(|| {});
    tracing::info_span!("posting").in_scope(|| {});
    telemetry.shutdown(FLUSH).expect("every span arrives");
}

/// The older names of each span, in the order of the calls.
fn aliases(more: &[(&str, &str)], builder: impl FnOnce() -> Builder) -> Option<Vec<[Option<String>; 4]>> {
    let peer = Peer::grpc(Mood::Takes);
    let endpoint = format!("http://{}", peer.addr);
    let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], more].concat();
    let of_span = |span: &Span| NAMES.map(|name| attribute(span, name));
    in_own_process(&variables, || run(builder())).map(|_| peer.received().spans.iter().map(of_span).collect())
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    })
}

fn some<const N: usize>(values: [&str; N]) -> [Option<String>; N] {
    values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()))
}

#[test]
fn aliases_are_added_where_they_are_asked_for() {
    if let Some(spans) = aliases(&[(ALIASES, "on")], Builder::new) {
        assert_eq!(
            spans,
            [
                some(["gemini", "42", "20", "20"]),
                some(["ollama", "3", "", ""]),
                some(["bedrock", "", "", ""]),
                some(["vertexai", "11", "", ""]),
                some(["", "", "", ""]),
            ]
        );
    }
}

#[test]
fn the_code_can_ask_for_aliases() {
    if let Some(spans) = aliases(&[(ALIASES, "off")], || Builder::new().with_span_aliases()) {
        assert_eq!(spans[0], some(["gemini", "42", "20", "20"]));
    }
}

#[test]
fn without_a_word_there_are_no_aliases() {
    if let Some(spans) = aliases(&[], Builder::new) {
        assert_eq!(spans[0], some(["", "", "", ""]));
        assert_eq!(spans[3], some(["vertexai", "", "", ""]));
    }
}

#[test]
fn aliases_keep_to_the_limits_of_a_span() {
    let limits =
        [(ALIASES, "on"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "5"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")];
    if let Some(spans) = aliases(&limits, Builder::new) {
        assert_eq!(spans[0], some(["", "", "", ""]));
        assert_eq!(spans[3], some(["ver", "11", "", ""]));
    }
}

#[test]
fn another_word_for_the_aliases_is_an_error() {
    in_own_process(&[(ALIASES, "yes")], || {
        let error = Builder::new().without_listener().install().expect_err("it is no word");
        assert!(error.to_string().contains(ALIASES) && error.to_string().contains("on, off"), "{error}");
    });
}
