//! What the log says of a backend that takes nothing: its own words, or the system's.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall};
use tonic::Code;

use crate::support::peer::{Mood, Peer};
use crate::support::{free_port, in_own_process};

/// Returns the warning about the backend at this address.
fn warning(protocol: &str, endpoint: &str, timeout: Duration) -> Option<String> {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20open-sesame,tenant=t1"),
    ];
    let output = in_own_process(&variables, || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        telemetry.flush(timeout).expect_err("nothing is taken");
    })?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("sesame"), "{log}");
    let mut warnings = log.lines().filter(|line| line.contains("takes no spans"));
    let warning = warnings.next().unwrap_or_else(|| panic!("{log}")).to_owned();
    assert_eq!(warnings.next(), None, "{log}");
    Some(warning)
}

fn says_why(peer: &Peer, protocol: &str, expected: &str) {
    if let Some(warning) = warning(protocol, &format!("http://{}", peer.addr), Duration::from_secs(30)) {
        assert!(warning.contains(expected), "{warning}");
    }
}

const SAYING: Mood =
    Mood::RefusesSaying(Code::InvalidArgument, "unknown tenant\r\n\u{1b}[31m in 'Bearer open-sesame'; see\tthe manual");

#[test]
fn what_grpc_says_is_logged_in_one_line_and_without_headers() {
    let expected = "1 lost: InvalidArgument: unknown tenant [31m in '[header]'; see the manual; the program goes on";
    says_why(&Peer::grpc(SAYING), "grpc", expected);
}

#[cfg(feature = "otlp-http")]
#[test]
fn what_http_says_is_logged_in_one_line_and_without_headers() {
    let expected =
        "1 lost: HTTP status 400 Bad Request: unknown tenant [31m in '[header]'; see the manual; the program goes on";
    says_why(&Peer::http(SAYING), "http/protobuf", expected);
}

#[test]
fn long_words_are_cut() {
    let words: &'static str = Box::leak("very long ".repeat(1_000).into_boxed_str());
    let peer = Peer::grpc(Mood::RefusesSaying(Code::PermissionDenied, words));
    if let Some(warning) = warning("grpc", &format!("http://{}", peer.addr), Duration::from_secs(30)) {
        assert!(warning.contains("PermissionDenied: very long very long") && warning.len() < 600, "{warning}");
    }
}

fn says_that_nobody_listens(protocol: &str) {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    if let Some(warning) = warning(protocol, &endpoint, Duration::from_secs(10)) {
        assert!(warning.contains("1 wait: Connection refused"), "{warning}");
    }
}

#[test]
fn grpc_says_that_nobody_listens() {
    says_that_nobody_listens("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn http_says_that_nobody_listens() {
    says_that_nobody_listens("http/protobuf");
}

#[cfg(feature = "otlp-http")]
#[test]
fn a_port_of_another_protocol_is_told() {
    let peer = Peer::http(Mood::Takes);
    if let Some(warning) = warning("grpc", &format!("http://{}", peer.addr), Duration::from_secs(10)) {
        assert!(warning.contains("takes no spans"), "{warning}");
    }
}
