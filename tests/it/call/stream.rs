//! A call around a stream: its chunks, its usage, and every way it ends.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use botticelli_obs::testing::Capture;
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::{FutureExt, Stream, StreamExt, stream};

use crate::support::wait_for;

const MODEL: &str = "claude-sonnet-4-5";

#[derive(Clone, Copy, Default)]
struct Chunk {
    tokens: Option<u64>,
    finish: Option<&'static str>,
}

impl LlmResponse for Chunk {
    fn usage(&self) -> Option<Usage> {
        self.tokens.map(|tokens| Usage::new(5, tokens))
    }

    fn finish_reason(&self) -> Option<&str> {
        self.finish
    }
}

#[derive(Clone, Copy, Debug)]
struct ApiError(u16);

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::from_http_status(self.0)
    }
}

type Item = Result<Chunk, ApiError>;

const TEXT: Item = Ok(Chunk { tokens: None, finish: None });
const OVERLOADED: Item = Err(ApiError(529));

const fn told(tokens: u64) -> Item {
    Ok(Chunk { tokens: Some(tokens), finish: None })
}

const fn finished(reason: &'static str) -> Item {
    Ok(Chunk { tokens: None, finish: Some(reason) })
}

fn start() -> LlmCall {
    LlmCall::builder("anthropic", MODEL).with_streaming().start()
}

async fn open(items: &[Item]) -> Result<impl Stream<Item = Item> + use<>, ApiError> {
    Ok(stream::iter(items.to_vec()))
}

/// Opens a stream of these items, and reads so many.
fn read(items: &[Item], count: usize) -> Capture {
    let capture = Capture::new();
    let reader = async {
        let chunks = start().observe_stream(open(items)).await.expect("it opens");
        chunks.take(count).for_each(|_| async {}).await;
    };
    capture.observe(reader).now_or_never().expect("it is ready");
    assert_eq!(capture.llm("anthropic", MODEL).requests(), 1);
    assert_eq!(capture.llm("anthropic", MODEL).durations().len(), 1);
    assert_eq!(capture.llm("anthropic", MODEL).in_flight(), 0.0);
    assert_eq!(capture.spans().len(), 1);
    capture
}

/// Reads to the end.
fn read_all(items: &[Item]) -> Capture {
    read(items, usize::MAX)
}

#[test]
fn stream_read_to_the_end_is_a_success() {
    let capture = read_all(&[TEXT, TEXT, TEXT, told(30)]);
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 35);
    assert_eq!((llm.first_chunks().len(), llm.chunk_gaps().len()), (1, 3));
}

#[test]
fn last_usage_of_a_stream_counts() {
    let capture = read_all(&[told(1), told(2), TEXT, told(30), TEXT]);
    assert_eq!(capture.llm("anthropic", MODEL).completion_tokens(), 30);
    assert_eq!(capture.llm("anthropic", MODEL).prompt_tokens(), 5);
}

#[test]
fn stream_without_usage_is_counted_as_such() {
    assert_eq!(read_all(&[TEXT, finished("end_turn")]).llm("anthropic", MODEL).usage_missing(), 1);
}

#[test]
fn reader_who_leaves_early_cancels_and_keeps_the_tokens() {
    let capture = read(&[told(1), told(2), told(30)], 2);
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.errors_of(ErrorType::Cancelled), 1);
    assert_eq!(llm.completion_tokens(), 2);
    assert_eq!((llm.first_chunks().len(), llm.chunk_gaps().len()), (1, 1));
}

#[test]
fn reader_who_leaves_after_the_finish_reason_has_everything() {
    let capture = read(&[TEXT, finished("end_turn"), TEXT], 2);
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.finished("stop"), 1);
}

#[test]
fn reason_that_every_chunk_repeats_counts_once() {
    let capture = read_all(&[finished("STOP"), finished("STOP"), finished("MAX_TOKENS")]);
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.finished("stop"), 0);
    assert_eq!(llm.finished("length"), 1);
}

