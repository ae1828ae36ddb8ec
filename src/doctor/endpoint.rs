//! Checks whether the OTLP endpoints take traces and metrics.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::settings::Settings;
use super::{Finding, Mistake};
use crate::otlp::send::{Refusal, Sender};
use crate::otlp::{Config, Transport};

/// The limit for an answer. At most three requests follow each other, so a check fits into the limit of the whole examination.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Traces,
    Metrics,
}

pub(super) async fn check_traces(settings: Arc<Settings>) -> Vec<Finding> {
    const CHECK: &str = "traces";
    let Some(config) = settings.endpoint_of_traces() else {
        return vec![Finding::note(
            CHECK,
            "spans are not exported by OTLP; set OTEL_EXPORTER_OTLP_ENDPOINT to export them",
        )];
    };
    vec![match send(config, Signal::Traces).await {
        Ok(()) => Finding::good(CHECK, format!("{config} takes traces")),
        Err(Refusal::UnknownSignal(_)) => Finding::broken(
            CHECK,
            format!("{config} takes no traces"),
            "point it at Jaeger or at a Collector with a pipeline for traces",
        ),
        Err(refusal) => diagnose_failure(CHECK, config, Signal::Traces, &refusal).await,
    }]
}

pub(super) async fn check_metrics(settings: Arc<Settings>) -> Vec<Finding> {
    const CHECK: &str = "metrics";
    if let Some(push) = &settings.push {
        let config = &push.otlp;
        return vec![match send(config, Signal::Metrics).await {
            Ok(()) => Finding::good(CHECK, format!("{config} takes metrics")),
            // One answer is no proof: a wrong path is refused in the same way.
            Err(Refusal::UnknownSignal(_)) if send(&traces_of(config), Signal::Traces).await.is_ok() => {
                let found =
                    format!("{config} takes traces and refuses metrics, as Jaeger does; what is pushed there is lost");
                let remedy = "let Prometheus scrape the program (OTEL_METRICS_EXPORTER=prometheus), or point \
                              OTEL_EXPORTER_OTLP_METRICS_ENDPOINT at a Collector with a pipeline for metrics";
                Finding::broken(CHECK, found, remedy).of(Mistake::MetricsToJaeger)
            }
            Err(refusal) => diagnose_failure(CHECK, config, Signal::Metrics, &refusal).await,
        }];
    }
    let Some(config) = settings.endpoint_of_traces() else {
        return vec![Finding::note(CHECK, "metrics are not pushed; Prometheus scrapes the page")];
    };
    let endpoint = match config.transport {
        Transport::Grpc => Some(config.endpoint.clone()),
        Transport::Http => config.endpoint.strip_suffix("/v1/traces").map(|base| format!("{base}/v1/metrics")),
    };
    // The path of `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is for traces alone, and says nothing of another one for metrics.
    let Some(endpoint) = endpoint else { return vec![Finding::note(CHECK, "metrics are not pushed")] };
    let config = Config { endpoint, ..config.clone() };
    vec![match send(&config, Signal::Metrics).await {
        Ok(()) => Finding::note(CHECK, format!("metrics are not pushed; {config} would take them")),
        Err(_) => Finding::note(CHECK, "metrics are not pushed; the endpoint of the traces would not take them"),
    }]
}

/// Returns where an endpoint of metrics takes spans.
fn traces_of(config: &Config) -> Config {
    Config { endpoint: config.endpoint.replace("/v1/metrics", "/v1/traces"), ..config.clone() }
}

/// Sends a request of a resource without spans or metrics, which stores nothing at the endpoint.
///
/// A request without any bytes would be no proof: a Zipkin takes it on every path.
async fn send(config: &Config, signal: Signal) -> Result<(), Refusal> {
    let config = Config { timeout: config.timeout.min(TIMEOUT), ..config.clone() };
    let sender = Sender::new(&config).map_err(|error| Refusal::Failed(error.to_string()))?;
    match signal {
        Signal::Traces => {
            let spans = ResourceSpans { resource: Some(Resource::default()), ..ResourceSpans::default() };
            sender.traces(ExportTraceServiceRequest { resource_spans: vec![spans] }).await.map(drop)
        }
        Signal::Metrics => {
            let metrics = ResourceMetrics { resource: Some(Resource::default()), ..ResourceMetrics::default() };
            sender.metrics(ExportMetricsServiceRequest { resource_metrics: vec![metrics] }).await
        }
    }
}

/// Describes a failed request. If the endpoint answers the other transport, the protocol or the port is wrong.
async fn diagnose_failure(check: &'static str, config: &Config, signal: Signal, refusal: &Refusal) -> Finding {
    let authority = origin(&config.endpoint);
    let (other, endpoint, setting) = match (config.transport, signal) {
        (Transport::Grpc, Signal::Traces) => (Transport::Http, format!("{authority}/v1/traces"), "http/protobuf"),
        (Transport::Grpc, Signal::Metrics) => (Transport::Http, format!("{authority}/v1/metrics"), "http/protobuf"),
        (Transport::Http, _) => (Transport::Grpc, authority, "grpc"),
    };
    let other = Config { transport: other, endpoint, ..config.clone() };
    if send(&other, signal).await.is_ok() {
        let found = format!("{config}: the endpoint speaks the other OTLP transport");
        let remedy = format!("set OTEL_EXPORTER_OTLP_PROTOCOL={setting}, or use the other port");
        return Finding::broken(check, found, remedy).of(Mistake::WrongOtlpPort);
    }
    let remedy = if config.endpoint.contains("/api/v1/otlp/") {
        "start Prometheus 3 there with --web.enable-otlp-receiver, or correct the endpoint"
    } else {
        "start Jaeger or a Collector there, or correct the endpoint"
    };
    Finding::broken(check, format!("{config}: {refusal}"), remedy)
}

/// Returns scheme, host and port of an endpoint.
fn origin(endpoint: &str) -> String {
    match endpoint.parse::<url::Url>() {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => endpoint.to_owned(),
    }
}
