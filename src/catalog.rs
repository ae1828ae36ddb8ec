//! The table of all metrics of this crate. No other file has their names.

#[cfg(feature = "install")]
pub(crate) mod genai;

use metrics::{Key, Label, Level, Metadata, SharedString};
#[cfg(feature = "install")]
use metrics::{KeyName, Recorder, Unit};

#[cfg(feature = "install")]
pub use genai::GenAiMetrics;

/// The metadata of every metric that this crate registers.
pub(crate) static METADATA: Metadata<'static> = Metadata::new("botticelli_obs", Level::INFO, Some("botticelli_obs"));

/// The kind of a metric on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only increases; `u64`.
    Counter,
    /// A number that can increase and decrease; `f64`.
    Gauge,
    /// A distribution in fixed buckets; `f64`.
    Histogram,
}

impl MetricKind {
    /// Returns the word that the Prometheus text format has in `# TYPE` lines, such as `counter`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// Returns how the names of a family's samples end, and the one that OpenMetrics keeps for the time when a histogram was made.
    #[cfg(feature = "install")]
    pub(crate) const fn sample_suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter | Self::Gauge => &[""],
            Self::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
        }
    }
}

/// What a program may rely on when it queries a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stability {
    /// Its name, kind, unit and labels change only after a release that has both the old and the new metric.
    Stable,
    /// It may change in any minor release; CHANGELOG.md lists the change.
    Experimental,
}

impl Stability {
    /// Returns the word in the README's table: `stable` or `experimental`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Experimental => "experimental",
        }
    }
}

/// Describes one metric of [`METRICS`].
///
/// ```
/// use botticelli_obs::{METRICS, MetricKind};
///
/// let duration = METRICS.iter().find(|metric| metric.name == "llm.duration").unwrap();
/// assert_eq!((duration.prometheus, duration.unit), ("llm_duration", "s"));
/// assert_eq!((duration.kind, duration.labels), (MetricKind::Histogram, &["provider", "model"][..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name in code, such as `llm.requests`.
    pub name: &'static str,
    /// The name of the family on the page, such as `llm_requests_total`.
    pub prometheus: &'static str,
    /// The kind: counter, gauge or histogram.
    pub kind: MetricKind,
    /// Whether it may change between releases.
    pub stability: Stability,
    /// The unit of its values: `s` for seconds, `By` for bytes, empty for a plain count.
    pub unit: &'static str,
    /// The label names, in order.
    pub labels: &'static [&'static str],
    /// The upper bounds of a histogram's buckets, ascending, without infinity; empty for other kinds.
    pub buckets: &'static [f64],
    /// What is counted or measured, in one sentence; the `# HELP` text.
    pub description: &'static str,
}

impl Metric {
    /// Describes the metric to a recorder, with the unit only if the family's name ends with it.
    ///
    /// `llm.duration` is in seconds, but its family is called `llm_duration`: a recorder that knew the unit would append it.
    #[cfg(feature = "install")]
    pub(crate) fn describe(&self, recorder: &dyn Recorder) {
        let name = KeyName::from_const_str(self.whole_number_name());
        let description = match self.whole_number_name() == self.name {
            true => SharedString::const_str(self.description),
            false => SharedString::from(format!("{} In billionths of a dollar.", self.description)),
        };
        let unit = self.prometheus.ends_with("_seconds").then_some(Unit::Seconds);
        match self.kind {
            MetricKind::Counter => recorder.describe_counter(name, unit, description),
            MetricKind::Gauge => recorder.describe_gauge(name, unit, description),
            MetricKind::Histogram => recorder.describe_histogram(name, unit, description),
        }
    }

    /// Returns the name under which a counter is recorded as `metrics` has them, in whole numbers: billionths of a dollar.
    pub(crate) const fn whole_number_name(&self) -> &'static str {
        match self.name.as_bytes() {
            b"llm.cost" => "llm.cost.nano_usd",
            b"llm.task.cost" => "llm.task.cost.nano_usd",
            _ => self.name,
        }
    }

    /// Returns the name of its family on a page of whole numbers.
    #[cfg(feature = "install")]
    pub(crate) const fn whole_number_family(&self) -> &'static str {
        match self.name.as_bytes() {
            b"llm.cost" => "llm_cost_nano_usd_total",
            b"llm.task.cost" => "llm_task_cost_nano_usd_total",
            _ => self.prometheus,
        }
    }

    /// Returns the key of the series with these label values, which are in the order of [`labels`](Self::labels), for any recorder.
    pub(crate) fn key<const N: usize>(&self, values: [SharedString; N]) -> Key {
        let labels = self.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value));
        Key::from_parts(self.whole_number_name(), labels.collect::<Vec<_>>())
    }

    /// Returns how many decimals a counter has: 6 if it counts seconds, 9 if it counts US dollars, else 0.
    #[cfg(feature = "install")]
    pub(crate) fn decimals(&self) -> u8 {
        match (self.kind, self.unit) {
            (MetricKind::Counter, "s") => 6,
            (MetricKind::Counter, "USD") => 9,
            _ => 0,
        }
    }

    /// Whether its values are read from the system when a snapshot is taken.
    #[cfg(feature = "install")]
    pub(crate) fn is_of_process(&self) -> bool {
        self.name.starts_with("process.")
    }

    /// Whether it is one of tasks or tools.
    #[cfg(feature = "install")]
    pub(crate) fn is_of_tasks(&self) -> bool {
        self.name.starts_with("llm.task.") || self.name.starts_with("llm.tool.")
    }

    /// Whether it has series for each provider and model.
    #[cfg(feature = "install")]
    pub(crate) fn is_per_model(&self) -> bool {
        self.labels.starts_with(PAIR)
    }
}

