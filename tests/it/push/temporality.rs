//! With a temporality of deltas each push has what was counted since the last one that was accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, TraceExporter, Usage, counter, gauge, histogram};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric, number_data_point};
use tonic::Code;

use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};

const PATIENCE: Duration = Duration::from_secs(60);

fn record() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
    counter!("bot.posts").increment(2);
    gauge!("bot.queue").set(7.0);
    histogram!("bot.queue_wait").record(0.25);
}

/// Adds up all exports: counters, counts and sums of histograms by name. Checks the temporality of each, and that spans of time join.
fn sums(exports: &[ExportMetricsServiceRequest], is_delta: impl Fn(&str) -> bool) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    let scopes =
        exports.iter().flat_map(|export| &export.resource_metrics).flat_map(|resource| &resource.scope_metrics);
    for found in scopes.flat_map(|scope| &scope.metrics) {
        let mut add = |name: String, value: f64| *sums.entry(name).or_default() += value;
        let (temporality, times) = match found.data.as_ref().expect("it has data") {
            metric::Data::Sum(sum) => {
                for point in &sum.data_points {
                    add(
                        found.name.clone(),
                        match point.value {
                            Some(number_data_point::Value::AsInt(value)) => value as f64,
                            Some(number_data_point::Value::AsDouble(value)) => value,
                            None => panic!("{} has no value", found.name),
                        },
                    );
                }
                let time = sum.data_points.first().map(|point| (point.start_time_unix_nano, point.time_unix_nano));
                (sum.aggregation_temporality, time)
            }
            metric::Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                    add(format!("{}_count", found.name), point.count as f64);
                    add(format!("{}_sum", found.name), point.sum.expect("it has a sum"));
                }
                let time = histogram.data_points.first();
                (
                    histogram.aggregation_temporality,
                    time.map(|point| (point.start_time_unix_nano, point.time_unix_nano)),
                )
            }
            _ => continue,
        };
        let expected = match is_delta(&found.name) {
            true => AggregationTemporality::Delta,
            false => AggregationTemporality::Cumulative,
        };
        assert_eq!(temporality, i32::from(expected), "{}", found.name);
        if let Some((start, end)) = times.filter(|_| is_delta(&found.name)) {
            assert!(start < end);
            let before = ends.insert(found.name.clone(), end);
            assert!(before.is_none_or(|before| before == start), "{} has a gap or an overlap", found.name);
        }
    }
    sums
}

/// Pushes several times, once to an endpoint that refuses for a while.
fn pushes(preference: &str, is_delta: fn(&str) -> bool) {
    let variables =
        [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)];
    in_own_process(&variables, || {
        let peer = Peer::grpc(Mood::Takes);
        let telemetry = Builder::new()
            .with_trace_exporter(TraceExporter::None)
            .with_otlp_endpoint(format!("http://{}", peer.addr))
            .install()
            .expect("it installs");
        for round in 0..5 {
            (0..10).for_each(|_| record());
            if round == 2 {
                peer.set_mood(Mood::Refuses(Code::Unavailable));
                telemetry.flush(PATIENCE).expect_err("the metrics are not taken");
                peer.set_mood(Mood::Takes);
            } else {
                telemetry.flush(PATIENCE).expect("the metrics are taken");
            }
        }
        record();
        telemetry.shutdown(PATIENCE).expect("the metrics are taken");
        let received = peer.received().metrics;
        assert!(received.len() >= 5, "{}", received.len());
        let sums = sums(&received, is_delta);
        assert_eq!(sums["llm_requests_total"], 51.0);
        assert_eq!(sums["llm_tokens_total"], 51.0 * 42.0);
        assert_eq!(sums["bot_posts_total"], 102.0);
        assert_eq!(sums["llm_duration_count"], 51.0);
        assert_eq!((sums["bot_queue_wait_count"], sums["bot_queue_wait_sum"]), (51.0, 51.0 * 0.25));
    });
}

#[test]
fn deltas_add_up_to_the_totals() {
    pushes("delta", |_| true);
}

#[test]
fn with_little_memory_what_is_read_from_the_system_stays_a_total() {
    pushes("lowmemory", |name| !name.starts_with("process_"));
}
