//! The stack of `examples/stack` at work: real servers with the shipped configurations, real programs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::queries::{self, Purpose, Query};
use super::servers::{self, Machine, Server};
use super::unwell;
use crate::support::bot::Bot;
#[cfg(feature = "otlp-metrics")]
use crate::support::jaeger::{Between, Jaeger, Ways};
use crate::support::page::Page;
use crate::support::server::{Collector, Process, Sample};
use crate::support::{free_port, get, role, wait_for};

/// Scrapes come every 15 s, and a rate needs two; the machine may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// The metrics of the conventions, for the dashboard that asks for those.
pub(super) const GENAI: &str = "BOTTICELLI_OBS_GENAI_METRICS";

/// Many quick calls, half of them streamed; a few errors, too few for an alert.
pub(super) const HEALTHY: &[&str] =
    &["--rate", "50", "--concurrency", "64", "--error-rate", "0.002", "--latency-scale", "0.05", "--linger", "600s"];

/// Some messages are for an agent with tools.
pub(super) const AGENTS: &[&str] = &["--agent-ratio", "0.1"];

/// What the bot's calls cost.
pub(super) const PRICES: (&str, &str) = ("BOTTICELLI_OBS_PRICES", "examples/stack/prices.json");

/// Waits until each query returns a finite sample.
fn wait_for_samples(server: &Server, mut queries: Vec<Query>) {
    let mut missing = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !queries.is_empty() {
        assert!(Instant::now() < deadline, "no data within {PATIENCE:?}:\n{missing}");
        queries.retain(|query| !server.query(&query.expr).iter().any(|(_, value)| value.is_finite()));
        missing = queries.iter().map(|query| format!("{}: {}\n", query.place, query.expr)).collect();
        thread::sleep(Duration::from_millis(250));
    }
}

/// The page of a program in which everything goes wrong, once it is up.
fn start_unwell() -> (Process, SocketAddr) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let variables = [
        ("PROMETHEUS_ENDPOINT", addr.to_string()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000".to_owned()),
        ("BOTTICELLI_OBS_LOG_FORMAT", "off".to_owned()),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let process = role::start("unwell", 1024, &variables);
    wait_for("the unwell program serves its page", Duration::from_secs(60), || {
        let page = get(addr, "/metrics", Duration::from_secs(5)).ok()?.body;
        page.contains(r#"llm_in_flight{provider="unwell",model="stuck"} 1"#).then_some(())
    });
    (process, addr)
}

/// Every query of the dashboards and rules that is about what Prometheus has returns data, but none of the alerts does.
pub(super) fn has_data_and_no_alerts(prometheus: &Server, has: impl Fn(&Query) -> bool) {
    let (alerting, asking): (Vec<_>, Vec<_>) = queries::of_dashboards()
        .into_iter()
        .chain(queries::of_rules())
        .filter(has)
        .partition(|query| matches!(query.purpose, Purpose::Alert | Purpose::Annotation));
    assert!(asking.len() > 80 && alerting.len() > 15, "{} and {} queries", asking.len(), alerting.len());
    wait_for_samples(prometheus, asking);
    for query in alerting {
        let answer = prometheus.query(&query.expr);
        assert!(answer.is_empty(), "{} complains about a healthy bot: {answer:?}", query.place);
    }
    assert!(prometheus.query("sum(botticelli_obs_spans_exported_total)")[0].1 > 0.0);
}

/// Whether the bot, which is built with the features of this test, has what a query is about.
pub(super) fn has_all(query: &Query) -> bool {
    let is_alert = matches!(query.purpose, Purpose::Alert | Purpose::Annotation);
    let is_priced = query.expr.contains("cost") || query.expr.contains("price");
    (is_alert || !is_told_by_clients(query))
        && (cfg!(all(feature = "process", target_os = "linux")) || !query.expr.contains("process_"))
        && (cfg!(feature = "prices") || !is_priced)
}

/// Whether a query asks for what only some clients tell: attempts, waits, rate limits.
fn is_told_by_clients(query: &Query) -> bool {
    ["llm_attempt", "llm_wait", "llm_ratelimit"].iter().any(|metric| query.expr.contains(metric))
}

/// Whether a bot that nobody scrapes has it.
pub(super) fn has_pushed(query: &Query) -> bool {
    has_all(query) && !query.expr.contains("up{") && !query.expr.contains("scrape_")
}

/// A healthy bot that exports its spans to a Collector; `None` where that is not installed.
fn start_healthy(variables: &[(&str, &str)]) -> Option<(Collector, Bot)> {
    let collector = Collector::start()?;
    let endpoint = format!("http://{}", collector.grpc);
    let always = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), PRICES];
    let bot = Bot::start(&[HEALTHY, AGENTS].concat(), &[&always[..], variables].concat());
    Some((collector, bot))
}