#[test]
fn stream_that_is_never_polled_is_cancelled() {
    let capture = read(&[TEXT], 0);
    assert_eq!(capture.llm("anthropic", MODEL).errors_of(ErrorType::Cancelled), 1);
    assert_eq!(capture.llm("anthropic", MODEL).first_chunks().len(), 0);
}

#[test]
fn error_in_the_middle_is_recorded_as_what_it_was_and_is_no_chunk() {
    for items in [&[TEXT, told(2), OVERLOADED][..], &[TEXT, told(2), OVERLOADED, TEXT]] {
        let capture = read_all(items);
        let llm = capture.llm("anthropic", MODEL);
        assert_eq!(llm.errors_of(ErrorType::Overloaded), 1);
        assert_eq!(llm.errors(), 1);
        assert_eq!(llm.completion_tokens(), 2);
        assert_eq!(1 + llm.chunk_gaps().len(), items.len() - 1);
    }
}

#[test]
fn failure_to_open_is_recorded_as_what_it_was() {
    let capture = Capture::new();
    let opening = async { Err::<stream::Empty<Item>, _>(ApiError(401)) };
    let opened = capture.observe(async { start().observe_stream(opening).await }).now_or_never();
    assert!(opened.expect("it is ready").is_err());
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors_of(ErrorType::Auth), 1);
}

#[test]
fn opening_that_is_dropped_is_cancelled() {
    let capture = Capture::new();
    capture.run(|| {
        let opening = std::future::pending::<Result<stream::Empty<Item>, ApiError>>();
        assert!(start().observe_stream(opening).now_or_never().is_none());
    });
    assert_eq!(capture.llm("anthropic", MODEL).errors_of(ErrorType::Cancelled), 1);
}

#[test]
fn panic_that_is_caught_around_the_stream_is_a_panic() {
    let capture = Capture::new();
    let reader = async {
        let chunks = stream::iter([0, 1]).map(|at| if at == 0 { told(3) } else { panic!("on purpose") });
        let caught = AssertUnwindSafe(start().wrap_stream(chunks)).catch_unwind();
        assert_eq!(caught.filter(|item| std::future::ready(item.is_err())).count().await, 1);
    };
    capture.observe(reader).now_or_never().expect("it is ready");
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors_of(ErrorType::Panic), 1);
    assert_eq!(llm.completion_tokens(), 3);
}

#[test]
fn stream_that_outlives_its_time_is_a_timeout_with_its_tokens() {
    let capture = Capture::new();
    let reader = async {
        let call = LlmCall::builder("anthropic", MODEL).with_timeout(Duration::ZERO).start();
        let mut chunks = call.wrap_stream(stream::iter([told(3), told(4)]));
        while chunks.next().await.is_some() {}
    };
    capture.observe(reader).now_or_never().expect("it is ready");
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors_of(ErrorType::Timeout), 1);
    assert_eq!(llm.completion_tokens(), 3);
}

#[test]
fn stream_that_was_complete_in_time_may_end_later() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let (capture, started) = (Capture::new(), Instant::now());
    let start = || {
        let call = capture.run(|| LlmCall::builder("anthropic", MODEL).with_timeout(TIMEOUT).start());
        let mut chunks = call.wrap_stream(stream::iter([finished("end_turn")]));
        assert!(chunks.next().now_or_never().flatten().is_some());
        chunks
    };
    let (read, dropped) = (start(), start());
    wait_for("its time to be over", TIMEOUT * 2, || (started.elapsed() > TIMEOUT).then_some(()));
    assert_eq!(read.count().now_or_never(), Some(0));
    drop(dropped);
    assert_eq!(capture.llm("anthropic", MODEL).requests(), 2);
    assert_eq!(capture.llm("anthropic", MODEL).errors(), 0);
}

#[test]
fn size_hint_is_that_of_the_stream() {
    assert_eq!(start().wrap_stream(stream::iter([TEXT, TEXT])).size_hint(), (2, Some(2)));
}

