//! What calls are made for: tasks, and the tools that are called inside them.

mod builder;
mod counts;
mod observe;
mod run;
mod scope;
mod tool;

use std::fmt;
use std::future::Future;

use tracing::Span;

use crate::error_type::{ClassifyError, ErrorType};
pub use builder::LlmTaskBuilder;
pub use observe::{ClassifyResult, ObserveRun, TaskScope};
use run::Run;
pub use scope::CurrentTask;
pub(crate) use scope::Task;
pub use tool::{LlmToolCall, LlmToolCallBuilder};

/// One run of a task: a bot, an agent, a narrative, a stage of a pipeline, from start to end. It has metrics and a span of its own,
/// and every call and tool call inside it counts for it.
///
/// However the run ends, it is recorded exactly once: [`finish`](Self::finish), [`fail`](Self::fail), or dropped, which counts as
/// `error_type="cancelled"`, or as `"panic"` while the thread unwinds. It belongs to the recorder and the subscriber that were current
/// at its start; with neither it does nothing.
///
/// ```
/// use botticelli_obs::{ErrorType, LlmCall, LlmTask, Usage};
///
/// async fn post() -> Result<(), ErrorType> {
///     let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
///     call.record_usage(Usage::new(12, 30));
///     call.finish(); // counts for the task as well as for the model
///     Ok(())
/// }
///
/// async fn run() -> Result<(), ErrorType> {
///     LlmTask::builder("content_generator").with_kind("bot").start().observe(post()).await
/// }
/// ```
///
/// # What is inside
///
/// Code inside [`observe`](Self::observe) and [`scope`](Self::scope) is inside the task, and so are the calls, tool calls and tasks that
/// it starts. What it spawns is not, unless [`CurrentTask::scope`] takes it in.
///
/// A call counts for each task around it. Metrics of a task that runs inside another one have the label `nested="true"`, so that a sum
/// over `nested="false"` has each call once. `llm_cost_usd_total` less that sum is what was spent outside of tasks.
#[must_use = "a task that is dropped is recorded as cancelled: keep it and call `finish` or `fail`"]
pub struct LlmTask {
    run: Run,
}

impl LlmTask {
    /// Starts a run of a task of the kind `task`. The name becomes a label, so it may hold neither ids nor a user's text.
    pub fn start(name: impl AsRef<str>) -> Self {
        Self::builder(&name).start()
    }

    /// Returns a builder, for what else is known of the task before it starts.
    pub fn builder<'a>(name: &'a (impl AsRef<str> + ?Sized)) -> LlmTaskBuilder<'a> {
        LlmTaskBuilder::new(name.as_ref())
    }

    /// Returns the innermost task in which this code runs. `None` outside of tasks, where nothing is installed, and in tasks of the
    /// runtime and threads that the code has spawned: hand the [`CurrentTask`] over to them.
    pub fn current() -> Option<CurrentTask> {
        CurrentTask::find()
    }

    /// Returns the span of the run; a disabled one where no spans are recorded. It ends with the run.
    pub fn span(&self) -> &Span {
        self.run.span()
    }

    /// Records that the run has failed, and why; again replaces what was recorded before.
    pub fn record_error(&mut self, error: impl Into<ErrorType>) {
        self.run.record_error(error.into());
    }

    /// Ends the run: as a success, or with the error that was recorded.
    pub fn finish(mut self) {
        self.run.end();
    }

    /// Ends the run with an error.
    pub fn fail(mut self, error: impl Into<ErrorType>) {
        self.record_error(error);
        self.run.end();
    }

    /// Records the run around a future that returns a `Result`, which runs inside the task. The run ends with the future.
    ///
    /// A panic inside is recorded as `panic`, and a future that is dropped before it is ready as `cancelled`.
    pub fn observe<T, E, F>(self, future: F) -> ObserveRun<F, ClassifyResult<T, E>>
    where
        E: ClassifyError,
        F: Future<Output = Result<T, E>>,
    {
        ObserveRun::new(self.run, future, observe::error_of)
    }

    /// Records the run around any future, likewise. The closure returns why its output is a failure, or `None` of a success.
    ///
    /// ```
    /// use botticelli_obs::{ErrorType, LlmTask};
    ///
    /// async fn publish(posts: impl Future<Output = Vec<String>>) -> Vec<String> {
    ///     let task = LlmTask::start("publisher");
    ///     task.observe_with(posts, |posts| posts.is_empty().then_some(ErrorType::Unknown)).await
    /// }
    /// ```
    pub fn observe_with<F, C>(self, future: F, classify: C) -> ObserveRun<F, C>
    where
        F: Future,
        C: FnOnce(&F::Output) -> Option<ErrorType>,
    {
        ObserveRun::new(self.run, future, classify)
    }

    /// Records the run around a function that returns a `Result`, likewise.
    ///
    /// ```
    /// use botticelli_obs::{ErrorType, LlmTask};
    ///
    /// let posts = LlmTask::start("curator").observe_sync(|| Ok::<_, ErrorType>(3));
    /// assert_eq!(posts, Ok(3));
    /// ```
    pub fn observe_sync<T, E: ClassifyError>(self, function: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.run.observe_sync(function, observe::error_of)
    }

    /// Records the run around any function, likewise. The closure returns why its output is a failure, or `None` of a success.
    pub fn observe_sync_with<T>(
        self,
        function: impl FnOnce() -> T,
        classify: impl FnOnce(&T) -> Option<ErrorType>,
    ) -> T {
        self.run.observe_sync(function, classify)
    }

    /// Runs a future inside this task and its span, and leaves the end of the run to the caller.
    pub fn scope<F: Future>(&self, future: F) -> TaskScope<F> {
        TaskScope::new(future, self.run.span(), self.run.frame())
    }

    /// Runs a function inside this task and its span, likewise.
    pub fn scope_sync<T>(&self, function: impl FnOnce() -> T) -> T {
        let _inside = self.run.enter();
        function()
    }
}

impl fmt::Debug for LlmTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmTask").field("run", &self.run).finish()
    }
}