#[test]
fn every_query_returns_data_from_a_healthy_bot() {
    let Some((_collector, bot)) = start_healthy(&[(GENAI, "1.41")]) else { return };
    let Some(prometheus) = servers::prometheus(&[bot.metrics], None) else { return };
    has_data_and_no_alerts(&prometheus, has_all);
}

#[test]
fn every_query_returns_data_from_a_healthy_bot_in_prometheus_3() {
    let Some((_collector, bot)) = start_healthy(&[(GENAI, "genai-0.1")]) else { return };
    let Some(prometheus) = servers::prometheus_3(&[bot.metrics]) else { return };
    has_data_and_no_alerts(&prometheus, has_all);
}

/// That listener has no process metrics.
#[cfg(feature = "exporter")]
#[test]
fn every_query_returns_data_from_a_bot_with_the_exporters_listener() {
    let Some((_collector, bot)) = start_healthy(&[("BOTTICELLI_OBS_LISTENER", "exporter"), (GENAI, "1.41")]) else {
        return;
    };
    let Some(prometheus) = servers::prometheus(&[bot.metrics], None) else { return };
    has_data_and_no_alerts(&prometheus, |query| has_all(query) && !query.expr.contains("process_"));
}

/// A healthy bot that pushes everything to a Collector.
#[cfg(feature = "otlp-metrics")]
fn start_pushing(collector: &Between) -> Bot {
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [
        PRICES,
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        (GENAI, "1.41,genai-0.1"),
    ];
    Bot::start(
        &[HEALTHY, AGENTS].concat(),
        &[&variables[..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]].concat(),
    )
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn every_query_returns_data_that_a_collector_pushes_to_prometheus_3() {
    let (Some(jaeger), Some(prometheus)) = (Jaeger::start(), servers::prometheus_3(&[])) else { return };
    let ways = Ways { traces: Some(jaeger.grpc), metrics: Some(prometheus.addr), has_page: false };
    let Some(collector) = Between::start(ways) else { return };
    let _bot = start_pushing(&collector);
    has_data_and_no_alerts(&prometheus, has_pushed);
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn every_query_returns_data_that_prometheus_3_scrapes_from_a_collector() {
    let Some(jaeger) = Jaeger::start() else { return };
    let Some(collector) = Between::start(Ways { traces: Some(jaeger.grpc), metrics: None, has_page: true }) else {
        return;
    };
    let Some(prometheus) = servers::prometheus_3(&[collector.page]) else { return };
    let _bot = start_pushing(&collector);
    has_data_and_no_alerts(&prometheus, has_all);
}

#[cfg(all(feature = "otlp-metrics", feature = "otlp-http"))]
#[test]
fn every_query_returns_data_that_is_pushed_straight_to_prometheus_3() {
    let (Some(jaeger), Some(prometheus)) = (Jaeger::start(), servers::prometheus_3(&[])) else { return };
    let traces = format!("http://{}", jaeger.grpc);
    let metrics = format!("http://{}/api/v1/otlp/v1/metrics", prometheus.addr);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", traces.as_str()),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", metrics.as_str()),
        (GENAI, "genai-0.1"),
        PRICES,
    ];
    let _bot = Bot::start(&[HEALTHY, AGENTS].concat(), &variables);
    has_data_and_no_alerts(&prometheus, has_pushed);
}

#[test]
fn every_alert_fires_when_it_must_and_reaches_an_alertmanager() {
    if role::role().is_some() {
        return unwell::run();
    }
    let Some(alertmanager) = servers::alertmanager() else { return };
    // Half of its calls fail, and it could not start its traces: that is the port of the other protocol.
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("BOTTICELLI_OBS_ON_FAILURE", "degrade")];
    let options = ["--rate", "20", "--error-rate", "0.5", "--latency-scale", "0.05", "--timeout", "1s"];
    let bot = Bot::start(&options, &variables);
    let (_process, unwell) = start_unwell();
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let targets = [bot.metrics, unwell, dead];
    let Some(prometheus) = servers::prometheus(&targets, Some(alertmanager.addr)) else { return };
    // A spike is one against a day of history, which only promtool has. What the healthy bot does not tell is asked for here.
    let asked = |query: &Query| {
        let is_alert = matches!(query.purpose, Purpose::Alert | Purpose::Annotation);
        is_alert && query.place != "LLMCostSpike" || is_told_by_clients(query)
    };
    let queries = queries::of_dashboards().into_iter().chain(queries::of_rules()).filter(asked).collect();
    wait_for_samples(&prometheus, queries);

    wait_for("the alertmanager holds the bot's error budget", PATIENCE, || {
        let alerts = alertmanager.json("/api/v2/alerts");
        let of_bot = |alert: &&serde_json::Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "LLMErrorBudgetBurn"
                && labels["severity"] == "page"
                && labels["provider"] == "openai"
        };
        let alert = queries::list(&alerts).iter().find(of_bot)?.clone();
        assert_eq!(alert["status"]["state"], "active");
        assert_eq!(alert["annotations"]["runbook"], "README.md#llmerrorbudgetburn");
        Some(())
    });
}

