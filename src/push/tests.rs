//! What happens after a minute of refusals. In a test of the whole program that minute would have to pass.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use metrics::NoopRecorder;
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

/// Exports to an endpoint that answers so to traces, and to metrics with the status 404, for the fourth time in a minute. Returns the
/// exporter and what it has logged.
fn refused(traces: StatusCode) -> (Exporter, String) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let exporter = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
            let addr = listener.local_addr().expect("it is bound");
            let router = Router::new().route("/v1/traces", post(async move || traces));
            tokio::spawn(async move { axum::serve(listener, router).await });
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
                temporality: Temporality::Cumulative,
                resource: Vec::new(),
                listen: Some("127.0.0.1:4711".to_owned()),
            };
            let mut exporter = Exporter {
                read: Box::new(Snapshot::default),
                encoder: Encoder::new(&[], Temporality::Cumulative),
                sender: Sender::new(&config.otlp).expect("it needs no files"),
                config,
                health: Health::new(&NoopRecorder),
                refusals: Refusals::since(Instant::now() - Duration::from_secs(61)),
                accepted: None,
            };
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
