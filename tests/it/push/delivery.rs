//! Metrics pushed by OTLP say what the page says.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use botticelli_obs::{Builder, ErrorType, LlmCall, Telemetry, Usage, counter, gauge, histogram};

use crate::support::bot::Bot;
use crate::support::collected::CollectedMetrics;
use crate::support::page::Page;
use crate::support::server::{Collector, Folder};
use crate::support::store::Store;
use crate::support::{free_port, get, in_own_process, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Without what is pushed as the resource, and the values that change while nothing is recorded.
fn comparable(mut page: Page) -> Page {
    page.samples.retain(|(name, _), _| name != "target_info" && !name.starts_with("process_"));
    page.types.remove("target_info");
    page.help.remove("target_info");
    page
}

fn comparable_metrics(mut got: CollectedMetrics) -> CollectedMetrics {
    got.page = comparable(got.page);
    got
}

fn collector() -> Option<Collector> {
    Collector::of_metrics(SocketAddr::from(([127, 0, 0, 1], free_port())))
}

#[test]
fn what_a_collector_gets_of_a_bot_is_its_page_series_by_series() {
    let Some(collector) = collector() else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "300"),
        ("OTEL_SERVICE_NAME", "bot"),
    ];
    let options =
        ["--calls", "200", "--rate", "200", "--error-rate", "0.2", "--latency-scale", "0.02", "--stream-ratio", "0.4"];
    let bot = Bot::start(&[&options[..], &["--seed", "7", "--linger", "300s"]].concat(), &variables);
    bot.tally(PATIENCE);
    let page = get(bot.metrics, "/metrics", Duration::from_secs(10)).expect("the page is served").body;
    let page = comparable(Page::parse(&page));
    assert!(page.sum("llm_requests_total") >= 200.0 && page.sum("llm_errors_total") > 0.0);

    let got = wait_for("the collector has the last values", PATIENCE, || {
        let all = CollectedMetrics::parse_all(&collector.received()).into_iter().map(comparable_metrics);
        all.rev().find(|got| got.page.samples == page.samples)
    });
    assert_eq!(got.page.types, page.types);
    assert_eq!(got.page.help, page.help);
    assert_eq!(got.resource["service.name"], "bot");
    for (metric, temporality) in &got.temporality {
        let expected = match page.types[metric].as_str() {
            "counter" => "CUMULATIVE true",
            "histogram" => "CUMULATIVE",
            _ => "",
        };
        assert_eq!(temporality, expected, "{metric}");
    }
    assert!(!got.page.types.is_empty());
}

/// A program with one of everything, which pushes only at its start and at its end.
fn program() -> Telemetry {
    let telemetry = Builder::new().install().expect("it installs");
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
    LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
    counter!("bot.posts", "channel" => "discord").increment(3);
    gauge!("bot.queue").increment(5.0);
    gauge!("bot.queue").decrement(2.0);
    histogram!("bot.queue_wait").record(0.2);
    histogram!("bot.queue_wait").record(-1.5);
    telemetry
}

/// Its page as it was just before the end, with the end of the push itself.
fn shut_down(telemetry: Telemetry) {
    let page = std::env::var("PAGE").expect("the parent has set it");
    std::fs::write(page, telemetry.render()).expect("the page can be written");
    telemetry.shutdown(PATIENCE).expect("the metrics are taken");
}

/// Runs the program against an endpoint of metrics; returns its page.
fn pushing(endpoint: &str, more: &[(&str, &str)]) -> Option<Page> {
    let folder = Folder::new("push");
    let page = folder.path().join("page");
    let variables = [
        &[
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint),
            ("PAGE", page.to_str().expect("it is UTF-8")),
        ],
        more,
    ]
    .concat();
    in_own_process(&variables, || shut_down(program()))?;
    Some(comparable(Page::parse(&std::fs::read_to_string(page).expect("the page was written"))))
}

fn arrives_at_shutdown(protocol: &str) {
    let Some(collector) = collector() else { return };
    let endpoint = match protocol {
        "grpc" => format!("http://{}", collector.grpc),
        _ => format!("http://{}/v1/metrics", collector.http),
    };
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
    let Some(page) = pushing(&endpoint, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]) else { return };
    let after = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
    let got = wait_for("the collector has the last values", PATIENCE, || {
        let last = CollectedMetrics::parse_all(&collector.received()).pop().map(comparable_metrics);
        last.filter(|got| got.page.samples == page.samples)
    });
    assert_eq!(got.page.value("bot_queue", &[]), 3.0);
    assert_eq!(got.page.value("bot_queue_wait_sum", &[]), -1.3);
    assert!(got.times.iter().all(|&(start, end)| before <= start && start < end && end <= after), "{:?}", got.times);
    assert!(got.times.iter().all(|(start, _)| *start == got.times[0].0), "everything is counted since the start");
}

#[test]
fn the_last_values_arrive_at_shutdown_by_grpc() {
    arrives_at_shutdown("grpc");
}

#[test]
fn the_last_values_arrive_at_shutdown_by_http() {
    arrives_at_shutdown("http/protobuf");
}

/// A store holds the names and values of the page, whatever it makes of names.
fn names_stay(options: &[&str]) {
    let Some(store) = Store::start(options) else { return };
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let Some(page) = pushing(&store.endpoint(), &[protocol]) else { return };
    let mut stored = Page::default();
    let is_same = || {
        stored = comparable(store.samples());
        (stored.samples.len() >= page.samples.len()).then_some(())
    };
    wait_for("the store has all series", PATIENCE, is_same);
    // The store rounds to its decimal precision, and leaves out nothing.
    let names = |page: &Page| page.samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&stored), names(&page));
    for (series, value) in &page.samples {
        assert!((stored.samples[series] - value).abs() <= 1e-9 * value.abs(), "{series:?}");
    }
}

#[test]
fn names_stay_in_a_store_that_keeps_names() {
    names_stay(&[]);
}

#[test]
fn names_stay_in_a_store_that_makes_prometheus_names() {
    names_stay(&["-opentelemetry.usePrometheusNaming"]);
}