/// Finds a metric by its name in code, or by that of its whole numbers.
#[cfg(feature = "install")]
pub(crate) fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name || metric.whole_number_name() == name)
}

/// Returns the index of a metric in [`METRICS`].
#[cfg(feature = "install")]
pub(crate) fn place(metric: &Metric) -> usize {
    METRICS.iter().position(|known| known.name == metric.name).unwrap_or_default()
}

const PAIR: &[&str] = &["provider", "model"];

const TASK: &[&str] = &["task", "kind", "nested"];

/// From a tenth of a second to two hours: a task makes one call or hundreds.
const TASK_DURATIONS: &[f64] =
    &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];

/// Bucket bounds of the OpenTelemetry GenAI conventions v1.41.1, and three more doublings, since a call may take ten minutes.
const DURATIONS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36];

/// The same bounds and two smaller ones, since fast models send a chunk every few milliseconds.
const GAPS: &[f64] = &[
    0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];

/// Bucket bounds of the histograms that are not in this table and have no configured ones: three per decade, from 0.001 to 10,000.
#[cfg(feature = "install")]
pub(crate) const DEFAULT_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0, 2500.0, 5000.0, 10000.0,
];

macro_rules! catalog {
    ($($(#[doc = $description:literal])+ $(#[cfg($condition:meta)])? $id:ident: $stability:ident $kind:ident $name:literal = $prometheus:literal $unit:literal $labels:expr, $buckets:expr;)+) => {
        $($(#[cfg($condition)])? pub(crate) const $id: Metric = Metric {
            name: $name,
            prometheus: $prometheus,
            kind: MetricKind::$kind,
            stability: Stability::$stability,
            unit: $unit,
            labels: $labels,
            buckets: $buckets,
            description: concat!($($description),+).trim_ascii_start(),
        };)+

        /// All metrics of this crate, in the order of the README's table. The metrics of the process need the feature `process`.
        pub const METRICS: &[Metric] = &[$($(#[cfg($condition)])? $id),+];
    };
}

catalog! {
    /// Logical LLM calls that ended, whatever the outcome.
    REQUESTS: Stable Counter "llm.requests" = "llm_requests_total" "" PAIR, &[];
    /// Logical LLM calls that did not succeed.
    ERRORS: Stable Counter "llm.errors" = "llm_errors_total" "" &["provider", "model", "error_type"], &[];
    /// Time from the start of a logical call to its end, every outcome, in seconds.
    DURATION: Stable Histogram "llm.duration" = "llm_duration" "s" PAIR, DURATIONS;
    /// All tokens: prompt and completion.
    TOKENS: Stable Counter "llm.tokens" = "llm_tokens_total" "" PAIR, &[];
    /// Prompt tokens, those read from or written to a cache included.
    TOKENS_PROMPT: Stable Counter "llm.tokens.prompt" = "llm_tokens_prompt_total" "" PAIR, &[];
    /// Completion tokens, reasoning included.
    TOKENS_COMPLETION: Stable Counter "llm.tokens.completion" = "llm_tokens_completion_total" "" PAIR, &[];
    /// Logical calls that have started and not ended.
    IN_FLIGHT: Stable Gauge "llm.in_flight" = "llm_in_flight" "" PAIR, &[];
    /// Time from the start of a streamed call to its first chunk.
    FIRST_CHUNK: Stable Histogram "llm.time_to_first_chunk" = "llm_time_to_first_chunk_seconds" "s" PAIR, DURATIONS;
    /// Time between two chunks of a stream.
    CHUNK_GAP: Stable Histogram "llm.time_per_output_chunk" = "llm_time_per_output_chunk_seconds" "s" PAIR, GAPS;
    /// Prompt tokens that were read from a cache; part of the prompt tokens.
    TOKENS_CACHE_READ: Stable Counter "llm.tokens.cache_read" = "llm_tokens_cache_read_total" "" PAIR, &[];
    /// Prompt tokens that were written to a cache; part of the prompt tokens.
    TOKENS_CACHE_WRITE: Stable Counter "llm.tokens.cache_write" = "llm_tokens_cache_write_total" "" PAIR, &[];
    /// Completion tokens spent on reasoning; part of the completion tokens.
    TOKENS_REASONING: Stable Counter "llm.tokens.reasoning" = "llm_tokens_reasoning_total" "" PAIR, &[];
    /// Calls that succeeded without telling how many tokens they used.
    USAGE_MISSING: Stable Counter "llm.usage.missing" = "llm_usage_missing_total" "" PAIR, &[];
    /// Why generation stopped, one for each finished choice.
    FINISH: Stable Counter "llm.finish" = "llm_finish_total" "" &["provider", "model", "finish_reason"], &[];
    /// Unix time of the last call that succeeded.
    LAST_SUCCESS: Stable Gauge "llm.last_success_timestamp" = "llm_last_success_timestamp_seconds" "s" PAIR, &[];
    /// Requests that were sent for calls, retries included, where the client records them.
    ATTEMPTS: Experimental Counter "llm.attempts" = "llm_attempts_total" "" PAIR, &[];
    /// Requests that did not succeed.
    ATTEMPT_ERRORS: Experimental Counter "llm.attempt.errors" = "llm_attempt_errors_total" "" &["provider", "model", "error_type"], &[];
    /// Time of one request, from its first byte out to its last byte in.
    ATTEMPT_DURATION: Experimental Histogram "llm.attempt.duration" = "llm_attempt_duration_seconds" "s" PAIR, DURATIONS;
    /// Time that a call waited on this side, such as for a limiter or between retries; one sample for each call that waited.
    WAIT: Experimental Histogram "llm.wait" = "llm_wait_seconds" "s" PAIR, DURATIONS;
    /// The rate limit that the provider stated in its last answer.
    RATE_LIMIT: Experimental Gauge "llm.ratelimit.limit" = "llm_ratelimit_limit" "" &["provider", "model", "kind"], &[];
    /// What remains of the rate limit, as the provider stated in its last answer.
    RATE_LIMIT_REMAINING: Experimental Gauge "llm.ratelimit.remaining" = "llm_ratelimit_remaining" "" &["provider", "model", "kind"], &[];
    /// What calls have cost in US dollars, as far as it is known.
    COST: Experimental Counter "llm.cost" = "llm_cost_usd_total" "USD" &["provider", "model", "outcome"], &[];
    /// Calls whose cost was looked up, by where it came from; `missing` and `partial` are not in the cost, or not whole.
    COST_LOOKUPS: Experimental Counter "llm.cost.lookups" = "llm_cost_lookups_total" "" &["provider", "model", "status"], &[];
    /// The price of a million tokens in US dollars, when a call was last priced.
    PRICE: Experimental Gauge "llm.price" = "llm_price_usd_per_million_tokens" "" &["provider", "model", "kind"], &[];
    /// What a budget allows in a day, in US dollars.
    BUDGET_LIMIT: Experimental Gauge "llm.budget.limit" = "llm_budget_limit_usd" "USD" &["budget"], &[];
    /// What this process has spent of a budget today (UTC), in US dollars.
    BUDGET_SPENT: Experimental Gauge "llm.budget.spent" = "llm_budget_spent_usd" "USD" &["budget"], &[];
    /// Runs of tasks that ended, whatever the outcome.
    TASK_RUNS: Experimental Counter "llm.task.runs" = "llm_task_runs_total" "" TASK, &[];
    /// Runs of tasks that did not succeed.
    TASK_ERRORS: Experimental Counter "llm.task.errors" = "llm_task_errors_total" "" &["task", "kind", "nested", "error_type"], &[];
    /// Time from the start of a run to its end, every outcome.
    TASK_DURATION: Experimental Histogram "llm.task.duration" = "llm_task_duration_seconds" "s" TASK, TASK_DURATIONS;
    /// Runs that have started and not ended.
    TASK_IN_FLIGHT: Experimental Gauge "llm.task.in_flight" = "llm_task_in_flight" "" TASK, &[];
    /// Unix time of the last run that succeeded.
    TASK_LAST_SUCCESS: Experimental Gauge "llm.task.last_success_timestamp" = "llm_task_last_success_timestamp_seconds" "s" TASK, &[];
    /// Calls that ended inside a task; with `nested="false"` each call counts once.
    TASK_CALLS: Experimental Counter "llm.task.calls" = "llm_task_calls_total" "" TASK, &[];
    /// Tokens of the calls that ended inside a task, prompt and completion.
    TASK_TOKENS: Experimental Counter "llm.task.tokens" = "llm_task_tokens_total" "" TASK, &[];
    /// Known cost of the calls that ended inside a task, in US dollars.
    TASK_COST: Experimental Counter "llm.task.cost" = "llm_task_cost_usd_total" "USD" TASK, &[];
    /// Tool calls that ended inside a task.
    TASK_TOOL_CALLS: Experimental Counter "llm.task.tool_calls" = "llm_task_tool_calls_total" "" TASK, &[];
    /// Tool calls that a run of the task had made before with equal arguments.
    TASK_REPEATED_TOOL_CALLS: Experimental Counter "llm.task.repeated_tool_calls" = "llm_task_repeated_tool_calls_total" "" TASK, &[];
    /// Tool calls that ended, whatever the outcome.
    TOOL_CALLS: Experimental Counter "llm.tool.calls" = "llm_tool_calls_total" "" &["tool"], &[];
    /// Tool calls that did not succeed.
    TOOL_ERRORS: Experimental Counter "llm.tool.errors" = "llm_tool_errors_total" "" &["tool", "error_type"], &[];
    /// Time from the start of a tool call to its end, every outcome.
    TOOL_DURATION: Experimental Histogram "llm.tool.duration" = "llm_tool_duration_seconds" "s" &["tool"], DURATIONS;
    /// Constant 1; who exports this page, as OpenTelemetry's rules for Prometheus have it.
    TARGET_INFO: Stable Gauge "target_info" = "target_info" "" &["service_name", "service_version", "service_instance_id"], &[];
    /// Constant 1; the version of botticelli_obs.
    BUILD_INFO: Stable Gauge "botticelli.obs.build_info" = "botticelli_obs_build_info" "" &["version"], &[];
    /// 1 while the pipeline works as configured, 0 when it could not start.
    PIPELINE_UP: Stable Gauge "botticelli.obs.pipeline_up" = "botticelli_obs_pipeline_up" "" &["pipeline"], &[];
    /// Spans the trace backend has taken.
    SPANS_EXPORTED: Stable Counter "botticelli.obs.spans_exported" = "botticelli_obs_spans_exported_total" "" &[], &[];
    /// Spans that were sampled and lost.
    SPANS_DROPPED: Stable Counter "botticelli.obs.spans_dropped" = "botticelli_obs_spans_dropped_total" "" &["reason"], &[];
    /// Exports the backend refused or did not answer.
    EXPORT_FAILURES: Stable Counter "botticelli.obs.export_failures" = "botticelli_obs_export_failures_total" "" &["signal"], &[];
    /// Times a label set beyond the bound was recorded as `other`; a provider and model counts once for all `llm` metrics.
    LABEL_OVERFLOW: Stable Counter "botticelli.obs.label_overflow" = "botticelli_obs_label_overflow_total" "" &["metric"], &[];
    /// Samples that were not recorded: not finite, below zero where that can't be, too large for the sum, or under a name that another metric has.
    INVALID_SAMPLES: Stable Counter "botticelli.obs.invalid_samples" = "botticelli_obs_invalid_samples_total" "" &["metric"], &[];
    /// Total user and system CPU time spent in seconds.
    #[cfg(feature = "process")]
    PROCESS_CPU: Experimental Counter "process.cpu_seconds" = "process_cpu_seconds_total" "s" &[], &[];
    /// Resident memory size in bytes.
    #[cfg(feature = "process")]
    PROCESS_RESIDENT_MEMORY: Experimental Gauge "process.resident_memory_bytes" = "process_resident_memory_bytes" "By" &[], &[];
    /// Virtual memory size in bytes.
    #[cfg(feature = "process")]
    PROCESS_VIRTUAL_MEMORY: Experimental Gauge "process.virtual_memory_bytes" = "process_virtual_memory_bytes" "By" &[], &[];
    /// Number of open file descriptors.
    #[cfg(feature = "process")]
    PROCESS_OPEN_FDS: Experimental Gauge "process.open_fds" = "process_open_fds" "" &[], &[];
    /// Maximum number of open file descriptors.
    #[cfg(feature = "process")]
    PROCESS_MAX_FDS: Experimental Gauge "process.max_fds" = "process_max_fds" "" &[], &[];
    /// Start time of the process since unix epoch in seconds.
    #[cfg(feature = "process")]
    PROCESS_START_TIME: Experimental Gauge "process.start_time_seconds" = "process_start_time_seconds" "s" &[], &[];
    /// Number of OS threads in the process.
    #[cfg(feature = "process")]
    PROCESS_THREADS: Experimental Gauge "process.threads" = "process_threads" "" &[], &[];
}
