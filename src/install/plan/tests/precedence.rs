//! Tests of precedence between code and variables, and between variables.
//!
//! A setting that is overridden is not read, so an invalid value of it is no error.

use std::net::SocketAddr;

use super::{Builder, Plan, assert_refused, page, plan, plan_of, spans};
use crate::spans::logs::LogFormat;
use crate::{FailurePolicy, Sampler, TraceExporter};

/// An invalid value of every variable.
const INVALID: &str = "=";

#[test]
fn prometheus_endpoint_comes_before_the_host_and_port_of_the_specification() {
    let endpoint = ("PROMETHEUS_ENDPOINT", "80");
    let specified = [("OTEL_EXPORTER_PROMETHEUS_HOST", INVALID), ("OTEL_EXPORTER_PROMETHEUS_PORT", INVALID)];
    let overridden = plan(specified.into_iter().chain([endpoint])).expect("they are not read");
    assert_eq!(page(&overridden).listen.as_deref(), Some("127.0.0.1:80"));
    for variable in specified {
        assert_refused(variable.0, plan([variable]));
        assert_refused(variable.0, plan([variable, ("PROMETHEUS_ENDPOINT", " ")]));
    }
}

#[test]
fn otel_traces_exporter_comes_before_otel_exporter() {
    let set = |specified, other| plan([("OTEL_TRACES_EXPORTER", specified), ("OTEL_EXPORTER", other)]);
    assert!(set("none", "stdout").expect("valid").traces.is_none());
    assert!(set("console", "none").expect("valid").traces.is_some());
    assert!(set("console", INVALID).expect("not read").traces.is_some());
    assert!(set("", "stdout").expect("valid").traces.is_some(), "blank is unset");
    assert_refused("OTEL_TRACES_EXPORTER", set(INVALID, "stdout"));
}

#[test]
fn the_service_name_comes_from_the_nearest_source() {
    let name = |builder: &Builder, variables: &[(&str, &str)]| {
        let plan = plan_of(builder, variables.iter().copied()).expect("valid");
        page(&plan).target[0].clone()
    };
    let named = |name: &str| ("service.name".to_owned(), name.to_owned());
    let listed = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed");
    let set = ("OTEL_SERVICE_NAME", "set");
    assert_eq!(name(&Builder::new(), &[listed]), named("listed"));
    assert_eq!(name(&Builder::new(), &[listed, ("OTEL_SERVICE_NAME", " ")]), named("listed"));
    assert_eq!(name(&Builder::new(), &[listed, set]), named("set"));
    assert_eq!(name(&Builder::new().with_service_name("coded"), &[listed, set]), named("coded"));
}

#[test]
fn code_comes_before_the_environment() {
    type Row = (&'static str, Builder, fn(&Plan) -> bool);
    let rows: [Row; 11 + cfg!(feature = "exporter") as usize] = [
        ("PROMETHEUS_ENDPOINT", Builder::new().with_prometheus_endpoint(SocketAddr::from(([1, 1, 1, 1], 1))), |plan| {
            page(plan).listen.as_deref() == Some("1.1.1.1:1")
        }),
        ("PROMETHEUS_ENDPOINT", Builder::new().without_listener(), |plan| page(plan).listen.is_none()),
        ("BOTTICELLI_OBS_ALLOWED_NETWORKS", Builder::new().add_allowed_network("10.0.0.1"), |plan| {
            page(plan).allowed[0].to_string() == "10.0.0.1/32"
        }),
        ("BOTTICELLI_OBS_METRICS_EXCLUDE", Builder::new().without_metrics("llm.*"), |plan| {
            page(plan).store.exclude.iter().map(|pattern| pattern.as_str()).eq(["llm.*"])
        }),
        ("BOTTICELLI_OBS_TOKEN_FILE", Builder::new().with_page_token("12345678"), |plan| {
            page(plan).token.as_ref().is_some_and(|token| token.is_shown_by(b"Bearer 12345678"))
        }),
        #[cfg(feature = "exporter")]
        ("BOTTICELLI_OBS_LISTENER", Builder::new().with_exporter_listener(), |plan| {
            page(plan).listener.to_string() == "exporter"
        }),
        ("OTEL_TRACES_EXPORTER", Builder::new(), |plan| spans(plan).filter == "info"),
        ("OTEL_TRACES_SAMPLER", Builder::new().with_sampler(Sampler::AlwaysOff), |plan| {
            spans(plan).sampler == Sampler::AlwaysOff
        }),
        ("BOTTICELLI_OBS_SPAN_FILTER", Builder::new().with_span_filter("bot=debug"), |plan| {
            spans(plan).filter == "bot=debug"
        }),
        ("RUST_LOG", Builder::new().with_log_filter("bot=warn"), |plan| plan.logs.filter == "bot=warn"),
        ("BOTTICELLI_OBS_LOG_FORMAT", Builder::new().with_log_format(LogFormat::Json), |plan| {
            plan.logs.format == LogFormat::Json
        }),
        ("BOTTICELLI_OBS_ON_FAILURE", Builder::new().with_failure_policy(FailurePolicy::Degrade), |plan| {
            plan.policy == FailurePolicy::Degrade
        }),
    ];
    for (name, builder, holds) in rows {
        assert_refused(name, plan([(name, INVALID)]));
        let plan = plan_of(&builder.with_trace_exporter(TraceExporter::Stdout), [(name, INVALID)]);
        assert!(holds(&plan.unwrap_or_else(|error| panic!("{error}"))), "{name}");
    }
}

#[test]
fn what_code_switches_off_is_off() {
    let builder = Builder::new().with_trace_exporter(TraceExporter::None);
    let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1"), ("OTEL_EXPORTER", "otlp")];
    assert!(plan_of(&builder, set).expect("valid").traces.is_none());
}
