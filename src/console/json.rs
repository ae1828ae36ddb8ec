//! The JSON that the page asks for. Every label is a JSON string, which the page shows as text.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::history::{Baseline, History, INTERVAL, POINTS, Point};
use super::{About, Scrape};
use crate::catalog;
use crate::error_type::ErrorType;
use crate::series::unix_time;
use crate::snapshot::{Family, Labels, Snapshot, Value};
use crate::store::{KEPT, RecentCall};
use crate::totals::{COST_DECIMALS, Model, Times, Totals, in_decimals};

/// Writes the values of this moment. Those of models are what was counted since the baseline.
pub(super) fn state(
    about: &About,
    snapshot: &Snapshot,
    totals: &Totals,
    baseline: Option<&Baseline>,
    scrape: Option<&Scrape>,
) -> Vec<u8> {
    let in_window: Vec<Model> = match baseline {
        Some(baseline) => totals.models.iter().map(|model| baseline.since(model)).collect(),
        None => totals.models.clone(),
    };
    let in_window = Totals { models: in_window, bounds: totals.bounds.clone() };
    let models: Vec<Json> = in_window.models.iter().map(|new| model(&in_window, new)).collect();
    bytes(&json!({
        "instance": about.instance,
        "version": env!("CARGO_PKG_VERSION"),
        "service": about.service,
        "jaeger": about.jaeger,
        "started": about.started,
        "now": unix_time(),
        "since": baseline.map_or(about.started, |baseline| baseline.time),
        "all": model(&in_window, &in_window.sum()),
        "models": models,
        "limits": limits(snapshot),
        "budgets": budgets(snapshot),
        "tasks": tasks(snapshot),
        "tools": tools(snapshot),
        "pipelines": gauges(snapshot, catalog::PIPELINE_UP.prometheus, "pipeline"),
        "scrape": scrape.map(|scrape| json!({ "at": scrape.at, "peer": scrape.peer.to_string(), "agent": scrape.agent })),
    }))
}

fn model(totals: &Totals, model: &Model) -> Json {
    json!({
        "provider": model.provider(),
        "model": model.model(),
        "calls": model.calls,
        "errors": model.error_count(),
        "classes": classes(model.errors),
        "prompt": model.prompt,
        "completion": model.completion,
        "cacheRead": model.cache_read,
        "attempts": model.attempts,
        "cost": model.cost.map(dollars),
        "unpriced": model.unpriced,
        "inFlight": model.in_flight,
        "lastSuccess": model.last_success,
        "p50": totals.quantile(Times::Durations, model, 0.5),
        "p95": totals.quantile(Times::Durations, model, 0.95),
        "first50": totals.quantile(Times::FirstChunks, model, 0.5),
        "first95": totals.quantile(Times::FirstChunks, model, 0.95),
    })
}

/// The errors of each class that has any.
fn classes<T: Into<u64> + Copy>(errors: [T; ErrorType::ALL.len()]) -> Map<String, Json> {
    let counts = ErrorType::ALL.iter().zip(errors).map(|(class, count)| (class.as_str().to_owned(), count.into()));
    counts.filter(|(_, count)| *count > 0).map(|(class, count)| (class, count.into())).collect()
}

fn dollars(nano: u64) -> f64 {
    nano as f64 / 1e9
}

/// The gauges of a family by the value of one label.
fn gauges(snapshot: &Snapshot, family: &str, label: &str) -> Map<String, Json> {
    let gauges = series(snapshot, family).filter_map(|(labels, value)| match value {
        Value::Gauge(value) => Some((labels.get(label).to_owned(), json!(value))),
        _ => None,
    });
    gauges.collect()
}

fn limits(snapshot: &Snapshot) -> Vec<Json> {
    let mut limits = BTreeMap::new();
    for (name, family) in [("limit", catalog::RATE_LIMIT), ("remaining", catalog::RATE_LIMIT_REMAINING)] {
        gather(&mut limits, snapshot, name, family.prometheus, &["provider", "model", "kind"]);
    }
    rows(limits)
}

fn budgets(snapshot: &Snapshot) -> Vec<Json> {
    let mut budgets = BTreeMap::new();
    gather(&mut budgets, snapshot, "limit", catalog::BUDGET_LIMIT.prometheus, &["budget"]);
    gather(&mut budgets, snapshot, "spent", catalog::BUDGET_SPENT.prometheus, &["budget"]);
    rows(budgets)
}

fn tasks(snapshot: &Snapshot) -> Vec<Json> {
    let mut tasks = BTreeMap::new();
    for (name, family) in [
        ("runs", catalog::TASK_RUNS.prometheus),
        ("errors", catalog::TASK_ERRORS.prometheus),
        ("time", catalog::TASK_DURATION.prometheus),
        ("inFlight", catalog::TASK_IN_FLIGHT.prometheus),
        ("lastSuccess", catalog::TASK_LAST_SUCCESS.prometheus),
        ("calls", catalog::TASK_CALLS.prometheus),
        ("tokens", catalog::TASK_TOKENS.prometheus),
        ("cost", catalog::TASK_COST.prometheus),
        ("toolCalls", catalog::TASK_TOOL_CALLS.prometheus),
        ("repeated", catalog::TASK_REPEATED_TOOL_CALLS.prometheus),
    ] {
        gather(&mut tasks, snapshot, name, family, &["task", "kind", "nested"]);
    }
    rows(tasks)
}

