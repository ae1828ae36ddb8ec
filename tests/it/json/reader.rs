//! The stream reader: formats, cuts, end markers, memory.

use botticelli_obs::json::{Api, Response, StreamEnd, StreamReader, Value};
use botticelli_obs::{ErrorType, Usage};
use proptest::prelude::*;

use super::shapes::shapes;
use super::{any_json, text};

/// Reads the chunks, and returns all that is told.
fn read(chunks: &[&[u8]]) -> (Vec<Response>, Response, StreamEnd) {
    let mut reader = StreamReader::new();
    let responses = chunks.iter().flat_map(|chunk| reader.read(chunk).collect::<Vec<_>>()).collect();
    (responses, reader.response().clone(), reader.end())
}

/// Reads it whole, byte by byte, and cut in two at each place: always the same.
#[track_caller]
fn read_cut_anywhere(bytes: &[u8]) -> (Vec<Response>, Response, StreamEnd) {
    let whole = read(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single), whole);
    for at in 0..bytes.len() {
        let (before, after) = bytes.split_at(at);
        assert_eq!(read(&[before, after]), whole, "cut at {at}");
    }
    whole
}

fn usage(prompt: u64, completion: u64) -> Option<Usage> {
    Some(Usage::new(prompt, completion))
}

const CHAT: &str = r#"{"choices": [{"index": 0, "delta": {"content": "é😀"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}"#;

#[test]
fn events_are_read_with_any_line_ends_and_spaces() {
    for (before, after) in
        [("data: ", "\n\n"), ("data:", "\n\n"), ("data: ", "\r\n\r\n"), ("data:", "\r\r"), ("data: ", "\n")]
    {
        let stream = format!(": a comment{after}event: message{after}{before}{CHAT}{after}{before}[DONE]{after}");
        let (responses, all, end) = read_cut_anywhere(stream.as_bytes());
        assert_eq!(responses.len(), 1, "{stream:?}");
        assert_eq!((all.usage(), end), (usage(3, 2), StreamEnd::Seen), "{stream:?}");
        assert!(all.finish_reasons().eq(["stop"]));
    }
}

#[test]
fn an_event_may_have_several_lines_and_a_byte_order_mark() {
    let lines = CHAT.replace(", ", ",\ndata: ");
    let stream = format!("\u{feff}id: 1\nretry: 5\ndata: {lines}\n\ndata: [DONE]");
    let (responses, all, end) = read_cut_anywhere(stream.as_bytes());
    assert_eq!((responses.len(), all.usage(), end), (1, usage(3, 2), StreamEnd::Seen));
}

#[test]
fn documents_and_an_array_are_read() {
    let (responses, all, end) = read_cut_anywhere(text("ollama/chat_stream.ndjson").as_bytes());
    assert_eq!((all.usage(), end), (usage(26, 282), StreamEnd::Seen));
    assert!(responses.len() > 1);

    let array = text("gemini/stream_as_array.json");
    let (responses, all, end) = read_cut_anywhere(array.as_bytes());
    assert_eq!((all.usage().map(|usage| usage.total()), end), (Some(8 + 28), StreamEnd::Seen));
    assert!(responses.len() > 1);

    let (responses, all, end) = read_cut_anywhere(text("openai_chat/whole.json").as_bytes());
    assert_eq!((responses.len(), all.usage().map(|usage| usage.prompt()), end), (1, Some(2006), StreamEnd::Unknown));
}

#[test]
fn a_stream_that_breaks_off_has_no_end_marker() {
    let cut = |name: &str, end: &str| {
        let stream = text(name);
        let (before, _) = stream.rsplit_once(end).expect("it has an end");
        read(&[before.as_bytes()]).2
    };
    assert_eq!(cut("openai_chat/stream_with_usage.sse", "data: [DONE]"), StreamEnd::Missing);
    assert_eq!(cut("openai_responses/stream.sse", "response.completed\""), StreamEnd::Missing);
    assert_eq!(cut("anthropic/stream.sse", "message_stop\""), StreamEnd::Missing);
    assert_eq!(cut("ollama/chat_stream.ndjson", "{"), StreamEnd::Missing);
    assert_eq!(cut("gemini/stream_as_array.json", "]"), StreamEnd::Missing);
    assert_eq!(cut("gemini/stream.sse", "data:"), StreamEnd::Unknown);
    let streams = [
        "openai_chat/stream_with_usage.sse",
        "openai_responses/stream.sse",
        "openai_responses/stream_error.sse",
        "anthropic/stream.sse",
        "anthropic/stream_error.sse",
    ];
    for name in streams {
        assert_eq!(read(&[text(name).as_bytes()]).2, StreamEnd::Seen, "{name}");
    }
    assert_eq!(read(&[b"<html>Bad Gateway</html>"]).2, StreamEnd::Unknown);
}

#[test]
fn an_event_with_the_name_error_is_a_failure() {
    let stream =
        b"event: error\ndata: {\"code\": \"rate_limit_exceeded\", \"message\": \"x\"}\n\nevent: ping\ndata: {}\n\n";
    let (responses, all, end) = read_cut_anywhere(stream);
    assert_eq!(responses.iter().map(Response::failure).collect::<Vec<_>>(), [Some(ErrorType::RateLimit), None]);
    assert_eq!((all.failure(), end), (Some(ErrorType::RateLimit), StreamEnd::Seen));
}