/// Types of another crate, which implement none of ours.
mod foreign {
    pub(super) struct Delta(pub(super) &'static str, pub(super) Option<u64>);

    #[derive(Debug, PartialEq)]
    pub(super) struct Trouble(pub(super) &'static str);
}

use foreign::{Delta, Trouble};

fn report(call: &mut LlmCall, item: &Result<Delta, Trouble>) {
    match item {
        Ok(Delta(_, tokens)) => {
            if let Some(tokens) = tokens {
                call.record_usage(Usage::new(5, *tokens));
            }
        }
        Err(Trouble("overloaded")) => call.record_error(ErrorType::Overloaded),
        Err(_) => call.record_error(ErrorType::Unknown),
    }
}

async fn open_foreign(
    items: Vec<Result<Delta, Trouble>>,
) -> Result<impl Stream<Item = Result<Delta, Trouble>>, Trouble> {
    if items.is_empty() { Err(Trouble("refused")) } else { Ok(stream::iter(items)) }
}

#[test]
fn foreign_items_are_recorded_by_a_closure() {
    let capture = Capture::new();
    let reader = async {
        let items = vec![Ok(Delta("to be", None)), Ok(Delta("or not", Some(7)))];
        let chunks = start().observe_stream_with(open_foreign(items), report).await.expect("it opens");
        assert_eq!(chunks.size_hint(), (2, Some(2)));
        chunks.map(|item| item.expect("a delta").0).collect::<Vec<_>>().await
    };
    assert_eq!(capture.observe(reader).now_or_never().expect("it is ready"), ["to be", "or not"]);
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 12);
    assert_eq!((llm.first_chunks().len(), llm.chunk_gaps().len()), (1, 1));
}

#[test]
fn foreign_errors_are_classified_by_the_closures() {
    let read = |items: Vec<Result<Delta, Trouble>>| {
        let capture = Capture::new();
        let reader = async {
            let opening = start().observe_stream_with(open_foreign(items), report);
            match opening.with_error_type(|Trouble(_)| ErrorType::Auth).await {
                Ok(chunks) => chunks.count().await,
                Err(Trouble(why)) => why.len(),
            }
        };
        capture.observe(reader).now_or_never().expect("it is ready");
        assert_eq!(capture.llm("anthropic", MODEL).requests(), 1);
        capture
    };
    let broken = read(vec![Ok(Delta("", None)), Err(Trouble("overloaded"))]);
    assert_eq!(broken.llm("anthropic", MODEL).errors_of(ErrorType::Overloaded), 1);
    assert_eq!(broken.llm("anthropic", MODEL).first_chunks().len(), 1);
    assert_eq!(broken.llm("anthropic", MODEL).chunk_gaps().len(), 0, "an error is no chunk");
    assert_eq!(read(Vec::new()).llm("anthropic", MODEL).errors_of(ErrorType::Auth), 1);
}

#[test]
fn failure_to_open_a_foreign_stream_is_unknown_unless_it_is_classified() {
    let capture = Capture::new();
    let opening = async { start().observe_stream_with(open_foreign(Vec::new()), report).await.err() };
    assert_eq!(capture.observe(opening).now_or_never().expect("it is ready"), Some(Trouble("refused")));
    assert_eq!(capture.llm("anthropic", MODEL).errors_of(ErrorType::Unknown), 1);
}

#[test]
fn open_stream_of_foreign_items_is_wrapped_with_a_closure_that_counts() {
    let capture = Capture::new();
    let reader = async {
        let mut tokens = 0;
        let chunks = start().wrap_stream_with(stream::iter([1, 2, 3]), move |call, more: &u64| {
            tokens += more;
            call.record_usage(Usage::new(0, tokens));
        });
        chunks.take(2).count().await
    };
    assert_eq!(capture.observe(reader).now_or_never(), Some(2));
    let llm = capture.llm("anthropic", MODEL);
    assert_eq!(llm.tokens(), 3);
    assert_eq!(llm.errors_of(ErrorType::Cancelled), 1, "the reader has left before the end");
}
