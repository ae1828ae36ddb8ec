//! Records a call around a future or a function.

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
use super::span;
use crate::error_type::ErrorType;
use crate::outcome::Outcome;

pin_project! {
    /// A future that records a call around another future. Created by [`LlmCall::observe`].
    ///
    /// The call ends when the future is ready; a future dropped before that is recorded as `cancelled`, or as `timeout` after the
    /// time limit of the call.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Observe<F> {
        // Declared before the call, and so dropped before it: inner calls that end by the drop still pass their facts to this call.
        #[pin]
        future: F,
        observed: ObservedCall,
    }
}

pin_project! {
    /// A future that records a call around another future by a closure. Created by [`LlmCall::observe_with`].
    ///
    /// The call ends as with [`Observe`].
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveWith<F, R> {
        #[pin]
        future: F,
        observed: ObservedCall,
        // Taken when the future has ended.
        report: Option<R>,
    }
}

/// A call with code that runs inside it, in several polls.
pub(super) struct ObservedCall {
    /// `None` after the call has ended.
    call: Option<LlmCall>,
    /// `None` where nothing is recorded.
    frame: Option<Arc<Frame>>,
    /// Wakes the task at the deadline of the call.
    alarm: Option<Alarm>,
}

impl ObservedCall {
    pub(super) fn new(mut call: LlmCall) -> Self {
        let frame = call.frame();
        Self { call: Some(call), frame, alarm: None }
    }

    /// Runs code inside the call and its span.
    pub(super) fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        let guard = PanicGuard(&mut self.call);
        let output = {
            let _span = guard.0.as_ref().and_then(|call| span::enter(call.span()));
            let _frame = self.frame.as_ref().map(Frame::enter);
            code()
        };
        mem::forget(guard);
        output
    }

    /// Polls the inside of the call; when it is ready, records its output and ends the call.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        inside: impl FnOnce(&mut Context<'_>) -> Poll<T>,
        report: impl FnOnce(&mut LlmCall, &T),
    ) -> Poll<T> {
        let Poll::Ready(output) = self.run(|| inside(cx)) else {
            self.wait(cx);
            return Poll::Pending;
        };
        if let Some(call) = self.call() {
            report(call, &output);
        }
        self.finish();
        Poll::Ready(output)
    }

    /// Returns the call, unless it has ended.
    pub(super) fn call(&mut self) -> Option<&mut LlmCall> {
        self.call.as_mut()
    }

    /// Ends the call if its deadline has passed. Otherwise sets an alarm that wakes the task at the deadline.
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

    /// Ends the call, as a timeout if its deadline has passed.
    pub(super) fn finish(&mut self) {
        if let Some(call) = self.call.as_mut().filter(|call| call.is_overdue()) {
            call.record_error(ErrorType::Timeout);
        }
        self.end();
    }

    /// Ends the call with what was recorded, whatever its deadline.
    pub(super) fn end(&mut self) {
        self.alarm = None;
        if let Some(call) = self.call.take() {
            call.finish();
        }
    }

    /// Moves the call out, to continue it in a stream.
    pub(super) fn take(&mut self) -> Self {
        Self { call: self.call.take(), frame: self.frame.take(), alarm: self.alarm.take() }
    }
}

/// Records a panic when it is dropped; forgotten if there was none.
///
/// The drop of the call would be too late: a caller that catches the panic drops the future afterwards, when the thread no longer
/// panics.
struct PanicGuard<'a>(&'a mut Option<LlmCall>);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.record_error(ErrorType::Panic);
        }
    }
}

impl<F: Future<Output: Outcome>> Future for Observe<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.observed.poll(cx, |cx| this.future.poll(cx), |call, output| output.record_in(call))
    }
}

impl<T, E, F, R> Future for ObserveWith<F, R>
where
    F: Future<Output = Result<T, E>>,
    R: FnOnce(&mut LlmCall, Result<&T, &E>),
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.observed.poll(
            cx,
            |cx| this.future.poll(cx),
            |call, output| {
                if output.is_err() {
                    // The closure may know better.
                    call.record_error(ErrorType::Unknown);
                }
                if let Some(report) = this.report.take() {
                    report(call, output.as_ref());
                }
            },
        )
    }
}

impl<F> fmt::Debug for Observe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").field("call", &self.observed.call).finish_non_exhaustive()
    }
}

impl<F, R> fmt::Debug for ObserveWith<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveWith").field("call", &self.observed.call).finish_non_exhaustive()
    }
}

impl LlmCall {
    /// Records the call around a future whose output implements [`Outcome`], such as `Result<Reply, ApiError>`. The call ends
    /// with the future.
    ///
    /// It works in any runtime, adds no bounds to the future and allocates no box for it. However the future ends, the call is
    /// recorded exactly once: a panic inside it as `panic`; dropped before it is ready, as `cancelled`; when the time limit of
    /// [`with_timeout`](crate::LlmCallBuilder::with_timeout) is over, as `timeout`, at once, even if the future goes on.
    ///
    /// ```
    /// use botticelli_obs::{ClassifyError, LlmCall, LlmResponse};
    ///
    /// async fn observed<T, E>(send: impl Future<Output = Result<T, E>>) -> Result<T, E>
    /// where
    ///     T: LlmResponse,
    ///     E: ClassifyError,
    /// {
    ///     LlmCall::start("gemini", "gemini-2.5-flash").observe(send).await
    /// }
    /// ```
    pub fn observe<F: Future<Output: Outcome>>(self, future: F) -> Observe<F> {
        Observe { future, observed: ObservedCall::new(self) }
    }

    /// Records the call around a future by a closure, for types of other crates, for which the traits of this crate can't be
    /// implemented.
    ///
    /// The closure is called with the result, unless the call has ended by its time limit. An error is recorded as `unknown`
    /// unless the closure records another class. Everything else is as in [`observe`](Self::observe).
    ///
    /// ```
    /// use botticelli_obs::{ErrorType, LlmCall, Usage};
    ///
    /// type Reply = Result<(String, u64), String>;
    ///
    /// async fn observed(send: impl Future<Output = Reply>) -> Reply {
    ///     let call = LlmCall::start("ollama", "llama3.2");
    ///     call.observe_with(send, |call, result| match result {
    ///         Ok((_, tokens)) => call.record_usage(Usage::new(0, *tokens)),
    ///         Err(_) => call.record_error(ErrorType::Network),
    ///     })
    ///     .await
    /// }
    /// ```
    pub fn observe_with<F, T, E, R>(self, future: F, report: R) -> ObserveWith<F, R>
    where
        F: Future<Output = Result<T, E>>,
        R: FnOnce(&mut LlmCall, Result<&T, &E>),
    {
        ObserveWith { future, observed: ObservedCall::new(self), report: Some(report) }
    }

    /// Records the call around a blocking function, which it runs at once on this thread. The call ends with the function.
    ///
    /// A panic is recorded as `panic` and goes on. A function that returns after the time limit of the call is recorded as
    /// `timeout`; its output is returned all the same.
    ///
    /// ```
    /// use botticelli_obs::LlmCall;
    ///
    /// let reply = LlmCall::start("ollama", "llama3.2").observe_sync(|| "to be or not".to_owned());
    /// assert_eq!(reply, "to be or not");
    /// ```
    pub fn observe_sync<T: Outcome>(self, function: impl FnOnce() -> T) -> T {
        let mut observed = ObservedCall::new(self);
        let output = observed.run(function);
        if let Some(call) = observed.call() {
            output.record_in(call);
        }
        observed.finish();
        output
    }
}
