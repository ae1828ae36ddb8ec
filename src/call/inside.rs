//! What code inside a call can do with it, without having it: a limiter, a retry loop, a client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use tracing::Span;

use super::attempt::Attempt;
use super::nesting::Frame;
use super::{LlmCall, span};
#[cfg(feature = "http")]
use crate::{
    rate_limits::RateLimits,
    series::{LimitGauge, Series},
};

/// The innermost call of this task, as seen by the code inside it. Returned by [`LlmCall::current`].
///
/// It is cheap to clone and can be sent to other threads and tasks. Once the call has ended it does nothing.
///
/// ```
/// use botticelli_obs::LlmCall;
///
/// /// Waits for its turn.
/// async fn acquire(limiter: impl Future<Output = ()>) {
///     match LlmCall::current() {
///         Some(call) => call.wait(limiter).await,
///         None => limiter.await,
///     }
/// }
/// ```
#[derive(Clone)]
pub struct CurrentCall {
    frame: Arc<Frame>,
}

impl CurrentCall {
    /// Records that the call has waited on this side, such as for a limiter, in a queue, or before a retry. All waits of a call add up
    /// to one sample of `llm_wait_seconds` when the call ends.
    pub fn record_wait(&self, wait: Duration) {
        self.frame.add_wait(wait);
    }

    /// Records how long a future takes as a [wait](Self::record_wait), also if it is dropped before it is ready.
    pub fn wait<F: Future>(&self, future: F) -> Wait<F> {
        Wait { future, waiting: Waiting { call: self.clone(), since: None } }
    }

    /// Records the rate limits that the headers of an answer state, as `llm_ratelimit_limit` and `llm_ratelimit_remaining`.
    #[cfg(feature = "http")]
    pub fn record_rate_limits(&self, headers: &http::HeaderMap) {
        let call = self.frame.counted();
        if let Some(series) = call.series().filter(|_| !call.has_ended()) {
            record_rate_limits(series, headers);
        }
    }

    /// Starts an attempt: one request that is sent for the call. A call whose requests are retried has several.
    pub fn attempt(&self) -> Attempt {
        Attempt::start(&self.frame, None)
    }
}

#[cfg(feature = "http")]
fn record_rate_limits(series: &Series, headers: &http::HeaderMap) {
    for stated in RateLimits::from_headers(headers).iter() {
        let gauges = [
            (LimitGauge::limit(stated.kind()), stated.limit()),
            (LimitGauge::remaining(stated.kind()), stated.remaining()),
        ];
        for (gauge, value) in gauges {
            if let (Some(gauge), Some(value)) = (gauge, value) {
                series.rate_limit(gauge, value);
            }
        }
    }
}

impl fmt::Debug for CurrentCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentCall").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future whose time is recorded as a wait of the call. Created by [`CurrentCall::wait`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Wait<F> {
        #[pin]
        future: F,
        waiting: Waiting,
    }
}

/// Records a wait when it is dropped.
struct Waiting {
    call: CurrentCall,
    /// When the future was first polled.
    since: Option<Instant>,
}

impl Waiting {
    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.call.record_wait(since.elapsed());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

impl<F: Future> Future for Wait<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.waiting.since.get_or_insert_with(Instant::now);
        let output = ready!(this.future.poll(cx));
        this.waiting.end();
        Poll::Ready(output)
    }
}

impl<F> fmt::Debug for Wait<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that runs inside a call. Created by [`LlmCall::scope`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Scope<'a, F> {
        #[pin]
        future: F,
        span: &'a Span,
        // `None` where nothing is recorded.
        frame: Option<Arc<Frame>>,
    }
}

impl<F: Future> Future for Scope<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _span = span::enter(this.span);
        let _frame = this.frame.as_ref().map(Frame::enter);
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for Scope<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl LlmCall {
    /// Returns the innermost call in which this code runs and that has not ended: inside `observe*`, `wrap_stream`, `scope` or
    /// `#[llm_call]`. `None` elsewhere, where nothing is installed, and in tasks and threads that the code has spawned: hand the
    /// [`CurrentCall`] over to them.
    pub fn current() -> Option<CurrentCall> {
        Frame::current().map(|frame| CurrentCall { frame })
    }

    /// Records the rate limits that the headers of an answer state, as [`CurrentCall::record_rate_limits`] does.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    /// use botticelli_obs::propagation::HeaderMap;
    ///
    /// fn record(call: &LlmCall, headers_of_answer: &HeaderMap) {
    ///     call.record_rate_limits(headers_of_answer);
    /// }
    /// # record(&LlmCall::start("groq", "llama-3.3-70b-versatile"), &HeaderMap::new());
    /// ```
    #[cfg(feature = "http")]
    pub fn record_rate_limits(&self, headers: &http::HeaderMap) {
        let Some(live) = &self.live else { return };
        let whole = live.whole.as_ref().map(Frame::counted);
        let of_whole = whole.as_ref().and_then(|whole| whole.series());
        if let Some(series) = of_whole.or(live.series.as_ref()) {
            record_rate_limits(series, headers);
        }
    }

    /// Returns the span of the call of which this one is a part; a disabled one of a call of its own.
    #[cfg(feature = "_http-layer")]
    pub(crate) fn span_around(&self) -> Span {
        let whole = self.live.as_ref().and_then(|live| live.whole.as_ref());
        whole.map_or_else(Span::none, |whole| whole.counted().with_span(Span::clone))
    }

    /// Runs a future inside this call and its span, and leaves the end of the call to the caller.
    ///
    /// A call that is finished by hand has no inside without it: layers below would count the same call again, and would not find it as
    /// [`current`](Self::current).
    ///
    /// ```
    /// use botticelli_obs::{LlmCall, Usage};
    ///
    /// async fn generate(send: impl Future<Output = u64>) -> u64 {
    ///     let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    ///     let tokens = call.scope(send).await;
    ///     call.record_usage(Usage::new(0, tokens));
    ///     call.finish();
    ///     tokens
    /// }
    /// ```
    pub fn scope<F: Future>(&mut self, future: F) -> Scope<'_, F> {
        let frame = self.frame();
        Scope { future, span: self.span(), frame }
    }

    /// Runs a function inside this call and its span, likewise.
    pub fn scope_sync<T>(&mut self, function: impl FnOnce() -> T) -> T {
        let frame = self.frame();
        let _span = span::enter(self.span());
        let _frame = frame.as_ref().map(Frame::enter);
        function()
    }
}
