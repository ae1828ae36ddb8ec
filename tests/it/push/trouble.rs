//! An endpoint that refuses, is away, slow or restarts harms neither the program nor the page nor the spans; one that is well gets
//! all that was asked for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, LlmCall, Telemetry, TraceExporter, Usage};
use tonic::Code;

use crate::support::collected::CollectedMetrics;
use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};
use crate::support::process::resident_memory;
use crate::support::server::{Collector, Folder};
use crate::support::tls::Certificate;
use crate::support::{free_port, get, in_own_process, in_scenario, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// What waiting may take beyond the time it was given, on a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(10);

fn call() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
}

fn install() -> Telemetry {
    Builder::new().with_prometheus_endpoint("127.0.0.1:0").install().expect("no endpoint keeps a program from starting")
}

fn served(telemetry: &Telemetry) -> Page {
    let addr = telemetry.metrics_addr().expect("there is a listener");
    Page::parse(&get(addr, "/metrics", Duration::from_secs(10)).expect("the page is served").body)
}

fn failures(page: &Page) -> f64 {
    page.value("botticelli_obs_export_failures_total", &[("signal", "metrics")])
}

fn is_up(page: &Page) -> f64 {
    page.value("botticelli_obs_pipeline_up", &[("pipeline", "push")])
}

/// Runs a scenario that pushes to this endpoint and scrapes itself; returns what it has logged.
fn pushing(endpoint: &str, more: &[(&str, &str)], scenario: impl FnOnce()) -> Option<String> {
    let own = [
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_TRACES_EXPORTER", "none"),
    ];
    let variables: Vec<(&str, &str)> = own
        .into_iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| other != name))
        .chain(more.iter().copied())
        .collect();
    let output = in_own_process(&variables, scenario)?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("panicked"), "{log}");
    Some(log)
}

/// An endpoint that refuses metrics, as Jaeger does, is asked again: one answer is no proof, however often it comes within a minute.
fn refused(protocol: &str, words: &str) {
    let Some(jaeger) = Collector::of_traces_only() else { return };
    let endpoint = format!("http://{}", if protocol == "grpc" { jaeger.grpc } else { jaeger.http });
    let more = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
        ("WORDS", words),
    ];
    let log = pushing(&endpoint, &more, || {
        let words = std::env::var("WORDS").expect("the parent has set it");
        let telemetry = install();
        call();
        wait_for("refusals are counted", PATIENCE, || (failures(&served(&telemetry)) >= 5.0).then_some(()));
        let error = telemetry.flush(PATIENCE).expect_err("the metrics are not taken");
        assert!(error.is_metrics_failure() && error.lost_spans() == 0, "{error}");
        assert!(error.to_string().contains(&words), "{error}");
        let page = served(&telemetry);
        assert_eq!(is_up(&page), 1.0, "it goes on");
        assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", "traces")]), 1.0);
        assert_eq!(page.sum("llm_requests_total"), 1.0);
        assert_eq!(telemetry.shutdown(PATIENCE).expect_err("the metrics are not taken").lost_spans(), 0);
    });
    let Some(log) = log else { return };
    assert_eq!(jaeger.spans(1).len(), 1, "traces are unharmed");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
    assert!(log.contains(words) && !log.contains("Jaeger"), "what was seen, and no more: {log}");
}

#[test]
fn an_endpoint_that_refuses_metrics_is_asked_again_by_grpc() {
    refused("grpc", "gRPC status Unimplemented");
}

#[test]
fn an_endpoint_that_refuses_metrics_is_asked_again_by_http() {
    refused("http/protobuf", "HTTP status 404 Not Found");
}

