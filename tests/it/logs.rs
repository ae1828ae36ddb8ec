//! The log output: where it goes, what it shows, and what it leaves out.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, LlmCall, TraceExporter};

use crate::support::{in_own_process, in_scenario, scenario_command, this_test};

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
    telemetry.shutdown(Duration::from_secs(30)).expect("standard output takes everything");
}

/// Runs the scenario; returns the lines of standard output that are spans, and those of standard error.
fn lines(output: &Output) -> (Vec<String>, Vec<String>) {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let spans = lines(&output.stdout).into_iter().filter(|line| line.contains("span \"")).collect();
    (spans, lines(&output.stderr))
}

#[test]
fn text_goes_to_standard_error_without_the_fields_of_spans() {
    let Some(output) = in_own_process(&[], || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!(spans.len(), 1, "{spans:?}");
    let line = |text: &str| log.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log:#?}"));
    assert!(line("outside").contains("  INFO it::logs: outside size=7"), "{log:#?}");
    assert!(line("by the log crate").contains("  WARN it::logs: by the log crate"), "{log:#?}");
    assert!(!line("inside").contains("gen_ai"), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("a detail") || line.contains('\u{1b}')), "{log:#?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("outside"));
}

#[test]
fn rust_log_filters_the_log_and_not_the_spans() {
    let variables = [("RUST_LOG", "error")];
    let Some(output) = in_own_process(&variables, || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!((spans.len(), log.len()), (1, 0), "{spans:?} {log:?}");
}

#[test]
fn rust_log_can_ask_for_details() {
    let variables = [("RUST_LOG", "it::logs=debug")];
    let Some(output) = in_own_process(&variables, || scenario(TraceExporter::None)) else {
        return;
    };
    assert!(lines(&output).1.iter().any(|line| line.contains("DEBUG it::logs: a detail")));
}

#[test]
fn json_lines_hold_the_ids_of_their_span() {
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "json")];
    let Some(output) = in_own_process(&variables, || scenario(TraceExporter::Stdout)) else { return };
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
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "json")];
    let Some(output) = in_own_process(&variables, || scenario(TraceExporter::None)) else { return };
    let (_, log) = lines(&output);
    assert!(log.iter().any(|line| line.contains("inside")) && !log.iter().any(|line| line.contains("trace_id")));
}

#[test]
fn off_is_silent() {
    let variables = [("BOTTICELLI_OBS_LOG_FORMAT", "off")];
    let Some(output) = in_own_process(&variables, || scenario(TraceExporter::Stdout)) else { return };
    let (spans, log) = lines(&output);
    assert_eq!((spans.len(), log.len()), (1, 0), "{log:?}");
}

/// The crate OpenTelemetry logs a line or two for each lost batch; the pipeline reports that itself.
#[test]
fn opentelemetry_is_quiet_unless_it_is_asked_for() {
    let log_as_opentelemetry = || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        tracing::error!(target: "opentelemetry_sdk", "BatchSpanProcessor.ExportError");
        drop(telemetry);
    };
    let quiet = in_own_process(&[("RUST_LOG", "info")], log_as_opentelemetry);
    if let Some(output) = quiet {
        assert!(!lines(&output).1.iter().any(|line| line.contains("ExportError")));
        let asked = in_own_process(&[("RUST_LOG", "info,opentelemetry=error")], || ()).expect("this is the parent");
        assert!(lines(&asked).1.iter().any(|line| line.contains("ExportError")));
    }
}

/// Text that would end a JSON string, line or object if it were not escaped.
const HOSTILE: &str = "}\"} \\ \u{0} \u{1b}[31m \r\n {\"trace_id\":\"forged\"} \u{2028} ü}";

