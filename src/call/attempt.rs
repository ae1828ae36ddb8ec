//! One request that is sent for a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tracing::{Span, field};

use super::answer::Answer;
use super::nesting::Frame;
use super::{TARGET, span};
use crate::error_type::{ClassifyError, ErrorType};

/// One request that is sent for a call, from its first byte out to its last byte in: a part of `llm_attempts_total`, a sample of
/// `llm_attempt_duration_seconds`, and a span `attempt` inside the span of the call.
///
/// Created by [`CurrentCall::attempt`](crate::CurrentCall::attempt). However it ends, it is recorded once: [`finish`](Self::finish),
/// [`fail`](Self::fail), or dropped, which counts as `cancelled`, or as `panic` while the thread unwinds. It says nothing about the
/// call, which may try again.
///
/// ```
/// use botticelli_obs::{ErrorType, LlmCall};
///
/// async fn send() -> Result<String, ErrorType> {
///     Ok("to be or not".to_owned())
/// }
///
/// async fn with_one_retry() -> Result<String, ErrorType> {
///     let Some(call) = LlmCall::current() else { return send().await };
///     match call.attempt().observe(send()).await {
///         Err(ErrorType::ServerError) => call.attempt().observe(send()).await,
///         result => result,
///     }
/// }
/// ```
#[must_use = "an attempt that is dropped is recorded as cancelled: keep it and call `finish` or `fail`"]
pub struct Attempt {
    /// `None` once it has ended.
    live: Option<Live>,
}

struct Live {
    call: Arc<Frame>,
    /// What runs inside the attempt, where it can have attempts of its own: then those are counted, and not this one.
    inside: Option<Arc<Frame>>,
    span: Span,
    started: Instant,
    facts: Facts,
}

/// What an attempt has learnt.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) error: Option<ErrorType>,
    pub(super) answer: Answer,
}

impl Attempt {
    /// Starts an attempt in the innermost call; `inside` is the frame of what runs inside the attempt.
    pub(super) fn start(innermost: &Arc<Frame>, inside: Option<Arc<Frame>>) -> Self {
        let call = innermost.counted();
        if call.has_ended() {
            return Self { live: None };
        }
        let resend_count = innermost.count_attempt(&call);
        let span = call.with_span(|parent| {
            if parent.is_disabled() { Span::none() } else { span::open(|| new_span(parent, resend_count)) }
        });
        Self { live: Some(Live { call, inside, span, started: Instant::now(), facts: Facts::default() }) }
    }

    /// Returns the span of the attempt, to make it the parent of what happens inside.
    pub fn span(&self) -> &Span {
        static NONE: Span = Span::none();
        self.live.as_ref().map_or(&NONE, |live| &live.span)
    }

    /// Records the HTTP status of the answer, for the span.
    pub fn record_status(&mut self, status: u16) {
        if let Some(live) = &mut self.live {
            live.facts.answer.status = Some(status);
        }
    }

    /// Records the provider's code of an error, such as `insufficient_quota`, for the span. A code that is longer than 64 bytes, or has
    /// other characters than letters, digits, `_`, `.` and `-`, is not recorded: it may be a message.
    pub fn record_error_code(&mut self, code: &str) {
        if let Some(live) = &mut self.live {
            live.facts.answer.record_code(code);
        }
    }

    /// Records the provider's id of the request, for the span, under the same conditions.
    pub fn record_request_id(&mut self, id: &str) {
        if let Some(live) = &mut self.live {
            live.facts.answer.record_request_id(id);
        }
    }

    /// Records that the attempt has failed, and why; again replaces what was recorded before.
    pub fn record_error(&mut self, error: impl Into<ErrorType>) {
        if let Some(live) = &mut self.live {
            live.facts.error = Some(error.into());
        }
    }

    /// Ends the attempt: as a success, or with the error that was recorded.
    pub fn finish(mut self) {
        self.end();
    }

    /// Ends the attempt with an error.
    pub fn fail(mut self, error: impl Into<ErrorType>) {
        self.record_error(error);
        self.end();
    }

    /// Runs a function inside the span of the attempt.
    #[cfg(feature = "_http-layer")]
    pub(crate) fn scope_sync<T>(&self, function: impl FnOnce() -> T) -> T {
        let _span = span::enter(self.span());
        function()
    }

    /// Records the attempt around a future, which runs inside its span. The attempt ends with the future.
    pub fn observe<T, E: ClassifyError, F: Future<Output = Result<T, E>>>(self, future: F) -> ObserveAttempt<F> {
        ObserveAttempt { future, attempt: self }
    }

    fn end(&mut self) {
        if let Some(Live { call, inside, span, started, facts }) = self.live.take() {
            let elapsed = started.elapsed();
            let is_replaced = inside.is_some_and(|inside| inside.has_attempts());
            if !span.is_disabled() {
                span::end_attempt(span, &facts, is_replaced, elapsed);
            }
            if let Some(series) = call.series().filter(|_| !is_replaced) {
                series.attempt(elapsed, facts.error);
            }
        }
    }
}

fn new_span(parent: &Span, resend_count: u32) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: parent,
        "attempt",
        otel.kind = "client",
        otel.status_code = field::Empty,
        http.request.resend_count = (resend_count > 0).then_some(i64::from(resend_count)),
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        botticelli.error.code = field::Empty,
        botticelli.request.id = field::Empty,
    )
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let Some(live) = &mut self.live else { return };
        if live.facts.error.is_none() {
            let is_panic = std::thread::panicking();
            live.facts.error = Some(if is_panic { ErrorType::Panic } else { ErrorType::Cancelled });
        }
        // A recorder that panics while the thread unwinds would abort the process.
        span::contained(|| self.end());
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("facts", &self.live.as_ref().map(|live| &live.facts)).finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that records an attempt around another future. Created by [`Attempt::observe`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveAttempt<F> {
        #[pin]
        future: F,
        attempt: Attempt,
    }
}

impl<T, E: ClassifyError, F: Future<Output = Result<T, E>>> Future for ObserveAttempt<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = {
            let _span = span::enter(this.attempt.span());
            ready!(this.future.poll(cx))
        };
        if let Err(error) = &output {
            this.attempt.record_error(error.error_type());
        }
        this.attempt.end();
        Poll::Ready(output)
    }
}

impl<F> fmt::Debug for ObserveAttempt<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveAttempt").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
