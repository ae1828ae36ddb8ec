//! Endpoints of spans and metrics that answer what no server should.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, Telemetry};

use crate::support::in_own_process;
use crate::support::process::resident_memory;
use crate::support::raw::{self, Serve};

const FLUSH: Duration = Duration::from_secs(30);

fn start(serve: Serve) -> Telemetry {
    let endpoint = format!("http://{}", raw::start(serve));
    Builder::new().with_otlp_endpoint(endpoint).install().expect("it installs")
}

/// Runs a program that exports by this protocol to what it has started; returns its log.
fn exporting(protocol: &str, scenario: impl FnOnce()) -> Option<String> {
    let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_METRICS_EXPORTER", "otlp")];
    let output = in_own_process(&variables, scenario)?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!log.contains("panicked"), "{log}");
    Some(log)
}

/// The refusal is told, and the exports go on.
fn refused_with_wrong_details(serve: Serve) {
    exporting("grpc", || {
        let telemetry = start(serve);
        for _ in 0..2 {
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
            let error = telemetry.flush(FLUSH).expect_err("nothing is taken");
            assert_eq!((error.lost_spans(), error.waiting_spans()), (1, 0));
            assert!(error.to_string().contains("gRPC status ResourceExhausted"), "{error}");
        }
    });
}

#[test]
fn details_of_a_refusal_that_cannot_be_read_are_left_out() {
    refused_with_wrong_details(raw::grpc_with_wrong_details);
}

#[test]
fn details_at_the_end_of_a_refusal_that_cannot_be_read_are_left_out() {
    refused_with_wrong_details(raw::grpc_with_wrong_details_at_the_end);
}

#[test]
fn an_answer_without_end_is_not_read_whole() {
    exporting("http/protobuf", || {
        let telemetry = start(raw::http_without_end);
        let before = resident_memory();
        for _ in 0..20 {
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
            // The status says that everything was taken.
            telemetry.flush(FLUSH).expect("everything is taken");
        }
        let then = resident_memory();
        assert!(then < before + 16_000_000, "memory grew from {before} to {then} bytes");
        telemetry.shutdown(FLUSH).expect("everything is taken");
    });
}
