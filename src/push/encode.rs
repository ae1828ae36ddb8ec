//! Encodes a snapshot as OTLP requests.

use std::mem;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as OtlpExemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::Temporality;
use crate::catalog::{self, genai};
use crate::snapshot::{Distribution, Exemplar, Family, Labels, Snapshot, Value, Values};
use crate::store::sanitized;

/// Encodes snapshots, with the resource and start time that all exports share.
#[derive(Debug)]
pub(super) struct Encoder {
    resource: Resource,
    temporality: Temporality,
    /// The time at which counting began, in nanoseconds since 1970.
    start: u64,
    /// The time up to which the endpoint has accepted what was counted.
    accepted: u64,
    /// The time of the last export.
    encoded: u64,
}

/// One message of an export.
pub(super) struct Part {
    pub(super) request: ExportMetricsServiceRequest,
    /// How many families of the snapshot are whole with this message and those before it.
    pub(super) families: usize,
}

/// The times of a family's data points.
#[derive(Clone, Copy)]
struct Span {
    temporality: AggregationTemporality,
    start: u64,
    end: u64,
}

impl Encoder {
    pub(super) fn new(resource: &[(String, String)], temporality: Temporality) -> Self {
        let own = [
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        let own = own.into_iter().map(|(key, value)| attribute(key, value));
        let attributes = resource.iter().map(|(key, value)| attribute(key, value)).chain(own).collect();
        let resource = Resource { attributes, ..Resource::default() };
        let start = now();
        Self { resource, temporality, start, accepted: start, encoded: start }
    }

    /// Notes that the endpoint has accepted the last export.
    pub(super) fn accept(&mut self) {
        self.accepted = self.encoded;
    }

    /// Encodes a snapshot with the names of the page. A backend that converts names for Prometheus has nothing to change.
    ///
    /// The metrics of a message have about `limit` bytes at most. `target_info` is left out, since backends generate it from the
    /// resource. `accepted` is the snapshot that the endpoint has accepted last.
    pub(super) fn encode(&mut self, snapshot: &Snapshot, accepted: Option<&Snapshot>, limit: usize) -> Vec<Part> {
        self.encoded = now();
        let total = Span { temporality: AggregationTemporality::Cumulative, start: self.start, end: self.encoded };
        let delta = Span { temporality: AggregationTemporality::Delta, start: self.accepted, end: self.encoded };
        let differences = match accepted {
            Some(accepted) if self.temporality != Temporality::Cumulative => Some(snapshot.since(accepted)),
            _ => None,
        };
        let mut parts = Parts { limit, done: Vec::new(), metrics: Vec::new(), bytes: 0 };
        for (at, family) in snapshot.families.iter().enumerate() {
            if *family.about.name == *catalog::TARGET_INFO.prometheus {
                continue;
            }
            let metric = match &differences {
                Some(differences) if self.temporality.is_delta_of(family) => metric(&differences.families[at], delta),
                None if self.temporality.is_delta_of(family) => metric(family, delta),
                _ => metric(family, total),
            };
            parts.add(metric, at);
        }
        parts.end(snapshot.families.len());
        let request = |(metrics, families)| Part { request: self.request(metrics), families };
        parts.done.into_iter().map(request).collect()
    }

    fn request(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
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
}

/// The metrics of an export, message by message.
struct Parts {
    /// In bytes.
    limit: usize,
    /// The metrics of each message, and how many families are whole with it.
    done: Vec<(Vec<Metric>, usize)>,
    /// Those of the next message, and their size in bytes.
    metrics: Vec<Metric>,
    bytes: usize,
}

impl Parts {
    /// Adds the metric of the family at this index. What is too large for a message is halved.
    fn add(&mut self, mut metric: Metric, family: usize) {
        let bytes = metric.encoded_len();
        if bytes > self.limit
            && let Some(rest) = split(&mut metric)
        {
            self.add(metric, family);
            return self.add(rest, family);
        }
        if self.bytes + bytes > self.limit && !self.metrics.is_empty() {
            self.end(family);
        }
        self.bytes += bytes;
        self.metrics.push(metric);
    }

    /// Ends a message, with which so many families are whole.
    fn end(&mut self, families: usize) {
        self.done.push((mem::take(&mut self.metrics), families));
        self.bytes = 0;
    }
}

/// Splits the second half of the data points off; `None` of a single one.
fn split(metric: &mut Metric) -> Option<Metric> {
    fn half<T>(points: &mut Vec<T>) -> Option<Vec<T>> {
        (points.len() > 1).then(|| points.split_off(points.len() / 2))
    }
    let data = match metric.data.as_mut()? {
        metric::Data::Sum(sum) => metric::Data::Sum(Sum { data_points: half(&mut sum.data_points)?, ..*sum }),
        metric::Data::Gauge(gauge) => metric::Data::Gauge(Gauge { data_points: half(&mut gauge.data_points)? }),
        metric::Data::Histogram(histogram) => {
            metric::Data::Histogram(Histogram { data_points: half(&mut histogram.data_points)?, ..*histogram })
        }
        _ => return None,
    };
    Some(Metric {
        name: metric.name.clone(),
        description: metric.description.clone(),
        unit: metric.unit.clone(),
        data: Some(data),
        ..Metric::default()
    })
}

fn metric(family: &Family, span: Span) -> Metric {
    let series = family.series();
    let data = match &family.values {
        Values::Counters { exemplars, .. } => {
            // In the order of the series.
            let mut exemplars = exemplars.iter().peekable();
            let points = series.enumerate().map(|(at, (labels, value))| NumberDataPoint {
                exemplars: exemplars.next_if(|(of, _)| *of == at).map(|(_, of)| exemplar(of)).into_iter().collect(),
                ..number(labels, value, (family.about.decimals, span))
            });
            metric::Data::Sum(Sum {
                data_points: points.collect(),
                aggregation_temporality: span.temporality.into(),
                is_monotonic: true,
            })
        }
        Values::Gauges(_) => {
            let points = series.map(|(labels, value)| number(labels, value, (0, span)));
            metric::Data::Gauge(Gauge { data_points: points.collect() })
        }
        Values::Histograms(histograms) => {
            let points = series.enumerate().map(|(at, (labels, value))| HistogramDataPoint {
                exemplars: histograms.exemplars_of(at).map(|(_, of)| exemplar(of)).collect(),
                ..distribution(labels, value, span)
            });
            metric::Data::Histogram(Histogram {
                data_points: points.collect(),
                aggregation_temporality: span.temporality.into(),
            })
        }
    };
    // Prometheus appends a unit that the name does not end with. So `llm_duration` is sent without one.
    let unit = if family.about.name.ends_with("_seconds") { "s" } else { "" };
    let mut metric = Metric {
        name: family.about.name.to_string(),
        description: family.about.help.to_string(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    if let Some(known) = genai::of_page(&family.about.name) {
        name_by_convention(&mut metric, known);
    }
    metric
}

/// Gives a metric of the GenAI conventions the names and the unit that they have. On the page it has those that Prometheus makes of them.
fn name_by_convention(metric: &mut Metric, known: &catalog::Metric) {
    known.name.clone_into(&mut metric.name);
    known.unit.clone_into(&mut metric.unit);
    let rename = |attribute: &mut KeyValue| {
        if let Some(name) = known.labels.iter().find(|name| sanitized(name) == attribute.key) {
            (*name).clone_into(&mut attribute.key);
        }
    };
    match &mut metric.data {
        Some(metric::Data::Sum(sum)) => {
            sum.data_points.iter_mut().flat_map(|point| &mut point.attributes).for_each(rename);
        }
        Some(metric::Data::Histogram(histogram)) => {
            histogram.data_points.iter_mut().flat_map(|point| &mut point.attributes).for_each(rename);
        }
        _ => {}
    }
}

fn number(labels: &Labels, value: Value<'_>, (decimals, span): (u8, Span)) -> NumberDataPoint {
    let value = match value {
        Value::Counter(count) if decimals > 0 => {
            Some(number_data_point::Value::AsDouble(count as f64 / 10_f64.powi(decimals.into())))
        }
        Value::Counter(count) => Some(number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))),
        Value::Gauge(value) => Some(number_data_point::Value::AsDouble(value)),
        Value::Histogram(_) => None,
    };
    NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: span.start,
        time_unix_nano: span.end,
        value,
        ..NumberDataPoint::default()
    }
}

fn distribution(labels: &Labels, value: Value<'_>, span: Span) -> HistogramDataPoint {
    let Value::Histogram(distribution) = value else { return HistogramDataPoint::default() };
    let Distribution { bounds, counts, sum } = distribution;
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: span.start,
        time_unix_nano: span.end,
        count: distribution.count(),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar(of: &Exemplar) -> OtlpExemplar {
    OtlpExemplar {
        time_unix_nano: (of.time * 1e9) as u64,
        trace_id: of.ids.trace.to_vec(),
        span_id: of.ids.span.to_vec(),
        value: Some(exemplar::Value::AsDouble(of.value)),
        ..OtlpExemplar::default()
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
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
