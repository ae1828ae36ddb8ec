//! Every variable and every option: what is used, what is refused by name, and what comes before what.

use std::time::Duration;

use proptest::prelude::*;

use super::{Builder, Environment, InstallError, Plan};
use crate::scrape;
use crate::spans::logs::LogFormat;
use crate::spans::{self, Propagator, Sampler};
use crate::{FailurePolicy, TraceExporter};

fn plan(variables: &[(&str, &str)]) -> Result<Plan, InstallError> {
    plan_of(&Builder::new(), variables)
}

fn plan_of(builder: &Builder, variables: &[(&str, &str)]) -> Result<Plan, InstallError> {
    Plan::resolve(builder, &Environment::from_iter(variables.iter().copied()))
}

/// The metrics as these variables have them; they must be on.
fn metrics(variables: &[(&str, &str)]) -> scrape::Config {
    plan(variables).and_then(|plan| plan.metrics).expect("the variables are valid").expect("metrics are on")
}

/// The traces as these variables have them, to standard output where no variable says otherwise.
fn traces(variables: &[(&str, &str)]) -> spans::Config {
    let mut all = vec![("OTEL_EXPORTER", "stdout")];
    all.extend(variables);
    plan(&all).and_then(|plan| plan.traces).expect("the variables are valid").expect("traces are on")
}

/// The first error of a plan.
fn error(variables: &[(&str, &str)]) -> Option<InstallError> {
    match plan(variables) {
        Err(error) => Some(error),
        Ok(plan) => plan.metrics.err().or(plan.traces.err()).or(plan.logs.err()),
    }
}

/// Each of these values is refused, and the error names the variable.
fn refused(name: &str, values: &[&str]) {
    for value in values {
        refused_with(name, &[(name, value)]);
    }
}

fn refused_with(name: &str, variables: &[(&str, &str)]) {
    let error = error(variables).unwrap_or_else(|| panic!("{variables:?} is not refused"));
    assert!(error.is_invalid_setting(), "{error}");
    assert!(error.to_string().starts_with(name), "{variables:?}: {error}");
}

#[test]
fn prometheus_endpoint_takes_all_its_forms() {
    let listen = |value| metrics(&[("PROMETHEUS_ENDPOINT", value)]).listen;
    assert_eq!(listen("").as_deref(), Some("127.0.0.1:9464"));
    for (value, expected) in [
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("localhost:9100", "localhost:9100"),
        ("metrics-host.internal:80", "metrics-host.internal:80"),
        ("[::1]:9464", "[::1]:9464"),
        ("[::]:0", "[::]:0"),
        (":9100", "127.0.0.1:9100"),
        ("9100", "127.0.0.1:9100"),
        ("  9100 ", "127.0.0.1:9100"),
        ("0", "127.0.0.1:0"),
    ] {
        assert_eq!(listen(value).as_deref(), Some(expected), "{value}");
    }
    assert_eq!(listen("off"), None);
    assert_eq!(listen("OFF"), None);
    refused(
        "PROMETHEUS_ENDPOINT",
        &[
            "nonsense",
            "127.0.0.1",
            "::1",
            "[::1]",
            "127.0.0.1:",
            "host:+80",
            "host:99999",
            "65536",
            "-1",
            ":",
            "a b:80",
            "1.2.3:80",
        ],
    );
}

#[test]
fn prometheus_endpoint_comes_before_the_specified_host_and_port() {
    let host = ("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0");
    let port = ("OTEL_EXPORTER_PROMETHEUS_PORT", "9999");
    assert_eq!(metrics(&[host]).listen.as_deref(), Some("0.0.0.0:9464"));
    assert_eq!(metrics(&[port]).listen.as_deref(), Some("127.0.0.1:9999"));
    assert_eq!(metrics(&[host, port]).listen.as_deref(), Some("0.0.0.0:9999"));
    assert_eq!(metrics(&[host, port, ("PROMETHEUS_ENDPOINT", "80")]).listen.as_deref(), Some("127.0.0.1:80"));
    assert_eq!(metrics(&[("OTEL_EXPORTER_PROMETHEUS_HOST", "::")]).listen.as_deref(), Some("[::]:9464"));
    refused("OTEL_EXPORTER_PROMETHEUS_HOST", &["a b", "http://host"]);
    refused("OTEL_EXPORTER_PROMETHEUS_PORT", &["x", "-1", "65536"]);
    let coded = Builder::new().with_prometheus_endpoint("1.1.1.1:1");
    let config = plan_of(&coded, &[("PROMETHEUS_ENDPOINT", "2")]).and_then(|plan| plan.metrics);
    assert_eq!(config.expect("valid").expect("on").listen.as_deref(), Some("1.1.1.1:1"));
}

