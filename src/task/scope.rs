//! A task as seen by the calls and tool calls inside it.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::iter;
use std::sync::{Arc, Mutex};

use super::counts::TaskCounts;
use super::observe::TaskScope;
use crate::call::{Frame, span};
use crate::lock::unpoisoned;

/// How many different tool calls of a run are remembered, at 8 bytes each. Further ones are not found to be repeated.
const MAX_REMEMBERED: usize = 4_096;

/// One run of a task, as long as anything inside it may count for it.
pub(crate) struct Task {
    /// The task around it.
    parent: Option<Arc<Self>>,
    /// `None` without a recorder.
    counts: Option<TaskCounts>,
    pub(crate) ids: Ids,
    /// Hashes of the tool calls with arguments.
    tool_calls: Mutex<HashSet<u64>>,
}

/// What spans inside a task have of it.
#[derive(Default)]
pub(crate) struct Ids {
    pub(crate) conversation: Option<Box<str>>,
    pub(crate) agent: Option<Box<str>>,
}

impl Task {
    pub(super) fn new(parent: Option<Arc<Self>>, counts: Option<TaskCounts>, ids: Ids) -> Self {
        Self { parent, counts, ids, tool_calls: Mutex::default() }
    }

    /// Returns the name of the task as it is on labels; `None` without a recorder.
    pub(crate) fn name(&self) -> Option<metrics::SharedString> {
        self.counts.as_ref().map(|counts| counts.name().clone())
    }

    /// Counts a call that has ended for this task and each one around it.
    pub(crate) fn add_call(&self, tokens: u64, nano_usd: Option<u64>) {
        self.each(|_, counts| counts.add_call(tokens, nano_usd));
    }

    /// Counts a tool call that has ended, likewise. `call` is the hash of its name and arguments, if these are known.
    pub(super) fn add_tool_call(&self, call: Option<u64>) {
        self.each(|task, counts| {
            let is_repeated = call.is_some_and(|call| task.is_repeated(call));
            counts.add_tool_call(is_repeated);
        });
    }

    fn is_repeated(&self, call: u64) -> bool {
        let mut known = unpoisoned(self.tool_calls.lock());
        if known.len() < MAX_REMEMBERED { !known.insert(call) } else { known.contains(&call) }
    }

    fn each(&self, count: impl Fn(&Self, &TaskCounts)) {
        for task in iter::successors(Some(self), |task| task.parent.as_deref()) {
            if let Some(counts) = &task.counts {
                count(task, counts);
            }
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}

/// The innermost task around some code. Returned by [`LlmTask::current`](crate::LlmTask::current).
///
/// It is cheap to clone, and takes work that is spawned into the task:
///
/// ```
/// use botticelli_obs::LlmTask;
///
/// async fn spawn_inside(work: impl Future<Output = ()> + Send + 'static) {
///     match LlmTask::current() {
///         Some(task) => drop(tokio::spawn(task.scope(work))),
///         None => drop(tokio::spawn(work)),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct CurrentTask {
    task: Arc<Task>,
    span: tracing::Span,
}

impl CurrentTask {
    pub(super) fn find() -> Option<Self> {
        let task = Frame::current_task()?;
        Some(Self { task, span: span::contained(tracing::Span::current).unwrap_or_else(tracing::Span::none) })
    }

    /// Runs a future inside the task, and inside the span that was current where this handle was made. Calls that end after the run
    /// still count for the task.
    pub fn scope<F: Future>(&self, future: F) -> TaskScope<F> {
        TaskScope::new(future, &self.span, Some(Frame::of_task_alone(Arc::clone(&self.task))))
    }

    /// Runs a function inside the task, likewise.
    pub fn scope_sync<T>(&self, function: impl FnOnce() -> T) -> T {
        let _span = span::enter(&self.span);
        let frame = Frame::of_task_alone(Arc::clone(&self.task));
        let _frame = frame.enter();
        function()
    }
}

impl fmt::Debug for CurrentTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentTask").finish_non_exhaustive()
    }
}
