//! What answers of providers say of their cost, and what their price depends on.

use botticelli_obs::json::{Response, Value};
use botticelli_obs::testing::Capture;
use botticelli_obs::{LlmCall, Usage};

fn read(body: &str) -> Response {
    Response::read(&body.parse::<Value>().expect("JSON"))
}

#[test]
fn the_cost_is_read_where_a_provider_states_it() {
    for (body, cost) in [
        (r#"{"usage": {"prompt_tokens": 1, "cost": 0.0014}}"#, Some(0.0014)),
        (
            r#"{"usage": {"cost": 0.01, "is_byok": false, "cost_details": {"upstream_inference_cost": 0.19}}}"#,
            Some(0.01),
        ),
        (r#"{"usage": {"cost": 0.01, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.19}}}"#, Some(0.2)),
        (r#"{"usage": {"cost": {"input_tokens_cost": 2e-05, "total_cost": 0.006}}}"#, Some(0.006)),
        (r#"{"usage": {"prompt_tokens": 1, "cost_in_usd_ticks": 25000000}}"#, Some(0.0025)),
        (r#"{"usage": {"cost": -1}}"#, None),
        (r#"{"usage": {"cost": "free"}}"#, None),
        (r#"{"cost": 3}"#, None),
    ] {
        assert_eq!(read(body).cost(), cost, "{body}");
    }
}

#[test]
fn the_tier_and_writes_for_an_hour_are_read() {
    assert_eq!(read(r#"{"object": "chat.completion", "service_tier": "flex"}"#).service_tier(), Some("flex"));
    let anthropic = r#"{"type": "message", "usage": {"input_tokens": 10, "cache_creation_input_tokens": 30, "output_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}, "service_tier": "batch"}}"#;
    let response = read(anthropic);
    assert_eq!(response.service_tier(), Some("batch"));
    let usage = Usage::new(40, 5).with_cache_write(30).with_cache_write_1h(20);
    assert_eq!(response.usage(), Some(usage));
}

#[test]
fn the_last_event_of_a_stream_has_the_cost() {
    let capture = Capture::new();
    capture.run(|| {
        let mut call = LlmCall::start("openrouter", "openai/gpt-4o");
        for event in [
            r#"{"id": "gen-1", "choices": [{"index": 0, "delta": {"content": "a"}}]}"#,
            r#"{"id": "gen-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "cost": 0.25}}"#,
        ] {
            call.record_json(&event.parse().expect("JSON"));
        }
        call.finish();
    });
    let labels = [("provider", "openrouter"), ("model", "openai/gpt-4o"), ("outcome", "success")];
    assert_eq!(capture.counter("llm.cost.nano_usd", &labels), 250_000_000);
}

/// The reader of a stream's bytes keeps the fields by name.
#[test]
fn the_reader_of_bytes_keeps_the_cost() {
    let mut reader = botticelli_obs::json::StreamReader::new();
    let event = "data: {\"id\": \"gen-1\", \"service_tier\": \"flex\", \"choices\": [], \"usage\": {\"prompt_tokens\": 3, \
                 \"cost\": 0.25, \"is_byok\": true, \"cost_details\": {\"upstream_inference_cost\": 1.5}}}\n\ndata: [DONE]\n\n";
    let costs: Vec<_> = reader.read(event.as_bytes()).filter_map(|response| response.cost()).collect();
    assert_eq!(costs, [1.75]);
}
