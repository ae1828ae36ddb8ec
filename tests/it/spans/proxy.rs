//! Spans go through a proxy where the variables name one, but never to this machine.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall};

use crate::support::forward::ForwardProxy;
use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};
#[cfg(feature = "otlp-tls")]
use crate::support::{server::Folder, tls::Certificate};

const LIMIT: Duration = Duration::from_secs(30);

fn export() {
    let telemetry = Builder::new().without_listener().install().expect("it installs");
    LlmCall::start("gemini", "gemini-2.5-flash").finish();
    telemetry.shutdown(LIMIT).expect("every span arrives");
}

fn peer(protocol: &str) -> Peer {
    if protocol == "grpc" { Peer::grpc(Mood::Takes) } else { Peer::http(Mood::Takes) }
}

#[test]
fn spans_for_this_machine_go_through_no_proxy() {
    let (grpc, http) = (Peer::grpc(Mood::Takes), Peer::http(Mood::Takes));
    let proxy = ForwardProxy::start(grpc.addr);
    let url = format!("http://{}", proxy.addr);
    let (grpc_url, http_url) = (format!("http://{}", grpc.addr), format!("http://localhost:{}", http.addr.port()));
    let variables = [
        ("HTTP_PROXY", url.as_str()),
        ("HTTPS_PROXY", &url),
        ("all_proxy", &url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20SECRET"),
        ("GRPC", &grpc_url),
        ("HTTP", &http_url),
    ];
    let ran = in_own_process(&variables, || {
        for (protocol, endpoint) in [("grpc", "GRPC"), ("http/protobuf", "HTTP")] {
            let endpoint = std::env::var(endpoint).expect("the parent has set it");
            let builder =
                Builder::new().with_otlp_endpoint(endpoint).with_otlp_protocol(protocol.parse().expect("one"));
            let (layer, guard) = builder.trace_layer::<botticelli_obs::Registry>().expect("it can be built");
            let subscriber = tracing_subscriber::layer::SubscriberExt::with(botticelli_obs::Registry::default(), layer);
            tracing::subscriber::with_default(subscriber, || LlmCall::start("gemini", "gemini-2.5-flash").finish());
            guard.shutdown(LIMIT).expect("every span arrives");
        }
    });
    if ran.is_some() {
        assert_eq!((grpc.received().spans.len(), http.received().spans.len()), (1, 1));
        assert_eq!(http.received().headers["authorization"], "Bearer SECRET");
        assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
    }
}

/// Exports to `collector.test`, a name that only the proxy knows. Returns what the proxy was asked for.
fn through_a_proxy(endpoint: &str, peer: &Peer, more: &[(&str, &str)]) -> Option<String> {
    let proxy = ForwardProxy::start(peer.addr);
    let url = format!("http://user:p%40ss@{}", proxy.addr);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("ALL_PROXY", &url), ("NO_PROXY", "other.test")];
    let output = in_own_process(&[&variables, more].concat(), export)?;
    assert_eq!(peer.received().spans.len(), 1);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains(&format!("through the proxy http://{}", proxy.addr)) && !log.contains("p%40ss"), "{log}");
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].to_ascii_lowercase().contains("proxy-authorization: basic") && heads[0].contains("dXNlcjpwQHNz"));
    assert!(peer.received().headers.keys().all(|name| name != "proxy-authorization") || heads[0].starts_with("POST"));
    Some(heads[0].clone())
}

#[test]
fn spans_for_another_machine_go_through_a_tunnel_by_grpc() {
    let peer = peer("grpc");
    let protocol = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    if let Some(head) = through_a_proxy("http://collector.test", &peer, &protocol) {
        // 4317 is the port of gRPC where the URL has none.
        assert!(head.starts_with("CONNECT collector.test:4317 "), "{head}");
    }
}

#[test]
fn spans_for_another_machine_are_forwarded_by_http() {
    let peer = peer("http/protobuf");
    let protocol = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    if let Some(head) = through_a_proxy("http://collector.test:4318", &peer, &protocol) {
        assert!(head.starts_with("POST http://collector.test:4318/v1/traces HTTP/1.1"), "{head}");
    }
}

#[cfg(feature = "otlp-tls")]
fn by_tls(protocol: &str) {
    let certificate = Certificate::new();
    let folder = Folder::new("proxy");
    let path = folder.path().join("peer.pem");
    std::fs::write(&path, &certificate.certificate).expect("the certificate can be written");
    let peer = if protocol == "grpc" { Peer::grpc_tls(&certificate) } else { Peer::http_tls(&certificate) };
    let more = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", path.to_str().expect("the path is Unicode")),
    ];
    if let Some(head) = through_a_proxy("https://collector.test:5555", &peer, &more) {
        assert!(head.starts_with("CONNECT collector.test:5555 "), "{head}");
    }
}

#[cfg(feature = "otlp-tls")]
#[test]
fn encrypted_spans_go_through_a_tunnel_by_grpc() {
    by_tls("grpc");
}

#[cfg(feature = "otlp-tls")]
#[test]
fn encrypted_spans_go_through_a_tunnel_by_http() {
    by_tls("http/protobuf");
}
