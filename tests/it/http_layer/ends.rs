//! How a call ends, by how its answer does.

use std::io::ErrorKind;

use botticelli_obs::ErrorType;
use botticelli_obs::http_layer::LlmLayer;
use botticelli_obs::testing::{Attribute, Capture, Llm};
use http_body_util::BodyExt;

use super::scripted::{self, Script, Step, chat, post};

const ROLE: &str = "data: {\"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\", \"content\": \"\"}}]}\n\n";
const WORD: &str = "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"gold\"}}]}\n\n";
const STOP: &str = "data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}, \"id\": \"c-1\"}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn data(text: &str) -> Step {
    Step::Data(text.as_bytes().to_vec())
}

fn answer(status: u16, script: Script) -> http::Response<Script> {
    http::Response::builder().status(status).body(script).expect("it can be built")
}

async fn capture(script: Script) -> Capture {
    scripted::capture(chat("m"), answer(200, script)).await
}

#[track_caller]
fn assert_outcome(llm: &Llm<'_>, error: Option<ErrorType>) {
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.in_flight(), 0.0);
    assert_eq!(llm.attempts(), 0);
    match error {
        Some(error) => {
            assert_eq!((llm.errors_of(error).get(), llm.errors().get()), (1, 1), "{error}: {:?}", llm.errors())
        }
        None => assert_eq!(llm.errors(), 0),
    }
}

#[tokio::test]
async fn a_stream_is_recorded_with_all_it_tells() {
    let capture = capture(Script::of(&[ROLE, WORD, WORD, WORD, STOP, USAGE, DONE])).await;
    let llm = capture.llm("openai", "m");
    assert_outcome(&llm, None);
    assert_eq!((llm.prompt_tokens().get(), llm.completion_tokens().get()), (7, 2));
    assert_eq!(llm.finished("stop"), 1);
    // The role is no content, nor are the reason and the usage.
    assert_eq!((llm.first_chunks().len(), llm.chunk_gaps().len()), (1, 2));
    assert_eq!(capture.spans()[0].attribute("gen_ai.response.id"), Some(Attribute::Text("c-1".to_owned())));
}

