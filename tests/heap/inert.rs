//! Where nothing is installed, a call touches the heap nowhere, whatever it is around.

use std::future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{Stream, stream};

struct Reply;

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        Some(Usage::new(12, 30))
    }

    fn response_model(&self) -> Option<&str> {
        Some("gemini-2.5-flash-001")
    }

    fn response_id(&self) -> Option<&str> {
        Some("8bQ3aMqxL4")
    }

    fn finish_reason(&self) -> Option<&str> {
        Some("stop")
    }
}

struct ApiError;

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::RateLimit
    }
}

fn start() -> LlmCall {
    LlmCall::start("gemini", "gemini-2.5-flash")
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn read_all(stream: impl Stream) {
    let mut stream = pin!(stream);
    while let Poll::Ready(Some(_)) = stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {}
}

/// Everything a call can be, and everything it can be told.
const CALLS: &[(&str, fn())] = &[
    ("a guard that finishes", || {
        let mut call = LlmCall::builder("gemini", "gemini-2.5-flash")
            .with_operation("chat")
            .with_server("localhost", 443)
            .with_max_tokens(100)
            .with_temperature(0.5)
            .with_timeout(Duration::from_secs(30))
            .with_streaming()
            .start();
        call.record_usage(Usage::new(12, 30).with_cache_read(5));
        call.record_response_model("gemini-2.5-flash-001");
        call.record_response_id("8bQ3aMqxL4");
        call.record_finish_reason("stop");
        call.record_chunk();
        call.record_chunk();
        black_box(&call).span().in_scope(|| ());
        call.finish();
    }),
    ("a guard that fails", || start().fail(&ApiError)),
    ("a guard that is dropped", || drop(start())),
    ("a future that is ready", || drop(poll(start().observe(async { Ok::<_, ApiError>(Reply) })))),
    ("a future that is dropped", || drop(poll(start().observe(future::pending::<Reply>())))),
    ("a future with a closure", || {
        let observed =
            start().observe_with(async { Ok::<_, ApiError>(()) }, |call, _| call.record_usage(Usage::new(1, 2)));
        drop(poll(observed));
    }),
    ("a function", || drop(start().observe_sync(|| Err::<Reply, _>(ApiError)))),
    ("a stream", || read_all(start().wrap_stream(stream::iter([Reply, Reply, Reply])))),
    ("a stream that can't be opened", || {
        let opening = async { Err::<stream::Empty<Reply>, _>(ApiError) };
        drop(poll(start().observe_stream(opening)));
    }),
    ("a call inside a call", || {
        let inside = async {
            start().observe(async { Reply }).await;
            Reply
        };
        drop(poll(start().observe(inside)));
    }),
];

#[test]
fn without_a_recorder_and_a_subscriber_nothing_is_allocated() {
    // What finds out whether there is a recorder is made once in a process.
    start().finish();
    for (what, call) in CALLS {
        let count = measure(|| (0..100).for_each(|_| call())).count_total;
        assert_eq!(count, 0, "{what}");
    }
}
