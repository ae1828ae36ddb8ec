//! The shipped configurations of `collector/` on a real Collector that has their components. The gate has none: `.ci/collector` builds
//! one and runs these tests.

use std::net::SocketAddr;

use super::live::{GENAI, HEALTHY, PATIENCE, has_all, has_data_and_no_alerts, has_pushed};
use super::servers::{self, Behind, Collector, Server};
use crate::backends::collector::holds;
use crate::support::bot::Bot;
use crate::support::jaeger::Jaeger;
use crate::support::page::Page;
use crate::support::{get, wait_for};

/// What stands behind the Collector; `None` where something is not installed.
fn behind(page: Option<SocketAddr>) -> Option<(Jaeger, Server, Collector)> {
    let (jaeger, prometheus) = (Jaeger::start()?, servers::prometheus_3(&[])?);
    let collector = Collector::start(Behind { jaeger: jaeger.grpc, prometheus: prometheus.addr, page })?;
    Some((jaeger, prometheus, collector))
}

#[test]
fn every_query_returns_data_that_the_shipped_collector_writes_to_prometheus_3() {
    let Some((_jaeger, prometheus, collector)) = behind(None) else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        (GENAI, "1.41,genai-0.1"),
    ];
    let _bot = Bot::start(HEALTHY, &variables);
    has_data_and_no_alerts(&prometheus, has_pushed);
}

#[test]
fn every_query_returns_data_that_the_shipped_collector_scrapes() {
    let Some(jaeger) = Jaeger::start() else { return };
    let endpoint = format!("http://{}", jaeger.grpc);
    let bot = Bot::start(HEALTHY, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), (GENAI, "1.41,genai-0.1")]);
    let Some((_jaeger, prometheus, _collector)) = behind(Some(bot.metrics)) else { return };
    has_data_and_no_alerts(&prometheus, has_all);
}

#[test]
fn what_is_pushed_while_prometheus_is_gone_for_a_minute_arrives_later() {
    let Some((jaeger, prometheus, collector)) = behind(None) else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_SERVICE_NAME", "bot"),
    ];
    let options =
        ["--calls", "600", "--rate", "10", "--error-rate", "0.1", "--latency-scale", "0.02", "--linger", "600s"];
    let bot = Bot::start(&options, &variables);
    wait_for("Prometheus has calls", PATIENCE, || prometheus.query("sum(llm_requests_total) > 0").pop());
    // The bot makes calls for a minute, all of it without Prometheus.
    let absent = prometheus.stop();
    let tally = bot.tally(PATIENCE);
    let prometheus = absent.start();

    let page = Page::parse(&get(bot.metrics, "/metrics", PATIENCE).expect("the page is served").body);
    wait_for("the last push arrives", PATIENCE, || {
        prometheus.query("sum(llm_requests_total)").pop().filter(|(_, calls)| *calls == 600.0)
    });
    holds(|query| prometheus.query(query), &tally, &page);
    assert_eq!(jaeger.wait_for_spans("bot", 1800).len(), 1800);
}
