//! What is read out of providers' JSON: `tests/fixtures` has their answers, and where they come from.

mod reader;
mod shapes;

use std::fs;
use std::path::Path;

use botticelli_obs::json::{Response, Value};
use botticelli_obs::testing::{Attribute, Capture};
use botticelli_obs::{ErrorType, LlmCall, Usage};
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

const MODEL: &str = "as-asked-for";

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The body, or the events of the stream.
fn events(name: &str) -> Vec<Value> {
    let text = text(name);
    let parse = |json: &str| json.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("sse") => {
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            data.filter(|data| *data != "[DONE]").map(parse).collect()
        }
        Some("ndjson") => text.lines().map(parse).collect(),
        _ => vec![parse(&text)],
    }
}

/// Reads it all into one response.
fn read(name: &str) -> Response {
    let mut response = Response::default();
    for event in events(name) {
        response.add(&event);
    }
    response
}

/// Observes a stream of it.
fn observe(name: &str) -> Capture {
    let capture = Capture::new();
    let responses = stream::iter(events(name)).map(|event| Response::read(&event));
    let call = async { LlmCall::start("provider", MODEL).wrap_stream(responses).count().await };
    capture.observe(call).now_or_never().expect("it is ready");
    assert_eq!(capture.llm("provider", MODEL).requests(), 1);
    capture
}

/// Checks the usage, read at once as well as event by event.
#[track_caller]
fn assert_usage(name: &str, usage: Usage) {
    assert_eq!(read(name).usage(), Some(usage), "{name}");
    let capture = observe(name);
    let llm = capture.llm("provider", MODEL);
    assert_eq!(llm.prompt_tokens(), usage.prompt(), "{name}");
    assert_eq!(llm.completion_tokens(), usage.completion(), "{name}");
    assert_eq!(llm.tokens(), usage.total(), "{name}");
    assert_eq!(llm.cache_read_tokens(), usage.cache_read(), "{name}");
    assert_eq!(llm.cache_write_tokens(), usage.cache_write(), "{name}");
    assert_eq!(llm.reasoning_tokens(), usage.reasoning(), "{name}");
}

#[test]
fn openai_includes_cached_and_reasoning_tokens() {
    assert_usage("openai_chat/whole.json", Usage::new(2006, 300).with_cache_read(1920).with_reasoning(128));
    assert_usage("openai_responses/whole.json", Usage::new(328, 1052).with_cache_read(256).with_reasoning(1024));
    assert_usage("openai_chat/embeddings.json", Usage::new(8, 0));
}

#[test]
fn openai_tells_usage_at_the_end_of_a_stream() {
    assert_usage("openai_chat/stream_with_usage.sse", Usage::new(19, 10));
    assert_usage("openai_responses/stream.sse", Usage::new(37, 11));
    assert_usage("openai_chat/groq_stream.sse", Usage::new(18, 556));
}

#[test]
fn reasoning_that_only_the_total_includes_is_completion() {
    assert_usage("openai_chat/xai.json", Usage::new(32, 9 + 94).with_cache_read(6).with_reasoning(94));
}

#[test]
fn anthropic_counts_cached_tokens_beside_the_input() {
    let usage = Usage::new(50 + 1800 + 248, 503).with_cache_read(1800).with_cache_write(248).with_cache_write_1h(100);
    assert_usage("anthropic/whole.json", usage);
    assert_usage("anthropic/whole_without_cache.json", Usage::new(12, 6));
}

#[test]
fn anthropic_tells_the_prompt_first_and_the_completion_last() {
    assert_usage("anthropic/stream.sse", Usage::new(25 + 1800, 15).with_cache_read(1800));
    assert_usage("anthropic/stream_with_server_tools.sse", Usage::new(10682, 510));
}

#[test]
fn gemini_counts_thoughts_and_results_of_tools_apart() {
    let usage = Usage::new(1200 + 50, 100 + 1000).with_cache_read(1024).with_reasoning(1000);
    assert_usage("gemini/whole.json", usage);
}

#[test]
fn gemini_streams_cumulative_usage() {
    assert_usage("gemini/stream.sse", Usage::new(8, 6 + 22).with_reasoning(22));
    assert_usage("gemini/stream_as_array.json", Usage::new(8, 6 + 22).with_reasoning(22));
}

#[test]
fn ollama_counts_evaluations() {
    assert_usage("ollama/chat.json", Usage::new(26, 298));
    assert_usage("ollama/chat_stream.ndjson", Usage::new(26, 282));
}

#[test]
fn usage_that_is_absent_is_missing_and_not_zero() {
    assert_eq!(read("openai_chat/stream_without_usage.sse").usage(), None);
    assert_eq!(observe("openai_chat/stream_without_usage.sse").llm("provider", MODEL).usage_missing(), 1);
}

#[test]
fn broken_off_anthropic_stream_keeps_its_prompt() {
    let capture = observe("anthropic/stream_error.sse");
    let llm = capture.llm("provider", MODEL);
    assert_eq!(llm.errors_of(ErrorType::Overloaded), 1);
    assert_eq!(llm.prompt_tokens(), 25);
    assert_eq!(llm.chunk_gaps().len(), 3, "the error is no chunk");
}

