//! Tests of the builder's options. They are checked like variables, and errors name the method.

use std::net::SocketAddr;

use super::{Builder, Plan, assert_refused, page, plan_of, spans};
#[cfg(feature = "exporter")]
use crate::scrape::Listener;
use crate::{Sampler, TraceExporter};

fn refused(method: &str, builder: Builder) -> String {
    assert_refused(method, plan_of(&builder.with_trace_exporter(TraceExporter::Stdout), []))
}

fn resolved(builder: Builder) -> Plan {
    plan_of(&builder.with_trace_exporter(TraceExporter::Stdout), []).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn buckets_are_sorted_and_each_is_there_once() {
    for (given, expected) in [
        (vec![1.0], vec![1.0]),
        (vec![5.0, 1.0, 5.0, 2.5], vec![1.0, 2.5, 5.0]),
        (vec![1.0, -1.0, 0.0], vec![-1.0, 0.0, 1.0]),
        (vec![0.0, -0.0], vec![0.0]),
        (vec![f64::MAX, f64::MIN_POSITIVE], vec![f64::MIN_POSITIVE, f64::MAX]),
    ] {
        let plan = resolved(Builder::new().with_buckets("bot.latency", given));
        assert_eq!(page(&plan).store.buckets, [("bot.latency".to_owned(), expected)]);
    }
}

#[test]
fn buckets_that_cannot_be_are_refused() {
    refused("with_buckets", Builder::new().with_buckets("m", []));
    refused("with_buckets", Builder::new().with_buckets("m", [1.0, f64::NAN]));
    refused("with_buckets", Builder::new().with_buckets("m", [1.0, f64::INFINITY]));
    refused("with_buckets", Builder::new().with_buckets("m", [f64::NEG_INFINITY, 1.0]));
    refused("with_buckets", Builder::new().with_buckets("", [1.0]));
    refused("with_buckets", Builder::new().with_buckets(" ", [1.0]));
    let text = refused("with_buckets", Builder::new().with_buckets("good", [1.0]).with_buckets("bad", []));
    assert!(text.contains("\"bad\""), "{text}");
}

#[test]
fn global_labels_have_names_that_prometheus_takes() {
    for name in ["region", "_x", "Zone_1", "provider"] {
        let plan = resolved(Builder::new().add_global_label(name, "any \"value\"\n"));
        assert_eq!(page(&plan).store.global_labels, [(name.to_owned(), "any \"value\"\n".to_owned())]);
    }
    for name in ["", " ", "1st", "a-b", "a.b", "a b", "ä", "__reserved", "le", "quantile", "a\n"] {
        refused("add_global_label", Builder::new().add_global_label(name, "v"));
    }
}

#[test]
fn allowed_networks_are_added_up() {
    let address: std::net::IpAddr = "::1".parse().expect("an address");
    let plan = resolved(Builder::new().add_allowed_network("10.0.0.0/8").add_allowed_network(address));
    assert_eq!(page(&plan).allowed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    for network in ["", ",", "nowhere", "10.0.0.0/33", "10.0.0.0/8,127.0.0.1", "fe80::1%eth0"] {
        refused("add_allowed_network", Builder::new().add_allowed_network("10.0.0.0/8").add_allowed_network(network));
    }
}

#[test]
fn metrics_that_are_left_out_are_added_up() {
    let plan = resolved(Builder::new().without_metrics("llm.attempt.*").without_metrics("llm_finish_total"));
    let patterns: Vec<&str> = page(&plan).store.exclude.iter().map(|pattern| pattern.as_str()).collect();
    assert_eq!(patterns, ["llm.attempt.*", "llm_finish_total"]);
    assert!(page(&plan).store.exclude[0].matches("llm.attempt.errors"));
    for pattern in ["", " ", ",", "a,b", "a b", "ä", "a?", "a\n"] {
        refused("without_metrics", Builder::new().without_metrics("good").without_metrics(pattern));
    }
}

#[test]
fn a_page_token_is_visible_ascii_and_never_shown() {
    let builder = Builder::new().with_page_token("s3cret-token");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let plan = resolved(builder);
    assert!(page(&plan).token.as_ref().is_some_and(|token| token.is_shown_by(b"Bearer s3cret-token")));
    assert!(!format!("{plan:?}").contains("s3cret"));
    for token in ["", " ", "s3cret", "s3cret token", "s3cret-tökén", "s3cret-\0-token"] {
        let text = refused("with_page_token", Builder::new().with_page_token(token));
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[cfg(feature = "exporter")]
#[test]
fn the_exporters_listener_is_a_choice() {
    assert_eq!(page(&resolved(Builder::new())).listener, Listener::Own);
    assert_eq!(page(&resolved(Builder::new().with_exporter_listener())).listener, Listener::Exporter);
}

#[test]
fn prometheus_endpoints_are_text_or_socket_addresses() {
    let listen = |builder| page(&resolved(builder)).listen.clone();
    assert_eq!(listen(Builder::new().with_prometheus_endpoint("[::1]:80")).as_deref(), Some("[::1]:80"));
    assert_eq!(listen(Builder::new().with_prometheus_endpoint(" :80 ")).as_deref(), Some("127.0.0.1:80"));
    assert_eq!(listen(Builder::new().with_prometheus_endpoint(9100)).as_deref(), Some("127.0.0.1:9100"));
    assert_eq!(listen(Builder::new().with_prometheus_endpoint("off")), None);
    for text in ["127.0.0.1:80", "[::]:0", "[fe80::1%3]:80"] {
        let addr: SocketAddr = text.parse().expect("an address");
        assert_eq!(listen(Builder::new().with_prometheus_endpoint(addr)).as_deref(), Some(text));
    }
    // The last call is used.
    assert_eq!(listen(Builder::new().with_prometheus_endpoint("x").without_listener()), None);
    for endpoint in ["", " ", "x", "127.0.0.1", "127.0.0.1:+80"] {
        refused("with_prometheus_endpoint", Builder::new().with_prometheus_endpoint(endpoint));
    }
}

#[test]
fn a_service_name_is_not_blank() {
    for name in ["", " ", "\t\n"] {
        refused("with_service_name", Builder::new().with_service_name(name));
    }
    assert_eq!(page(&resolved(Builder::new().with_service_name("n"))).target[0].1, "n");
}

#[test]
fn a_sampler_has_a_ratio_from_0_to_1() {
    for ratio in [0.0, 0.25, 1.0] {
        for sampler in [Sampler::TraceIdRatio(ratio), Sampler::ParentBasedTraceIdRatio(ratio)] {
            assert_eq!(spans(&resolved(Builder::new().with_sampler(sampler))).sampler, sampler);
        }
    }
    for ratio in [-0.1, 1.000_001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused("with_sampler", Builder::new().with_sampler(Sampler::TraceIdRatio(ratio)));
        refused("with_sampler", Builder::new().with_sampler(Sampler::ParentBasedTraceIdRatio(ratio)));
    }
}

#[test]
fn filters_are_directives() {
    let plan = resolved(Builder::new().with_log_filter("info,hyper=warn").with_span_filter("off"));
    assert_eq!(plan.logs.filter, "info,hyper=warn");
    assert_eq!(spans(&plan).filter, "off");
    let plan = resolved(Builder::new().with_log_filter(" ä=info").with_span_filter(" ä=info, off "));
    assert_eq!(plan.logs.filter, "ä=info");
    assert_eq!(spans(&plan).filter, "ä=info,off");
    for directives in ["", " ", ",", "info off", "x=loud", "a=b=c", "[unclosed"] {
        refused("with_log_filter", Builder::new().with_log_filter(directives));
        refused("with_span_filter", Builder::new().with_span_filter(directives));
    }
}

#[test]
fn models_are_taken_as_they_are() {
    let plan = resolved(Builder::new().add_model("gemini", "gemini-2.5-flash").add_model("", "\n"));
    let models = [("gemini", "gemini-2.5-flash"), ("", "\n")].map(|(p, m)| (p.to_owned(), m.to_owned()));
    assert_eq!(page(&plan).models, models);
}

#[test]
fn settings_of_a_page_that_the_environment_switches_off_are_checked_all_the_same() {
    let off = [("OTEL_METRICS_EXPORTER", "none")];
    assert_refused("with_buckets", plan_of(&Builder::new().with_buckets("m", []), off));
    assert!(plan_of(&Builder::new().with_buckets("m", [1.0]), off).expect("valid").metrics.is_none());
}

#[cfg(not(feature = "_otlp"))]
#[test]
fn export_without_a_transport_is_refused_by_the_name_of_what_asks_for_it() {
    assert_refused("with_trace_exporter", plan_of(&Builder::new().with_trace_exporter(TraceExporter::Otlp), []));
    assert_refused("with_otlp_endpoint", plan_of(&Builder::new().with_otlp_endpoint("http://localhost:1"), []));
}
