//! A call around a future.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::LlmCall;
use super::alarm::Alarm;
use super::nesting::Frame;
use crate::error_type::ErrorType;
use crate::outcome::Outcome;

/// Records how something turned out, at its end.
pub trait Report<T> {
    /// Records it into the call.
    fn report(self, call: &mut LlmCall, output: &T);
}

/// Reports what the output says of itself.
#[derive(Clone, Copy, Debug)]
pub struct AsOutcome;

impl<T: Outcome> Report<T> for AsOutcome {
    fn report(self, call: &mut LlmCall, output: &T) {
        output.record_in(call);
    }
}

/// Reports what a closure says of a result.
#[derive(Clone, Copy)]
pub struct By<C>(C);

impl<T, E, C: FnOnce(&mut LlmCall, Result<&T, &E>)> Report<Result<T, E>> for By<C> {
    fn report(self, call: &mut LlmCall, output: &Result<T, E>) {
        if output.is_err() {
            // The closure may know better.
            call.record_error(ErrorType::Unknown);
        }
        (self.0)(call, output.as_ref());
    }
}

pin_project! {
    /// A future around which a call is recorded, made by [`LlmCall::observe`] and [`LlmCall::observe_with`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Observe<F, R = AsOutcome> {
        // Dropped before the call, so that calls inside it still hand up what they know.
        #[pin]
        future: F,
        observed: Observed,
        report: Option<R>,
    }
}

/// A call and the frame of what runs inside it.
pub(super) struct Observed {
    call: Option<LlmCall>,
    frame: Option<Arc<Frame>>,
    alarm: Option<Alarm>,
}

impl Observed {
    pub(super) fn new(mut call: LlmCall) -> Self {
        let frame = call.frame();
        Self { call: Some(call), frame, alarm: None }
    }

    /// Runs something as the inside of the call, in its span.
    pub(super) fn run<T>(&mut self, inside: impl FnOnce() -> T) -> T {
        let unwound = Unwound(&mut self.call);
        let output = {
            let _span = unwound.0.as_ref().map(|call| call.span().enter());
            let _inside = self.frame.as_ref().map(Frame::enter);
            inside()
        };
        mem::forget(unwound);
        output
    }

    /// The call, unless it has ended.
    pub(super) fn call(&mut self) -> Option<&mut LlmCall> {
        self.call.as_mut()
    }

    /// Ends the call if its time is over; if not, has the task woken when it is.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        self.finish_if_overdue();
        if let Some(deadline) = self.call.as_ref().and_then(LlmCall::deadline) {
            Alarm::set(&mut self.alarm, deadline, cx.waker());
        }
    }

    pub(super) fn finish_if_overdue(&mut self) {
        if self.call.as_ref().is_some_and(LlmCall::is_overdue) {
            self.finish();
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(call) = self.call.as_mut().filter(|call| call.is_overdue()) {
            call.record_error(ErrorType::Timeout);
        }
        self.end();
    }

    /// Ends the call as it stands.
    pub(super) fn end(&mut self) {
        self.alarm = None;
        if let Some(call) = self.call.take() {
            call.finish();
        }
    }

    /// Moves the call into what goes on with it.
    pub(super) fn take(&mut self) -> Self {
        Self { call: self.call.take(), frame: self.frame.take(), alarm: self.alarm.take() }
    }
}

/// Records a panic when it is dropped. Who catches one around a future drops the future later, when nothing panics any more.
struct Unwound<'a>(&'a mut Option<LlmCall>);

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.record_error(ErrorType::Panic);
        }
    }
}

impl<F: Future, R: Report<F::Output>> Future for Observe<F, R> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Poll::Ready(output) = this.observed.run(|| this.future.poll(cx)) else {
            this.observed.wait(cx);
            return Poll::Pending;
        };
        if let (Some(call), Some(report)) = (this.observed.call(), this.report.take()) {
            report.report(call, &output);
        }
        this.observed.finish();
        Poll::Ready(output)
    }
}

impl<F, R> fmt::Debug for Observe<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("call", &self.observed.call).finish_non_exhaustive()
    }
}

impl LlmCall {
    /// Records the call around a future whose output tells how it turned out; ends with it.
    ///
    /// Works in any runtime, adds no bounds and boxes nothing.
    ///
    /// ```
    /// # use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse};
    /// # struct Reply; impl LlmResponse for Reply {}
    /// # struct ApiError; impl ClassifyError for ApiError { fn error_type(&self) -> ErrorType { ErrorType::Auth } }
    /// # async fn generate() -> Result<Reply, ApiError> { Ok(Reply) }
    /// # async fn example() -> Result<Reply, ApiError> {
    /// let reply = LlmCall::start("gemini", "gemini-2.5-flash").observe(generate()).await?;
    /// # Ok(reply) }
    /// ```
    pub fn observe<F: Future<Output: Outcome>>(self, future: F) -> Observe<F> {
        Observe { future, observed: Observed::new(self), report: Some(AsOutcome) }
    }

    /// Records the call around a future of types that can't be taught to tell how it turned out.
    ///
    /// An error is `unknown` unless the closure records another one.
    ///
    /// ```
    /// # use botticelli_obs::{ErrorType, LlmCall, Usage};
    /// # async fn generate() -> Result<(String, u64), std::io::Error> { Ok((String::new(), 3)) }
    /// # async fn example() -> std::io::Result<()> {
    /// let reply = LlmCall::start("ollama", "llama3.2").observe_with(generate(), |call, result| match result {
    ///     Ok((_, tokens)) => call.record_usage(Usage::new(0, *tokens)),
    ///     Err(_) => call.record_error(ErrorType::Network),
    /// });
    /// reply.await?;
    /// # Ok(()) }
    /// ```
    pub fn observe_with<F, T, E, C>(self, future: F, report: C) -> Observe<F, By<C>>
    where
        F: Future<Output = Result<T, E>>,
        C: FnOnce(&mut LlmCall, Result<&T, &E>),
    {
        Observe { future, observed: Observed::new(self), report: Some(By(report)) }
    }

    /// Records the call around a function that blocks.
    ///
    /// ```
    /// # use botticelli_obs::{ErrorType, LlmCall};
    /// let reply = LlmCall::start("ollama", "llama3.2").observe_sync(|| "to be or not".to_owned());
    /// ```
    pub fn observe_sync<T: Outcome>(self, function: impl FnOnce() -> T) -> T {
        let mut observed = Observed::new(self);
        let output = observed.run(function);
        if let Some(call) = observed.call() {
            output.record_in(call);
        }
        observed.finish();
        output
    }
}