#[test]
fn a_404_of_a_roll_out_loses_nothing() {
    let variables = [("OTEL_METRICS_EXPORTER", "prometheus,otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    in_own_process(&variables, || {
        let peer = Peer::http(Mood::Refuses(Code::NotFound));
        let telemetry = Builder::new()
            .with_prometheus_endpoint("127.0.0.1:0")
            .with_trace_exporter(TraceExporter::None)
            .with_otlp_endpoint(format!("http://{}", peer.addr))
            .install()
            .expect("it installs");
        call();
        telemetry.flush(PATIENCE).expect_err("the metrics are not taken");
        assert!(failures(&served(&telemetry)) > 0.0);
        peer.set_mood(Mood::Takes);
        telemetry.flush(PATIENCE).expect("the metrics are taken");
        assert_eq!(is_up(&served(&telemetry)), 1.0);
        assert!(!peer.received().metrics.is_empty());
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    });
}

/// Metrics keep coming to the page while the endpoint takes none, and the end comes in time.
fn takes_none(endpoint: &str, more: &[(&str, &str)]) {
    let more = [more, &[("OTEL_METRIC_EXPORT_INTERVAL", "50")]].concat();
    let log = pushing(endpoint, &more, || {
        let telemetry = install();
        let started = Instant::now();
        (0..1000).for_each(|_| call());
        assert!(started.elapsed() < SLACK, "calls took {:?}", started.elapsed());
        wait_for("failures are counted", PATIENCE, || (failures(&served(&telemetry)) >= 3.0).then_some(()));
        assert_eq!(served(&telemetry).sum("llm_requests_total"), 1000.0);
        let started = Instant::now();
        let error = telemetry.shutdown(Duration::from_secs(2)).expect_err("the metrics are not taken");
        assert!(error.is_metrics_failure() && error.lost_spans() == 0, "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "the end took {:?}", started.elapsed());
    });
    if let Some(log) = log {
        assert_eq!(log.matches("takes no metrics").count(), 1, "{log}");
    }
}

#[test]
fn a_collector_that_is_away_is_told_of_once() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    takes_none(&endpoint, &[]);
}

#[test]
fn a_collector_that_never_answers_is_given_up_each_time() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    for limit in ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"] {
        takes_none(&format!("http://{}", peer.addr), &[(limit, "100")]);
        if in_scenario() {
            return;
        }
    }
}

#[test]
fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    pushing(&format!("http://{}", peer.addr), &[("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")], || {
        let telemetry = install();
        let started = Instant::now();
        telemetry.shutdown(Duration::from_millis(300)).expect_err("the metrics are not taken");
        assert!(started.elapsed() < SLACK, "the end took {:?}", started.elapsed());
    });
}

#[test]
fn a_collector_that_rejects_data_points_is_told_of() {
    let peer = Peer::grpc(Mood::Rejects(3));
    let log = pushing(&format!("http://{}", peer.addr), &[], || {
        let telemetry = install();
        telemetry.flush(PATIENCE).expect_err("the metrics are not taken");
        let before = failures(&served(&telemetry));
        telemetry.flush(PATIENCE).expect_err("the metrics are not taken");
        assert_eq!(failures(&served(&telemetry)), before + 1.0, "they are not sent again");
        let error = telemetry.shutdown(PATIENCE).expect_err("the metrics are not taken");
        assert!(error.to_string().contains("3 data points were rejected"), "{error}");
    });
    assert!(log.is_none_or(|log| log.contains("3 data points were rejected")));
}

#[test]
fn a_collector_that_is_asked_by_the_other_transport_is_not_taken_for_jaeger() {
    let Some(collector) = Collector::start() else { return };
    let log = pushing(&format!("http://{}", collector.http), &[], || {
        let telemetry = install();
        let error = telemetry.shutdown(PATIENCE).expect_err("the metrics are not taken");
        assert!(error.to_string().contains("does not speak gRPC"), "{error}");
    });
    assert!(log.is_none_or(|log| log.contains("does not speak gRPC") && !log.contains("Jaeger")));
}