#[tokio::test]
async fn a_whole_answer_has_no_chunks() {
    let body = r#"{"model": "m-2", "choices": [{"index": 0, "message": {"content": "gold"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2}}"#;
    let request = post(scripted::CHAT_URL, r#"{"model": "m", "messages": []}"#);
    for script in [Script::of(&[body]), Script::of(&[&body[..50], &body[50..]]).telling_its_end()] {
        let capture = scripted::capture(request.clone(), answer(200, script)).await;
        let llm = capture.llm("openai", "m");
        assert_outcome(&llm, None);
        assert_eq!(llm.tokens(), 9);
        assert_eq!(llm.finished("length"), 1);
        assert_eq!(llm.first_chunks(), [0.0; 0]);
    }
}

#[tokio::test]
async fn a_stream_without_its_end_marker_is_a_stream_error() {
    for chunks in [&[ROLE, WORD][..], &[WORD, &WORD[..30]], &[]] {
        assert_outcome(&capture(Script::of(chunks)).await.llm("openai", "m"), Some(ErrorType::Stream));
    }
    // Many servers send no `[DONE]`; all choices have finished.
    assert_outcome(&capture(Script::of(&[WORD, STOP])).await.llm("openai", "m"), None);
    let second = WORD.replace("\"index\": 0", "\"index\": 1");
    assert_outcome(&capture(Script::of(&[WORD, &second, STOP])).await.llm("openai", "m"), Some(ErrorType::Stream));
}

#[tokio::test]
async fn streams_of_other_apis_end_with_their_own_markers() {
    let ollama = [
        "{\"model\": \"m\", \"message\": {\"content\": \"gold\"}, \"done\": false}\n",
        "{\"model\": \"m\", \"message\": {\"content\": \"\"}, \"done\": true, \"done_reason\": \"stop\", \"prompt_eval_count\": 7, \"eval_count\": 2}\n",
    ];
    let gemini = [
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"gold\"}]}}]}\r\n\r\n",
        "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"!\"}]}, \"finishReason\": \"STOP\"}], \"usageMetadata\": {\"promptTokenCount\": 7, \"candidatesTokenCount\": 2}}\r\n\r\n",
    ];
    let array = [
        "[{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"gold\"}]}}]}\n,\r\n",
        "{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"!\"}]}, \"finishReason\": \"STOP\"}], \"usageMetadata\": {\"promptTokenCount\": 7, \"candidatesTokenCount\": 2}}\n]",
    ];
    let anthropic = [
        "event: message_start\ndata: {\"type\": \"message_start\", \"message\": {\"usage\": {\"input_tokens\": 7, \"output_tokens\": 1}}}\n\n",
        "event: content_block_delta\ndata: {\"type\": \"content_block_delta\", \"delta\": {\"type\": \"text_delta\", \"text\": \"gold\"}}\n\n",
        "event: message_delta\ndata: {\"type\": \"message_delta\", \"delta\": {\"stop_reason\": \"end_turn\"}, \"usage\": {\"output_tokens\": 2}}\n\n",
        "event: message_stop\ndata: {\"type\": \"message_stop\"}\n\n",
    ];
    let responses = [
        "data: {\"type\": \"response.created\", \"response\": {\"status\": \"in_progress\", \"instructions\": \"be brief\", \"text\": \"no content\"}}\n\n",
        "data: {\"type\": \"response.output_text.delta\", \"delta\": \"gold\"}\n\n",
        "data: {\"type\": \"response.completed\", \"response\": {\"status\": \"completed\", \"output\": [], \"usage\": {\"input_tokens\": 7, \"output_tokens\": 2}}}\n\n",
    ];
    let body = r#"{"model": "m", "messages": [], "input": "p", "stream": true}"#;
    let models = "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent";
    type Case<'a> = (&'a str, &'a [&'a str], &'a str, usize, Option<ErrorType>);
    let cases: [Case<'_>; 5] = [
        ("http://localhost:11434/api/chat", &ollama, "ollama", 1, Some(ErrorType::Stream)),
        (models, &gemini, "gemini", 2, None),
        (models, &array, "gemini", 2, Some(ErrorType::Stream)),
        ("https://api.anthropic.com/v1/messages", &anthropic, "anthropic", 1, Some(ErrorType::Stream)),
        ("https://api.openai.com/v1/responses", &responses, "openai", 1, Some(ErrorType::Stream)),
    ];
    for (url, chunks, provider, content, error_of_cut) in cases {
        let capture = scripted::capture(post(url, body), answer(200, Script::of(chunks))).await;
        let llm = capture.llm(provider, "m");
        assert_outcome(&llm, None);
        assert_eq!(llm.tokens(), 9, "{url}");
        assert_eq!(llm.finished("stop"), 1, "{url}");
        assert_eq!(llm.first_chunks().len() + llm.chunk_gaps().len(), content, "{url}");
        let cut = scripted::capture(post(url, body), answer(200, Script::of(&chunks[..chunks.len() - 1]))).await;
        assert_outcome(&cut.llm(provider, "m"), error_of_cut);
    }
}

