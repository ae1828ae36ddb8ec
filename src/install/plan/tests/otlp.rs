//! The variables of the OTLP exporter.

use std::time::Duration;

use super::{Builder, error, plan, plan_of, refused_with};
use crate::OtlpProtocol;
use crate::spans::Backend;
use crate::spans::otlp::Config;

const GRPC: bool = cfg!(feature = "otlp-grpc");
const HTTP: bool = cfg!(feature = "otlp-http");

/// The protocol that is used where nothing is set, and its port.
const DEFAULT: (OtlpProtocol, u16) = if GRPC { (OtlpProtocol::Grpc, 4317) } else { (OtlpProtocol::HttpProtobuf, 4318) };

fn otlp(builder: &Builder, variables: &[(&str, &str)]) -> Config {
    let mut all = vec![("OTEL_EXPORTER", "otlp")];
    all.extend(variables);
    let config = plan_of(builder, &all).and_then(|plan| plan.traces).expect("the variables are valid");
    match config.expect("traces are on").backend {
        Backend::Otlp(config) => config,
        Backend::Stdout => panic!("spans go to standard output"),
    }
}

fn by_environment(variables: &[(&str, &str)]) -> Config {
    otlp(&Builder::new(), variables)
}

/// What the endpoint becomes: the path of the signal belongs to OTLP/HTTP.
fn url(base: &str) -> String {
    if GRPC { base.to_owned() } else { format!("{base}/v1/traces") }
}

fn refused(name: &str, values: &[&str]) {
    for value in values {
        refused_with(name, &[("OTEL_EXPORTER", "otlp"), (name, value)]);
    }
}

#[test]
fn an_endpoint_switches_the_export_on() {
    let backend = |variables: &[(&str, &str)]| {
        let config = plan(variables).and_then(|plan| plan.traces).expect("valid");
        config.map(|config| config.backend.to_string())
    };
    let name = if GRPC { "gRPC" } else { "HTTP" };
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        let shown = backend(&[(variable, "http://jaeger:9999")]).expect("traces are on");
        assert!(shown.starts_with(&format!("OTLP/{name} to http://jaeger:9999")), "{shown}");
    }
    assert_eq!(backend(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://jaeger:9999")]), None);
    assert_eq!(backend(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:9999"), ("OTEL_EXPORTER", "none")]), None);
    let coded = plan_of(&Builder::new().with_otlp_endpoint("http://jaeger:9999"), &[]).and_then(|plan| plan.traces);
    assert!(coded.expect("valid").is_some());
}

#[test]
fn endpoints_are_urls_and_the_nearest_source_counts() {
    let (_, port) = DEFAULT;
    let generic = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://generic:1");
    let signal = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://signal:2");
    assert_eq!(by_environment(&[]).endpoint, url(&format!("http://localhost:{port}")));
    assert_eq!(by_environment(&[generic]).endpoint, url("http://generic:1"));
    assert!(by_environment(&[generic, signal]).endpoint.starts_with("http://signal:2"));
    let coded = Builder::new().with_otlp_endpoint("http://coded:3");
    assert_eq!(otlp(&coded, &[generic, signal]).endpoint, url("http://coded:3"));
    for (value, base) in [
        ("localhost:5555", "http://localhost:5555"),
        ("collector", "http://collector"),
        ("http://[::1]:5555/", "http://[::1]:5555"),
        ("HTTP://host:5555", "http://host:5555"),
    ] {
        assert_eq!(by_environment(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).endpoint, url(base), "{value}");
    }
    let wrong = [
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://host:",
        "a b",
        "http://host?x=1",
        "://",
    ];
    refused("OTEL_EXPORTER_OTLP_ENDPOINT", &wrong);
    refused("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &wrong);
}

#[test]
fn https_needs_its_feature() {
    let variables = [("OTEL_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://host:5555")];
    if cfg!(feature = "otlp-tls") {
        assert_eq!(by_environment(&variables[1..]).endpoint, url("https://host:5555"));
    } else {
        let error = error(&variables).expect("it is refused").to_string();
        assert!(error.contains("`otlp-tls`"), "{error}");
    }
}

#[test]
fn a_protocol_on_the_other_ones_port_is_refused() {
    if GRPC {
        let error = error(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]).expect("refused").to_string();
        assert!(error.contains("4318 is the port of OTLP/HTTP"), "{error}");
        refused("OTEL_EXPORTER_OTLP_ENDPOINT", &["http://host:5555/v1/traces"]);
    }
    if HTTP {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let error = error(&[protocol, ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")]).expect("refused").to_string();
        assert!(error.contains("4317 is the port of OTLP/gRPC"), "{error}");
        let endpoint = |name: &'static str, value| by_environment(&[protocol, (name, value)]).endpoint;
        assert_eq!(endpoint("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1/otlp/"), "http://h:1/otlp/v1/traces");
        assert_eq!(endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:1/spans"), "http://h:1/spans", "verbatim");
    }
}

#[test]
fn protocols_that_are_not_compiled_in_are_refused() {
    assert_eq!(by_environment(&[]).protocol, DEFAULT.0);
    for (value, protocol, compiled) in
        [("grpc", OtlpProtocol::Grpc, GRPC), ("http/protobuf", OtlpProtocol::HttpProtobuf, HTTP)]
    {
        for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
            if compiled {
                assert_eq!(by_environment(&[(name, value)]).protocol, protocol);
                assert_eq!(otlp(&Builder::new().with_otlp_protocol(protocol), &[(name, "x")]).protocol, protocol);
            } else {
                refused(name, &[value]);
            }
        }
    }
    refused("OTEL_EXPORTER_OTLP_PROTOCOL", &["http/json", "http", "GRPC/2"]);
}

#[test]
fn the_traces_own_settings_come_before_the_generic_ones() {
    let config = by_environment(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "X-Key=b%20c, other=d"),
    ]);
    assert_eq!((config.timeout, config.gzip), (Duration::from_secs(2), true));
    assert_eq!(config.headers, [("x-key".into(), "b c".into()), ("other".into(), "d".into())]);
    let default = by_environment(&[]);
    assert_eq!((default.timeout, default.gzip, default.headers.len()), (Duration::from_secs(10), false, 0));
    refused("OTEL_EXPORTER_OTLP_TIMEOUT", &["0", "10s", "-5"]);
    refused("OTEL_EXPORTER_OTLP_COMPRESSION", &["zstd", "true"]);
    refused("OTEL_EXPORTER_OTLP_HEADERS", &["key", "=v", "a b=c", "k=%0Av", "k=%FF", "k=%C3%A4", "trace-bin=x"]);
    refused("OTEL_EXPORTER_OTLP_CERTIFICATE", &["/does/not/exist.pem"]);
}

#[test]
fn secrets_are_never_in_an_error() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret,broken"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret%0A"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@host:5555"),
    ] {
        let error = error(&[("OTEL_EXPORTER", "otlp"), (name, value)]).expect("it is refused");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
    let config = by_environment(&[("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret")]);
    assert!(!format!("{config:?}").contains("s3cret"));
}