#[test]
fn a_collector_that_restarts_misses_nothing() {
    pushing("http://127.0.0.1:1", &[("OTEL_METRIC_EXPORT_INTERVAL", "100")], || {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let Some(collector) = Collector::of_metrics(addr) else { return };
        let telemetry = Builder::new()
            .without_listener()
            .with_trace_exporter(TraceExporter::None)
            .with_otlp_endpoint(format!("http://{addr}"))
            .install()
            .expect("it installs");
        let has = |collector: &Collector, calls: f64| {
            wait_for("the collector has every call", PATIENCE, || {
                let all = CollectedMetrics::parse_all(&collector.received());
                all.into_iter().rfind(|got| got.page.sum("llm_duration_count") == calls)
            })
        };
        (0..10).for_each(|_| call());
        let before = has(&collector, 10.0);
        collector.stop();
        (0..10).for_each(|_| call());
        wait_for("it is missed", PATIENCE, || (failures(&Page::parse(&telemetry.render())) > 0.0).then_some(()));
        let collector = Collector::of_metrics(addr).expect("it was there a moment ago");
        (0..10).for_each(|_| call());
        let after = has(&collector, 30.0);
        assert_eq!(after.page.sum("llm_tokens_total"), 30.0 * 42.0, "nothing is lost or doubled");
        assert_eq!(before.times[0].0, after.times[0].0, "it is one series, counted since the same start");
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    });
}

#[test]
fn memory_stays_flat_while_the_collector_is_away() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    pushing(&endpoint, &[("OTEL_METRIC_EXPORT_INTERVAL", "1")], || {
        let telemetry = install();
        for model in 0..200 {
            LlmCall::start("gemini", format!("model-{model}")).finish();
        }
        let after = |exports: f64| {
            let page = || Page::parse(&telemetry.render());
            wait_for("exports fail", 4 * PATIENCE, || (failures(&page()) >= exports).then(resident_memory))
        };
        let (before, then) = (after(20.0), after(120.0));
        assert!(then < before + 16_000_000, "memory grew from {before} to {then} bytes in 100 exports");
    });
}

/// Headers and compression as they were asked for.
fn is_sent_as_asked(protocol: &str) {
    let (peer, encoding) = match protocol {
        "grpc" => (Peer::grpc(Mood::Takes), "grpc-encoding"),
        _ => (Peer::http(Mood::Takes), "content-encoding"),
    };
    let more = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Bearer%20abc"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
    ];
    let log = pushing(&format!("http://{}", peer.addr), &more, || {
        let telemetry = install();
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    });
    if log.is_some() {
        let received = peer.received();
        assert!(!received.metrics.is_empty());
        assert_eq!(received.headers.get("authorization").map(String::as_str), Some("Bearer abc"));
        assert_eq!(received.headers.get(encoding).map(String::as_str), Some("gzip"));
    }
}

#[test]
fn headers_and_compression_are_sent_by_grpc() {
    is_sent_as_asked("grpc");
}

#[test]
fn headers_and_compression_are_sent_by_http() {
    is_sent_as_asked("http/protobuf");
}

/// By TLS to whom the program may trust.
#[cfg(feature = "otlp-tls")]
fn travels_by_tls(protocol: &str) {
    let certificate = Certificate::new();
    let folder = Folder::new("tls");
    let path = folder.path().join("peer.pem");
    std::fs::write(&path, &certificate.certificate).expect("the certificate can be written");
    let peer = if protocol == "grpc" { Peer::grpc_tls(&certificate) } else { Peer::http_tls(&certificate) };
    let trust = ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", path.to_str().expect("the path is Unicode"));
    let more = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), trust];
    let log = pushing(&format!("https://{}", peer.addr), &more, || {
        let telemetry = install();
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    });
    assert!(log.is_none() || !peer.received().metrics.is_empty());
}

#[cfg(feature = "otlp-tls")]
#[test]
fn metrics_travel_by_tls_over_grpc() {
    travels_by_tls("grpc");
}

#[cfg(feature = "otlp-tls")]
#[test]
fn metrics_travel_by_tls_over_http() {
    travels_by_tls("http/protobuf");
}
