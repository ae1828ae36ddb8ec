//! The series of tasks and tools with whichever recorder is current.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Recorder, SharedString};

use crate::catalog::{self, METADATA, Metric};
use crate::current::{self, Current, Own};
use crate::error_type::ErrorType;
use crate::label::clean_value;
use crate::series::unix_time;

/// The recorder with which the series of a task are registered, now and later.
#[derive(Clone)]
pub(super) enum Home {
    /// The process' own, which is never dropped.
    Lasting(&'static Own),
    Shared(Arc<Own>),
    /// One of another crate: only a reference to it, so it is the one that is current whenever something is registered.
    Foreign,
}

impl Home {
    /// Returns the recorder that is current now; `None` without one.
    pub(super) fn current() -> Option<Self> {
        if let Some(own) = current::global() {
            return (!own.is_closed()).then_some(Self::Lasting(own));
        }
        current::with_current(|current| match current {
            Current::Own(own) => Some(Self::Shared(own)),
            Current::Foreign(_) => Some(Self::Foreign),
            Current::None => None,
        })
    }

    fn own(&self) -> Option<&Own> {
        match self {
            Self::Lasting(own) => Some(own),
            Self::Shared(own) => Some(own),
            Self::Foreign => None,
        }
    }

    fn with<T>(&self, register: impl FnOnce(&dyn Recorder) -> T) -> T {
        match self.own() {
            Some(own) => register(own.recorder()),
            None => metrics::with_recorder(register),
        }
    }

    fn counter(&self, key: &Key) -> Counter {
        self.with(|recorder| recorder.register_counter(key, &METADATA))
    }

    fn histogram(&self, key: &Key) -> Histogram {
        self.with(|recorder| recorder.register_histogram(key, &METADATA))
    }

    fn gauge(&self, key: &Key) -> Gauge {
        self.with(|recorder| recorder.register_gauge(key, &METADATA))
    }
}

/// A label value of a recorder that bounds them itself.
fn unbounded(name: &str) -> SharedString {
    SharedString::from(clean_value(name.trim()).into_owned())
}

/// What is counted at the start and at the end of a run.
pub(super) enum RunCounts {
    Task(TaskRun),
    Tool(ToolCounts),
}

impl RunCounts {
    pub(super) fn start(&self) {
        match self {
            Self::Task(task) => task.in_flight.increment(1.0),
            Self::Tool(_) => {}
        }
    }

    pub(super) fn end(&self, elapsed: Duration, error: Option<ErrorType>) {
        match self {
            Self::Task(task) => task.end(elapsed, error),
            Self::Tool(tool) => tool.end(elapsed, error),
        }
    }
}

/// The series of the runs of a task.
pub(super) struct TaskRun {
    home: Home,
    /// Task, kind, nested.
    labels: [SharedString; 3],
    runs: Counter,
    durations: Histogram,
    in_flight: Gauge,
}

impl TaskRun {
    fn end(&self, elapsed: Duration, error: Option<ErrorType>) {
        self.runs.increment(1);
        self.durations.record(elapsed);
        let [task, kind, nested] = self.labels.clone();
        match error {
            Some(error) => {
                let error = SharedString::const_str(error.as_str());
                self.home.counter(&catalog::TASK_ERRORS.key([task, kind, nested, error])).increment(1);
            }
            None => self.home.gauge(&catalog::TASK_LAST_SUCCESS.key([task, kind, nested])).set(unix_time()),
        }
        self.in_flight.decrement(1.0);
    }
}

/// The series of what is done inside a task.
pub(super) struct TaskCounts {
    home: Home,
    labels: [SharedString; 3],
    calls: Counter,
    tokens: Counter,
    tool_calls: Counter,
    cost: OnceLock<Counter>,
    repeated: OnceLock<Counter>,
}

impl TaskCounts {
    /// Returns the task as it is on labels.
    pub(super) fn name(&self) -> &SharedString {
        &self.labels[0]
    }

    /// Registers the series of a task, so that readers get them from its start.
    pub(super) fn open(home: Home, task: &str, kind: &str, is_nested: bool) -> (TaskRun, Self) {
        let [task, kind] = match home.own() {
            Some(own) => own.task_labels(task, kind),
            None => [task, kind].map(unbounded),
        };
        let labels = [task, kind, SharedString::const_str(if is_nested { "true" } else { "false" })];
        let counter = |metric: Metric| {
            let counter = home.counter(&metric.key(labels.clone()));
            counter.increment(0);
            counter
        };
        let counts = Self {
            calls: counter(catalog::TASK_CALLS),
            tokens: counter(catalog::TASK_TOKENS),
            tool_calls: counter(catalog::TASK_TOOL_CALLS),
            cost: if crate::cost::are_prices_on() { counter(catalog::TASK_COST).into() } else { OnceLock::new() },
            repeated: OnceLock::new(),
            home: home.clone(),
            labels: labels.clone(),
        };
        let run = TaskRun {
            runs: counter(catalog::TASK_RUNS),
            durations: home.histogram(&catalog::TASK_DURATION.key(labels.clone())),
            in_flight: home.gauge(&catalog::TASK_IN_FLIGHT.key(labels.clone())),
            home,
            labels,
        };
        (run, counts)
    }

    pub(super) fn add_call(&self, tokens: u64, nano_usd: Option<u64>) {
        self.calls.increment(1);
        if tokens > 0 {
            self.tokens.increment(tokens);
        }
        if let Some(nano_usd) = nano_usd {
            self.later(&self.cost, &catalog::TASK_COST).increment(nano_usd);
        }
    }

    pub(super) fn add_tool_call(&self, is_repeated: bool) {
        self.tool_calls.increment(1);
        if is_repeated {
            self.later(&self.repeated, &catalog::TASK_REPEATED_TOOL_CALLS).increment(1);
        }
    }

    fn later<'a>(&self, cell: &'a OnceLock<Counter>, metric: &Metric) -> &'a Counter {
        match cell.get() {
            Some(counter) => counter,
            None => {
                // Before the cell is touched: a recorder may record something itself.
                let counter = self.home.counter(&metric.key(self.labels.clone()));
                cell.get_or_init(|| counter)
            }
        }
    }
}

/// The series of a tool.
pub(super) struct ToolCounts {
    home: Home,
    tool: SharedString,
    calls: Counter,
    durations: Histogram,
    /// The hash of tool and arguments.
    pub(super) call: Option<u64>,
}

impl ToolCounts {
    pub(super) fn open(home: Home, tool: &str, call: Option<u64>) -> Self {
        let tool = match home.own() {
            Some(own) => own.tool_label(tool),
            None => unbounded(tool),
        };
        let calls = home.counter(&catalog::TOOL_CALLS.key([tool.clone()]));
        calls.increment(0);
        let durations = home.histogram(&catalog::TOOL_DURATION.key([tool.clone()]));
        Self { home, calls, durations, tool, call }
    }

    fn end(&self, elapsed: Duration, error: Option<ErrorType>) {
        self.calls.increment(1);
        self.durations.record(elapsed);
        if let Some(error) = error {
            let error = SharedString::const_str(error.as_str());
            self.home.counter(&catalog::TOOL_ERRORS.key([self.tool.clone(), error])).increment(1);
        }
    }
}
