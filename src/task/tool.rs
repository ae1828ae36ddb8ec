//! Calls of tools.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

use tracing::{Span, field};

use super::counts::{Home, RunCounts, ToolCounts};
use super::observe::{self, ClassifyResult, ObserveRun, TaskScope};
use super::run::{Live, Run};
use super::scope::Task;
use crate::call::{Frame, TARGET, is_inert, span};
use crate::error_type::{ClassifyError, ErrorType};

/// One call of a tool, such as a function that a model has asked for or a request to an MCP server: its metrics and its span.
///
/// However it ends, it is recorded exactly once, as an [`LlmTask`](crate::LlmTask) is. It counts for each task around it.
///
/// ```
/// use botticelli_obs::{ErrorType, LlmToolCall};
///
/// async fn search(query: &str) -> Result<Vec<String>, ErrorType> {
///     let call = LlmToolCall::builder("search").with_arguments(query).start();
///     call.observe(async { Ok(vec![format!("{query} was found")]) }).await
/// }
/// ```
///
/// Neither arguments nor results are recorded. A hash of the arguments tells that a tool was called again with the same ones inside a
/// run of a task, which `llm_task_repeated_tool_calls_total` counts: an agent that does so is likely to run in circles.
#[must_use = "a tool call that is dropped is recorded as cancelled: keep it and call `finish` or `fail`"]
pub struct LlmToolCall {
    run: Run,
}

impl LlmToolCall {
    /// Starts a call of a tool. The name becomes a label, so it may hold neither ids nor a user's text.
    pub fn start(tool: impl AsRef<str>) -> Self {
        Self::builder(&tool).start()
    }

    /// Returns a builder, for what else is known of the call before it starts.
    pub fn builder<'a>(tool: &'a (impl AsRef<str> + ?Sized)) -> LlmToolCallBuilder<'a> {
        LlmToolCallBuilder { tool: tool.as_ref(), call_id: None, arguments: None }
    }

    /// Returns the span of the call; a disabled one where no spans are recorded. It ends with the call.
    pub fn span(&self) -> &Span {
        self.run.span()
    }

    /// Records that the call has failed, and why; again replaces what was recorded before.
    pub fn record_error(&mut self, error: impl Into<ErrorType>) {
        self.run.record_error(error.into());
    }

    /// Ends the call: as a success, or with the error that was recorded.
    pub fn finish(mut self) {
        self.run.end();
    }

    /// Ends the call with an error.
    pub fn fail(mut self, error: impl Into<ErrorType>) {
        self.record_error(error);
        self.run.end();
    }

    /// Records the call around a future that returns a `Result`, which runs inside its span. The call ends with the future.
    pub fn observe<T, E, F>(self, future: F) -> ObserveRun<F, ClassifyResult<T, E>>
    where
        E: ClassifyError,
        F: Future<Output = Result<T, E>>,
    {
        ObserveRun::new(self.run, future, observe::error_of)
    }

    /// Records the call around any future, likewise. The closure returns why its output is a failure, or `None` of a success.
    pub fn observe_with<F, C>(self, future: F, classify: C) -> ObserveRun<F, C>
    where
        F: Future,
        C: FnOnce(&F::Output) -> Option<ErrorType>,
    {
        ObserveRun::new(self.run, future, classify)
    }

    /// Records the call around a function that returns a `Result`, likewise.
    pub fn observe_sync<T, E: ClassifyError>(self, function: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.run.observe_sync(function, observe::error_of)
    }

    /// Records the call around any function, likewise. The closure returns why its output is a failure, or `None` of a success.
    pub fn observe_sync_with<T>(
        self,
        function: impl FnOnce() -> T,
        classify: impl FnOnce(&T) -> Option<ErrorType>,
    ) -> T {
        self.run.observe_sync(function, classify)
    }

    /// Runs a future inside the span of this call, and leaves the end of the call to the caller.
    pub fn scope<F: Future>(&self, future: F) -> TaskScope<F> {
        TaskScope::new(future, self.run.span(), self.run.frame())
    }
}

impl fmt::Debug for LlmToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmToolCall").field("run", &self.run).finish()
    }
}

/// Starts an [`LlmToolCall`] of which more is known than the name of the tool.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct LlmToolCallBuilder<'a> {
    tool: &'a str,
    call_id: Option<&'a str>,
    /// Their hash.
    arguments: Option<u64>,
}

impl<'a> LlmToolCallBuilder<'a> {
    /// Sets the id by which the model asked for this call, for the span.
    pub fn with_call_id(mut self, id: &'a str) -> Self {
        self.call_id = Some(id);
        self
    }

    /// Tells the arguments, of which a hash is kept until the run of the task ends. They are equal to those of another call if their
    /// hashes are. Defaults to unknown arguments, which are never equal.
    pub fn with_arguments(mut self, arguments: &(impl Hash + ?Sized)) -> Self {
        let mut hasher = DefaultHasher::new();
        self.tool.hash(&mut hasher);
        arguments.hash(&mut hasher);
        self.arguments = Some(hasher.finish());
        self
    }

    /// Starts the call.
    pub fn start(self) -> LlmToolCall {
        let run = if is_inert() { Run::none() } else { self.start_run() };
        LlmToolCall { run }
    }

    fn start_run(&self) -> Run {
        let task = Frame::current_task();
        let home = Home::current();
        let span = span::open(|| self.span(task.as_deref()));
        if home.is_none() && span.is_disabled() {
            return Run::none();
        }
        let counts = home.map(|home| RunCounts::Tool(ToolCounts::open(home, self.tool, self.arguments)));
        let frame = task.clone().map(Frame::of_task);
        Run::start(Live::new(span, frame, counts, task))
    }

    #[cold]
    fn span(&self, task: Option<&Task>) -> Span {
        let name = span::Name(["execute_tool", self.tool]);
        let ids = task.map(|task| &task.ids);
        tracing::info_span!(
            target: TARGET,
            "llm_tool_call",
            otel.name = %name,
            otel.kind = "internal",
            otel.status_code = field::Empty,
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = self.tool,
            gen_ai.tool.call.id = self.call_id,
            gen_ai.conversation.id = ids.and_then(|ids| ids.conversation.as_deref()),
            gen_ai.agent.name = ids.and_then(|ids| ids.agent.as_deref()),
            error.type = field::Empty,
        )
    }
}
