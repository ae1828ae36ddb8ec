//! What is known of a task before it starts.

use std::sync::Arc;

use tracing::{Span, field};

use super::LlmTask;
use super::counts::{Home, RunCounts, TaskCounts};
use super::run::{Live, Run};
use super::scope::{Ids, Task};
use crate::call::{Frame, TARGET, is_inert, span};

/// The kind of a task that is told no other.
const TASK: &str = "task";

/// Starts an [`LlmTask`] of which more is known than its name.
///
/// ```
/// use botticelli_obs::LlmTask;
///
/// let chat = LlmTask::builder("support_agent").with_kind("agent").with_conversation_id("conv_5j66UpCpwteGg4YSxUnt7lPY").start();
/// chat.finish();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `start` is called"]
pub struct LlmTaskBuilder<'a> {
    name: &'a str,
    kind: &'a str,
    conversation_id: Option<&'a str>,
    run_id: Option<&'a str>,
    is_workflow: bool,
}

impl<'a> LlmTaskBuilder<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        Self { name, kind: TASK, conversation_id: None, run_id: None, is_workflow: false }
    }

    /// Sets the kind of the task, such as `bot`, `narrative` or `stage`: a label by which dashboards group tasks. At most 16 kinds are
    /// kept apart, further ones are recorded as `other`. Defaults to `task`.
    pub fn with_kind(mut self, kind: &'a str) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the id of the conversation, for the span of the task and the spans of the calls and tool calls inside it. It is on no
    /// metric. Defaults to that of the task around.
    pub fn with_conversation_id(mut self, id: &'a str) -> Self {
        self.conversation_id = Some(id);
        self
    }

    /// Sets an id of this run, for its span alone.
    pub fn with_run_id(mut self, id: &'a str) -> Self {
        self.run_id = Some(id);
        self
    }

    /// Makes it a workflow, whose steps the program decides. Its span is `invoke_workflow` instead of `invoke_agent`, and calls inside
    /// have the agent of the task around it, if any. Defaults to an agent.
    pub fn as_workflow(mut self) -> Self {
        self.is_workflow = true;
        self
    }

    /// Starts the run.
    pub fn start(self) -> LlmTask {
        let run = if is_inert() { Run::none() } else { self.start_run() };
        LlmTask { run }
    }

    fn start_run(&self) -> Run {
        let parent = Frame::current_task();
        let home = Home::current();
        let span = span::open(|| self.span(parent.as_deref()));
        if home.is_none() && span.is_disabled() {
            return Run::none();
        }
        let counts = home.map(|home| TaskCounts::open(home, self.name, self.kind, parent.is_some()));
        let ids = Ids {
            conversation: self.conversation_id.map(Into::into).or_else(|| parent.as_ref()?.ids.conversation.clone()),
            agent: match self.is_workflow {
                true => parent.as_ref().and_then(|parent| parent.ids.agent.clone()),
                false => Some(self.name.into()),
            },
        };
        let (run, counts) = counts.unzip();
        let task = Arc::new(Task::new(parent, counts, ids));
        let frame = Frame::of_task(Arc::clone(&task));
        Run::start(Live::new(span, Some(frame), run.map(RunCounts::Task), task.into()))
    }

    #[cold]
    fn span(&self, parent: Option<&Task>) -> Span {
        let operation = if self.is_workflow { "invoke_workflow" } else { "invoke_agent" };
        let name = span::Name([operation, self.name]);
        let around = parent.and_then(|parent| parent.ids.conversation.as_deref());
        tracing::info_span!(
            target: TARGET,
            "llm_task",
            otel.name = %name,
            otel.kind = "internal",
            otel.status_code = field::Empty,
            gen_ai.operation.name = operation,
            gen_ai.agent.name = (!self.is_workflow).then_some(self.name),
            gen_ai.workflow.name = self.is_workflow.then_some(self.name),
            gen_ai.conversation.id = self.conversation_id.or(around),
            openinference.span.kind = self.is_workflow.then_some("CHAIN"),
            botticelli.task.kind = self.kind,
            botticelli.run.id = self.run_id,
            error.type = field::Empty,
        )
    }
}
