//! What a whole program can't show: what happens after a minute of refusals, and when a push fails midway.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use metrics::NoopRecorder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use tokio::net::TcpListener;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::otlp::Transport;

/// Collects log lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An exporter to this address, which has refused metrics before.
fn exporter(addr: SocketAddr, temporality: Temporality) -> Exporter {
    let otlp = otlp::Config {
        transport: Transport::Http,
        endpoint: format!("http://{addr}/v1/metrics"),
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        gzip: false,
        certificate: None,
        identity: None,
        proxy: None,
    };
    let config = Config {
        otlp,
        interval: Duration::from_secs(60),
        limit: Duration::from_secs(30),
        temporality,
        resource: Vec::new(),
        listen: Some("127.0.0.1:4711".to_owned()),
    };
    Exporter {
        read: Box::new(Snapshot::default),
        encoder: Encoder::new(&[], temporality),
        sender: Sender::new(&config.otlp).expect("it needs no files"),
        config,
        health: Health::new(&NoopRecorder),
        refusals: Refusals::since(Instant::now() - Duration::from_secs(61)),
        accepted: None,
        limit: LARGEST_MESSAGE,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Serves this until the runtime ends; returns where.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

/// Exports to an endpoint that answers so to traces, and to metrics with the status 404, for the fourth time in a minute. Returns the
/// exporter and what it has logged.
fn refused(traces: StatusCode) -> (Exporter, String) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let exporter = tracing::subscriber::with_default(subscriber, || {
        run(async {
            let router = Router::new().route("/v1/traces", post(async move || traces));
            let mut exporter = exporter(serve(router).await, Temporality::Cumulative);
            exporter.export(Snapshot::default()).await.expect_err("there is no such path");
            exporter
        })
    });
    let log = log.0.lock().expect("no panic").clone();
    (exporter, String::from_utf8(log).expect("lines are UTF-8"))
}

#[test]
fn an_endpoint_that_takes_traces_and_has_refused_metrics_for_a_minute_gets_none_for_a_while() {
    let (exporter, log) = refused(StatusCode::OK);
    assert!(exporter.refusals.is_paused(Instant::now()));
    for words in [
        "takes traces, but has refused metrics 4 times in 61 s (HTTP status 404 Not Found), as Jaeger does",
        "metrics are sent again in 10 minutes: scrape http://127.0.0.1:4711/metrics or point",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn an_endpoint_that_refuses_traces_too_is_asked_again() {
    let (exporter, log) = refused(StatusCode::NOT_FOUND);
    assert!(!exporter.refusals.is_paused(Instant::now()));
    assert!(log.contains("takes no metrics: HTTP status 404 Not Found") && !log.contains("Jaeger"), "{log}");
}

/// Adds up the counters of a message.
fn add(sums: &mut BTreeMap<String, i64>, message: &Bytes) {
    let message = ExportMetricsServiceRequest::decode(&message[..]).expect("it is a message of OTLP");
    let scopes = message.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
    for found in scopes.flat_map(|scope| scope.metrics) {
        let Some(metric::Data::Sum(sum)) = found.data else { panic!("{} is no counter", found.name) };
        for point in sum.data_points {
            let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("no whole number") };
            *sums.entry(found.name.clone()).or_default() += value;
        }
    }
}

#[test]
fn deltas_of_a_push_that_fails_midway_are_counted_once() {
    #[derive(Default)]
    struct Endpoint {
        asked: u32,
        sums: BTreeMap<String, i64>,
    }
    /// Counters with two series each.
    fn counted(count: u64) -> Snapshot {
        let families = (0..40).map(|n| {
            let (a, b) = (count, 2 * count);
            format!("# TYPE c{n:02}_total counter\nc{n:02}_total{{of=\"a\"}} {a}\nc{n:02}_total{{of=\"b\"}} {b}\n")
        });
        Snapshot::parse(&families.collect::<String>()).expect("it is a page")
    }
    let endpoint = Arc::new(Mutex::new(Endpoint::default()));
    let shared = Arc::clone(&endpoint);
    let take = async move |message: Bytes| {
        let mut endpoint = shared.lock().expect("no panic");
        endpoint.asked += 1;
        // A message in the middle of each of the first pushes is refused, a later one each time.
        if [2, 5, 9].contains(&endpoint.asked) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        add(&mut endpoint.sums, &message);
        StatusCode::OK
    };
    run(async {
        let mut exporter = exporter(serve(Router::new().route("/v1/metrics", post(take))).await, Temporality::Delta);
        // For one or two families.
        exporter.limit = 300;
        for count in [10, 20, 30] {
            exporter.export(counted(count)).await.expect_err("a part is refused");
        }
        exporter.export(counted(40)).await.expect("everything is taken");
    });
    let endpoint = endpoint.lock().expect("no panic");
    assert!(endpoint.asked > 20, "{}", endpoint.asked);
    assert_eq!(endpoint.sums.len(), 40);
    assert!(endpoint.sums.values().all(|sum| *sum == 120), "{:?}", endpoint.sums);
}
