//! Futures that run inside a task or a tool call.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tracing::Span;

use super::run::Run;
use crate::call::{Frame, span};
use crate::error_type::{ClassifyError, ErrorType};

pin_project! {
    /// A future that records a run of a task, or a tool call, around another future. Created by [`LlmTask::observe`](crate::LlmTask::observe),
    /// [`LlmToolCall::observe`](crate::LlmToolCall::observe) and their forms with a closure.
    ///
    /// The run ends when the future is ready; a future dropped before that is recorded as `cancelled`.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct ObserveRun<F, C> {
        // Declared before the run, and so dropped before it: what is inside ends first.
        #[pin]
        future: F,
        // `None` after the end.
        run: Option<Run>,
        classify: Option<C>,
    }
}

impl<F, C> ObserveRun<F, C> {
    pub(super) fn new(run: Run, future: F, classify: C) -> Self {
        Self { future, run: Some(run), classify: Some(classify) }
    }
}

/// Returns why a result is a failure: the classifier of a run around a future that returns a `Result`.
pub type ClassifyResult<T, E> = fn(&Result<T, E>) -> Option<ErrorType>;

/// Returns the class of an error.
pub(super) fn error_of<T, E: ClassifyError>(result: &Result<T, E>) -> Option<ErrorType> {
    result.as_ref().err().map(E::error_type)
}

impl<F: Future, C: FnOnce(&F::Output) -> Option<ErrorType>> Future for ObserveRun<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let guard = PanicGuard(this.run);
        let output = {
            let _inside = guard.0.as_ref().map(Run::enter);
            this.future.poll(cx)
        };
        mem::forget(guard);
        let output = ready!(output);
        if let Some(mut run) = this.run.take() {
            if let Some(error) = this.classify.take().and_then(|classify| classify(&output)) {
                run.record_error(error);
            }
            run.end();
        }
        Poll::Ready(output)
    }
}

/// Records a panic when it is dropped; forgotten if there was none. The drop of the run may be too late: whoever catches the panic
/// drops the future afterwards.
struct PanicGuard<'a>(&'a mut Option<Run>);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if let Some(run) = self.0 {
            run.record_error(ErrorType::Panic);
        }
    }
}

impl<F, C> fmt::Debug for ObserveRun<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveRun").field("run", &self.run).finish_non_exhaustive()
    }
}

pin_project! {
    /// A future that runs inside a task or a tool call. Created by [`LlmTask::scope`](crate::LlmTask::scope),
    /// [`CurrentTask::scope`](crate::CurrentTask::scope) and [`LlmToolCall::scope`](crate::LlmToolCall::scope).
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct TaskScope<F> {
        #[pin]
        future: F,
        span: Span,
        // `None` where nothing is recorded.
        frame: Option<Arc<Frame>>,
    }
}

impl<F> TaskScope<F> {
    pub(super) fn new(future: F, span: &Span, frame: Option<Arc<Frame>>) -> Self {
        let span = span::contained(|| span.clone()).unwrap_or_else(Span::none);
        Self { future, span, frame }
    }
}

impl<F: Future> Future for TaskScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _span = span::enter(this.span);
        let _frame = this.frame.as_ref().map(Frame::enter);
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for TaskScope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskScope").finish_non_exhaustive()
    }
}
