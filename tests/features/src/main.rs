//! Makes one call with the features it was built with, and delivers it where they can.

use std::error::Error;

use botticelli_obs::{ErrorType, LlmCall, Usage};

fn main() -> Result<(), Box<dyn Error>> {
    // No feature of a library may make the defaults of a crate panic that the program uses itself.
    #[cfg(feature = "plain-reqwest")]
    drop(reqwest::Client::new());
    installed()
}

fn call() {
    let model = std::env::var("MODEL").unwrap_or_else(|_| "gpt-4o-mini".to_owned());
    let mut call = LlmCall::start("openai", &model);
    call.record_usage(Usage::new(12, 30));
    call.finish();
    LlmCall::start("openai", &model).fail(ErrorType::RateLimit);
}

#[cfg(not(feature = "install"))]
fn installed() -> Result<(), Box<dyn Error>> {
    call();
    Ok(())
}

#[cfg(feature = "install")]
fn installed() -> Result<(), Box<dyn Error>> {
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(10);

    let telemetry = botticelli_obs::install()?;
    call();
    telemetry.flush(LIMIT)?;
    let page = telemetry.render();
    let has = |line: &str| page.lines().any(|found| found.starts_with(line));
    assert!(has("llm_requests_total{") && page.contains("\"openai\""), "{page}");
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
        assert!(has("botticelli_obs_spans_exported_total 2"), "{page}");
        diagnose();
    }
    if std::env::var("OTEL_METRICS_EXPORTER").is_ok_and(|exporters| exporters.contains("otlp")) {
        assert!(has("botticelli_obs_export_failures_total{signal=\"metrics\"} 0"), "{page}");
    }
    telemetry.shutdown(LIMIT)?;
    Ok(())
}

/// Asks the doctor about the endpoint that has just taken spans and metrics.
#[cfg(feature = "cli")]
fn diagnose() {
    let diagnosis = botticelli_obs::doctor::doctor();
    let findings: Vec<String> = diagnosis.findings().iter().map(ToString::to_string).collect();
    let takes = |what: &str| findings.iter().any(|finding| finding.ends_with(&format!(" takes {what}")));
    assert!(takes("traces") && takes("metrics"), "{findings:#?}");
}

#[cfg(all(feature = "install", not(feature = "cli")))]
fn diagnose() {}
