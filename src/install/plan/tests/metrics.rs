//! The variables of the page.

use super::{Variable, names, page, plan};

pub(super) const VARIABLES: &[Variable] = &[
    Variable {
        name: "PROMETHEUS_ENDPOINT",
        beside: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[
            ("127.0.0.1:9464", "127.0.0.1:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::]:0", "[::]:0"),
            ("[::1]:9464", "[::1]:9464"),
            ("[fe80::1%3]:9464", "[fe80::1%3]:9464"),
            ("localhost:9100", "localhost:9100"),
            ("metrics-host.internal:80", "metrics-host.internal:80"),
            ("bot_server:65535", "bot_server:65535"),
            (":9100", "127.0.0.1:9100"),
            (":9464", "127.0.0.1:9464"),
            ("9100", "127.0.0.1:9100"),
            ("9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("off", "off"),
            ("OFF", "off"),
        ],
        invalid: &[
            "nonsense",
            "none",
            "127.0.0.1",
            "::1",
            "::1:9464",
            "[::1]",
            "[::1]:",
            "[::1:9464",
            "[fe80::1%eth0]:9464",
            "[localhost]:80",
            "127.0.0.1:",
            ":",
            ":off",
            "host:+80",
            "+80",
            "-1",
            "65536",
            "host:99999",
            "host:99999999999999999999",
            "host:80:80",
            "host: 80",
            "a b:80",
            "a,b:80",
            "höst:80",
            "1.2.3:80",
            "256.0.0.1:80",
            "127.0.0.1:80,127.0.0.1:81",
            "http://127.0.0.1:9464",
            "127.0.0.1:9464/metrics",
        ],
    },
    Variable {
        name: "OTEL_EXPORTER_PROMETHEUS_HOST",
        beside: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[
            ("127.0.0.1", "127.0.0.1:9464"),
            ("0.0.0.0", "0.0.0.0:9464"),
            ("::", "[::]:9464"),
            ("[::1]", "[::1]:9464"),
            ("localhost", "localhost:9464"),
        ],
        invalid: &[
            "a b",
            "http://host",
            "host:9464",
            "1.2.3",
            "9464",
            "[127.0.0.1]",
            "]::1[",
            "[::1",
            "[[::1]]",
            "::1]",
            "fe80::1%eth0",
        ],
    },
    Variable {
        name: "OTEL_EXPORTER_PROMETHEUS_PORT",
        beside: &[],
        shown: |plan| page(plan).listen.clone().unwrap_or("off".to_owned()),
        default: "127.0.0.1:9464",
        valid: &[("9464", "127.0.0.1:9464"), ("9999", "127.0.0.1:9999"), ("0", "127.0.0.1:0"), ("080", "127.0.0.1:80")],
        invalid: &["x", "-1", "+80", "65536", "80.0", "0x50", "8 0", ":80", "99999999999999999999"],
    },
    Variable {
        name: "OTEL_METRICS_EXPORTER",
        beside: &[],
        shown: |plan| match &plan.metrics {
            Some(page) if page.listen.is_some() => "prometheus".to_owned(),
            Some(_) => "otlp".to_owned(),
            None => "none".to_owned(),
        },
        default: "prometheus",
        valid: &[
            ("prometheus", "prometheus"),
            ("Prometheus", "prometheus"),
            ("prometheus,", "prometheus"),
            ("none", "none"),
            ("NONE", "none"),
            #[cfg(feature = "otlp-metrics")]
            ("OTLP", "otlp"),
            #[cfg(feature = "otlp-metrics")]
            ("prometheus, otlp", "prometheus"),
        ],
        invalid: &[
            #[cfg(not(feature = "otlp-metrics"))]
            "otlp",
            #[cfg(not(feature = "otlp-metrics"))]
            "prometheus,otlp",
            "otlp,none",
            "console",
            "x",
            ",",
            "none,prometheus",
            "prometheus, none",
            "prometheus none",
            "prometheus;otlp",
        ],
    },
    Variable {
        name: "BOTTICELLI_OBS_ALLOWED_NETWORKS",
        beside: &[],
        shown: |plan| match page(plan).allowed.as_slice() {
            [] => "every network".to_owned(),
            networks => networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        },
        default: "every network",
        valid: &[
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("10.0.0.0/8, fd00::/8 ,,127.0.0.1,", "10.0.0.0/8 fd00::/8 127.0.0.1/32"),
            ("0.0.0.0/0,::/0", "0.0.0.0/0 ::/0"),
        ],
        invalid: &[
            "all",
            "*",
            // Else everybody might scrape where somebody's template has left out two networks.
            ",",
            " , ,",
            "localhost",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/8,x",
            "10.0.0.0/8;127.0.0.1",
            "10.0.0.0/8 127.0.0.1",
            "fe80::1%eth0",
        ],
    },
];

#[test]
fn host_and_port_of_the_specification_go_together() {
    let variables = [("OTEL_EXPORTER_PROMETHEUS_HOST", "::1"), ("OTEL_EXPORTER_PROMETHEUS_PORT", "9999")];
    let plan = plan(variables).expect("both are valid");
    assert_eq!(page(&plan).listen.as_deref(), Some("[::1]:9999"));
}

#[test]
fn an_endpoint_beside_a_list_without_prometheus_is_refused() {
    let with = |endpoint| plan([("OTEL_METRICS_EXPORTER", "none"), ("PROMETHEUS_ENDPOINT", endpoint)]);
    for endpoint in ["9464", "0.0.0.0:9464", "nonsense"] {
        let text = names("OTEL_METRICS_EXPORTER", with(endpoint));
        assert!(text.contains("PROMETHEUS_ENDPOINT"), "{text}");
    }
    for endpoint in ["", "off"] {
        assert!(with(endpoint).expect("they agree").metrics.is_none());
    }
}

#[cfg(not(feature = "otlp-metrics"))]
#[test]
fn push_of_metrics_is_refused_with_what_to_do_instead() {
    let text = names("OTEL_METRICS_EXPORTER", plan([("OTEL_METRICS_EXPORTER", "otlp")]));
    assert!(text.contains("`otlp-metrics`") && text.contains("`prometheus`"), "{text}");
}

#[test]
fn settings_of_a_page_that_is_off_are_checked_all_the_same() {
    for off in [("OTEL_METRICS_EXPORTER", "none"), ("PROMETHEUS_ENDPOINT", "off")] {
        let networks = ("BOTTICELLI_OBS_ALLOWED_NETWORKS", "nowhere");
        names(networks.0, plan([off, networks]));
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_shown() {
    let text = names("PROMETHEUS_ENDPOINT", plan([("PROMETHEUS_ENDPOINT", "http://user:s3cret@127.0.0.1:9464")]));
    assert!(!text.contains("s3cret"), "{text}");
}