#[test]
fn a_broken_event_does_not_hide_the_next_one() {
    for broken in
        ["data: {\"usage\": {\n\n", "data: nothing\n\n", "data: {\"a\": nil}\n\n", "data: [1, 2\n\n", "nonsense\n"]
    {
        let stream = format!("event: x\n{broken}data: {CHAT}\n\ndata: [DONE]\n\n");
        assert_eq!(read_cut_anywhere(stream.as_bytes()).1.usage(), usage(3, 2), "{broken}");
    }
    let documents = format!("{{\"a\": nil, \"b\": {{}}}}\n{CHAT}\n");
    assert_eq!(read_cut_anywhere(documents.as_bytes()).1.usage(), usage(3, 2));
}

#[test]
fn dropped_responses_are_read_all_the_same() {
    let mut reader = StreamReader::new();
    drop(reader.read(format!("data: {CHAT}\n\ndata: [DONE]\n\n").as_bytes()));
    assert_eq!((reader.response().usage(), reader.end()), (usage(3, 2), StreamEnd::Seen));
}

#[test]
fn a_tool_call_that_stops_later_is_a_tool_call() {
    let stream = [
        r#"data: {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}}]}}]}"#,
        r#"data: {"candidates": [{"content": {}, "finishReason": "STOP"}]}"#,
    ];
    let (responses, all, _) = read(&[stream.join("\n\n").as_bytes(), b"\n\n"]);
    assert!(responses[0].finish_reasons().next().is_none());
    assert!(responses[1].finish_reasons().eq(["tool_calls"]));
    assert!(all.finish_reasons().eq(["tool_calls"]));
}

#[test]
fn a_known_api_decides_what_is_ambiguous() {
    let event = r#"{"usage": {"input_tokens": 20, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 8}}}"#;
    let mut reader = StreamReader::with_api(Api::AnthropicMessages);
    reader.read(format!("data: {event}\n\n").as_bytes()).for_each(drop);
    assert_eq!(reader.response().usage(), usage(20, 1));
    let json: Value = event.parse().expect("JSON");
    assert_eq!(
        Response::read_as(Api::OpenAiResponses, &json).usage(),
        usage(20, 1).map(|usage| usage.with_cache_read(8))
    );
    assert_eq!(Response::read_as(Api::GeminiGenerateContent, &json).usage(), None);
}

#[test]
fn what_stands_last_is_read_after_any_amount_of_the_rest() {
    let content = "x\\\"{[".repeat(1_000_000);
    let parts = r#"{"type": "text", "text": "abc", "message": "a long message"},"#.repeat(100_000);
    let numbers = "0.125,".repeat(300_000);
    let body = format!(
        r#"{{"id": "r", "content": [{parts}{{}}], "embeddings": [[{numbers}0]], "choices": [{{"index": 0, "message": {{"content": "{content}"}}, "finish_reason": "length"}}], "usage": {{"prompt_tokens": 7, "completion_tokens": 9}}}}"#
    );
    for stream in [body.clone(), format!("data: {body}\n\n")] {
        let (responses, all, _) = read(&stream.as_bytes().chunks(1021).collect::<Vec<_>>());
        assert_eq!((responses.len(), all.usage(), all.id()), (1, usage(7, 9), Some("r")));
        assert!(all.finish_reasons().eq(["length"]));
    }
}

#[test]
fn every_shape_is_read_the_same_by_the_reader_cut_anywhere() {
    for shape in shapes().iter().filter(|shape| shape.is_answer()) {
        let stream: String = shape.events().iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
        let whole = read(&[stream.as_bytes()]);
        for size in [1, 2, 3, 7, 64] {
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
            assert_eq!(read(&chunks), whole, "{} in {size}s", shape.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_and_cuts_change_nothing(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                prop::sample::select(&["data: ", "data:", "\n", "\r\n", "\r", "[DONE]", "event: error", ":", "{", "}", "[", "]", ",", "\"",
                    "\\", "\"usage\":", "\"prompt_tokens\":", "12", "1e5", "\"error\":", "\"text\"", "null", "\u{feff}", "\\u00e9", "\\ud83d"][..])
                    .prop_map(|text| text.as_bytes().to_vec()),
                Just(CHAT.as_bytes().to_vec()),
            ],
            0..30,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = parts.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        let whole = read(&[&bytes]);
        prop_assert_eq!(read(&chunks), whole.clone());
        prop_assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        let _ = StreamReader::new().read_event(&bytes);
    }

    #[test]
    fn any_json_is_read_as_by_the_parser(events in prop::collection::vec(any_json(), 1..5)) {
        let events: Vec<Value> = events.into_iter().filter(|event| event.is_object()).collect();
        let expected: Vec<Response> = events.iter().map(Response::read).collect();
        let mut reader = StreamReader::new();
        let read: Vec<Response> = events.iter().filter_map(|event| reader.read_event(event.to_string().as_bytes())).collect();
        for (read, expected) in read.iter().zip(&expected) {
            prop_assert_eq!(read.usage(), expected.usage());
            prop_assert_eq!((read.model(), read.id(), read.failure()), (expected.model(), expected.id(), expected.failure()));
            prop_assert!(read.finish_reasons().eq(expected.finish_reasons()));
        }
        prop_assert_eq!(read.len(), expected.len());
    }
}
