//! From the page to OTLP.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::catalog::{self, MetricKind};
use crate::page::{Family, Page, Series, Value};

/// What is the same in every export.
#[derive(Debug)]
pub(super) struct Encoder {
    resource: Resource,
    /// Since when everything on the page has been counted, in nanoseconds since 1970.
    start: u64,
}

impl Encoder {
    pub(super) fn new(resource: &[(String, String)]) -> Self {
        let own = [
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        let own = own.into_iter().map(|(key, value)| attribute(key, value));
        let attributes = resource.iter().map(|(key, value)| attribute(key, value)).chain(own).collect();
        Self { resource: Resource { attributes, ..Resource::default() }, start: now() }
    }

    /// Encodes a page with the names that it has: whatever a backend makes of dots and units, it finds nothing to change.
    ///
    /// `target_info` is left out: a backend makes it out of the resource.
    pub(super) fn encode(&self, page: Page) -> ExportMetricsServiceRequest {
        let time = now();
        let families = page.families.into_iter().filter(|family| family.name != catalog::TARGET_INFO.prometheus);
        let metrics = families.map(|family| self.metric(family, time)).collect();
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }],
        }
    }

    fn metric(&self, Family { name, kind, help, series }: Family, time: u64) -> Metric {
        let cumulative = AggregationTemporality::Cumulative.into();
        let series = series.into_iter();
        let data = match kind {
            MetricKind::Counter => metric::Data::Sum(Sum {
                data_points: series.map(|series| self.number(series, time)).collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            MetricKind::Gauge => {
                metric::Data::Gauge(Gauge { data_points: series.map(|series| self.number(series, time)).collect() })
            }
            MetricKind::Histogram => metric::Data::Histogram(Histogram {
                data_points: series.map(|series| self.distribution(series, time)).collect(),
                aggregation_temporality: cumulative,
            }),
        };
        // A unit that the name does not carry would be appended to it by Prometheus: `llm_duration` has none.
        let unit = if name.ends_with("_seconds") { "s" } else { "" };
        Metric { name, description: help, unit: unit.to_owned(), data: Some(data), ..Metric::default() }
    }

    fn number(&self, Series { labels, value }: Series, time: u64) -> NumberDataPoint {
        let value = match value {
            Value::Counter(value) => Some(number_data_point::Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
            Value::Gauge(value) => Some(number_data_point::Value::AsDouble(value)),
            Value::Histogram(_) => None,
        };
        NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.start,
            time_unix_nano: time,
            value,
            ..NumberDataPoint::default()
        }
    }

    fn distribution(&self, Series { labels, value }: Series, time: u64) -> HistogramDataPoint {
        let Value::Histogram(distribution) = value else { return HistogramDataPoint::default() };
        // OTLP counts what is in a bucket, the page what is up to its bound.
        let below = std::iter::once(0).chain(distribution.buckets.iter().map(|&(_, count)| count));
        let bucket_counts = distribution.buckets.iter().zip(below).map(|(&(_, count), below)| count - below).collect();
        let bounds = distribution.buckets.iter().map(|&(bound, _)| bound).filter(|bound| bound.is_finite());
        HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.start,
            time_unix_nano: time,
            count: distribution.count(),
            sum: Some(distribution.sum),
            bucket_counts,
            explicit_bounds: bounds.collect(),
            ..HistogramDataPoint::default()
        }
    }
}

fn attributes(labels: Vec<(String, String)>) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
