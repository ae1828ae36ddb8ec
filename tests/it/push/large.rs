//! What a message of OTLP may have is less than what a program may have counted.

use std::collections::BTreeMap;
use std::time::Duration;

use botticelli_obs::{Builder, ErrorType, LlmCall, TraceExporter, Usage};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};

use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};

const PATIENCE: Duration = Duration::from_secs(60);

const PAIRS: usize = 1_000;

/// Classes of failures that each pair has.
const ERRORS: &[ErrorType] = &[
    ErrorType::RateLimit,
    ErrorType::Auth,
    ErrorType::Network,
    ErrorType::Timeout,
    ErrorType::InvalidRequest,
    ErrorType::NotFound,
    ErrorType::ServerError,
    ErrorType::Overloaded,
    ErrorType::ContextLength,
    ErrorType::ContentFilter,
    ErrorType::Decode,
    ErrorType::Stream,
];

fn record() {
    for pair in 0..PAIRS {
        let model =
            format!("a-vendor/a-model-with-a-name-that-is-as-long-as-some-are-and-a-bit-longer-{pair:04}-2026-11-28");
        let mut call = LlmCall::start("openrouter", &model);
        call.record_usage(Usage::new(12, 30));
        call.finish();
        ERRORS.iter().for_each(|error| LlmCall::start("openrouter", &model).fail(*error));
    }
}

/// Adds up the values of a counter, or the counts of a histogram, over all exports.
fn sum(exports: &[Metric], name: &str) -> f64 {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

    let of = |found: &Metric| -> f64 {
        match found.data.as_ref() {
            Some(metric::Data::Sum(sum)) => {
                let value = |value: &Option<Value>| match value {
                    Some(Value::AsInt(value)) => *value as f64,
                    Some(Value::AsDouble(value)) => *value,
                    None => 0.0,
                };
                sum.data_points.iter().map(|point| value(&point.value)).sum()
            }
            Some(metric::Data::Histogram(histogram)) => {
                histogram.data_points.iter().map(|point| point.count as f64).sum()
            }
            _ => 0.0,
        }
    };
    exports.iter().filter(|metric| metric.name == name).map(of).sum()
}

/// More than a message is sent in several, each of them whole, and every series arrives once.
fn arrives(protocol: &str, temporality: &str) {
    let variables = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
        // Pushes are made when they are asked for.
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400000"),
    ];
    in_own_process(&variables, || {
        let peer = if std::env::var("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() == Ok("grpc") {
            Peer::grpc(Mood::Takes)
        } else {
            Peer::http(Mood::Takes)
        };
        let telemetry = Builder::new()
            .with_trace_exporter(TraceExporter::None)
            .with_otlp_endpoint(format!("http://{}", peer.addr))
            .install()
            .expect("it installs");
        telemetry.flush(PATIENCE).expect("the metrics are taken");
        let before = peer.received().metrics.len();
        record();
        telemetry.flush(PATIENCE).expect("the metrics are taken");
        let received = peer.received().metrics.split_off(before);
        let calls = (PAIRS * (1 + ERRORS.len())) as f64;
        let scopes = received.into_iter().flat_map(|export| export.resource_metrics).flat_map(|of| of.scope_metrics);
        let metrics: Vec<Metric> = scopes.flat_map(|scope| scope.metrics).collect();
        assert_eq!(sum(&metrics, "llm_requests_total"), calls);
        assert_eq!(sum(&metrics, "llm_duration"), calls);
        assert_eq!(sum(&metrics, "llm_errors_total"), (PAIRS * ERRORS.len()) as f64);
        let mut descriptions: BTreeMap<&str, &str> = BTreeMap::new();
        for metric in &metrics {
            let known = descriptions.entry(&metric.name).or_insert(&metric.description);
            assert_eq!(*known, metric.description, "{}", metric.name);
        }
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    });
}

#[test]
fn more_than_a_message_of_metrics_arrives_by_grpc() {
    arrives("grpc", "cumulative");
}

#[test]
fn more_than_a_message_of_metrics_arrives_by_http() {
    arrives("http/protobuf", "cumulative");
}

#[test]
fn more_than_a_message_of_deltas_arrives_by_grpc() {
    arrives("grpc", "delta");
}
