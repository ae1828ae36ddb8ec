//! The bot pushes to a real Collector, which sends traces to Jaeger and metrics to Prometheus 3.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::bot::{Bot, Tally};
use crate::support::jaeger::{Between, Jaeger, Ways};
use crate::support::page::Page;
use crate::support::server::{Prometheus, Sample};
use crate::support::{get, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// The samples of a page that are not about calls, and change all the time.
const CHANGING: &[&str] = &["process_", "botticelli_obs_", "target_info"];

#[test]
fn what_is_pushed_through_a_collector_is_in_jaeger_and_prometheus_under_the_names_of_the_page() {
    let Some(jaeger) = Jaeger::start() else { return };
    let Some(receiving) = Prometheus::of_pushes("prometheus3", true) else { return };
    let ways = Ways { traces: Some(jaeger.grpc), metrics: Some(receiving.addr()), has_page: true };
    let Some(collector) = Between::start(ways) else { return };
    let Some(scraping) = Prometheus::with_exemplars("prometheus3", collector.page) else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "bot"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let options = ["--calls", "500", "--rate", "150", "--concurrency", "32", "--error-rate", "0.2"];
    let more = ["--latency-scale", "0.02", "--timeout", "1s", "--linger", "600s"];
    let bot = Bot::start(&[&options[..], &more].concat(), &variables);
    let tally = bot.tally(PATIENCE);
    let page = Page::parse(&get(bot.metrics, "/metrics", PATIENCE).expect("the page is served").body);

    for prometheus in [&receiving, &scraping] {
        wait_for("the last push arrives", PATIENCE, || {
            let calls = prometheus.query("sum(llm_requests_total)").pop()?.1;
            (calls == 500.0).then_some(())
        });
        holds(|query| prometheus.query(query), &tally, &page);
    }
    let spans = jaeger.wait_for_spans("bot", 1500);
    let calls = spans.iter().filter(|span| span.attributes.contains_key("gen_ai.request.model"));
    assert_eq!((spans.len(), calls.count()), (1500, 500));
}

/// Prometheus has each sample of the page's calls, under its name and with its labels, and what the bot has counted.
pub(super) fn holds(query: impl Fn(&str) -> Vec<Sample>, tally: &[Tally], page: &Page) {
    let names: BTreeSet<&str> = page.samples.keys().map(|(name, _)| name.as_str()).collect();
    for name in names.into_iter().filter(|name| !CHANGING.iter().any(|start| name.starts_with(start))) {
        let stored = query(name);
        let of_page = page.of(name);
        assert_eq!(stored.len(), of_page.len(), "{name}");
        for (labels, value) in of_page {
            let is_same = |stored: &serde_json::Map<String, serde_json::Value>| {
                labels.iter().all(|(label, value)| match label.as_str() {
                    // Prometheus 3 writes them as OpenMetrics does.
                    "le" => stored["le"].as_str().and_then(|bound| bound.parse::<f64>().ok()) == value.parse().ok(),
                    label => stored[label] == value.as_str(),
                })
            };
            let found =
                stored.iter().find(|(stored, _)| is_same(stored)).unwrap_or_else(|| panic!("no {name} {labels:?}"));
            let is_time = name.ends_with("_timestamp_seconds");
            assert!(is_time || (found.1 - value).abs() < 1e-6, "{name} {labels:?} is {value}, stored {}", found.1);
        }
    }
    for pair in tally {
        let selector = format!(r#"provider="{}",model="{}""#, pair.provider, pair.model);
        let value = |name: &str| query(&format!("sum({name}{{{selector}}})")).pop().map(|(_, value)| value);
        assert_eq!(value("llm_requests_total"), Some(pair.requests as f64), "{selector}");
        assert_eq!(value("llm_errors_total"), Some(pair.errors.values().sum::<u64>() as f64), "{selector}");
        assert_eq!(value("llm_tokens_prompt_total"), Some(pair.prompt_tokens as f64), "{selector}");
        assert_eq!(value("llm_tokens_completion_total"), Some(pair.completion_tokens as f64), "{selector}");
    }
}
