//! Streams over HTTP, by a real client crate: each is recorded as a user would expect, with the times of what the server did.

#[path = "../../../examples/bot/client.rs"]
#[allow(dead_code, reason = "the bot's client; streams are a part of it")]
mod client;
use std::time::Duration;

use axum::http::StatusCode;
use botticelli_obs::testing::{Capture, Llm};
use botticelli_obs::{ErrorType, LlmCall};
use client::LlmClient;
use futures_util::StreamExt;

use crate::support::sse::{self, Act, Record};

const MODEL: &str = "gpt-4o-mini";

/// What no test waits for.
const LONG: Duration = Duration::from_secs(60);

/// What a test waits for that wants to see somebody give up.
const SHORT: Duration = Duration::from_secs(2);

const PAUSE: Act = Act::Pause(Duration::from_millis(60));

/// Reads so many chunks of a stream, with a client of this patience, in a call with this timeout.
async fn read(base_url: &str, count: usize, patience: Duration, timeout: Duration) -> Capture {
    let capture = Capture::new();
    let client = LlmClient::new(base_url, "none", patience).expect("there is a client");
    let reader = async {
        let call = LlmCall::builder("openai", MODEL).with_streaming().with_timeout(timeout).start();
        let Ok(chunks) = call.observe_stream(client.ask_streaming(MODEL, "Which colour is her hair?")).await else {
            return;
        };
        let mut chunks = std::pin::pin!(chunks.take(count));
        while let Some(Ok(_)) = chunks.next().await {}
    };
    capture.observe(reader).await;
    assert_eq!(capture.llm("openai", MODEL).requests(), 1);
    assert_eq!(capture.llm("openai", MODEL).in_flight(), 0.0);
    assert_eq!(capture.spans().len(), 1);
    capture
}

async fn read_all(base_url: &str) -> Capture {
    read(base_url, usize::MAX, LONG, LONG).await
}

#[track_caller]
fn assert_failed(llm: &Llm<'_>, error: ErrorType) {
    assert_eq!(llm.errors_of(error), 1);
    assert_eq!(llm.errors(), 1);
}

/// Checks the figures of a stream of which so many chunks were read against the server's record.
///
/// The call starts before the request arrives, and a chunk is read after it was sent; a slow machine makes that longer, never shorter.
#[track_caller]
fn assert_times(llm: &Llm<'_>, record: &Record, read: usize) {
    let sent = record.chunks();
    let (first, gaps) = (llm.first_chunks(), llm.chunk_gaps());
    assert_eq!((first.len(), gaps.len()), (1, read - 1), "{sent:?}");
    let last: f64 = first[0] + gaps.iter().sum::<f64>();
    assert!(first[0] >= sent[0].as_secs_f64(), "{first:?}, {sent:?}");
    assert!(last >= sent[read - 1].as_secs_f64(), "{first:?} + {gaps:?}, {sent:?}");
    // Which gaps that were times since the start would not be.
    assert!(last <= llm.durations()[0], "{first:?} + {gaps:?}, {:?}", llm.durations());
}

#[tokio::test]
async fn stream_read_to_the_end_is_a_success_with_its_usage() {
    let (url, record) = sse::start(&[PAUSE, Act::Chunk, PAUSE, Act::Chunk, PAUSE, Act::Chunk, Act::Finish]).await;
    let capture = read_all(&url).await;
    let llm = capture.llm("openai", MODEL);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.prompt_tokens(), sse::PROMPT);
    assert_eq!(llm.completion_tokens(), sse::COMPLETION);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(record.chunks().len(), 5);
    assert_times(&llm, &record, 5);
}

#[tokio::test]
async fn stream_broken_off_by_its_reader_is_cancelled() {
    let (url, record) = sse::start(&[Act::Chunk, PAUSE, Act::Chunk, PAUSE, Act::Chunk, Act::Stall]).await;
    let capture = read(&url, 2, LONG, LONG).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::Cancelled);
    assert_times(&llm, &record, 2);
}

#[tokio::test]
async fn stream_broken_off_by_the_server_is_a_stream_error() {
    let (url, record) = sse::start(&[PAUSE, Act::Chunk, PAUSE, Act::Chunk, PAUSE, Act::Break]).await;
    let capture = read_all(&url).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::Stream);
    assert_times(&llm, &record, 2);
}

#[tokio::test]
async fn stream_that_stalls_is_a_timeout_when_its_client_gives_up() {
    let (url, record) = sse::start(&[Act::Chunk, PAUSE, Act::Chunk, Act::Stall]).await;
    let capture = read(&url, usize::MAX, SHORT, LONG).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::Timeout);
    assert_times(&llm, &record, 2);
    assert!(llm.durations()[0] >= SHORT.as_secs_f64(), "{:?}", llm.durations());
}

#[tokio::test]
async fn stream_that_stalls_is_a_timeout_when_the_time_of_the_call_is_over() {
    let (url, record) = sse::start(&[Act::Chunk, Act::Stall]).await;
    let capture = Capture::new();
    let client = LlmClient::new(&url, "none", LONG).expect("there is a client");
    let call = capture.run(|| LlmCall::builder("openai", MODEL).with_timeout(SHORT).start());
    let mut chunks = std::pin::pin!(call.observe_stream(client.ask_streaming(MODEL, "?")).await.expect("it opens"));
    let llm = capture.llm("openai", MODEL);
    let ended = async {
        while llm.requests() == 0 {
            tokio::task::yield_now().await;
        }
    };
    // The client would wait on.
    tokio::select! {
        () = async { while chunks.next().await.is_some() {} } => panic!("nothing more comes"),
        () = ended => {}
    }
    assert_failed(&llm, ErrorType::Timeout);
    assert_times(&llm, &record, 1);
}

#[tokio::test]
async fn server_that_does_not_answer_is_a_timeout_without_chunks() {
    let (url, record) = sse::start(&[Act::Stall]).await;
    let capture = read(&url, usize::MAX, SHORT, LONG).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::Timeout);
    assert!(llm.first_chunks().is_empty() && record.chunks().is_empty());
}

#[tokio::test]
async fn malformed_chunk_is_a_decode_error() {
    let (url, record) = sse::start(&[Act::Chunk, PAUSE, Act::Chunk, Act::Malformed, Act::Chunk, Act::Finish]).await;
    let capture = read_all(&url).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::Decode);
    assert_times(&llm, &record, 2);
}

#[tokio::test]
async fn refusal_is_recorded_as_what_it_was() {
    let body =
        r#"{"error": {"message": "slow down", "type": "requests", "param": null, "code": "rate_limit_exceeded"}}"#;
    let url = sse::refusing(StatusCode::TOO_MANY_REQUESTS, body).await;
    let capture = read_all(&url).await;
    let llm = capture.llm("openai", MODEL);
    assert_failed(&llm, ErrorType::RateLimit);
    assert!(llm.first_chunks().is_empty());
}