#[test]
fn an_error_ratio_is_0_without_errors_1_with_only_errors_and_absent_without_calls() {
    if role::role().is_some() {
        return unwell::run();
    }
    let (_process, unwell) = start_unwell();
    let Some(prometheus) = servers::prometheus(&[unwell], None) else { return };
    let panels = queries::of_dashboards().into_iter().filter(|query| query.place.contains("overview: Error rate"));
    let queries: Vec<_> = panels
        .chain(queries::of_rules().into_iter().filter(|query| query.place.starts_with("llm:error_ratio:rate")))
        .collect();
    assert_eq!(queries.len(), 8, "{queries:?}");
    wait_for_samples(&prometheus, queries.clone());
    for query in queries {
        let ratio = |model: &str| {
            let of_model = |(labels, _): &&Sample| labels["model"] == model;
            prometheus.query(&query.expr).iter().find(of_model).map(|(_, value)| *value)
        };
        assert_eq!(ratio("good"), Some(0.0), "{}", query.place);
        // A scrape may come between the two counters of a call.
        let of_bad = ratio("bad").expect("calls were made");
        assert!((of_bad - 1.0).abs() < 0.05, "{}: {of_bad}", query.place);
        assert_eq!(ratio("idle"), None, "{}", query.place);
    }
}

#[test]
fn sums_and_quantiles_over_two_machines_are_right_in_a_second_store() {
    let Some(store) = servers::victoria_metrics() else { return };
    let bots = ["1", "2"].map(|seed| Bot::start(&[HEALTHY, &["--calls", "300", "--seed", seed]].concat(), &[]));
    let mut agents = Vec::new();
    for (id, bot) in ["machine-a", "machine-b"].into_iter().zip(&bots) {
        let Some(agent) = (Machine { id, target: bot.metrics, store: store.addr }).agent() else { return };
        agents.push(agent);
    }
    let tallies: Vec<_> = bots.iter().flat_map(|bot| bot.tally(PATIENCE)).collect();
    let one = |query: &str| {
        // Samples are kept back for a while otherwise.
        let _ = get(store.addr, "/internal/force_flush", Duration::from_secs(5));
        store.query(query).pop().map(|(_, value)| value)
    };
    let total: u64 = tallies.iter().map(|pair| pair.requests).sum();
    assert_eq!(total, 600);
    wait_for("all calls arrive in the store", PATIENCE, || {
        one("sum(llm_requests_total)").filter(|value| *value == total as f64)
    });
    for model in tallies.iter().map(|pair| pair.model.as_str()).collect::<BTreeSet<_>>() {
        let of_model = tallies.iter().filter(|pair| pair.model == model);
        let (requests, tokens) = of_model.fold((0, 0), |(requests, tokens), pair| {
            (requests + pair.requests, tokens + pair.prompt_tokens + pair.completion_tokens)
        });
        assert_eq!(one(&format!(r#"sum(llm_requests_total{{model="{model}"}})"#)), Some(requests as f64), "{model}");
        assert_eq!(one(&format!(r#"sum(llm_tokens_total{{model="{model}"}})"#)), Some(tokens as f64), "{model}");
    }

    let instances: BTreeSet<String> = store
        .query("count by (instance) (llm_requests_total)")
        .into_iter()
        .filter_map(|(labels, _)| labels["instance"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(instances, BTreeSet::from(["machine-a/127.0.0.1:9464", "machine-b/127.0.0.1:9464"].map(str::to_owned)));

    let pages = bots.each_ref().map(|bot| get(bot.metrics, "/metrics", Duration::from_secs(5)).expect("it is served"));
    let pages = pages.map(|response| Page::parse(&response.body));
    for quantile in [0.5, 0.95, 0.99] {
        let stored = one(&format!("histogram_quantile({quantile}, sum by (le) (llm_duration_bucket))"));
        let (stored, real) = (stored.expect("there is a quantile"), quantile_of(&pages, quantile));
        assert!((stored - real).abs() < 1e-6, "the {quantile} quantile is {real}, in the store {stored}");
    }
}

/// The quantile of all calls on these pages, as Prometheus estimates it from buckets.
fn quantile_of(pages: &[Page], quantile: f64) -> f64 {
    let buckets =
        botticelli_obs::METRICS.iter().find(|metric| metric.name == "llm.duration").expect("it is known").buckets;
    let below = |bound: &str| -> f64 {
        let of_page = |page: &Page| -> f64 {
            let buckets = page.of("llm_duration_bucket");
            buckets.iter().filter(|(labels, _)| labels["le"] == bound).map(|(_, value)| value).sum()
        };
        pages.iter().map(of_page).sum()
    };
    let rank = quantile * below("+Inf");
    let (mut lower, mut counted) = (0.0, 0.0);
    for &upper in buckets {
        let count = below(&upper.to_string());
        if count >= rank {
            return lower + (upper - lower) * (rank - counted) / (count - counted);
        }
        (lower, counted) = (upper, count);
    }
    lower
}