#[test]
fn finish_reasons_are_the_providers_and_counted_by_choice() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("openai_chat/whole.json", &["stop"], "stop"),
        ("openai_chat/stream_with_usage.sse", &["stop"], "stop"),
        ("openai_chat/stream_without_usage.sse", &["length"], "length"),
        ("openai_chat/stream_of_two_choices.sse", &["tool_calls", "stop"], "tool_calls"),
        ("openai_responses/whole.json", &["completed"], "stop"),
        ("openai_responses/stream.sse", &["completed"], "stop"),
        ("openai_responses/function_call.json", &["function_call"], "tool_calls"),
        ("openai_responses/incomplete.json", &["max_output_tokens"], "length"),
        ("anthropic/whole.json", &["end_turn"], "stop"),
        ("anthropic/stream.sse", &["end_turn"], "stop"),
        ("anthropic/whole_without_cache.json", &["max_tokens"], "length"),
        ("gemini/whole.json", &["STOP"], "stop"),
        ("gemini/stream.sse", &["STOP"], "stop"),
        ("ollama/chat.json", &["stop"], "stop"),
        ("ollama/chat_stream.ndjson", &["length"], "length"),
    ];
    for (name, reasons, counted) in cases {
        assert_eq!(read(name).finish_reasons().collect::<Vec<_>>(), *reasons, "{name}");
        let capture = observe(name);
        assert_eq!(capture.llm("provider", MODEL).finished(counted), 1, "{name}");
        let given = Attribute::Texts(reasons.iter().map(|reason| (*reason).to_owned()).collect());
        assert_eq!(capture.spans()[0].attribute("gen_ai.response.finish_reasons"), Some(given), "{name}");
    }
}

#[test]
fn choices_beyond_all_measure_are_bounded() {
    let choices: Value = (0..1000).map(|_| serde_json::json!({"finish_reason": "stop"})).collect();
    let body = serde_json::json!({"choices": choices});
    assert_eq!(Response::read(&body).finish_reasons().count(), 128);
    let capture = Capture::new();
    capture.run(|| {
        let mut call = LlmCall::start("provider", MODEL);
        for index in (0..1000).chain([u64::MAX]).rev() {
            call.record_json(&serde_json::json!({"choices": [{"index": index, "finish_reason": "stop"}]}));
            call.record_finish_reason("stop");
        }
        call.finish();
    });
    assert_eq!(capture.llm("provider", MODEL).finished("stop"), 128);
}

#[test]
fn model_and_id_of_the_response_are_on_the_span() {
    let cases = [
        ("openai_chat/stream_with_usage.sse", "gpt-4o-mini-2024-07-18", Some("chatcmpl-123")),
        (
            "openai_responses/stream.sse",
            "gpt-4o-2024-08-06",
            Some("resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41"),
        ),
        ("anthropic/stream.sse", "claude-sonnet-4-5-20250929", Some("msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY")),
        ("gemini/whole.json", "gemini-2.5-flash", Some("8bQ3aMqxL4-N1MkP3cqO2A4")),
        ("ollama/chat.json", "llama3.2", None),
    ];
    for (name, model, id) in cases {
        let response = read(name);
        assert_eq!((response.model(), response.id()), (Some(model), id), "{name}");
        let capture = observe(name);
        let span = &capture.spans()[0];
        assert_eq!(span.attribute("gen_ai.response.model").expect("a model"), model, "{name}");
        assert_eq!(span.attribute("gen_ai.response.id"), id.map(|id| Attribute::Text(id.to_owned())), "{name}");
        assert_eq!(span.attribute("gen_ai.request.model").expect("a model"), MODEL);
    }
}

#[test]
fn failures_inside_a_response_are_errors() {
    let cases = [
        ("openai_responses/failed.json", ErrorType::ServerError),
        ("openai_responses/stream_error.sse", ErrorType::RateLimit),
        ("anthropic/stream_error.sse", ErrorType::Overloaded),
        ("gemini/blocked_prompt.json", ErrorType::ContentFilter),
        ("gemini/error_too_many_tokens.json", ErrorType::ContextLength),
        ("ollama/stream_error.ndjson", ErrorType::Unknown),
    ];
    for (name, error) in cases {
        assert_eq!(read(name).failure(), Some(error), "{name}");
        assert_eq!(observe(name).llm("provider", MODEL).errors_of(error), 1, "{name}");
    }
    assert_eq!(observe("gemini/blocked_prompt.json").llm("provider", MODEL).prompt_tokens(), 9);
    assert_eq!(read("openai_responses/whole.json").failure(), None, "its `error` is null");
}