#[test]
fn metrics_exporter_switches_the_page() {
    let on = |value| plan(&[("OTEL_METRICS_EXPORTER", value)]).and_then(|plan| plan.metrics).expect("valid").is_some();
    assert!(on("") && on("prometheus") && on("Prometheus"));
    assert!(!on("none"));
    refused("OTEL_METRICS_EXPORTER", &["otlp", "prometheus,otlp", "none,prometheus", "console", "x"]);
    refused_with("OTEL_METRICS_EXPORTER", &[("OTEL_METRICS_EXPORTER", "none"), ("PROMETHEUS_ENDPOINT", "9464")]);
}

#[test]
fn networks_are_cidr_or_single_addresses() {
    let allowed = |value| metrics(&[("BOTTICELLI_OBS_ALLOWED_NETWORKS", value)]).allowed;
    assert_eq!(allowed("10.0.0.0/8, fd00::/8 ,127.0.0.1,::1"), ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32", "::1/128"]);
    assert!(allowed("").is_empty());
    refused("BOTTICELLI_OBS_ALLOWED_NETWORKS", &["10.0.0.0/33", "all", "10.0.0/8", "10.0.0.0/8,x"]);
    let coded = Builder::new().add_allowed_network("192.168.0.0/16");
    let config = plan_of(&coded, &[("BOTTICELLI_OBS_ALLOWED_NETWORKS", "10.0.0.0/8")]).and_then(|plan| plan.metrics);
    assert_eq!(config.expect("valid").expect("on").allowed, ["192.168.0.0/16"]);
}

#[test]
fn trace_exporters_follow_each_other() {
    let exporter = |variables: &[(&str, &str)]| {
        plan(variables).and_then(|plan| plan.traces).expect("valid").map(|config| config.backend.to_string())
    };
    assert_eq!(exporter(&[]), None);
    assert_eq!(exporter(&[("OTEL_EXPORTER", "stdout")]).as_deref(), Some("stdout"));
    assert_eq!(exporter(&[("OTEL_TRACES_EXPORTER", "console")]).as_deref(), Some("stdout"));
    assert_eq!(exporter(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER", "stdout")]), None);
    refused("OTEL_EXPORTER", &["console", "jaeger"]);
    refused("OTEL_TRACES_EXPORTER", &["stdout", "zipkin", "otlp,console"]);
}

#[test]
fn samplers_take_the_specified_names() {
    let sampler = |name: &str, argument: &str| {
        traces(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]).sampler
    };
    assert_eq!(sampler("", ""), Sampler::ParentBasedAlwaysOn);
    assert_eq!(sampler("always_on", ""), Sampler::AlwaysOn);
    assert_eq!(sampler("always_off", ""), Sampler::AlwaysOff);
    assert_eq!(sampler("traceidratio", "0.25"), Sampler::TraceIdRatio(0.25));
    assert_eq!(sampler("traceidratio", ""), Sampler::TraceIdRatio(1.0));
    assert_eq!(sampler("parentbased_always_off", ""), Sampler::ParentBasedAlwaysOff);
    assert_eq!(sampler("parentbased_traceidratio", "1"), Sampler::ParentBasedTraceIdRatio(1.0));
    refused("OTEL_TRACES_SAMPLER", &["sometimes", "jaeger_remote", "1.0"]);
    for argument in ["x", "-0.1", "1.1", "NaN", "inf"] {
        let variables = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        refused_with("OTEL_TRACES_SAMPLER_ARG", &variables);
    }
}

#[test]
fn batching_and_limits_are_numbers_in_range() {
    let config = traces(&[
        ("OTEL_BSP_SCHEDULE_DELAY", "250"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1500"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "9"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "64"),
    ]);
    assert_eq!(
        (config.batch.delay, config.batch.export_timeout),
        (Duration::from_millis(250), Duration::from_millis(1500))
    );
    assert_eq!((config.batch.queue, config.batch.size), (100, 100), "a batch is no larger than the queue");
    assert_eq!((config.limits.attributes, config.limits.events, config.limits.links), (7, 0, 9));
    assert_eq!(config.limits.value_length, Some(64));
    let default = traces(&[]);
    assert_eq!((default.batch, default.limits), (spans::Batch::default(), spans::Limits::default()));
    assert_eq!(traces(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")]).batch.size, 10);

    refused("OTEL_BSP_SCHEDULE_DELAY", &["0", "-1", "5s", "99999999999999999999"]);
    refused("OTEL_BSP_EXPORT_TIMEOUT", &["0", "x"]);
    refused("OTEL_BSP_MAX_QUEUE_SIZE", &["0", "x", "1e3", "18446744073709551615"]);
    refused("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &["0", "2049", "x"]);
    refused("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &["-1", "x", "4294967296"]);
    refused("OTEL_SPAN_EVENT_COUNT_LIMIT", &["x"]);
    refused("OTEL_SPAN_LINK_COUNT_LIMIT", &["1.5"]);
    refused("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", &["-1"]);
}

#[test]
fn propagators_are_a_list() {
    let propagators = |value| traces(&[("OTEL_PROPAGATORS", value)]).propagators;
    assert_eq!(propagators(""), [Propagator::TraceContext, Propagator::Baggage]);
    assert_eq!(propagators("baggage"), [Propagator::Baggage]);
    assert_eq!(propagators("tracecontext, baggage"), [Propagator::TraceContext, Propagator::Baggage]);
    assert_eq!(propagators("none"), []);
    refused("OTEL_PROPAGATORS", &["b3", "jaeger", "none,baggage"]);
}

#[test]
fn the_service_name_comes_from_the_nearest_source() {
    let name = |builder: &Builder, variables: &[(&str, &str)]| {
        let config = plan_of(builder, variables).and_then(|plan| plan.metrics).expect("valid").expect("on");
        config.target.into_iter().find(|(key, _)| key == "service.name").map(|(_, value)| value)
    };
    let listed = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=listed,service.version=1%2E2,team=a%20b");
    let set = ("OTEL_SERVICE_NAME", "set");
    assert_eq!(name(&Builder::new(), &[listed]).as_deref(), Some("listed"));
    assert_eq!(name(&Builder::new(), &[listed, set]).as_deref(), Some("set"));
    assert_eq!(name(&Builder::new().with_service_name("coded"), &[listed, set]).as_deref(), Some("coded"));
    assert!(name(&Builder::new(), &[]).is_some_and(|name| name.starts_with("botticelli_obs")), "the executable's name");

    let target = metrics(&[listed]).target;
    assert!(
        target.contains(&("service.version".into(), "1.2".into())) && target.contains(&("team".into(), "a b".into()))
    );
    let instance = |config: scrape::Config| {
        config.target.into_iter().find(|(key, _)| key == "service.instance.id").map(|(_, value)| value)
    };
    assert_eq!(instance(metrics(&[("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=i1")])).as_deref(), Some("i1"));
    let random = instance(metrics(&[])).expect("there is always one");
    assert!(random.len() == 36 && random != instance(metrics(&[])).expect("there is always one"), "{random}");
    refused("OTEL_RESOURCE_ATTRIBUTES", &["x", "=v", "k=%FF", "a=b,c"]);
}

#[test]
fn the_page_and_the_spans_name_the_same_instance() {
    let plan = plan(&[("OTEL_EXPORTER", "stdout")]).expect("valid");
    let (page, spans) = (plan.metrics.expect("valid").expect("on"), plan.traces.expect("valid").expect("on"));
    assert_eq!(page.target, spans.resource);
}

#[test]
fn log_settings_have_their_own_variables() {
    let logs = |variables: &[(&str, &str)]| plan(variables).and_then(|plan| plan.logs).expect("valid");
    assert_eq!((logs(&[]).format, logs(&[]).filter.as_str()), (LogFormat::Text, "info"));
    assert_eq!(logs(&[("BOTTICELLI_OBS_LOG_FORMAT", "json")]).format, LogFormat::Json);
    assert_eq!(logs(&[("BOTTICELLI_OBS_LOG_FORMAT", "off")]).format, LogFormat::Off);
    assert_eq!(logs(&[("RUST_LOG", "warn,hyper=off")]).filter, "warn,hyper=off");
    assert_eq!(traces(&[("RUST_LOG", "trace")]).filter, "info", "never of the spans");
    assert_eq!(traces(&[("BOTTICELLI_OBS_SPAN_FILTER", "debug")]).filter, "debug");
    refused("BOTTICELLI_OBS_LOG_FORMAT", &["xml", "pretty"]);
    refused("RUST_LOG", &["a=b=c", "x=loud", "[unclosed"]);
    refused("BOTTICELLI_OBS_SPAN_FILTER", &["x=loud"]);
}

#[test]
fn disabling_the_sdk_leaves_the_logs() {
    let plan = plan(&[("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_EXPORTER", "stdout")]).expect("valid");
    assert!(plan.metrics.expect("valid").is_none() && plan.traces.expect("valid").is_none());
    assert_eq!(plan.logs.expect("valid").format, LogFormat::Text);
    assert!(metrics(&[("OTEL_SDK_DISABLED", "false")]).listen.is_some());
    refused("OTEL_SDK_DISABLED", &["1", "yes"]);
}

#[test]
fn the_failure_policy_must_be_known() {
    let policy = |variables: &[(&str, &str)]| plan(variables).expect("valid").policy;
    assert_eq!(policy(&[]), FailurePolicy::Fail);
    assert_eq!(policy(&[("BOTTICELLI_OBS_ON_FAILURE", "degrade")]), FailurePolicy::Degrade);
    refused("BOTTICELLI_OBS_ON_FAILURE", &["panic", "ignore"]);
}

#[test]
fn builder_options_are_checked_like_variables() {
    let error = |builder: Builder| {
        let plan = plan_of(&builder.with_trace_exporter(TraceExporter::Stdout), &[]).expect("the policy is valid");
        let error = plan.metrics.err().or(plan.traces.err()).or(plan.logs.err()).expect("it is refused");
        assert!(error.is_invalid_setting());
        error.to_string()
    };
    assert!(error(Builder::new().with_prometheus_endpoint("x")).starts_with("with_prometheus_endpoint"));
    assert!(error(Builder::new().with_service_name(" ")).starts_with("with_service_name"));
    assert!(error(Builder::new().with_buckets("m", [])).starts_with("with_buckets"));
    assert!(error(Builder::new().with_buckets("m", [1.0, f64::NAN])).starts_with("with_buckets"));
    assert!(error(Builder::new().with_buckets("m", [f64::INFINITY])).starts_with("with_buckets"));
    assert!(error(Builder::new().with_buckets("", [1.0])).starts_with("with_buckets"));
    for name in ["", "1st", "a-b", "__reserved", "le", "quantile"] {
        assert!(error(Builder::new().add_global_label(name, "v")).starts_with("add_global_label"), "{name}");
    }
    assert!(error(Builder::new().add_allowed_network("nowhere")).starts_with("add_allowed_network"));
    assert!(error(Builder::new().with_sampler(Sampler::TraceIdRatio(1.5))).starts_with("with_sampler"));
    assert!(error(Builder::new().with_sampler(Sampler::ParentBasedTraceIdRatio(f64::NAN))).starts_with("with_sampler"));
    assert!(error(Builder::new().with_log_filter("x=loud")).starts_with("with_log_filter"));
    assert!(error(Builder::new().with_span_filter("x=loud")).starts_with("with_span_filter"));

    let builder = Builder::new()
        .with_buckets("m", [5.0, 1.0, 5.0])
        .with_prometheus_endpoint(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
    let config = plan_of(&builder, &[]).and_then(|plan| plan.metrics).expect("valid").expect("on");
    assert_eq!(config.buckets, [("m".to_owned(), vec![1.0, 5.0])]);
    assert_eq!(config.listen.as_deref(), Some("127.0.0.1:80"));
}

#[cfg(unix)]
#[test]
fn values_that_are_not_unicode_are_refused() {
    use std::os::unix::ffi::OsStringExt;

    for &name in VARIABLES {
        let value = std::ffi::OsString::from_vec(vec![b'x', 0xff]);
        let environment = Environment::from_iter([(name.to_owned(), value), ("OTEL_EXPORTER_X".to_owned(), "".into())]);
        let plan = Plan::resolve(&Builder::new().with_trace_exporter(TraceExporter::Stdout), &environment);
        let error = match plan {
            Err(error) => Some(error),
            Ok(plan) => plan.metrics.err().or(plan.traces.err()).or(plan.logs.err()),
        };
        assert!(error.is_some_and(|error| error.to_string().starts_with(name)), "{name}");
    }
}

/// Variables that are read whatever the others say, with a trace exporter set in code.
const VARIABLES: &[&str] = &[
    "PROMETHEUS_ENDPOINT",
    "OTEL_METRICS_EXPORTER",
    "BOTTICELLI_OBS_ALLOWED_NETWORKS",
    "BOTTICELLI_OBS_ON_FAILURE",
    "BOTTICELLI_OBS_LOG_FORMAT",
    "BOTTICELLI_OBS_SPAN_FILTER",
    "RUST_LOG",
    "OTEL_SDK_DISABLED",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_PROPAGATORS",
];

/// Anything, and what looks nearly right.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9_./:,=%\\[\\]-]{0,24}",
        "[+-]?[0-9]{1,22}(\\.[0-9]{1,4})?",
        "(true|false|none|otlp|off|grpc|gzip|info|debug|always_on|prometheus|10\\.0\\.0\\.0/8)[,= ]?[a-z0-9]{0,3}",
    ]
}

proptest! {
    #[test]
    fn a_random_value_is_used_or_refused_by_name(name in prop::sample::select(VARIABLES), value in value()) {
        let set = [("OTEL_EXPORTER", "stdout"), (name, value.as_str())];
        match error(&set) {
            Some(error) => {
                prop_assert!(error.is_invalid_setting());
                prop_assert!(error.to_string().starts_with(name), "{name}={value:?}: {error}");
            }
            // Not refused: then it says what the default says, or the plan differs from the default one.
            None => {
                let shape = |variables: &[(&str, &str)]| {
                    let mut fixed = variables.to_vec();
                    fixed.push(("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=fixed"));
                    if name == "OTEL_RESOURCE_ATTRIBUTES" { fixed = variables.to_vec(); }
                    format!("{:?}", plan(&fixed))
                };
                let differs = shape(&set) != shape(&[("OTEL_EXPORTER", "stdout")]);
                prop_assert!(differs || value.trim().is_empty() || says_the_default(name, value.trim()), "{name}={value:?}");
            }
        }
    }

    #[test]
    fn random_settings_together_never_panic(
        settings in prop::collection::vec((prop::sample::select(VARIABLES), value()), 0..8),
        degrade in any::<bool>(),
    ) {
        let mut variables: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if degrade {
            variables.push(("BOTTICELLI_OBS_ON_FAILURE", "degrade"));
        }
        if let Some(error) = error(&variables) {
            prop_assert!(variables.iter().any(|(name, _)| error.to_string().starts_with(name)), "{error}");
        }
    }
}

/// Values that mean what the default means.
fn says_the_default(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let number = value.parse::<f64>().unwrap_or(f64::NAN);
    match name {
        "OTEL_METRICS_EXPORTER" => value.split(',').all(|item| matches!(item.trim(), "prometheus" | "")),
        "OTEL_SDK_DISABLED" => value == "false",
        "RUST_LOG" | "BOTTICELLI_OBS_SPAN_FILTER" => value == "info",
        "BOTTICELLI_OBS_ALLOWED_NETWORKS" | "OTEL_PROPAGATORS" | "OTEL_RESOURCE_ATTRIBUTES" => {
            value.split(',').all(|item| item.trim().is_empty())
        }
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" | "OTEL_SPAN_EVENT_COUNT_LIMIT" | "OTEL_SPAN_LINK_COUNT_LIMIT" => {
            number == 128.0
        }
        "OTEL_BSP_MAX_QUEUE_SIZE" => number == 2048.0,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => number == 512.0,
        "OTEL_BSP_SCHEDULE_DELAY" => number == 5000.0,
        "OTEL_BSP_EXPORT_TIMEOUT" => number == 30000.0,
        _ => false,
    }
}

#[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
mod otlp;
