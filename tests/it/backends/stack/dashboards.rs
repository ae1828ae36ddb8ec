//! The dashboards of `examples/stack/grafana/dashboards`, as code.

use serde_json::Value;

use super::panel::{Panel, dashboard, variable};

/// The dashboards by file name.
pub fn all() -> [(&'static str, Value); 6] {
    [
        ("llm-overview", overview()),
        ("llm-model", model()),
        ("llm-cost", cost()),
        ("llm-tasks", tasks()),
        ("llm-telemetry", telemetry()),
        ("llm-genai", genai()),
    ]
}

fn variables() -> [Value; 3] {
    [
        variable("job", "Job", "label_values(botticelli_obs_build_info, job)"),
        variable("provider", "Provider", r#"label_values(llm_requests_total{job=~"$job"}, provider)"#),
        variable("model", "Model", r#"label_values(llm_requests_total{job=~"$job",provider=~"$provider"}, model)"#),
    ]
}

/// A ratio of errors to calls, by these labels: 0 without errors, absent without calls.
fn error_ratio(by: &str, function: &str, window: &str) -> String {
    let of = |metric: &str| format!("sum by ({by}) ({function}({metric}{{@}}[{window}]))");
    let (errors, requests) = (of("llm_errors_total"), of("llm_requests_total"));
    format!("({errors} or 0 * {requests}) / ({requests} > 0)")
}

/// A quantile of a histogram, by these labels; absent without samples.
fn quantile(quantile: &str, histogram: &str, by: &str, window: &str) -> String {
    format!("histogram_quantile({quantile}, sum by ({by}) (rate({histogram}_bucket{{@}}[{window}]))) >= 0")
}

/// One sum of increases divided by another.
fn share(part: &str, whole: &str, by: &str, window: &str) -> String {
    format!("sum by ({by}) (rate({part}{{@}}[{window}])) / (sum by ({by}) (rate({whole}{{@}}[{window}])) > 0)")
}

const RANGE: &str = "$__range";
const RATE: &str = "$__rate_interval";
const PAIR: &str = "provider, model";
const BY_PAIR: &str = "{{provider}} {{model}}";
const FIRST_CHUNK: &str = "llm_time_to_first_chunk_seconds";
const CHUNK_GAP: &str = "llm_time_per_output_chunk_seconds";

/// What panels say of calls whose client tells nothing of its attempts.
pub const WITHOUT_ATTEMPTS: &str = "No attempts told";

/// What panels of the process say without data.
pub const WITHOUT_PROCESS: &str = "Feature `process` is off";

/// What panels of cost say without data.
pub const WITHOUT_PRICES: &str = "No costs: set BOTTICELLI_OBS_PRICES";

/// What panels of tasks say without data.
pub const WITHOUT_TASKS: &str = "No tasks";

fn calls_in_range() -> Panel {
    Panel::stat("Calls", "short")
        .about("Calls that ended in the time shown: `llm_requests_total`.")
        .add_instant("sum(increase(llm_requests_total{@}[$__range]))", "calls")
}

fn errors_in_range(about: &str) -> Panel {
    Panel::stat("Error ratio", "percentunit")
        .about(about)
        .with_thresholds(&[(0.01, "orange"), (0.05, "red")])
        .add_instant(&error_ratio("", "increase", RANGE), "errors")
        .linked_to_errors()
}

fn overview() -> Value {
    let at_a_glance = vec![
        calls_in_range(),
        errors_in_range("The share of those calls that failed: `llm_errors_total` over `llm_requests_total`."),
        Panel::stat("Average response time", "s")
            .about("`llm_duration`, all outcomes.")
            .add_instant(&share("llm_duration_sum", "llm_duration_count", "", RANGE), "average"),
        Panel::stat("Response time, p95", "s")
            .about("`llm_duration`: 19 of 20 calls were faster.")
            .add_instant(&quantile("0.95", "llm_duration", "le", RANGE), "p95"),
        Panel::stat("First chunk, p95", "s")
            .about("`llm_time_to_first_chunk_seconds`, streams only.")
            .add_instant(&quantile("0.95", FIRST_CHUNK, "le", RANGE), "p95"),
        Panel::stat("Tokens", "short")
            .about("Prompt and completion: `llm_tokens_total`.")
            .add_instant("sum(increase(llm_tokens_total{@}[$__range]))", "tokens"),
        Panel::stat("In flight", "short")
            .about("Calls that run now: `llm_in_flight`.")
            .add_instant("sum(llm_in_flight{@})", "calls"),
        Panel::stat("Last success", "s")
            .about("How long ago any call succeeded: `llm_last_success_timestamp_seconds`.")
            .add_instant("time() - max(llm_last_success_timestamp_seconds{@})", "ago"),
    ];
    let signals = vec![
        Panel::stacked("Requests by provider", "reqps")
            .about("Calls that ended, a second: `llm_requests_total`.")
            .add_range("sum by (provider) (rate(llm_requests_total{@}[$__rate_interval]))", "{{provider}}"),
        Panel::lines("Error rate", "percentunit")
            .about(
                "The share of calls that failed: `llm_errors_total` over `llm_requests_total`, both summed by provider and \
                 model, because only the first has the label `error_type`. 0 without errors, nothing without calls.",
            )
            .add_range(&error_ratio(PAIR, "rate", RATE), BY_PAIR)
            .linked_to_errors(),
        Panel::stacked("Errors by class", "suffix: /min")
            .about("Failed calls a minute: `llm_errors_total`. Classes that never occurred are left out.")
            .add_range("sum by (error_type) (rate(llm_errors_total{@}[$__rate_interval])) * 60 > 0", "{{error_type}}")
            .or_else("No errors")
            .linked_to_errors(),
        Panel::lines("Average response time", "s")
            .about("`llm_duration`, all outcomes.")
            .add_range(&share("llm_duration_sum", "llm_duration_count", PAIR, RATE), BY_PAIR),
        Panel::lines("Response time, quantiles", "s")
            .about("`llm_duration` over all models shown.")
            .add_range(&quantile("0.5", "llm_duration", "le", RATE), "p50")
            .add_range(&quantile("0.95", "llm_duration", "le", RATE), "p95")
            .add_range(&quantile("0.99", "llm_duration", "le", RATE), "p99"),
        Panel::lines("First chunk, p95", "s")
            .about("`llm_time_to_first_chunk_seconds`, streams only.")
            .add_range(&quantile("0.95", FIRST_CHUNK, "le, provider, model", RATE), BY_PAIR),
    ];
    let tokens = vec![
        Panel::lines("Tokens per minute", "suffix: /min")
            .about("Prompt and completion: `llm_tokens_total`.")
            .add_range("sum by (provider, model) (rate(llm_tokens_total{@}[$__rate_interval])) * 60", BY_PAIR),
        Panel::stacked("Tokens by kind", "suffix: /min")
            .about("`llm_tokens_prompt_total` and `llm_tokens_completion_total`, a minute.")
            .add_range("sum(rate(llm_tokens_prompt_total{@}[$__rate_interval])) * 60", "prompt")
            .add_range("sum(rate(llm_tokens_completion_total{@}[$__rate_interval])) * 60", "completion"),
        Panel::bars("Tokens by model", "short")
            .about("In the time shown: `llm_tokens_total`.")
            .add_instant("sum by (provider, model) (increase(llm_tokens_total{@}[$__range])) > 0", BY_PAIR),
    ];
    let models = vec![
        Panel::table("Models in the time shown")
            .about(
                "Whole numbers also for bots that call every few hours: `llm_requests_total`, `llm_errors_total`, \
                 `llm_duration`, `llm_tokens_total`, `llm_last_success_timestamp_seconds`.",
            )
            .add_column("sum by (provider, model) (increase(llm_requests_total{@}[$__range])) > 0", "Calls", "short")
            .add_column(&error_ratio(PAIR, "increase", RANGE), "Error ratio", "percentunit")
            .add_column(&share("llm_duration_sum", "llm_duration_count", PAIR, RANGE), "Average", "s")
            .add_column(&quantile("0.95", "llm_duration", "le, provider, model", RANGE), "p95", "s")
            .add_column("sum by (provider, model) (increase(llm_tokens_total{@}[$__range])) > 0", "Tokens", "short")
            .add_column(
                "time() - max by (provider, model) (llm_last_success_timestamp_seconds{@})",
                "Last success, ago",
                "s",
            ),
    ];
    dashboard(
        "llm-overview",
        "LLM overview",
        &variables(),
        vec![("At a glance", at_a_glance), ("Golden signals", signals), ("Tokens", tokens), ("Models", models)],
    )
}

fn model() -> Value {
    let calls = vec![
        calls_in_range(),
        errors_in_range("`llm_errors_total` over `llm_requests_total`, in the time shown."),
        Panel::stat("Response time, p50", "s")
            .about("`llm_duration`: half of the calls were faster.")
            .add_instant(&quantile("0.5", "llm_duration", "le", RANGE), "p50"),
        Panel::stat("Response time, p99", "s")
            .about("`llm_duration`: 99 of 100 calls were faster.")
            .add_instant(&quantile("0.99", "llm_duration", "le", RANGE), "p99"),
        Panel::stat("Output speed", "suffix: tok/s")
            .about("Completion tokens a second of waiting: `llm_tokens_completion_total` over the sum of `llm_duration`.")
            .add_instant(&share("llm_tokens_completion_total", "llm_duration_sum", "", RANGE), "tokens/s"),
        Panel::stat("Prompt from cache", "percentunit")
            .about("`llm_tokens_cache_read_total` over `llm_tokens_prompt_total`.")
            .add_instant(&share("llm_tokens_cache_read_total", "llm_tokens_prompt_total", "", RANGE), "cached"),
        Panel::stat("Spent on reasoning", "percentunit")
            .about("`llm_tokens_reasoning_total` over `llm_tokens_completion_total`.")
            .add_instant(&share("llm_tokens_reasoning_total", "llm_tokens_completion_total", "", RANGE), "reasoning"),
        Panel::stat("Usage unknown", "percentunit")
            .about("Calls that succeeded without telling their tokens: `llm_usage_missing_total` over `llm_requests_total`.")
            .with_thresholds(&[(0.01, "orange")])
            .add_instant(&share("llm_usage_missing_total", "llm_requests_total", "", RANGE), "unknown"),
    ];
    let latency = vec![
        Panel::heatmap("Response time", "s")
            .about("Calls by how long they took: `llm_duration`.")
            .sized(12, 8)
            .add_buckets("sum by (le) (increase(llm_duration_bucket{@}[$__rate_interval]))"),
        Panel::lines("Response time, p95", "s")
            .about("`llm_duration` by model.")
            .sized(12, 8)
            .add_range(&quantile("0.95", "llm_duration", "le, provider, model", RATE), BY_PAIR),
        Panel::lines("Calls", "reqps")
            .about("Calls that ended, a second: `llm_requests_total`.")
            .sized(12, 8)
            .add_range("sum by (provider, model) (rate(llm_requests_total{@}[$__rate_interval]))", BY_PAIR),
        Panel::lines("In flight", "short")
            .about("Calls that have started and not ended: `llm_in_flight`.")
            .sized(12, 8)
            .add_range("sum by (provider, model) (llm_in_flight{@})", BY_PAIR),
    ];
    let errors = vec![
        Panel::stacked("Errors by class", "suffix: /min")
            .about("Failed calls a minute: `llm_errors_total`.")
            .add_range("sum by (error_type) (rate(llm_errors_total{@}[$__rate_interval])) * 60 > 0", "{{error_type}}")
            .or_else("No errors")
            .linked_to_errors(),
        Panel::bars("Errors by model and class", "short")
            .about("In the time shown: `llm_errors_total`.")
            .add_instant(
                "sum by (provider, model, error_type) (increase(llm_errors_total{@}[$__range])) > 0",
                "{{provider}} {{model}} {{error_type}}",
            )
            .or_else("No errors")
            .linked_to_errors(),
        Panel::lines("Error budget burn", "suffix:x")
            .about(
                "How many times faster than allowed the error budget (1 % of the calls; what the caller caused does not \
                 count) is used up: the recorded `llm:error_ratio:rate5m` and `llm:error_ratio:rate1h`. Alerts page above 14.4.",
            )
            .add_range(r#"llm:error_ratio:rate5m{@} / 0.01"#, "{{provider}} {{model}}, 5 min")
            .add_range(r#"llm:error_ratio:rate1h{@} / 0.01"#, "{{provider}} {{model}}, 1 h"),
    ];
    let streaming = vec![
        Panel::heatmap("First chunk", "s")
            .about("Streams by how long their first chunk took: `llm_time_to_first_chunk_seconds`.")
            .add_buckets("sum by (le) (increase(llm_time_to_first_chunk_seconds_bucket{@}[$__rate_interval]))"),
        Panel::lines("First chunk within 2.56 s", "percentunit")
            .about("The share of streams that started in time: `llm_time_to_first_chunk_seconds`. The objective is 95 %.")
            .add_range(
                r#"sum by (provider, model) (rate(llm_time_to_first_chunk_seconds_bucket{@,le="2.56"}[$__rate_interval]))
/ (sum by (provider, model) (rate(llm_time_to_first_chunk_seconds_count{@}[$__rate_interval])) > 0)"#,
                BY_PAIR,
            ),
        Panel::lines("Time between chunks", "s")
            .about("`llm_time_per_output_chunk_seconds`, over all models shown.")
            .add_range(&quantile("0.5", CHUNK_GAP, "le", RATE), "p50")
            .add_range(&quantile("0.95", CHUNK_GAP, "le", RATE), "p95")
            .add_range(&quantile("0.99", CHUNK_GAP, "le", RATE), "p99"),
    ];
    let answers = vec![
        Panel::bars("Finish reasons", "short")
            .about("Why generation stopped, in the time shown: `llm_finish_total`.")
            .add_instant("sum by (finish_reason) (increase(llm_finish_total{@}[$__range])) > 0", "{{finish_reason}}"),
        Panel::lines("Completion tokens a call", "short")
            .about("`llm_tokens_completion_total` over `llm_requests_total`.")
            .add_range(&share("llm_tokens_completion_total", "llm_requests_total", PAIR, RATE), BY_PAIR),
        Panel::lines("Prompt tokens a call", "short")
            .about("`llm_tokens_prompt_total` over `llm_requests_total`.")
            .add_range(&share("llm_tokens_prompt_total", "llm_requests_total", PAIR, RATE), BY_PAIR),
    ];
    let of_attempts = |panel: Panel| panel.or_else(WITHOUT_ATTEMPTS);
    let attempts = vec![
        of_attempts(Panel::lines("Attempts a call", "short"))
            .about("Requests sent for a call, retries included: `llm_attempts_total` over `llm_requests_total`.")
            .add_range(&share("llm_attempts_total", "llm_requests_total", PAIR, RATE), BY_PAIR),
        of_attempts(Panel::stacked("Where the time goes", "s"))
            .about(
                "Seconds a call: what it waited here for a limiter or before a retry (`llm_wait_seconds`), and what its requests \
                 took (`llm_attempt_duration_seconds`), over `llm_requests_total`.",
            )
            .add_range(&share("llm_wait_seconds_sum", "llm_requests_total", "", RATE), "waiting here")
            .add_range(&share("llm_attempt_duration_seconds_sum", "llm_requests_total", "", RATE), "requests"),
        of_attempts(Panel::lines("Time waiting", "percentunit"))
            .about("The share of the response time that calls waited here: `llm_wait_seconds` over `llm_duration`.")
            .add_range(&share("llm_wait_seconds_sum", "llm_duration_sum", PAIR, RATE), BY_PAIR),
        Panel::stacked("Failed attempts by class", "suffix: /min")
            .about("Requests that failed, a minute, whatever became of their calls: `llm_attempt_errors_total`.")
            .sized(12, 8)
            .add_range(
                "sum by (error_type) (rate(llm_attempt_errors_total{@}[$__rate_interval])) * 60 > 0",
                "{{error_type}}",
            )
            .or_else("No errors"),
        of_attempts(Panel::lines("Rate limit headroom", "percentunit"))
            .about(
                "What the provider says is left of its limits: `llm_ratelimit_remaining` over `llm_ratelimit_limit`, the lowest \
                 of all instances.",
            )
            .sized(12, 8)
            .add_range(
                "min by (provider, model, kind) (llm_ratelimit_remaining{@} / (llm_ratelimit_limit{@} > 0))",
                "{{provider}} {{model}} {{kind}}",
            ),
    ];
    dashboard(
        "llm-model",
        "LLM provider and model",
        &variables(),
        vec![
            ("Calls", calls),
            ("Latency", latency),
            ("Errors", errors),
            ("Streaming", streaming),
            ("Attempts and limits", attempts),
            ("Answers", answers),
        ],
    )
}

const USD: &str = "currencyUSD";

fn cost() -> Value {
    let stat = |title: &str, unit: &str| Panel::stat(title, unit).or_else(WITHOUT_PRICES);
    let lines = |title: &str, unit: &str| Panel::lines(title, unit).or_else(WITHOUT_PRICES);
    let wasted = |window: &str| {
        format!(
            r#"(sum(increase(llm:cost_usd:total{{@,outcome!="success"}}[{window}])) or 0 * sum(llm:cost_usd:total{{@}}))
/ (sum(increase(llm:cost_usd:total{{@}}[{window}])) > 0)"#
        )
    };
    // What cached tokens would have cost more as other prompt tokens.
    let saved = r#"sum by (provider, model) (increase(llm_tokens_cache_read_total{@}[$__range]))
* (
  max by (provider, model) (llm_price_usd_per_million_tokens{@,kind="input"})
  - max by (provider, model) (llm_price_usd_per_million_tokens{@,kind="cache_read"})
) / 1e6"#;
    let at_a_glance = vec![
        stat("Cost", USD)
            .about("In the time shown: the recorded `llm:cost_usd:total`.")
            .add_instant("sum(increase(llm:cost_usd:total{@}[$__range]))", "cost"),
        stat("Cost of the last 24 hours", USD)
            .about("The recorded `llm:cost_usd:total`.")
            .add_instant("sum(increase(llm:cost_usd:total{@}[24h]))", "cost"),
        stat("Cost an hour, now", USD)
            .about("The recorded `llm:cost_usd:rate5m`.")
            .add_instant("sum(llm:cost_usd:rate5m{@}) * 3600", "an hour"),
        stat("A month at this rate", USD)
            .about("Thirty days of the last hour: the recorded `llm:cost_usd:rate1h`.")
            .add_instant("sum(llm:cost_usd:rate1h{@}) * 3600 * 24 * 30", "a month"),
        stat("Cost a call", USD)
            .about("The recorded `llm:cost_usd:total` over `llm_requests_total`.")
            .add_instant(
                "sum(increase(llm:cost_usd:total{@}[$__range])) / (sum(increase(llm_requests_total{@}[$__range])) > 0)",
                "a call",
            ),
        stat("Wasted on failures", "percentunit")
            .about("The share that calls which failed or were cancelled have cost: the recorded `llm:cost_usd:total`.")
            .with_thresholds(&[(0.05, "orange"), (0.2, "red")])
            .add_instant(&wasted(RANGE), "wasted")
            .linked_to_errors(),
        stat("Saved by caches", USD)
            .about(
                "What tokens from caches would have cost more without: `llm_tokens_cache_read_total` at the difference of \
                 `llm_price_usd_per_million_tokens`.",
            )
            .add_instant(&format!("sum({saved})"), "saved"),
        stat("Calls of unknown cost", "short")
            .about("Their cost is in no sum here: `llm_cost_lookups_total`.")
            .with_thresholds(&[(1.0, "orange")])
            .add_instant(r#"sum(increase(llm_cost_lookups_total{@,status="missing"}[$__range]))"#, "calls"),
    ];
    let over_time = vec![
        Panel::stacked("Cost an hour by model", USD)
            .about("The recorded `llm:cost_usd:total`.")
            .or_else(WITHOUT_PRICES)
            .add_range("sum by (provider, model) (rate(llm:cost_usd:total{@}[$__rate_interval])) * 3600", BY_PAIR),
        Panel::stacked("Cost an hour by outcome", USD)
            .about("What was paid for: the recorded `llm:cost_usd:total`.")
            .or_else(WITHOUT_PRICES)
            .add_range("sum by (outcome) (rate(llm:cost_usd:total{@}[$__rate_interval])) * 3600", "{{outcome}}"),
        Panel::stacked("Look-ups of costs", "suffix: /min")
            .about("Where costs come from: `llm_cost_lookups_total`. What is `missing` or `partial` is not in them, or not whole.")
            .or_else(WITHOUT_PRICES)
            .add_range("sum by (status) (rate(llm_cost_lookups_total{@}[$__rate_interval])) * 60", "{{status}}"),
    ];
    let by_model = vec![
        Panel::bars("Cost by model", USD)
            .about("In the time shown: the recorded `llm:cost_usd:total`.")
            .or_else(WITHOUT_PRICES)
            .add_instant("sum by (provider, model) (increase(llm:cost_usd:total{@}[$__range]))", BY_PAIR),
        Panel::bars("Cost by task", USD)
            .about(
                "In the time shown, of tasks that are not inside others: the recorded `llm:task_cost_usd:total`. Over all providers \
                 and models.",
            )
            .or_else(WITHOUT_TASKS)
            .add_instant(
                r#"sum by (kind, task) (increase(llm:task_cost_usd:total{job=~"$job",nested="false"}[$__range]))"#,
                "{{kind}} {{task}}",
            ),
        Panel::bars("Saved by caches, by model", USD)
            .about("`llm_tokens_cache_read_total` at the difference of `llm_price_usd_per_million_tokens`.")
            .or_else(WITHOUT_PRICES)
            .add_instant(saved, BY_PAIR),
    ];
    let budgets = vec![
        lines("Budgets", "percentunit")
            .about("The share of a day's budget that is spent: `llm_budget_spent_usd` over `llm_budget_limit_usd`.")
            .sized(12, 8)
            .or_else(WITHOUT_PRICES)
            .add_range(
                r#"max by (instance, budget) (llm_budget_spent_usd{job=~"$job"}) / max by (instance, budget) (llm_budget_limit_usd{job=~"$job"})"#,
                "{{instance}} {{budget}}",
            ),
        lines("Prices", USD)
            .about("A million tokens, when a call was last priced: `llm_price_usd_per_million_tokens`.")
            .sized(12, 8)
            .add_range(
                "max by (provider, model, kind) (llm_price_usd_per_million_tokens{@})",
                "{{provider}} {{model}} {{kind}}",
            ),
    ];
    dashboard(
        "llm-cost",
        "LLM cost",
        &variables(),
        vec![
            ("At a glance", at_a_glance),
            ("Over time", over_time),
            ("For what", by_model),
            ("Budgets and prices", budgets),
        ],
    )
}

fn tasks() -> Value {
    const OF_TASK: &str = r#"job=~"$job",kind=~"$kind",task=~"$task""#;
    const BY_TASK: &str = "{{kind}} {{task}}";
    let variables = [
        variable("job", "Job", "label_values(botticelli_obs_build_info, job)"),
        variable("kind", "Kind", r#"label_values(llm_task_runs_total{job=~"$job"}, kind)"#),
        variable("task", "Task", r#"label_values(llm_task_runs_total{job=~"$job",kind=~"$kind"}, task)"#),
    ];
    let sum = |by: &str, function: &str, metric: &str, window: &str| {
        format!("sum by ({by}) ({function}({metric}{{{OF_TASK}}}[{window}]))")
    };
    let in_range = |metric: &str| sum("kind, task", "increase", metric, RANGE);
    let ratio = |part: &str, whole: &str, function: &str, window: &str| {
        let whole = sum("kind, task", function, whole, window);
        format!("({} or 0 * {whole}) / ({whole} > 0)", sum("kind, task", function, part, window))
    };
    let task_quantile = |quantile: &str, window: &str| {
        let buckets = sum("le, kind, task", "rate", "llm_task_duration_seconds_bucket", window);
        format!("histogram_quantile({quantile}, {buckets}) >= 0")
    };
    let of_tool = |function: &str, metric: &str, by: &str, window: &str| {
        format!(r#"sum by ({by}) ({function}({metric}{{job=~"$job"}}[{window}]))"#)
    };
    let tool_errors = |function: &str, window: &str| {
        let calls = of_tool(function, "llm_tool_calls_total", "tool", window);
        format!("({} or 0 * {calls}) / ({calls} > 0)", of_tool(function, "llm_tool_errors_total", "tool", window))
    };
    let tool_quantile = format!(
        "histogram_quantile(0.95, {}) >= 0",
        of_tool("rate", "llm_tool_duration_seconds_bucket", "le, tool", RATE)
    );
    let stat = |title: &str, unit: &str| Panel::stat(title, unit).or_else(WITHOUT_TASKS);
    let lines = |title: &str, unit: &str| Panel::lines(title, unit).or_else(WITHOUT_TASKS);
    let at_a_glance = vec![
        stat("Runs", "short")
            .about("Runs of tasks that ended in the time shown: `llm_task_runs_total`.")
            .add_instant(&format!("sum(increase(llm_task_runs_total{{{OF_TASK}}}[$__range]))"), "runs"),
        stat("Failed runs", "percentunit")
            .about("`llm_task_errors_total` over `llm_task_runs_total`.")
            .with_thresholds(&[(0.01, "orange"), (0.05, "red")])
            .add_instant(
                &format!(
                    "(sum(increase(llm_task_errors_total{{{OF_TASK}}}[$__range])) or 0 * sum(llm_task_runs_total{{{OF_TASK}}})) \
                     / (sum(increase(llm_task_runs_total{{{OF_TASK}}}[$__range])) > 0)"
                ),
                "failed",
            )
            .linked_to_errors(),
        stat("In flight", "short")
            .about("Runs that have started and not ended: `llm_task_in_flight`.")
            .add_instant(&format!("sum(llm_task_in_flight{{{OF_TASK}}})"), "runs"),
        stat("Cost", USD)
            .about("Of tasks that are not inside others, in the time shown: the recorded `llm:task_cost_usd:total`.")
            .or_else(WITHOUT_PRICES)
            .add_instant(
                &format!(r#"sum(increase(llm:task_cost_usd:total{{{OF_TASK},nested="false"}}[$__range]))"#),
                "cost",
            ),
        stat("Calls a run", "short")
            .about("`llm_task_calls_total` over `llm_task_runs_total`, of tasks that are not inside others.")
            .add_instant(
                &format!(
                    r#"sum(increase(llm_task_calls_total{{{OF_TASK},nested="false"}}[$__range]))
/ (sum(increase(llm_task_runs_total{{{OF_TASK},nested="false"}}[$__range])) > 0)"#
                ),
                "calls",
            ),
        stat("Tool calls", "short")
            .about("In the time shown: `llm_tool_calls_total`.")
            .add_instant(r#"sum(increase(llm_tool_calls_total{job=~"$job"}[$__range]))"#, "calls"),
        stat("Failed tool calls", "percentunit")
            .about("`llm_tool_errors_total` over `llm_tool_calls_total`.")
            .with_thresholds(&[(0.05, "orange"), (0.2, "red")])
            .add_instant(
                r#"(sum(increase(llm_tool_errors_total{job=~"$job"}[$__range])) or 0 * sum(llm_tool_calls_total{job=~"$job"}))
/ (sum(increase(llm_tool_calls_total{job=~"$job"}[$__range])) > 0)"#,
                "failed",
            )
            .linked_to_errors(),
        stat("Repeated tool calls", "short")
            .about("Calls that a run had made before with equal arguments: `llm_task_repeated_tool_calls_total`.")
            .with_thresholds(&[(10.0, "orange")])
            .add_instant(
                &format!(
                    "sum(increase(llm_task_repeated_tool_calls_total{{{OF_TASK}}}[$__range])) \
                     or 0 * count(llm_task_tool_calls_total{{{OF_TASK}}})"
                ),
                "calls",
            ),
    ];
    let runs = vec![
        lines("Runs", "suffix: /min")
            .about("Runs that ended, a minute: `llm_task_runs_total`.")
            .add_range(&format!("{} * 60", sum("kind, task", "rate", "llm_task_runs_total", RATE)), BY_TASK),
        lines("Failed runs", "percentunit")
            .about("`llm_task_errors_total` over `llm_task_runs_total`.")
            .add_range(
                &format!(
                    "(sum by (kind, task) (rate(llm_task_errors_total{{{OF_TASK}}}[$__rate_interval])) or 0 * {0}) / ({0} > 0)",
                    sum("kind, task", "rate", "llm_task_runs_total", RATE)
                ),
                BY_TASK,
            )
            .linked_to_errors(),
        lines("Duration, p95", "s")
            .about("`llm_task_duration_seconds`.")
            .add_range(&task_quantile("0.95", RATE), BY_TASK),
    ];
    let inside = vec![
        lines("Cost an hour", USD)
            .about("The recorded `llm:task_cost_usd:total`. What a task inside another one costs is in both.")
            .or_else(WITHOUT_PRICES)
            .add_range(&format!("{} * 3600", sum("kind, task", "rate", "llm:task_cost_usd:total", RATE)), BY_TASK),
        lines("Calls a run", "short")
            .about("`llm_task_calls_total` over `llm_task_runs_total`.")
            .add_range(&ratio("llm_task_calls_total", "llm_task_runs_total", "rate", RATE), BY_TASK),
        lines("Tokens a run", "short")
            .about("`llm_task_tokens_total` over `llm_task_runs_total`.")
            .add_range(&ratio("llm_task_tokens_total", "llm_task_runs_total", "rate", RATE), BY_TASK),
    ];
    let tools = vec![
        lines("Tool calls", "suffix: /min")
            .about("Calls that ended, a minute: `llm_tool_calls_total`.")
            .add_range(&format!("{} * 60", of_tool("rate", "llm_tool_calls_total", "tool", RATE)), "{{tool}}"),
        lines("Failed tool calls", "percentunit")
            .about("`llm_tool_errors_total` over `llm_tool_calls_total`.")
            .add_range(&tool_errors("rate", RATE), "{{tool}}")
            .linked_to_errors(),
        lines("Duration of tool calls, p95", "s")
            .about("`llm_tool_duration_seconds`.")
            .add_range(&tool_quantile, "{{tool}}"),
    ];
    let all = vec![
        Panel::table("Tasks in the time shown")
            .about(
                "`llm_task_runs_total`, `llm_task_errors_total`, `llm_task_duration_seconds`, `llm_task_calls_total`, \
                 `llm_task_tokens_total`, the recorded `llm:task_cost_usd:total`, `llm_task_tool_calls_total`, \
                 `llm_task_last_success_timestamp_seconds`.",
            )
            .or_else(WITHOUT_TASKS)
            .add_column(&in_range("llm_task_runs_total"), "Runs", "short")
            .add_column(
                &format!(
                    "(sum by (kind, task) (increase(llm_task_errors_total{{{OF_TASK}}}[$__range])) or 0 * {0}) / ({0} > 0)",
                    in_range("llm_task_runs_total")
                ),
                "Failed",
                "percentunit",
            )
            .add_column(&task_quantile("0.95", RANGE), "p95", "s")
            .add_column(&in_range("llm_task_calls_total"), "Calls", "short")
            .add_column(&in_range("llm_task_tokens_total"), "Tokens", "short")
            .add_column(&in_range("llm:task_cost_usd:total"), "Cost", USD)
            .add_column(&in_range("llm_task_tool_calls_total"), "Tool calls", "short")
            .add_column(
                &format!("time() - max by (kind, task) (llm_task_last_success_timestamp_seconds{{{OF_TASK}}})"),
                "Last success, ago",
                "s",
            ),
    ];
    dashboard(
        "llm-tasks",
        "LLM tasks and tools",
        &variables,
        vec![
            ("At a glance", at_a_glance),
            ("Runs", runs),
            ("What is inside", inside),
            ("Tools", tools),
            ("Tasks", all),
        ],
    )
}

fn telemetry() -> Value {
    let variables = [
        variable("job", "Job", "label_values(botticelli_obs_build_info, job)"),
        variable("instance", "Instance", r#"label_values(up{job=~"$job"}, instance)"#),
    ];
    let of = |metric: &str| format!(r#"{metric}{{job=~"$job",instance=~"$instance"}}"#);
    let counter = |metric: &str| format!("sum(increase({}[$__range]))", of(metric));
    // What is published only once it has happened counts as 0 where a program is there.
    let or_zero = |query: &str| format!("{query} or 0 * count({})", of("botticelli_obs_build_info"));
    let at_a_glance = vec![
        Panel::stat("Targets up", "short")
            .about("Pages that Prometheus can scrape: `up`.")
            .add_instant(&format!("sum({})", of("up")), "up"),
        Panel::stat("Targets down", "short")
            .about("Pages that it can't: `up`.")
            .with_thresholds(&[(1.0, "red")])
            .add_instant(&format!("count({0}) - sum({0})", of("up")), "down"),
        Panel::stat("Pipelines down", "short")
            .about("Pipelines that could not start, in programs that run all the same: `botticelli_obs_pipeline_up`.")
            .with_thresholds(&[(1.0, "red")])
            .add_instant(&format!("count({0}) - sum({0})", of("botticelli_obs_pipeline_up")), "down"),
        Panel::stat("Spans exported", "short")
            .about("In the time shown: `botticelli_obs_spans_exported_total`.")
            .add_instant(&counter("botticelli_obs_spans_exported_total"), "spans"),
        Panel::stat("Spans dropped", "short")
            .about("Sampled and lost, in the time shown: `botticelli_obs_spans_dropped_total`.")
            .with_thresholds(&[(1.0, "red")])
            .add_instant(&counter("botticelli_obs_spans_dropped_total"), "spans"),
        Panel::stat("Export failures", "short")
            .about("Exports that were refused or not answered: `botticelli_obs_export_failures_total`.")
            .with_thresholds(&[(1.0, "orange")])
            .add_instant(&counter("botticelli_obs_export_failures_total"), "exports"),
        Panel::stat("Labels folded", "short")
            .about("Label sets beyond the bound, counted under `other` since start: `botticelli_obs_label_overflow_total`.")
            .with_thresholds(&[(1.0, "orange")])
            .add_instant(&or_zero(&format!("sum({})", of("botticelli_obs_label_overflow_total"))), "folded"),
        Panel::stat("Invalid samples", "short")
            .about("Not finite, or negative: `botticelli_obs_invalid_samples_total`.")
            .with_thresholds(&[(1.0, "orange")])
            .add_instant(&or_zero(&counter("botticelli_obs_invalid_samples_total")), "samples"),
    ];
    let scraping = vec![
        Panel::states("Targets")
            .about("Whether Prometheus can scrape the page: `up`.")
            .add_range(&of("up"), "{{instance}}"),
        Panel::lines("Scrape duration", "s")
            .about("`scrape_duration_seconds`.")
            .add_range(&of("scrape_duration_seconds"), "{{instance}}"),
        Panel::lines("Samples a scrape", "short")
            .about("The size of the page: `scrape_samples_scraped`.")
            .add_range(&of("scrape_samples_scraped"), "{{instance}}"),
    ];
    let traces = vec![
        Panel::lines("Spans exported", "suffix: /s")
            .about("`botticelli_obs_spans_exported_total`, a second. Nothing where traces are off.")
            .add_range(
                &format!("sum by (instance) (rate({}[$__rate_interval]))", of("botticelli_obs_spans_exported_total")),
                "{{instance}}",
            ),
        Panel::stacked("Spans dropped", "suffix: /s")
            .about("`botticelli_obs_spans_dropped_total` by reason, a second.")
            .add_range(
                &format!("sum by (reason) (rate({}[$__rate_interval]))", of("botticelli_obs_spans_dropped_total")),
                "{{reason}}",
            ),
        Panel::states("Pipelines").about("Whether a pipeline could start: `botticelli_obs_pipeline_up`.").add_range(
            &format!("min by (instance, pipeline) ({})", of("botticelli_obs_pipeline_up")),
            "{{instance}} {{pipeline}}",
        ),
    ];
    let programs = vec![
        Panel::table("Programs")
            .about(
                "Who exports: `target_info`, `botticelli_obs_build_info`, and how often counters began anew in the time shown, \
                 which is how often the program was started again: `botticelli_obs_spans_exported_total`.",
            )
            .sized(24, 6)
            .add_labels(
                &format!("max by (job, instance, service_name, service_version) ({})", of("target_info")),
                "service_name",
                "service",
            )
            .add_labels(
                &format!("max by (job, instance, version) ({})", of("botticelli_obs_build_info")),
                "version",
                "botticelli_obs",
            )
            .add_column(
                &format!("max by (job, instance) (resets({}[$__range]))", of("botticelli_obs_spans_exported_total")),
                "Restarts",
                "short",
            ),
    ];
    let of_process = |title: &str, unit: &str| Panel::lines(title, unit).or_else(WITHOUT_PROCESS);
    let process = vec![
        of_process("CPU", "percentunit")
            .about("Time on a processor, 100 % is one of them: `process_cpu_seconds_total`.")
            .add_range(&format!("rate({}[$__rate_interval])", of("process_cpu_seconds_total")), "{{instance}}"),
        of_process("Memory", "bytes")
            .about("What of it is resident: `process_resident_memory_bytes`.")
            .add_range(&of("process_resident_memory_bytes"), "{{instance}}"),
        of_process("Descriptors", "short")
            .about("Open files and connections: `process_open_fds`. The program may have as many as `process_max_fds` says.")
            .add_range(&of("process_open_fds"), "{{instance}}"),
    ];
    dashboard(
        "llm-telemetry",
        "LLM telemetry health",
        &variables,
        vec![
            ("At a glance", at_a_glance),
            ("Scraping", scraping),
            ("Traces", traces),
            ("Programs", programs),
            ("Process", process),
        ],
    )
}

/// The metrics of the GenAI conventions, by the names of either version.
fn genai() -> Value {
    const FILTER: &str = r#"job=~"$job",gen_ai_provider_name=~"$provider",gen_ai_request_model=~"$model""#;
    const MODEL: &str = "gen_ai_provider_name, gen_ai_request_model";
    const BY_MODEL: &str = "{{gen_ai_provider_name}} {{gen_ai_request_model}}";
    const DURATIONS: [&str; 2] =
        ["gen_ai_client_operation_duration_seconds", "gen_ai_client_inference_duration_seconds"];
    const FIRST_CHUNKS: [&str; 2] =
        ["gen_ai_client_operation_time_to_first_chunk_seconds", "gen_ai_client_inference_time_to_first_chunk_seconds"];
    const CHUNK_GAPS: [&str; 2] = [
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "gen_ai_client_inference_time_per_output_chunk_seconds",
    ];
    // A program may record both: what the second has is shown where the first has nothing.
    let either = |queries: [String; 2]| queries.join("\nor ");
    let sum = |by: &str, metric: &str| format!("sum by ({by}) (rate({metric}{{{FILTER}}}[$__rate_interval]))");
    let counts = |by: &str| either(DURATIONS.map(|metric| sum(by, &format!("{metric}_count"))));
    let quantile = |names: [&str; 2], of: &str, by: &str| {
        either(names.map(|name| {
            format!("(histogram_quantile({of}, {}) >= 0)", sum(&format!("le, {by}"), &format!("{name}_bucket")))
        }))
    };
    let tokens = |kind: &str| {
        let usage = format!(
            r#"sum by ({MODEL}) (rate(gen_ai_client_token_usage_sum{{{FILTER},gen_ai_token_type="{kind}"}}[$__rate_interval]))"#
        );
        let counter = sum(MODEL, &format!("gen_ai_client_inference_usage_{kind}_tokens_total"));
        either([format!("({usage} * 60)"), format!("({counter} * 60)")])
    };
    let failed = either(DURATIONS.map(|name| {
        format!(
            r#"(sum by ({MODEL}) (rate({name}_count{{{FILTER},error_type!=""}}[$__rate_interval]))
  or 0 * {0}) / ({0} > 0)"#,
            sum(MODEL, &format!("{name}_count"))
        )
    }));
    let variables = [
        variable("job", "Job", "label_values(botticelli_obs_build_info, job)"),
        variable(
            "provider",
            "Provider",
            r#"label_values(gen_ai_client_operation_duration_seconds_count{job=~"$job"} or gen_ai_client_inference_duration_seconds_count{job=~"$job"}, gen_ai_provider_name)"#,
        ),
        variable(
            "model",
            "Model",
            r#"label_values(gen_ai_client_operation_duration_seconds_count{job=~"$job"} or gen_ai_client_inference_duration_seconds_count{job=~"$job"}, gen_ai_request_model)"#,
        ),
    ];
    let calls = vec![
        Panel::lines("Calls", "reqps")
            .about("`gen_ai.client.operation.duration` or `gen_ai.client.inference.duration`, their counts.")
            .add_range(&counts(MODEL), BY_MODEL),
        Panel::stacked("Calls by operation", "reqps")
            .about("The same by `gen_ai.operation.name`.")
            .add_range(&counts("gen_ai_operation_name"), "{{gen_ai_operation_name}}"),
        Panel::lines("Error rate", "percentunit")
            .about("The share of them that has an `error.type`.")
            .add_range(&failed, BY_MODEL),
        Panel::lines("Duration, p50", "s")
            .about("`gen_ai.client.operation.duration` or `gen_ai.client.inference.duration`.")
            .add_range(&quantile(DURATIONS, "0.5", MODEL), BY_MODEL),
        Panel::lines("Duration, p95", "s")
            .about("`gen_ai.client.operation.duration` or `gen_ai.client.inference.duration`.")
            .add_range(&quantile(DURATIONS, "0.95", MODEL), BY_MODEL),
    ];
    let streams = vec![
        Panel::lines("First chunk, p95", "s")
            .about("`gen_ai.client.operation.time_to_first_chunk`, or that of `gen_ai.client.inference`.")
            .add_range(&quantile(FIRST_CHUNKS, "0.95", MODEL), BY_MODEL),
        Panel::lines("Time between chunks, p95", "s")
            .about("`gen_ai.client.operation.time_per_output_chunk`, or that of `gen_ai.client.inference`.")
            .add_range(&quantile(CHUNK_GAPS, "0.95", MODEL), BY_MODEL),
    ];
    let usage = vec![
        Panel::lines("Input tokens a minute", "suffix: /min")
            .about("`gen_ai.client.token.usage` or `gen_ai.client.inference.usage.input_tokens`.")
            .add_range(&tokens("input"), BY_MODEL),
        Panel::lines("Output tokens a minute", "suffix: /min")
            .about("`gen_ai.client.token.usage` or `gen_ai.client.inference.usage.output_tokens`.")
            .add_range(&tokens("output"), BY_MODEL),
    ];
    dashboard(
        "llm-genai",
        "LLM by GenAI conventions",
        &variables,
        vec![("Calls", calls), ("Streams", streams), ("Tokens", usage)],
    )
}