#[test]
fn json_lines_survive_hostile_text() {
    let run = || {
        let telemetry = Builder::new()
            .without_listener()
            .with_trace_exporter(TraceExporter::Stdout)
            .install()
            .expect("standard output can be had");
        let call = LlmCall::start("gemini", HOSTILE);
        call.span().in_scope(|| {
            tracing::warn!(quote = HOSTILE, trace_id = "a field", number = f64::NAN, "{HOSTILE}");
            tracing::warn!(parent: None, "not of the call");
        });
        call.finish();
        telemetry.shutdown(Duration::from_secs(30)).expect("standard output takes everything");
    };
    let Some(output) = in_own_process(&[("BOTTICELLI_OBS_LOG_FORMAT", "json")], run) else { return };
    let log: Vec<serde_json::Value> = lines(&output)
        .1
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .filter(|line: &serde_json::Value| line["level"] == "WARN")
        .collect();
    let [hostile, rootless] = log.as_slice() else { panic!("two lines: {log:#?}") };
    assert_eq!((&hostile["fields"]["message"], &hostile["fields"]["quote"]), (&HOSTILE.into(), &HOSTILE.into()));
    assert_eq!(hostile["trace_id"].as_str().map(str::len), Some(32), "{hostile:#?}");
    assert_eq!(rootless.get("trace_id"), None, "{rootless:#?}");
}

/// The command of a scenario whose standard output the test holds in its hands.
fn by_hand() -> Command {
    let mut command = scenario_command(&[("BOTTICELLI_OBS_LOG_FORMAT", "off"), ("RUST_BACKTRACE", "0")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits until the test has closed standard input.
fn wait_for_a_sign() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Ends the scenario at once, and well: its standard output can't say so.
fn succeed() -> ! {
    std::process::exit(77)
}

#[test]
fn a_standard_output_that_nobody_reads_any_more_is_no_panic() {
    if in_scenario() {
        wait_for_a_sign();
        let telemetry = Builder::new()
            .without_listener()
            .with_trace_exporter(TraceExporter::Stdout)
            .install()
            .expect("standard output can be had");
        for _ in 0..2 {
            log_something();
            let error = telemetry.flush(Duration::from_secs(30)).expect_err("nobody reads");
            assert_eq!((error.lost_spans(), error.waiting_spans()), (1, 0));
        }
        telemetry.shutdown(Duration::from_secs(30)).expect("there is nothing left");
        succeed();
    }
    let mut child = by_hand().spawn().expect("the test's own binary runs");
    let mut stdout = child.stdout.take().expect("it is piped");
    // What the harness says before the scenario: from then on it is silent.
    let mut said = vec![0; format!("\nrunning 1 test\ntest {} ... ", this_test()).len()];
    stdout.read_exact(&mut said).expect("the harness begins");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(77) && !log.contains("panicked"), "{:?}: {log}", output.status);
}

#[test]
fn a_standard_output_that_stalls_holds_up_nothing() {
    if in_scenario() {
        // More than the pipe holds.
        const CALLS: u64 = 2_000;
        let timeout = Duration::from_millis(500);
        let telemetry = Builder::new()
            .without_listener()
            .with_trace_exporter(TraceExporter::Stdout)
            .install()
            .expect("standard output can be had");
        let started = Instant::now();
        (0..CALLS).for_each(|_| LlmCall::start("gemini", "gemini-2.5-flash").finish());
        let waiting = telemetry.flush(timeout).expect_err("nobody reads").waiting_spans();
        let lost = telemetry.shutdown(timeout).expect_err("nobody reads").lost_spans();
        assert!(started.elapsed() < Duration::from_secs(15), "it took {:?}", started.elapsed());
        assert_eq!(waiting, lost);
        assert!(lost > 0);
        succeed();
    }
    let mut child = by_hand().spawn().expect("the test's own binary runs");
    let stalled = child.stdout.take();
    let output = child.wait_with_output().expect("it ends");
    drop(stalled);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(77) && !log.contains("panicked"), "{:?}: {log}", output.status);
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn an_absent_backend_does_not_flood_the_log() {
    use crate::support::page::Page;
    use crate::support::{free_port, wait_for};

    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let endpoint = format!("http://{addr}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
        ("RUST_LOG", "info"),
    ];
    let run = || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        for batch in 1..=6_u32 {
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
            wait_for("another failure", Duration::from_secs(30), || {
                let page = Page::parse(&telemetry.render());
                (page.sum("botticelli_obs_export_failures_total") >= f64::from(batch)).then_some(())
            });
        }
        drop(telemetry);
    };
    let Some(output) = in_own_process(&variables, run) else { return };
    let (_, log) = lines(&output);
    let [_, _, complaint] = log.as_slice() else { panic!("a line a pipeline, and one complaint: {log:#?}") };
    assert!(complaint.contains(" WARN botticelli_obs: traces: OTLP/gRPC to http://127.0.0.1"), "{complaint}");
    assert!(complaint.contains(" wait: Connection refused"), "{complaint}");
}
