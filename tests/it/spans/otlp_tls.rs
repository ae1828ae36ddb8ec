//! Spans travel by TLS to whom they may trust, and to nobody else.

use std::time::{Duration, Instant};

use botticelli_obs::{Builder, ErrorType, LlmCall, Telemetry};

use crate::support::in_own_process;
use crate::support::page::Page;
use crate::support::peer::Peer;
use crate::support::server::{Collector, Folder};
use crate::support::tls::{Certificate, Proxy};

/// For what is never delivered.
#[cfg(feature = "otlp-metrics")]
const SHUTDOWN: Duration = Duration::from_secs(3);

const FLUSH: Duration = Duration::from_secs(30);

fn start() -> Telemetry {
    Builder::new().without_listener().install().expect("it installs")
}

fn peer(protocol: &str, certificate: &Certificate) -> Peer {
    if protocol == "grpc" { Peer::grpc_tls(certificate) } else { Peer::http_tls(certificate) }
}

/// Spans arrive when the peer's certificate is trusted through this variable.
fn arrives(protocol: &str, variable: &str) {
    let certificate = Certificate::new();
    let folder = Folder::new("tls");
    let path = folder.path().join("peer.pem");
    std::fs::write(&path, &certificate.certificate).expect("the certificate can be written");
    let peer = peer(protocol, &certificate);
    let endpoint = format!("https://{}", peer.addr);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (variable, path.to_str().expect("the path is Unicode")),
    ];
    if in_own_process(&variables, || {
        let telemetry = start();
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        telemetry.shutdown(FLUSH).expect("every span arrives");
    })
    .is_some()
    {
        assert_eq!(peer.received().spans.len(), 1);
    }
}

#[test]
fn grpc_trusts_the_certificate_it_is_given() {
    arrives("grpc", "OTEL_EXPORTER_OTLP_CERTIFICATE");
}

#[test]
fn grpc_trusts_the_roots_of_the_system() {
    arrives("grpc", "SSL_CERT_FILE");
}

#[cfg(feature = "otlp-http")]
#[test]
fn http_trusts_the_certificate_it_is_given() {
    arrives("http/protobuf", "OTEL_EXPORTER_OTLP_CERTIFICATE");
}

#[cfg(feature = "otlp-http")]
#[test]
fn http_trusts_the_roots_of_the_system() {
    arrives("http/protobuf", "SSL_CERT_FILE");
}

/// What a real collector process makes of a call that has come by TLS.
fn arrives_in_a_collector(protocol: &str) {
    let Some(collector) = Collector::start() else { return };
    let certificate = Certificate::new();
    let folder = Folder::new("tls");
    let path = folder.path().join("proxy.pem");
    std::fs::write(&path, &certificate.certificate).expect("the certificate can be written");
    let proxy = Proxy::start(&certificate, if protocol == "grpc" { collector.grpc } else { collector.http });
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("https://{}", proxy.addr)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", path.to_str().expect("the path is Unicode")),
    ];
    let run = || {
        let telemetry = start();
        tracing::info_span!("bot.message")
            .in_scope(|| LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit));
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if in_own_process(&variables, run).is_some() {
        let spans = collector.spans(2);
        let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:#?}"));
        let (call, message) = (named("chat gemini-2.5-flash"), named("bot.message"));
        assert_eq!((call.kind.as_str(), call.status.as_str()), ("SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"));
        assert_eq!((&call.parent, &call.trace), (&message.id, &message.trace));
        assert_eq!(call.attributes["gen_ai.provider.name"], "Str(gcp.gemini)");
        assert_eq!(call.attributes["error.type"], "Str(rate_limit)");
    }
}

#[test]
fn spans_arrive_in_a_collector_by_grpc_over_tls() {
    arrives_in_a_collector("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn spans_arrive_in_a_collector_by_http_over_tls() {
    arrives_in_a_collector("http/protobuf");
}

/// A peer nobody vouches for gets nothing, and the failure is soon counted and said.
fn is_refused(protocol: &str) {
    let peer = peer(protocol, &Certificate::new());
    let endpoint = format!("https://{}", peer.addr);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
    let output = in_own_process(&variables, || {
        let telemetry = start();
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        let started = Instant::now();
        let error = telemetry.flush(FLUSH).expect_err("the peer is not to be trusted");
        assert_eq!((error.lost_spans(), error.waiting_spans()), (1, 0));
        // Not only when the export's own 10 s are over.
        assert!(started.elapsed() < Duration::from_secs(9), "it took {:?}", started.elapsed());
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.value("botticelli_obs_export_failures_total", &[("signal", "traces")]), 1.0);
        assert_eq!(page.value("botticelli_obs_spans_dropped_total", &[("reason", "export_failed")]), 1.0);
    });
    if let Some(output) = output {
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains(&format!("to {endpoint}")) && log.contains("takes no spans, 1 lost"), "{log}");
        assert!(peer.received().spans.is_empty());
    }
}

