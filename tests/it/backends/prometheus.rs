//! A real Prometheus scrapes real programs.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, METRICS, Metric, MetricKind, Usage};

use crate::support::bot::Bot;
use crate::support::page::{Page, is_told_by_clients};
use crate::support::server::Prometheus;
use crate::support::{find_program, get, in_own_process, run_with_input, wait_for};

/// A bot that calls until it is told to stop, and then keeps its page up.
const OPTIONS: &[&str] = &[
    "--rate",
    "60",
    "--concurrency",
    "16",
    "--error-rate",
    "0.2",
    "--latency-scale",
    "0.05",
    "--stream-ratio",
    "0.4",
    "--timeout",
    "1s",
    "--seed",
    "7",
    "--linger",
    "120s",
];

#[test]
fn prometheus_holds_exactly_what_the_bot_counted() {
    let bot = Bot::start(OPTIONS, &[]);
    let Some(prometheus) = Prometheus::scraping(bot.metrics, "1s") else { return };
    wait_for("prometheus sees calls", Duration::from_secs(60), || {
        prometheus.query("sum(rate(llm_requests_total[1m]))").pop().filter(|(_, rate)| *rate > 10.0)
    });
    bot.signal("TERM");
    let tally = bot.tally(Duration::from_secs(60));
    let total: u64 = tally.iter().map(|pair| pair.requests).sum();
    assert!(tally.iter().map(|pair| pair.errors.values().sum::<u64>()).sum::<u64>() > 10, "errors were injected");
    wait_for("the last scrape", Duration::from_secs(60), || {
        prometheus.query("sum(llm_requests_total)").first().filter(|(_, value)| *value == total as f64).map(|_| ())
    });

    for pair in &tally {
        let selector = format!(r#"provider="{}",model="{}""#, pair.provider, pair.model);
        let value = |query: String| match prometheus.query(&query).as_slice() {
            [(_, value)] => *value,
            other => panic!("{query} gives {other:?}"),
        };
        assert_eq!(value(format!("llm_requests_total{{{selector}}}")), pair.requests as f64);
        assert_eq!(value(format!("llm_duration_count{{{selector}}}")), pair.requests as f64);
        assert_eq!(value(format!(r#"llm_duration_bucket{{{selector},le="+Inf"}}"#)), pair.requests as f64);
        assert_eq!(value(format!("llm_tokens_prompt_total{{{selector}}}")), pair.prompt_tokens as f64);
        assert_eq!(value(format!("llm_tokens_completion_total{{{selector}}}")), pair.completion_tokens as f64);
        let tokens = pair.prompt_tokens + pair.completion_tokens;
        assert_eq!(value(format!("llm_tokens_total{{{selector}}}")), tokens as f64);
        assert_eq!(value(format!("llm_in_flight{{{selector}}}")), 0.0);
        for (labels, errors) in prometheus.query(&format!("llm_errors_total{{{selector}}}")) {
            let error_type = labels["error_type"].as_str().expect("errors have a type");
            assert_eq!(errors, pair.errors.get(error_type).copied().unwrap_or(0) as f64, "{selector} {error_type}");
        }
        let errors: u64 = pair.errors.values().sum();
        assert_eq!(value(format!("sum(llm_errors_total{{{selector}}})")), errors as f64);
    }

    let metadata = prometheus.metadata();
    // The bot's client tells nothing of attempts.
    let is_told = |metric: &&Metric| metric.name.starts_with("llm.") && !is_told_by_clients(metric);
    for metric in METRICS.iter().filter(is_told) {
        // Prometheus asks for OpenMetrics, where the family of a counter has no `_total`.
        let family = metric.prometheus.strip_suffix("_total").unwrap_or(metric.prometheus);
        let known = &metadata["data"][family][0];
        assert_eq!(known["type"], metric.kind.as_str(), "{}: {known}", metric.prometheus);
        assert_eq!(known["help"], metric.description);
        let sample = if metric.kind == MetricKind::Histogram { "_count" } else { "" };
        let series = prometheus.query(&format!("{}{sample}", metric.prometheus));
        assert!(!series.is_empty(), "{} is not there", metric.prometheus);
        for (labels, _) in &series {
            let names: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
            let of_prometheus = ["__name__", "instance", "job"];
            assert_eq!(names, metric.labels.iter().copied().chain(of_prometheus).collect(), "{}", metric.prometheus);
        }
    }

    for query in [
        "rate(llm_duration_sum[1m]) / rate(llm_duration_count[1m])",
        "rate(llm_tokens_total[1m]) * 60",
        "sum by (provider) (rate(llm_requests_total[1m]))",
    ] {
        let answer = prometheus.query(query);
        assert!(answer.iter().any(|(_, value)| value.is_finite() && *value > 0.0), "{query} gives {answer:?}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_bots_page() {
    let Some(promtool) = find_program("promtool") else { return };
    let bot = Bot::start(&[OPTIONS, &["--calls", "300"]].concat(), &[]);
    bot.tally(Duration::from_secs(60));
    let page = get(bot.metrics, "/metrics", Duration::from_secs(5)).expect("the page is served").body;
    Page::parse(&page);
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]);
    let output = run_with_input(check, &page);
    let findings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && findings.trim().is_empty(), "{findings}");
}

#[test]
fn one_short_call_of_a_declared_pair_shows_under_a_slow_scrape() {
    in_own_process(&[], || {
        let telemetry = Builder::new()
            .with_prometheus_endpoint("127.0.0.1:0")
            .add_model("gemini", "gemini-2.5-flash")
            .install()
            .expect("it installs");
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let Some(prometheus) = Prometheus::scraping(addr, "15s") else { return };
        let query = "increase(llm_requests_total[2m])";
        wait_for("the first scrape", Duration::from_secs(40), || prometheus.query("llm_requests_total").pop());

        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        std::thread::sleep(Duration::from_secs(3));
        call.record_usage(Usage::new(12, 30));
        call.finish();

        let increase = wait_for("an increase", Duration::from_secs(60), || {
            prometheus.query(query).pop().map(|(_, value)| value).filter(|value| *value > 0.0)
        });
        assert!((0.9..2.5).contains(&increase), "{query} is {increase}");
    });
}