fn tools(snapshot: &Snapshot) -> Vec<Json> {
    let mut tools = BTreeMap::new();
    for (name, family) in [
        ("calls", catalog::TOOL_CALLS.prometheus),
        ("errors", catalog::TOOL_ERRORS.prometheus),
        ("time", catalog::TOOL_DURATION.prometheus),
    ] {
        gather(&mut tools, snapshot, name, family, &["tool"]);
    }
    rows(tools)
}

/// Rows by the values of their labels.
type Rows = BTreeMap<Vec<String>, Map<String, Json>>;

/// Adds the values of a family to the rows that have these labels. Counts of series that differ in another label add up.
fn gather(into: &mut Rows, snapshot: &Snapshot, name: &str, family: &str, labels: &[&str]) {
    let decimals = snapshot.family(family).map_or(0, |family| family.about.decimals);
    for (of, value) in series(snapshot, family) {
        let row = into
            .entry(key(of, labels))
            .or_insert_with(|| labels.iter().map(|label| ((*label).to_owned(), Json::from(of.get(label)))).collect());
        match value {
            Value::Counter(count) if decimals > 0 => {
                add(row, name, dollars(in_decimals(count, decimals, COST_DECIMALS)))
            }
            Value::Counter(count) => add(row, name, count as f64),
            Value::Gauge(value) => add(row, name, value),
            Value::Histogram(distribution) => {
                row.insert("p50".to_owned(), json!(distribution.quantile(0.5)));
                row.insert("p95".to_owned(), json!(distribution.quantile(0.95)));
            }
        }
    }
}

fn key(of: &Labels, labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| of.get(label).to_owned()).collect()
}

fn add(row: &mut Map<String, Json>, name: &str, value: f64) {
    let sum = row.get(name).and_then(Json::as_f64).unwrap_or(0.0) + value;
    row.insert(name.to_owned(), json!(sum));
}

fn rows(rows: Rows) -> Vec<Json> {
    rows.into_values().map(Json::Object).collect()
}

/// Writes the points of the charts from this number on.
pub(super) fn history(about: &About, history: &History, from: u64) -> Vec<u8> {
    let points: Vec<Json> = history.points(from).map(point).collect();
    bytes(&json!({ "instance": about.instance, "interval": INTERVAL.as_secs(), "kept": POINTS, "points": points }))
}

fn point(point: &Point) -> Json {
    let [p50, p95, first50, first95] = point.quantiles.map(|seconds| seconds.map(f64::from));
    json!({
        "number": point.number,
        "time": point.time,
        "seconds": point.seconds,
        "calls": point.calls,
        "classes": classes(point.errors),
        "prompt": point.prompt,
        "completion": point.completion,
        "cacheRead": point.cache_read,
        "cost": point.cost.map(dollars),
        "inFlight": point.in_flight,
        "p50": p50,
        "p95": p95,
        "first50": first50,
        "first95": first95,
    })
}

/// Writes calls that have ended, the earliest first.
pub(super) fn calls(about: &About, calls: &[RecentCall]) -> Vec<u8> {
    let calls: Vec<Json> = calls.iter().map(call).collect();
    bytes(&json!({ "instance": about.instance, "kept": KEPT, "calls": calls }))
}

fn call(call: &RecentCall) -> Json {
    let details = &call.details;
    json!({
        "number": call.number,
        "provider": &*call.provider,
        "model": &*call.model,
        "operation": call.operation.as_str(),
        "ended": call.ended,
        "seconds": call.elapsed.as_secs_f64(),
        "waited": call.waited.as_secs_f64(),
        "firstChunk": details.first_chunk.map(|elapsed| elapsed.as_secs_f64()),
        "outcome": call.error.map_or("success", ErrorType::as_str),
        "attempts": details.attempts,
        "prompt": call.usage.map(|usage| usage.prompt()),
        "completion": call.usage.map(|usage| usage.completion()),
        "cacheRead": call.usage.map(|usage| usage.cache_read()),
        "cost": details.cost_nano_usd.map(dollars),
        "task": details.task.as_deref(),
        "status": details.status,
        "code": details.code.as_deref(),
        "requestId": details.request_id.as_deref(),
        "trace": call.trace.map(|trace| hex(&trace.trace)),
        "span": call.trace.map(|trace| hex(&trace.span)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(json: &Json) -> Vec<u8> {
    serde_json::to_vec(json).unwrap_or_default()
}

/// Returns the series of a family; none if there is no such family.
fn series<'a>(snapshot: &'a Snapshot, name: &str) -> impl Iterator<Item = (&'a Labels, Value<'a>)> {
    snapshot.family(name).into_iter().flat_map(Family::series)
}
