//! The bridge in the subscriber of `install`.

use botticelli_obs::{Builder, LogFormat, Telemetry, tracing};

use super::{MODEL, PROVIDER, span};
use crate::support::in_own_process;
use crate::support::page::Page;

fn install(builder: Builder) -> Telemetry {
    builder.without_listener().with_log_format(LogFormat::Off).install().expect("it installs")
}

fn requests(telemetry: &Telemetry) -> Option<f64> {
    Page::parse(&telemetry.render()).get("llm_requests_total", &[("provider", PROVIDER), ("model", MODEL)])
}

#[test]
fn filters_of_logs_and_spans_do_not_hide_calls() {
    in_own_process(&[("RUST_LOG", "error"), ("BOTTICELLI_OBS_SPAN_FILTER", "off")], || {
        let telemetry = install(Builder::new().with_span_metrics());
        span("chat").record("gen_ai.usage.input_tokens", 3);
        assert_eq!(requests(&telemetry), Some(1.0));
        let other = tracing::info_span!("other", gen_ai.request.model = MODEL);
        assert!(other.is_disabled(), "spans that are no calls cost nothing");
    });
}

#[test]
fn calls_on_spans_are_not_counted_unless_asked_for() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new());
        span("chat").record("gen_ai.usage.input_tokens", 3);
        assert_eq!(requests(&telemetry), None);
    });
}