#[tokio::test]
async fn an_error_of_the_body_is_classified() {
    for (kind, error) in [(ErrorKind::ConnectionReset, ErrorType::Stream), (ErrorKind::TimedOut, ErrorType::Timeout)] {
        let script = Script::new([data(WORD), Step::Fails(kind)]);
        assert_outcome(&capture(script).await.llm("openai", "m"), Some(error));
        // What comes after the end is of nobody's concern.
        let script = Script::new([data(WORD), data(STOP), data(DONE), Step::Fails(kind)]);
        assert_outcome(&capture(script).await.llm("openai", "m"), None);
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_is_cancelled_unless_generation_had_finished() {
    for (read, error) in [(0, Some(ErrorType::Cancelled)), (1, Some(ErrorType::Cancelled)), (2, None), (3, None)] {
        let capture = Capture::new();
        let reader = async {
            let script = Script::of(&[WORD, STOP, USAGE, DONE]);
            let mut body = scripted::send(&LlmLayer::new(), chat("m"), answer(200, script)).await.into_body();
            for _ in 0..read {
                body.frame().await;
            }
        };
        capture.observe(reader).await;
        assert_outcome(&capture.llm("openai", "m"), error);
    }
}

#[tokio::test]
async fn a_failure_inside_an_answer_is_one() {
    let events = [
        WORD,
        "data: {\"error\": {\"message\": \"no\", \"code\": \"server_overloaded\", \"type\": \"overloaded_error\"}}\n\n",
    ];
    let capture = capture(Script::of(&events)).await;
    assert_outcome(&capture.llm("openai", "m"), Some(ErrorType::Overloaded));
    let spans = capture.spans();
    let code = Attribute::Text("server_overloaded".to_owned());
    assert_eq!(spans[0].attribute("botticelli.error.code"), Some(code));
    assert_eq!(spans[0].attribute("http.response.status_code"), Some(Attribute::Int(200)));
}

const QUOTA: &str =
    r#"{"error": {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}"#;

#[tokio::test]
async fn an_error_has_the_class_of_its_body_before_that_of_its_status() {
    let cases = [
        (429, QUOTA, ErrorType::Quota, Some("insufficient_quota")),
        (429, "wait a minute", ErrorType::RateLimit, None),
        (500, "", ErrorType::ServerError, None),
        (
            529,
            r#"{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}"#,
            ErrorType::Overloaded,
            Some("overloaded_error"),
        ),
        (302, "", ErrorType::Unknown, None),
    ];
    for (status, body, error, code) in cases {
        let mut response = answer(status, Script::of(&[body]));
        response.headers_mut().insert("x-request-id", "req_1".parse().expect("a header"));
        response.headers_mut().insert("x-ratelimit-remaining-requests", "0".parse().expect("a header"));
        let capture = scripted::capture(chat("m"), response).await;
        assert_outcome(&capture.llm("openai", "m"), Some(error));
        let spans = capture.spans();
        let text = |text: &str| Attribute::Text(text.to_owned());
        assert_eq!(spans[0].attribute("http.response.status_code"), Some(Attribute::Int(status.into())));
        assert_eq!(spans[0].attribute("botticelli.error.code"), code.map(text));
        assert_eq!(spans[0].attribute("botticelli.request.id"), Some(text("req_1")));
        let labels = [("provider", "openai"), ("model", "m"), ("kind", "requests")];
        assert_eq!(capture.gauge("llm.ratelimit.remaining", &labels), Some(0.0));
    }
}

#[tokio::test]
async fn an_error_whose_body_nobody_reads_is_not_cancelled() {
    let capture = Capture::new();
    capture.observe(scripted::send(&LlmLayer::new(), chat("m"), answer(429, Script::of(&[QUOTA])))).await;
    assert_outcome(&capture.llm("openai", "m"), Some(ErrorType::RateLimit));
}

#[tokio::test]
async fn the_span_of_a_success_has_neither_status_nor_request_id() {
    let mut response = answer(200, Script::of(&[WORD, STOP, DONE]));
    response.headers_mut().insert("x-request-id", "req_1".parse().expect("a header"));
    let spans = scripted::capture(chat("m"), response).await.spans();
    assert_eq!(spans[0].attribute("botticelli.request.id"), None);
    assert_eq!(spans[0].attribute("http.response.status_code"), None);
}

#[tokio::test]
async fn compressed_answers_are_counted_without_tokens() {
    let mut response = answer(200, Script::new([Step::Data(vec![0x1f, 0x8b, 8, 0, 1, 2, 3])]));
    response.headers_mut().insert("content-encoding", "gzip".parse().expect("a header"));
    let capture = scripted::capture(chat("m"), response).await;
    assert_outcome(&capture.llm("openai", "m"), None);
    assert_eq!(capture.llm("openai", "m").usage_missing(), 1);
}
