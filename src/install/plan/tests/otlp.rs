//! Tests of the variables of the OTLP exporter.

mod endpoints;
mod secrets;

#[cfg(feature = "otlp-metrics")]
use super::Environment;
use super::{Builder, InstallError, Plan, Variable, assert_refused, backend, plan, plan_of, spans};
use crate::OtlpProtocol;
use crate::otlp::{Config, Transport};
use crate::spans::Backend;

const GRPC: bool = cfg!(feature = "_grpc");
const HTTP: bool = cfg!(feature = "otlp-http");
const GRPC_BY_DEFAULT: bool = cfg!(feature = "otlp-grpc") || !HTTP;

/// The default endpoint of spans.
pub(super) const DEFAULT: &str =
    if GRPC_BY_DEFAULT { "OTLP/gRPC to http://localhost:4317" } else { "OTLP/HTTP to http://localhost:4318/v1/traces" };

pub(super) const DEFAULT_AND_STDOUT: &str = if GRPC_BY_DEFAULT {
    "OTLP/gRPC to http://localhost:4317, and stdout"
} else {
    "OTLP/HTTP to http://localhost:4318/v1/traces, and stdout"
};

const OTLP: &[(&str, &str)] = &[("OTEL_TRACES_EXPORTER", "otlp")];

pub(super) const VARIABLES: &[Variable] = &[
    protocol("OTEL_EXPORTER_OTLP_PROTOCOL"),
    protocol("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
    #[cfg(feature = "_grpc")]
    grpc_endpoint("OTEL_EXPORTER_OTLP_ENDPOINT"),
    #[cfg(feature = "_grpc")]
    grpc_endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    #[cfg(feature = "otlp-http")]
    http_endpoint("OTEL_EXPORTER_OTLP_ENDPOINT", HTTP_BASES),
    #[cfg(feature = "otlp-http")]
    http_endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", HTTP_URLS),
    #[cfg(feature = "_grpc")]
    insecure("OTEL_EXPORTER_OTLP_INSECURE"),
    #[cfg(feature = "_grpc")]
    insecure("OTEL_EXPORTER_OTLP_TRACES_INSECURE"),
    headers("OTEL_EXPORTER_OTLP_HEADERS"),
    headers("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    timeout("OTEL_EXPORTER_OTLP_TIMEOUT"),
    timeout("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
    compression("OTEL_EXPORTER_OTLP_COMPRESSION"),
    compression("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
    #[cfg(feature = "otlp-metrics")]
    pushed(protocol("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"), PUSH),
    #[cfg(feature = "otlp-metrics")]
    pushed(grpc_endpoint("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"), PUSH_BY_GRPC),
    #[cfg(all(feature = "otlp-http", feature = "otlp-metrics"))]
    Variable {
        default: "http://localhost:4318/v1/metrics",
        ..pushed(http_endpoint("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", HTTP_URLS), PUSH_BY_HTTP)
    },
    #[cfg(feature = "otlp-metrics")]
    pushed(headers("OTEL_EXPORTER_OTLP_METRICS_HEADERS"), PUSH),
    #[cfg(feature = "otlp-metrics")]
    pushed(timeout("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"), PUSH),
    #[cfg(feature = "otlp-metrics")]
    pushed(compression("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION"), PUSH),
    #[cfg(feature = "otlp-metrics")]
    pushed(
        insecure("OTEL_EXPORTER_OTLP_METRICS_INSECURE"),
        &[
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "host:5555"),
        ],
    ),
    #[cfg(feature = "otlp-metrics")]
    Variable {
        name: "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        with: PUSH,
        shown: |plan| push(plan).expect("metrics are pushed").temporality.to_string(),
        default: "cumulative",
        valid: &[("delta", "delta"), ("LowMemory", "lowmemory"), ("cumulative", "cumulative")],
        invalid: &["low", "deltas", "delta,cumulative", "none"],
    },
    #[cfg(feature = "otlp-metrics")]
    Variable {
        name: "OTEL_METRIC_EXPORT_INTERVAL",
        with: PUSH,
        shown: |plan| format!("{:?}", push(plan).expect("metrics are pushed").interval),
        default: "60s",
        valid: &[("1000", "1s"), ("1", "1ms")],
        invalid: &["0", "-1", "60s", "86400001"],
    },
    #[cfg(feature = "otlp-metrics")]
    Variable {
        name: "OTEL_METRIC_EXPORT_TIMEOUT",
        with: PUSH,
        shown: |plan| format!("{:?}", push(plan).expect("metrics are pushed").limit),
        default: "30s",
        valid: &[("1000", "1s"), ("1", "1ms")],
        invalid: &["0", "-1", "30s", "86400001"],
    },
    #[cfg(feature = "otlp-metrics")]
    Variable {
        name: "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        with: PUSH,
        shown: |plan| push(plan).map_or("nothing", |_| "buckets of the page").to_owned(),
        default: "buckets of the page",
        valid: &[("explicit_bucket_histogram", "buckets of the page")],
        invalid: &["base2_exponential_bucket_histogram", "explicit", "none"],
    },
];

#[cfg(feature = "otlp-metrics")]
const PUSH: &[(&str, &str)] = &[("OTEL_METRICS_EXPORTER", "otlp")];

#[cfg(feature = "otlp-metrics")]
const PUSH_BY_GRPC: &[(&str, &str)] =
    &[("OTEL_METRICS_EXPORTER", "prometheus,otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];

#[cfg(all(feature = "otlp-http", feature = "otlp-metrics"))]
const PUSH_BY_HTTP: &[(&str, &str)] =
    &[("OTEL_METRICS_EXPORTER", "otlp,prometheus"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];

/// Returns the same row for the metrics, which are pushed if the variables `with` are set.
#[cfg(feature = "otlp-metrics")]
const fn pushed(variable: Variable, with: &'static [(&'static str, &'static str)]) -> Variable {
    Variable { with, ..variable }
}

#[cfg(feature = "otlp-metrics")]
fn push(plan: &Plan) -> Option<&crate::push::Config> {
    plan.push.as_ref()
}

/// Returns the OTLP configuration of the metrics if they are pushed, else that of the spans.
fn otlp(plan: &Plan) -> &Config {
    #[cfg(feature = "otlp-metrics")]
    if let Some(push) = push(plan) {
        return &push.otlp;
    }
    match &spans(plan).backend {
        Backend::Otlp(config) | Backend::OtlpAndStdout(config) => config,
        Backend::Stdout => panic!("spans go to standard output"),
    }
}

/// Returns the endpoint of the metrics if they are pushed, else that of the spans.
fn endpoint(plan: &Plan) -> String {
    #[cfg(feature = "otlp-metrics")]
    if let Some(push) = push(plan) {
        return push.otlp.endpoint.clone();
    }
    let backend = plan.traces.as_ref().map(|config| &config.backend);
    backend.and_then(Backend::endpoint).map_or("off".to_owned(), |otlp| otlp.endpoint.clone())
}

/// The scheme of an endpoint without one.
#[cfg(feature = "_grpc")]
const fn insecure(name: &'static str) -> Variable {
    Variable {
        name,
        with: &[
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "host:5555"),
        ],
        shown: endpoint,
        default: "http://host:5555",
        valid: &[
            ("true", "http://host:5555"),
            #[cfg(feature = "otlp-tls")]
            ("false", "https://host:5555"),
        ],
        invalid: &["1", "0", "yes", "off", "true,false"],
    }
}

const fn protocol(name: &'static str) -> Variable {
    Variable {
        name,
        with: OTLP,
        shown: |plan| format!("{:?}", otlp(plan).transport),
        default: if GRPC_BY_DEFAULT { "Grpc" } else { "Http" },
        valid: &[
            #[cfg(feature = "_grpc")]
            ("grpc", "Grpc"),
            #[cfg(feature = "_grpc")]
            ("GRPC", "Grpc"),
            #[cfg(feature = "otlp-http")]
            ("http/protobuf", "Http"),
        ],
        invalid: &[
            "http/json",
            "http",
            "http/protobuf/2",
            "grpc,http/protobuf",
            "4317",
            #[cfg(not(feature = "_grpc"))]
            "grpc",
            #[cfg(not(feature = "otlp-http"))]
            "http/protobuf",
        ],
    }
}

/// Values that are not an endpoint of either transport.
macro_rules! not_endpoints {
    ($($more:literal),* $(,)?) => {
        &[
            "ftp://host",
            "grpc://host:5555",
            "http://",
            "://",
            "http:host",
            "http:/host:5555",
            "http:\\\\host:5555",
            "http://host:0",
            "http://host:",
            "http://host:+5555",
            "http://host:5555x",
            "http://host:99999",
            "http://host:99999999999999999999",
            "http://:5555",
            ":5555",
            "5555",
            "a b",
            "http://ho st:5555",
            "http://höst:5555",
            "http://a,b:5555",
            "http://a:5555,http://b:5555",
            "http://host;b:5555",
            "http://1.2.3:5555",
            "http://256.0.0.1:5555",
            "http://[::1:5555",
            "http://[::g]:5555",
            "http://[fe80::1%25eth0]:5555",
            "http://::1:5555",
            "http://host:5555?x=1",
            "http://host:5555/?x=1",
            "http://host:5555#part",
            "http://host:5555/#part",
            "http://user@host:5555",
            "/v1/traces",
            "unix:///run/otlp.sock",
            #[cfg(not(feature = "otlp-tls"))]
            "https://host:5555",
            $($more),*
        ]
    };
}

#[cfg(feature = "_grpc")]
const fn grpc_endpoint(name: &'static str) -> Variable {
    Variable {
        name,
        with: &[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        shown: endpoint,
        default: "http://localhost:4317",
        valid: &[
            ("http://localhost:4317", "http://localhost:4317"),
            ("localhost:4317", "http://localhost:4317"),
            ("localhost", "http://localhost:4317"),
            ("collector", "http://collector:4317"),
            ("http://[::1]/", "http://[::1]:4317"),
            ("HTTP://Collector.example:5555/", "http://Collector.example:5555"),
            ("http://10.0.0.1:5555", "http://10.0.0.1:5555"),
            ("http://[::1]:5555", "http://[::1]:5555"),
            ("[::1]:5555", "http://[::1]:5555"),
            #[cfg(feature = "otlp-tls")]
            ("https://host:5555", "https://host:5555"),
            #[cfg(feature = "otlp-tls")]
            ("https://host", "https://host:4317"),
            ("off", "off"),
            ("None", "off"),
        ],
        invalid: not_endpoints!["http://localhost:4318", "localhost:4318", "http://host:5555/v1/traces", "host/prefix"],
    }
}

#[cfg(feature = "otlp-http")]
const fn http_endpoint(name: &'static str, valid: &'static [(&'static str, &'static str)]) -> Variable {
    Variable {
        name,
        with: &[("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        shown: endpoint,
        default: "http://localhost:4318/v1/traces",
        valid,
        invalid: not_endpoints!["http://localhost:4317", "localhost:4317/v1/traces"],
    }
}

/// The path of the signal is appended to the endpoint for all signals.
#[cfg(feature = "otlp-http")]
const HTTP_BASES: &[(&str, &str)] = &[
    ("http://localhost:4318", "http://localhost:4318/v1/traces"),
    ("localhost:4318/", "http://localhost:4318/v1/traces"),
    ("http://host:5555/otlp", "http://host:5555/otlp/v1/traces"),
    ("http://host/otlp/", "http://host/otlp/v1/traces"),
    ("[::1]:5555", "http://[::1]:5555/v1/traces"),
    #[cfg(feature = "otlp-tls")]
    ("https://host", "https://host/v1/traces"),
    ("off", "off"),
];

/// The endpoint of a single signal is used unchanged.
#[cfg(feature = "otlp-http")]
const HTTP_URLS: &[(&str, &str)] = &[
    ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
    ("http://localhost:4318", "http://localhost:4318/"),
    ("host:5555/spans/", "http://host:5555/spans/"),
    #[cfg(feature = "otlp-tls")]
    ("https://host/spans", "https://host/spans"),
    ("off", "off"),
];

const fn headers(name: &'static str) -> Variable {
    Variable {
        name,
        with: OTLP,
        shown: |plan| format!("{:?}", otlp(plan).headers),
        default: "[]",
        valid: &[
            ("X-Key=b%20c, other=d", r#"[("x-key", "b c"), ("other", "d")]"#),
            ("authorization=Basic dXNlcjpwYXNz==", r#"[("authorization", "Basic dXNlcjpwYXNz==")]"#),
            ("a=1,", r#"[("a", "1")]"#),
            ("a=", r#"[("a", "")]"#),
            ("a=100%", r#"[("a", "100%")]"#),
        ],
        invalid: &[
            "key",
            "=v",
            "%20=v",
            "a b=c",
            "ä=c",
            "a=1,b",
            "k=a%0Ab",
            "k=a%0D%0Ainjected: b",
            "k=%00",
            "k=%7F",
            "k%0A=v",
            "k=%FF",
            "k=%C3%A4",
            "k=ä",
            "trace-bin=x",
            "{\"k\": \"v\"}",
            ",",
        ],
    }
}

const fn timeout(name: &'static str) -> Variable {
    Variable {
        name,
        with: OTLP,
        shown: |plan| format!("{:?}", otlp(plan).timeout),
        default: "10s",
        valid: &[("1", "1ms"), ("2500", "2.5s"), ("10000", "10s"), ("86400000", "86400s")],
        invalid: &["0", "-5", "+5", "10s", "1.5", "86400001", "18446744073709551616"],
    }
}

const fn compression(name: &'static str) -> Variable {
    Variable {
        name,
        with: OTLP,
        shown: |plan| if otlp(plan).gzip { "gzip" } else { "none" }.to_owned(),
        default: "none",
        valid: &[("gzip", "gzip"), ("GZIP", "gzip"), ("none", "none"), ("off", "none")],
        invalid: &["zstd", "deflate", "true", "gzip,none"],
    }
}

fn exported<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Plan, InstallError> {
    plan(OTLP.iter().copied().chain(variables))
}

#[test]
fn an_endpoint_switches_the_export_on() {
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        let endpoint = (name, "http://jaeger:9999");
        assert!(backend(&plan([endpoint]).expect("valid")).contains("to http://jaeger:9999"));
        for exporter in [("OTEL_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "off")] {
            assert_eq!(backend(&plan([endpoint, exporter]).expect("valid")), "none");
        }
        assert_eq!(backend(&plan([(name, " ")]).expect("valid")), "none");
        assert_eq!(backend(&plan([(name, "off")]).expect("valid")), "none");
        assert_eq!(backend(&plan([(name, "off"), ("OTEL_TRACES_EXPORTER", "otlp,console")]).expect("valid")), "stdout");
        assert_refused(name, plan([(name, "ftp://jaeger")]));
    }
    // The endpoint of the metrics does not turn on the export of spans.
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://jaeger:9999");
    assert_eq!(backend(&plan([metrics]).expect("valid")), "none");
    let coded = plan_of(&Builder::new().with_otlp_endpoint("http://jaeger:9999"), []).expect("valid");
    assert!(backend(&coded).contains("to http://jaeger:9999"));
}

#[test]
fn the_signals_own_variable_comes_before_the_generic_one() {
    let is_own = |name: &str| name.starts_with("OTEL_EXPORTER_OTLP_TRACES_");
    for own in VARIABLES.iter().filter(|row| is_own(row.name)) {
        let generic = own.name.replace("_TRACES_", "_");
        let with = || own.with.iter().copied().filter(|(name, _)| *name != generic);
        for (value, expected) in own.valid {
            // The generic variable is not read.
            let plan = plan(with().chain([(own.name, *value), (&generic, "=")]));
            let plan = plan.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((own.shown)(&plan), *expected);
        }
        for value in own.invalid {
            assert_refused(own.name, plan(with().chain([(own.name, *value), (&generic, "")])));
        }
        // Only rows with the same other variables have comparable endpoints.
        for row in VARIABLES.iter().filter(|row| row.name == generic && row.with.len() == own.with.len()) {
            for (value, expected) in row.valid {
                let plan = plan(row.with.iter().copied().chain([(row.name, *value), (own.name, " ")]));
                assert_eq!((row.shown)(&plan.expect("valid")), *expected);
            }
        }
    }
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn metrics_go_where_everything_goes_unless_their_own_variable_says_otherwise() {
    let by_grpc = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:5555")];
    let path = if GRPC_BY_DEFAULT { "" } else { "/v1/metrics" };
    let endpoint = |builder: &Builder, more: &[(&'static str, &'static str)]| {
        let plan = plan_of(builder, by_grpc.into_iter().chain(more.iter().copied())).expect("valid");
        push(&plan).expect("metrics are pushed").otlp.endpoint.clone()
    };
    let coded = Builder::new().with_otlp_endpoint("http://coded:5555");
    let own = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own:5555/")];
    assert_eq!(endpoint(&Builder::new(), &[]), format!("http://all:5555{path}"));
    assert_eq!(endpoint(&coded, &[]), format!("http://coded:5555{path}"));
    assert!(endpoint(&coded, &own).starts_with("http://own:5555"));
    let traces = plan_of(&coded, by_grpc.into_iter().chain(own)).expect("valid");
    assert!(backend(&traces).contains("http://coded:5555"), "the endpoint of the metrics does not affect the spans");
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn exponential_histograms_are_refused_only_where_metrics_are_pushed() {
    let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    plan([(name, "base2_exponential_bucket_histogram")]).expect("nothing is pushed");
    assert_refused(name, plan([(name, "exponential")]));
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn metrics_that_are_only_pushed_have_no_listener() {
    let plan = plan([("OTEL_METRICS_EXPORTER", "otlp")]).expect("valid");
    assert!(push(&plan).is_some() && super::page(&plan).listen.is_none());
    assert_eq!(backend(&plan), "none", "the push does not turn on the export of spans");
}

#[test]
fn code_comes_before_the_environment() {
    let base = "http://coded:5555";
    let url = if GRPC_BY_DEFAULT { base.to_owned() } else { format!("{base}/v1/traces") };
    for name in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        for value in ["http://set:5555", "="] {
            let plan = plan_of(&Builder::new().with_otlp_endpoint(format!(" {base}/ ")), [(name, value)]);
            assert_eq!(otlp(&plan.expect("not read")).endpoint, url);
        }
    }
    let (name, value) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense");
    for (protocol, compiled) in [(OtlpProtocol::Grpc, GRPC), (OtlpProtocol::HttpProtobuf, HTTP)] {
        let plan = plan_of(&Builder::new().with_otlp_protocol(protocol), OTLP.iter().copied().chain([(name, value)]));
        if compiled {
            assert_eq!(Ok(otlp(&plan.expect("not read")).transport), Transport::of(protocol));
        } else {
            assert_refused("with_otlp_protocol", plan);
        }
    }
    for endpoint in ["", " ", "ftp://host", "http://host:+1"] {
        assert_refused("with_otlp_endpoint", plan_of(&Builder::new().with_otlp_endpoint(endpoint), []));
    }
}

#[cfg(feature = "otlp-metrics")]
#[test]
fn a_variable_of_both_signals_is_one_fault() {
    let variables = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
    ];
    let plan = Plan::resolve(&Builder::new(), &Environment::from_iter(variables)).expect("the policy is valid");
    let faults: Vec<_> = plan.faults.iter().collect();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!(fault.pipelines, ["traces", "push"]);
    assert!(plan.metrics.is_some() && plan.traces.is_none() && plan.push.is_none());
}
