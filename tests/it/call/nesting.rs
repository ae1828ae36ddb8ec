//! Calls inside calls: what is a part of the outer one, what is its own, and what is handed up.

use std::future;
use std::time::Duration;

use botticelli_obs::testing::Capture;
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{FutureExt, StreamExt, stream};

const MODEL: &str = "llama-3.3-70b-versatile";

#[derive(Clone, Copy)]
struct Reply {
    tokens: u64,
}

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        (self.tokens > 0).then(|| Usage::new(self.tokens, 0))
    }

    fn finish_reason(&self) -> Option<&str> {
        (self.tokens > 0).then_some("stop")
    }
}

/// A reply that says nothing.
const SILENT: Reply = Reply { tokens: 0 };

#[derive(Debug)]
struct Opaque;

impl ClassifyError for Opaque {
    fn error_type(&self) -> ErrorType {
        ErrorType::Unknown
    }
}

#[derive(Debug)]
struct ApiError;

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::RateLimit
    }
}

fn start() -> LlmCall {
    LlmCall::start("groq", MODEL)
}

fn capture(code: impl Future<Output = ()>) -> Capture {
    let capture = Capture::new();
    capture.observe(code).now_or_never().expect("it is ready");
    capture
}

#[test]
fn part_hands_up_what_the_outer_call_lacks() {
    let capture = capture(async {
        start()
            .observe(async {
                start().observe(async { Reply { tokens: 7 } }).await;
                SILENT
            })
            .await;
    });
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.tokens(), 7);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(llm.usage_missing(), 0);
    assert_eq!(llm.errors(), 0);
    assert_eq!(capture.spans().len(), 1);
}

#[test]
fn what_the_outer_call_knows_itself_counts() {
    let capture = capture(async {
        start()
            .observe(async {
                start().observe(async { Reply { tokens: 7 } }).await;
                Reply { tokens: 100 }
            })
            .await;
    });
    assert_eq!(capture.llm("groq", MODEL).tokens(), 100);
}

#[test]
fn tokens_of_several_tries_add_up() {
    let capture = capture(async {
        start()
            .observe(async {
                let failed = start().observe(async { Err::<Reply, _>(ApiError) }).await;
                assert!(failed.is_err());
                start().observe(async { Reply { tokens: 7 } }).await;
                start().observe(async { Reply { tokens: 5 } }).await;
                SILENT
            })
            .await;
    });
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 12);
}

#[test]
fn error_class_of_a_part_stands_in_for_an_unknown_one() {
    let capture = capture(async {
        let failed =
            start().observe(async { start().observe(async { Err::<Reply, _>(ApiError) }).await.map_err(|_| Opaque) });
        assert!(failed.await.is_err());
    });
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors_of(ErrorType::RateLimit), 1);
}

#[test]
fn part_that_is_dropped_after_its_own_time_is_a_timeout() {
    let capture = capture(async {
        let failed = start().observe(async {
            let inner = LlmCall::builder("groq", MODEL).with_timeout(Duration::ZERO).start();
            drop(inner.observe(future::pending::<Reply>()));
            Err::<Reply, _>(Opaque)
        });
        assert!(failed.await.is_err());
    });
    assert_eq!(capture.llm("groq", MODEL).errors_of(ErrorType::Timeout), 1);
}

#[test]
fn other_calls_inside_are_their_own() {
    let capture = capture(async {
        start()
            .observe(async {
                LlmCall::start("gemini", MODEL).observe(async { Reply { tokens: 1 } }).await;
                LlmCall::start("groq", "llama3.2").observe(async { Reply { tokens: 2 } }).await;
                let embeddings = LlmCall::builder("groq", MODEL).with_operation("embeddings").start();
                embeddings.observe(async { Reply { tokens: 4 } }).await;
                let independent = LlmCall::builder("groq", MODEL).without_nesting().start();
                independent.observe(async { Reply { tokens: 8 } }).await;
                Reply { tokens: 16 }
            })
            .await;
    });
    assert_eq!(capture.llm("gemini", MODEL).requests(), 1);
    assert_eq!(capture.llm("groq", "llama3.2").requests(), 1);
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 3);
    assert_eq!(llm.tokens(), 4 + 8 + 16);
    assert_eq!(capture.spans().len(), 5);
}

#[test]
fn spans_of_own_calls_inside_have_the_outer_one_as_parent() {
    let capture = capture(async {
        start().observe(async { LlmCall::start("gemini", MODEL).finish() }).await;
    });
    let spans = capture.spans();
    assert_eq!(spans[0].parent_id(), Some(spans[1].id()), "{spans:?}");
}

#[test]
fn part_through_a_call_of_another_provider_is_found() {
    let capture = capture(async {
        start()
            .observe(async {
                let fallback = LlmCall::start("gemini", MODEL);
                fallback.observe(async { start().observe(async { Reply { tokens: 7 } }).await }).await;
                SILENT
            })
            .await;
    });
    assert_eq!(capture.llm("groq", MODEL).requests(), 1);
    assert_eq!(capture.llm("groq", MODEL).tokens(), 7);
}

#[test]
fn guard_alone_has_no_inside() {
    let capture = capture(async {
        let outer = start();
        start().finish();
        outer.finish();
    });
    assert_eq!(capture.llm("groq", MODEL).requests(), 2);
}

#[test]
fn faked_stream_counts_once_and_keeps_the_usage_of_the_call_behind_it() {
    let capture = capture(async {
        let open = async {
            start().observe(async { Ok::<_, ApiError>(Reply { tokens: 7 }) }).await?;
            Ok::<_, ApiError>(stream::iter([Ok::<_, ApiError>(SILENT)]))
        };
        let mut chunks = start().observe_stream(open).await.expect("it opens");
        while chunks.next().await.is_some() {}
    });
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 7);
    assert_eq!(llm.first_chunks().len(), 1);
}

#[test]
fn reader_who_leaves_after_an_inner_stream_was_complete_has_everything() {
    let capture = capture(async {
        let inner = stream::iter([Reply { tokens: 7 }, SILENT]);
        let open = async { Ok::<_, ApiError>(start().wrap_stream(inner).map(|_| SILENT)) };
        let mut chunks = start().observe_stream(open).await.expect("it opens");
        chunks.next().await;
    });
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 7);
}

#[test]
fn call_that_has_ended_has_no_inside() {
    let capture = capture(async {
        let open = async {
            let calls = stream::once(async {
                start().observe(async { Reply { tokens: 7 } }).await;
            });
            Ok::<_, ApiError>(LlmCall::start("gemini", MODEL).wrap_stream(calls))
        };
        let chunks = start().observe_with(open, |_, _| {}).await.expect("it opens");
        // The call around `open` is over: as a part of it this one would be told to nobody.
        chunks.for_each(|()| future::ready(())).await;
    });
    assert_eq!(capture.llm("gemini", MODEL).requests(), 1);
    let llm = capture.llm("groq", MODEL);
    assert_eq!(llm.requests(), 2);
    assert_eq!(llm.tokens(), 7);
}
