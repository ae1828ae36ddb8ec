//! What the HTTP layer keeps of an answer, however long it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use botticelli_obs::http_layer::LlmLayer;
use botticelli_obs::{Builder, metrics};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::page::Page;

/// What may be used: the 64 KiB that are kept, and twice as much while they are read.
const LIMIT: u64 = 192 * 1024;

/// A body that repeats a chunk, without taking memory for it.
struct Repeated {
    chunk: &'static [u8],
    left: usize,
    last: &'static [u8],
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.left {
            0 => std::mem::take(&mut self.last),
            _ => self.chunk,
        };
        self.left = self.left.saturating_sub(1);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(Bytes::from_static(bytes)))))
    }
}

/// Reads 5 MB of an answer through the layer; returns the most memory that was used at a time, and the page.
fn read(status: u16, chunk: &'static [u8], last: &'static [u8]) -> (u64, Page) {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let used = metrics::with_local_recorder(&recorder, || {
        let service = service_fn(move |_: http::Request<Full<Bytes>>| async move {
            let body = Repeated { chunk, left: 5_000_000 / chunk.len(), last };
            Ok::<_, Infallible>(http::Response::builder().status(status).body(body).expect("it can be built"))
        });
        let request = http::Request::post("https://api.openai.com/v1/chat/completions")
            .body(Full::from(r#"{"model": "m", "messages": [], "stream": true}"#))
            .expect("it can be built");
        let sent = LlmLayer::new().layer(service).oneshot(request).now_or_never();
        let mut body = sent.expect("it is ready").unwrap_or_else(|error| match error {}).into_body();
        let mut context = Context::from_waker(Waker::noop());
        measure(move || while let Poll::Ready(Some(_)) = Pin::new(&mut body).poll_frame(&mut context) {})
    });
    (used.bytes_max, Page::parse(&page.render()))
}

const USAGE: &[u8] =
    b"\"}}], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}}\n\ndata: {\"choices\": [{\"index\": 0, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n";

#[test]
fn memory_is_bounded_whatever_an_answer_has() {
    let events = b"data: {\"id\": \"c-1\", \"model\": \"m\", \"choices\": [{\"index\": 0, \"delta\": {\"content\": \"gold\"}}]}\n\n";
    let error = br#"{"error": {"message": "no"}, "#;
    let chunks: [(u16, &[u8]); 6] = [
        (200, events),
        (200, b"data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"gold"),
        (200, b"gold "),
        (200, br#"{"usage": [{"prompt_tokens": 7}, "#),
        (200, br#"{"choices": [{"error": {"message": ""#),
        (500, error),
    ];
    for (status, chunk) in chunks {
        let (most, page) = read(status, chunk, USAGE);
        assert!(most <= LIMIT, "{status} {:?}: {most} bytes", String::from_utf8_lossy(chunk));
        assert_eq!(page.sum("llm_requests_total"), 1.0);
    }
}

#[test]
fn usage_after_any_amount_of_content_is_read() {
    let last = b"data: {\"choices\": [{\"index\": 0, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": 2}}\n\ndata: [DONE]\n\n";
    let (most, page) = read(200, b"data: {\"choices\": [], \"x\": \"gold gold gold gold\"}\n\n", last);
    assert!(most <= LIMIT, "{most} bytes");
    assert_eq!(page.sum("llm_tokens_total"), 9.0);
    assert_eq!(page.sum("llm_errors_total"), 0.0);
}