#[test]
fn grpc_refuses_a_peer_nobody_vouches_for() {
    is_refused("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn http_refuses_a_peer_nobody_vouches_for() {
    is_refused("http/protobuf");
}

/// On a system without roots no peer can be trusted, which is said at the start and not at each export.
fn needs_roots(protocol: &str) {
    let empty = Folder::new("no-roots");
    let nothing = empty.path().join("nothing.pem");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:5555"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("SSL_CERT_FILE", nothing.to_str().expect("the path is Unicode")),
        ("SSL_CERT_DIR", empty.path().to_str().expect("the path is Unicode")),
    ];
    in_own_process(&variables, || {
        let error = Builder::new().without_listener().install().expect_err("there are no roots");
        let text = format!("{error:?}");
        assert!(error.is_start_failure(), "{text}");
        assert!(text.contains("no root certificates") && text.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{text}");
    });
}

#[test]
fn grpc_without_roots_is_an_error_at_the_start() {
    needs_roots("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn http_without_roots_is_an_error_at_the_start() {
    needs_roots("http/protobuf");
}

#[cfg(feature = "otlp-metrics")]
/// A peer that demands a certificate gets spans from who shows the right one, and from nobody else.
fn shows_its_certificate(protocol: &str, shown: Option<&str>) {
    let (certificate, client, other) = (Certificate::new(), Certificate::new(), Certificate::new());
    let folder = Folder::new("mutual-tls");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.to_str().expect("the path is Unicode").to_owned()
    };
    let trusted = write("peer.pem", &certificate.certificate);
    let peer = if protocol == "grpc" {
        Peer::grpc_mutual_tls(&certificate, &client)
    } else {
        Peer::http_mutual_tls(&certificate, &client)
    };
    let endpoint = format!("https://{}", peer.addr);
    let of = if shown == Some("other") { &other } else { &client };
    let files = (write("client.pem", &of.certificate), write("client.key", &of.key));
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &trusted),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("SHOWN", shown.unwrap_or("none")),
    ];
    if shown.is_some() {
        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &files.0));
        variables.push(("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", &files.0));
        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", &files.1));
    }
    let ran = in_own_process(&variables, || {
        let telemetry = start();
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        match std::env::var("SHOWN").as_deref() {
            Ok("client") => telemetry.flush(FLUSH).expect("the right certificate was shown"),
            _ => {
                // With TLS 1.3 the peer refuses after the handshake: the span is dropped if its alert is read, and waits if the connection
                // is found closed.
                let error = telemetry.flush(SHUTDOWN).expect_err("the right certificate was not shown");
                assert!(error.lost_spans() + error.waiting_spans() == 1 && error.is_metrics_failure(), "{error}");
                let lost = 1 - error.lost_spans();
                let error = telemetry.shutdown(SHUTDOWN).expect_err("the right certificate was not shown");
                assert!(error.lost_spans() == lost && error.is_metrics_failure(), "{error}");
            }
        }
    });
    if let Some(ran) = ran {
        let log = String::from_utf8_lossy(&ran.stderr);
        let is_told = log.contains("takes no spans") && log.contains("takes no metrics");
        let why = ["connection closed", "received fatal alert", "Connection reset", "Broken pipe"];
        assert_eq!(is_told && why.iter().any(|why| log.contains(why)), shown != Some("client"), "{log}");
        let received = peer.received();
        assert_eq!(received.spans.len(), usize::from(shown == Some("client")));
        assert_eq!(received.metrics.is_empty(), shown != Some("client"));
    }
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn grpc_shows_the_certificate_that_a_peer_demands() {
    shows_its_certificate("grpc", Some("client"));
}

#[cfg(all(feature = "otlp-metrics", feature = "otlp-http"))]
#[test]
fn http_shows_the_certificate_that_a_peer_demands() {
    shows_its_certificate("http/protobuf", Some("client"));
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn grpc_without_the_right_certificate_delivers_nothing() {
    shows_its_certificate("grpc", Some("other"));
}

#[cfg(all(feature = "otlp-metrics", feature = "otlp-http"))]
#[test]
fn http_without_a_certificate_delivers_nothing() {
    shows_its_certificate("http/protobuf", None);
}