#[test]
fn body_of_an_error_says_more_than_its_status() {
    let cases = [
        ("openai_chat/error_context_length.json", 400, ErrorType::ContextLength),
        ("openai_chat/error_insufficient_quota.json", 429, ErrorType::Quota),
        ("openai_chat/error_invalid_api_key.json", 401, ErrorType::Auth),
        ("openai_chat/error_model_not_found.json", 404, ErrorType::NotFound),
        ("openai_chat/error_azure_content_filter.json", 400, ErrorType::ContentFilter),
        ("anthropic/error_overloaded.json", 529, ErrorType::Overloaded),
        ("anthropic/error_prompt_too_long.json", 400, ErrorType::ContextLength),
        ("anthropic/error_credit_balance.json", 400, ErrorType::Quota),
        ("anthropic/error_authentication.json", 401, ErrorType::Auth),
        ("gemini/error_api_key.json", 400, ErrorType::Auth),
        ("gemini/error_too_many_tokens.json", 400, ErrorType::ContextLength),
        ("gemini/error_quota.json", 429, ErrorType::RateLimit),
        ("gemini/error_overloaded.json", 503, ErrorType::Overloaded),
        ("ollama/error_not_found.json", 404, ErrorType::NotFound),
    ];
    for (name, status, error) in cases {
        assert_eq!(ErrorType::from_http_response(status, text(name).as_bytes()), error, "{name}");
    }
}

#[test]
fn status_counts_where_the_body_is_no_help() {
    let bodies: [&[u8]; 6] = [
        b"",
        b"<html>Bad Gateway</html>",
        b"{}",
        b"[]",
        br#"{"error": {"type": "invalid_request_error", "message": "Unknown request URL"}}"#,
        br#"{"error": {"type": "server_error", "code": "something_new"}}"#,
    ];
    for body in bodies {
        for status in [400, 402, 404, 429, 500, 503] {
            let expected = ErrorType::from_http_status(status);
            assert_eq!(ErrorType::from_http_response(status, body), expected, "{}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn numbers_in_a_message_are_no_class() {
    let body =
        br#"{"error": {"type": "invalid_request_error", "message": "14290 tokens are too many for `max_tokens`"}}"#;
    assert_eq!(ErrorType::from_http_response(400, body), ErrorType::InvalidRequest);
}

#[test]
fn counts_beyond_all_measure_stay_at_the_end_of_the_scale() {
    let json: Value =
        r#"{"usage": {"input_tokens": 18446744073709551615, "cache_read_input_tokens": 1e300, "output_tokens": 1}}"#
            .parse()
            .expect("valid JSON");
    let usage = Response::read(&json).usage().expect("a usage");
    assert_eq!((usage.prompt(), usage.cache_read(), usage.total()), (u64::MAX, u64::MAX, u64::MAX));
}

/// Names that mean something.
const NAMES: &[&str] = &[
    "usage",
    "usageMetadata",
    "x_groq",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "completion_tokens_details",
    "reasoning_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "input_tokens_details",
    "output_tokens_details",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "prompt_eval_count",
    "eval_count",
    "type",
    "message",
    "response",
    "object",
    "status",
    "choices",
    "candidates",
    "index",
    "finish_reason",
    "finishReason",
    "delta",
    "stop_reason",
    "done_reason",
    "model",
    "id",
    "error",
    "code",
    "details",
    "reason",
    "innererror",
    "promptFeedback",
    "blockReason",
    "output",
    "incomplete_details",
    "something_else",
];

const TEXTS: &[&str] =
    &["message_start", "response.completed", "response", "completed", "failed", "error", "stop", "x"];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..100).prop_map(Value::from),
        prop::sample::select(TEXTS).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 80, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..8).prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_without_panic_and_parts_stay_parts(events in prop::collection::vec(any_json(), 1..5)) {
        let mut response = Response::default();
        for event in &events {
            response.add(event);
            let _ = ErrorType::from_http_response(400, event.to_string().as_bytes());
        }
        if let Some(usage) = response.usage() {
            prop_assert!(usage.cache_read().saturating_add(usage.cache_write()) <= usage.prompt(), "{usage:?}");
            prop_assert!(usage.reasoning() <= usage.completion(), "{usage:?}");
        }
        // Event by event the call learns the same.
        let capture = Capture::new();
        capture.run(|| {
            let mut call = LlmCall::start("provider", MODEL);
            events.iter().for_each(|event| call.record_json(event));
            call.finish();
        });
        // More tokens than a call can have are dropped as a whole.
        let has_too_many = |usage: &Usage| usage.prompt().max(usage.completion()) > 1 << 53;
        let usage = response.usage().filter(|usage| !has_too_many(usage)).unwrap_or_default();
        prop_assert_eq!(capture.llm("provider", MODEL).prompt_tokens().get(), usage.prompt());
        prop_assert_eq!(capture.llm("provider", MODEL).reasoning_tokens().get(), usage.reasoning());
        prop_assert_eq!(capture.llm("provider", MODEL).errors().get(), u64::from(response.failure().is_some()));
    }

    #[test]
    fn any_body_is_classified(status: u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let class = ErrorType::from_http_response(status, &body);
        prop_assert_eq!(class, ErrorType::from_http_status(status));
    }
}
