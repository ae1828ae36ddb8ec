//! What runs of tasks and tool calls have in common: a start, an inside, and exactly one end.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tracing::Span;

use super::counts::RunCounts;
use super::scope::Task;
use crate::call::{Frame, FrameGuard, span};
use crate::error_type::ErrorType;

/// A run of a task, or a tool call.
pub(super) struct Run {
    /// `None` where nothing is recorded, and after the end.
    live: Option<Box<Live>>,
}

pub(super) struct Live {
    span: Span,
    /// What makes code run inside the task.
    frame: Option<Arc<Frame>>,
    /// `None` without a recorder.
    counts: Option<RunCounts>,
    /// The task itself, or the one around a tool call.
    task: Option<Arc<Task>>,
    started: Instant,
    error: Option<ErrorType>,
    /// Whether it was started by a destructor that a panic runs.
    unwinding: bool,
}

impl Live {
    pub(super) fn new(
        span: Span,
        frame: Option<Arc<Frame>>,
        counts: Option<RunCounts>,
        task: Option<Arc<Task>>,
    ) -> Self {
        let unwinding = std::thread::panicking();
        Self { span, frame, counts, task, started: Instant::now(), error: None, unwinding }
    }

    fn end(self) {
        let elapsed = self.started.elapsed();
        if !self.span.is_disabled() {
            span::end_run(self.span, self.error);
        }
        if let Some(counts) = &self.counts {
            counts.end(elapsed, self.error);
        }
        if let (Some(RunCounts::Tool(tool)), Some(task)) = (&self.counts, &self.task) {
            task.add_tool_call(tool.call);
        }
    }
}

impl Run {
    /// A run of which nothing is recorded.
    pub(super) fn none() -> Self {
        Self { live: None }
    }

    pub(super) fn start(live: Live) -> Self {
        let run = Self { live: Some(Box::new(live)) };
        // Last: what is in flight has an end, also if a recorder panics now.
        if let Some(counts) = run.live.as_ref().and_then(|live| live.counts.as_ref()) {
            counts.start();
        }
        run
    }

    pub(super) fn span(&self) -> &Span {
        static NONE: Span = Span::none();
        self.live.as_ref().map_or(&NONE, |live| &live.span)
    }

    pub(super) fn frame(&self) -> Option<Arc<Frame>> {
        self.live.as_ref()?.frame.clone()
    }

    pub(super) fn record_error(&mut self, error: ErrorType) {
        if let Some(live) = &mut self.live {
            live.error = Some(error);
        }
    }

    /// Makes the current code run inside, until the guard is dropped.
    pub(super) fn enter(&self) -> Inside<'_> {
        let _span = span::enter(self.span());
        let _frame = self.live.as_ref().and_then(|live| live.frame.as_ref()).map(Frame::enter);
        Inside { _frame, _span }
    }

    /// Ends the run with what was recorded.
    pub(super) fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.end();
        }
    }

    pub(super) fn observe_sync<T>(
        mut self,
        function: impl FnOnce() -> T,
        classify: impl FnOnce(&T) -> Option<ErrorType>,
    ) -> T {
        // A panic is told by the drop of the run.
        let output = {
            let _inside = self.enter();
            function()
        };
        if let Some(error) = classify(&output) {
            self.record_error(error);
        }
        self.end();
        output
    }
}

/// Leaves the run when it is dropped: first the task, then the span.
#[must_use]
pub(super) struct Inside<'a> {
    _frame: Option<FrameGuard>,
    _span: Option<span::Inside<'a>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let Some(mut live) = self.live.take() else { return };
        if live.error.is_none() {
            let is_panic = std::thread::panicking() && !live.unwinding;
            live.error = Some(if is_panic { ErrorType::Panic } else { ErrorType::Cancelled });
        }
        // A recorder that panics while the thread unwinds would abort the process.
        span::contained(|| live.end());
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.live.as_ref().map(|live| live.error);
        f.debug_struct("Run").field("error", &error).finish_non_exhaustive()
    }
}
