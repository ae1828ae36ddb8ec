//! Tests of the URLs of endpoints, of what they need compiled in, and of the proxies on the way.

#[cfg(feature = "otlp-http")]
use super::super::{Builder, plan_of};
use super::super::{InstallError, assert_refused};
use super::{GRPC, HTTP, exported, otlp};
#[cfg(feature = "otlp-http")]
use crate::OtlpProtocol;

const TLS: bool = cfg!(feature = "otlp-tls");

#[test]
fn a_protocol_that_is_not_compiled_in_is_refused_with_its_feature() {
    for (value, feature, compiled) in [("grpc", "`otlp-grpc`", GRPC), ("http/protobuf", "`otlp-http`", HTTP)] {
        let plan = exported([("OTEL_EXPORTER_OTLP_PROTOCOL", value)]);
        assert_eq!(plan.is_ok(), compiled);
        if !compiled {
            let text = assert_refused("OTEL_EXPORTER_OTLP_PROTOCOL", plan);
            assert!(text.contains(feature), "{text}");
        }
    }
}

#[test]
fn https_needs_its_feature() {
    let plan = exported([("OTEL_EXPORTER_OTLP_ENDPOINT", "https://host:5555")]);
    assert_eq!(plan.is_ok(), TLS);
    if !TLS {
        let text = assert_refused("OTEL_EXPORTER_OTLP_ENDPOINT", plan);
        assert!(text.contains("`otlp-tls`"), "{text}");
    }
}

#[cfg(feature = "_grpc")]
#[test]
fn a_grpc_endpoint_on_port_4318_is_refused() {
    for value in ["http://localhost:4318", "[::1]:4318", "http://host:4318/v1/traces"] {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let text =
            assert_refused("OTEL_EXPORTER_OTLP_ENDPOINT", exported([protocol, ("OTEL_EXPORTER_OTLP_ENDPOINT", value)]));
        assert!(text.contains("4318 is the port of OTLP/HTTP") && text.contains("4317"), "{text}");
    }
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_endpoint_on_port_4317_is_refused() {
    for value in ["http://localhost:4317", "[::1]:4317", "http://host:4317/v1/traces"] {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let text =
            assert_refused("OTEL_EXPORTER_OTLP_ENDPOINT", exported([protocol, ("OTEL_EXPORTER_OTLP_ENDPOINT", value)]));
        assert!(text.contains("4317 is the port of OTLP/gRPC") && text.contains("4318"), "{text}");
    }
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_endpoint_with_the_path_of_a_signal_is_refused_where_one_is_appended() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    for url in ["http://c:4318/v1/traces", "c:4318/v1/traces/", "http://c/otlp/v1/metrics", "http://c:4318/v1/logs"] {
        let text =
            assert_refused("OTEL_EXPORTER_OTLP_ENDPOINT", exported([http, ("OTEL_EXPORTER_OTLP_ENDPOINT", url)]));
        assert!(text.contains("is appended") && text.contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), "{text}");
        let coded = Builder::new().with_otlp_endpoint(url).with_otlp_protocol(OtlpProtocol::HttpProtobuf);
        assert_refused("with_otlp_endpoint", plan_of(&coded, []));
    }
    assert!(exported([http, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces")]).is_ok());
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_endpoint_of_one_signal_without_a_path_is_told_of() {
    let told = |name: &'static str, value: &'static str| {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let pushed = ("OTEL_METRICS_EXPORTER", if cfg!(feature = "otlp-metrics") { "otlp" } else { "prometheus" });
        exported([http, pushed, (name, value)]).expect("valid").oddities
    };
    let traces = told("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318");
    assert!(traces[0].contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has no path"), "{traces:?}");
    assert!(traces[0].ends_with("http://c:4318/v1/traces"), "{traces:?}");
    if cfg!(feature = "otlp-metrics") {
        let metrics = told("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "c:4318/");
        assert!(metrics[0].ends_with("http://c:4318/v1/metrics"), "{metrics:?}");
    }
    assert!(told("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/spans").is_empty());
    assert!(told("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318").is_empty());
}

/// Returns the proxy of the spans, with its credentials.
fn proxy(variables: &[(&'static str, &'static str)]) -> Result<Option<String>, InstallError> {
    let plan = exported(variables.iter().copied())?;
    Ok(otlp(&plan).proxy.as_ref().map(ToString::to_string))
}

#[test]
fn a_proxy_is_used_for_endpoints_that_are_not_on_this_machine() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:5555");
    let is = |variables: &[(&'static str, &'static str)], expected: Option<&str>| {
        assert_eq!(proxy(&[&[endpoint], variables].concat()).expect("valid").as_deref(), expected, "{variables:?}");
    };
    is(&[], None);
    is(&[("HTTP_PROXY", "http://proxy:3128")], Some("http://proxy:3128"));
    is(&[("http_proxy", "proxy:3128")], Some("http://proxy:3128"));
    is(&[("ALL_PROXY", "http://user:pass@proxy/")], Some("http://proxy"));
    is(&[("all_proxy", "http://all:1"), ("http_proxy", "http://proxy:1")], Some("http://proxy:1"));
    is(&[("HTTPS_PROXY", "http://proxy:3128")], None);
    is(&[("HTTP_PROXY", "off"), ("ALL_PROXY", "http://proxy:1")], None);
    is(&[("HTTP_PROXY", "http://proxy:1"), ("NO_PROXY", "other, collector")], None);
    is(&[("HTTP_PROXY", "http://proxy:1"), ("no_proxy", "other")], Some("http://proxy:1"));
    // The header `Proxy` of a request to a CGI program.
    is(&[("HTTP_PROXY", "http://proxy:1"), ("REQUEST_METHOD", "GET")], None);
    is(&[("http_proxy", "http://proxy:1"), ("REQUEST_METHOD", "GET")], Some("http://proxy:1"));
    for endpoint in ["localhost:5555", "http://127.0.0.1:5555", "http://127.9.9.9:5555", "http://[::1]:5555"] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("HTTP_PROXY", "http://proxy:1")];
        assert_eq!(proxy(&variables).expect("valid"), None, "{endpoint}");
        assert!(proxy(&[variables[0], ("HTTP_PROXY", "nonsense://")]).is_ok(), "it is not read");
    }
    #[cfg(feature = "otlp-tls")]
    assert_eq!(
        proxy(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:1"), ("HTTPS_PROXY", "proxy:1")]).expect("valid").as_deref(),
        Some("http://proxy:1")
    );
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    for value in
        ["http://u:s3cret@", "socks5://u:s3cret@proxy:1", "https://u:s3cret@proxy:1", "u:s3cret@a b", "http://"]
    {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:5555");
        let text = assert_refused("HTTP_PROXY", exported([endpoint, ("HTTP_PROXY", value)]));
        assert!(!text.contains("s3cret"), "{text}");
    }
}
