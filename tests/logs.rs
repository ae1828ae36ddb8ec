//! The log output: where it goes, what it shows, and what it leaves out.

#![cfg(feature = "install")]

mod support;

use std::process::Output;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, TraceExporter};
use support::in_own_process;

/// Logs inside and outside of a call, through both facades.
fn log_something() {
    tracing::info!(size = 7, "outside");
    tracing::debug!("a detail");
    log::warn!("by the log crate");
    let call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.span().in_scope(|| tracing::warn!(quote = "a \"b\"\n}", "inside"));
    call.finish();
}

fn scenario(exporter: TraceExporter) {
    let telemetry = Builder::new().without_listener().with_trace_exporter(exporter).install().expect("it installs");
    log_something();
    telemetry.shutdown(Duration::from_secs(5)).expect("standard output takes everything");
}

/// Runs the scenario; returns the lines of standard output that are spans, and those of standard error.
fn lines(output: &Output) -> (Vec<String>, Vec<String>) {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let spans = lines(&output.stdout).into_iter().filter(|line| line.contains("span \"")).collect();
    (spans, lines(&output.stderr))
}

#[test]
fn text_goes_to_standard_error_without_the_fields_of_spans() {
    let test = "text_goes_to_standard_error_without_the_fields_of_spans";
    let Some(output) = in_own_process(test, &[], || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!(spans.len(), 1, "{spans:?}");
    let line = |text: &str| log.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log:#?}"));
    assert!(line("outside").contains("  INFO logs: outside size=7"), "{log:#?}");
    assert!(line("by the log crate").contains("  WARN logs: by the log crate"), "{log:#?}");
    assert!(!line("inside").contains("gen_ai"), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("a detail") || line.contains('\u{1b}')), "{log:#?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("outside"));
}

#[test]
fn rust_log_filters_the_log_and_not_the_spans() {
    let test = "rust_log_filters_the_log_and_not_the_spans";
    let variables = [("RUST_LOG", "error")];
    let Some(output) = in_own_process(test, &variables, || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!((spans.len(), log.len()), (1, 0), "{spans:?} {log:?}");
}

#[test]
fn rust_log_can_ask_for_details() {
    let variables = [("RUST_LOG", "logs=debug")];
    let Some(output) = in_own_process("rust_log_can_ask_for_details", &variables, || scenario(TraceExporter::None))
    else {
        return;
    };
    assert!(lines(&output).1.iter().any(|line| line.contains("DEBUG logs: a detail")));
}

#[test]
fn json_lines_hold_the_ids_of_their_span() {
    let test = "json_lines_hold_the_ids_of_their_span";
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "json")];
    let Some(output) = in_own_process(test, &variables, || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    let log: Vec<serde_json::Value> =
        log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let line = |text: &str| {
        log.iter().find(|line| line["fields"]["message"] == text).unwrap_or_else(|| panic!("{text}: {log:#?}"))
    };
    let inside = line("inside");
    assert_eq!(inside["fields"]["quote"], "a \"b\"\n}");
    for (field, key) in [("trace_id", "trace="), ("span_id", "id=")] {
        let id = inside[field].as_str().expect("an exported span has ids");
        assert!(spans[0].split(' ').any(|word| word == format!("{key}{id}")), "{field} {id}: {spans:?}");
    }
    assert!(line("outside").get("trace_id").is_none());
    assert_eq!(line("by the log crate")["level"], "WARN");
}

#[test]
fn json_lines_without_an_exporter_have_no_ids() {
    let test = "json_lines_without_an_exporter_have_no_ids";
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "json")];
    let Some(output) = in_own_process(test, &variables, || scenario(TraceExporter::None)) else { return };
    let (_, log) = lines(&output);
    assert!(log.iter().any(|line| line.contains("inside")) && !log.iter().any(|line| line.contains("trace_id")));
}

#[test]
fn off_is_silent() {
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "off")];
    let Some(output) = in_own_process("off_is_silent", &variables, || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!((spans.len(), log.len()), (1, 0), "{log:?}");
}

/// The crate OpenTelemetry logs a line or two for each lost batch; the pipeline reports that itself.
#[test]
fn opentelemetry_is_quiet_unless_it_is_asked_for() {
    let test = "opentelemetry_is_quiet_unless_it_is_asked_for";
    let log_as_opentelemetry = || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        tracing::error!(target: "opentelemetry_sdk", "BatchSpanProcessor.ExportError");
        drop(telemetry);
    };
    let quiet = in_own_process(test, &[("RUST_LOG", "info")], log_as_opentelemetry);
    if let Some(output) = quiet {
        assert!(!lines(&output).1.iter().any(|line| line.contains("ExportError")));
        let asked =
            in_own_process(test, &[("RUST_LOG", "info,opentelemetry=error")], || ()).expect("this is the parent");
        assert!(lines(&asked).1.iter().any(|line| line.contains("ExportError")));
    }
}
