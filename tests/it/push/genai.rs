//! Pushed metrics of the GenAI conventions have the names, units and attributes of the conventions, not those of the page.

use std::collections::BTreeSet;
use std::time::Duration;

use botticelli_obs::{Builder, GenAiMetrics};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};

use crate::support::conventions::{every_kind_of_call, metrics_of};
use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};

const PATIENCE: Duration = Duration::from_secs(60);

fn names(attributes: &[KeyValue]) -> impl Iterator<Item = &str> {
    attributes.iter().map(|attribute| attribute.key.as_str())
}

/// What was pushed last of the metrics that are called `gen_ai`.
fn pushed(version: GenAiMetrics) -> Option<Vec<Metric>> {
    let peer = Peer::grpc(Mood::Takes);
    let endpoint = format!("http://{}", peer.addr);
    let word = version.to_string();
    let variables = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("BOTTICELLI_OBS_GENAI_METRICS", word.as_str()),
    ];
    in_own_process(&variables, || {
        let telemetry = Builder::new().install().expect("it installs");
        every_kind_of_call();
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
    })?;
    let last = peer.received().metrics.pop().expect("there was a push");
    let scopes = last.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics).filter(|metric| metric.name.contains("gen_ai"));
    Some(metrics.collect())
}

fn is_of_the_registry(version: GenAiMetrics) {
    let Some(pushed) = pushed(version) else { return };
    let registry = metrics_of(version);
    let found: BTreeSet<&str> = pushed.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(found, registry.iter().map(|metric| metric.name.as_str()).collect());
    for metric in &pushed {
        let convention = registry.iter().find(|known| known.name == metric.name).expect("it is there");
        assert_eq!(metric.unit, convention.unit, "{}", metric.name);
        match metric.data.as_ref().expect("it has data") {
            metric::Data::Sum(sum) => {
                assert!(sum.is_monotonic && convention.instrument == "counter", "{}", metric.name);
                for point in &sum.data_points {
                    convention.check_attributes(names(&point.attributes), str::to_owned);
                }
            }
            metric::Data::Histogram(histogram) => {
                assert_eq!(convention.instrument, "histogram", "{}", metric.name);
                for point in &histogram.data_points {
                    assert_eq!(point.explicit_bounds, convention.buckets, "{}", metric.name);
                    convention.check_attributes(names(&point.attributes), str::to_owned);
                }
            }
            other => panic!("{} is {other:?}", metric.name),
        }
    }
}

#[test]
fn metrics_of_1_41_are_pushed_as_the_registry_has_them() {
    is_of_the_registry(GenAiMetrics::V1_41);
}

#[test]
fn metrics_of_genai_0_1_are_pushed_as_the_registry_has_them() {
    is_of_the_registry(GenAiMetrics::GenAi0_1);
}
