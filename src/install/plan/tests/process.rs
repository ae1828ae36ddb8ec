//! Tests of the variables of the process: its name, its logs and the failure policy.

use super::super::resource::executable_name;
use super::{Builder, Environment, Plan, Variable, assert_refused, page, plan, spans};
use crate::spans::logs;

fn attribute(plan: &Plan, wanted: &str) -> String {
    let found: Vec<&str> =
        page(plan).target.iter().filter(|(key, _)| key == wanted).map(|(_, value)| value.as_str()).collect();
    found.join(" and ")
}

fn service_name(plan: &Plan) -> String {
    match attribute(plan, "service.name") {
        name if name == executable_name() => "the executable's".to_owned(),
        name => name,
    }
}

/// Returns the resource attributes as text, without the random instance id. The name is first.
fn resource(plan: &Plan) -> String {
    let others =
        page(plan).target.iter().filter(|(key, _)| !matches!(key.as_str(), "service.name" | "service.instance.id"));
    others.fold(service_name(plan), |shown, (key, value)| format!("{shown}, {key}: {value}"))
}

fn logs(plan: &Plan) -> &logs::Config {
    &plan.logs
}

pub(super) const VARIABLES: &[Variable] = &[
    Variable {
        name: "OTEL_SERVICE_NAME",
        with: &[],
        shown: service_name,
        default: "the executable's",
        valid: &[("bot-server", "bot-server"), ("Bot Server, 2%", "Bot Server, 2%"), ("bö\u{7}t", "bö\u{7}t")],
        invalid: &[],
    },
    Variable {
        name: "OTEL_RESOURCE_ATTRIBUTES",
        with: &[],
        shown: resource,
        default: "the executable's",
        valid: &[
            ("service.name=bot-server", "bot-server"),
            ("service.version=1%2E2,team=a%20b", "the executable's, service.version: 1.2, team: a b"),
            (" team = core ,, service.name=bot%20server,", "bot server, team: core"),
            ("team=", "the executable's, team: "),
            ("equation=a=b", "the executable's, equation: a=b"),
            ("share=50%", "the executable's, share: 50%"),
            // The last value of a key is used, and a blank name is ignored.
            ("team=a,service.name=a,tier=1,team=b,service.name=b", "b, tier: 1, team: b"),
            ("service.name=a,service.name=", "the executable's"),
        ],
        invalid: &["bot-server", "=v", "a=b,=", "k=%FF", "%FF=v", "a=b,c", "{\"a\": 1}", ","],
    },
    Variable {
        name: "OTEL_SDK_DISABLED",
        with: &[("OTEL_TRACES_EXPORTER", "console")],
        shown: |plan| {
            let (metrics, traces) = (plan.metrics.is_some(), plan.traces.is_some());
            format!("metrics: {metrics}, traces: {traces}, logs: {:?}", plan.logs.format)
        },
        default: "metrics: true, traces: true, logs: Text",
        valid: &[
            ("true", "metrics: false, traces: false, logs: Text"),
            ("TRUE", "metrics: false, traces: false, logs: Text"),
            ("false", "metrics: true, traces: true, logs: Text"),
        ],
        invalid: &["1", "0", "yes", "on", "truee", "true,false"],
    },
    Variable {
        name: "RUST_LOG",
        with: &[],
        shown: |plan| logs(plan).filter.clone(),
        default: "info",
        valid: &[
            ("warn", "warn"),
            ("off", "off"),
            ("warn,hyper=off", "warn,hyper=off"),
            ("warn , hyper=off,, my_crate ,", "warn,hyper=off,my_crate"),
            // `EnvFilter` alone panics here.
            ("info, ä=warn", "info,ä=warn"),
            // A single word is a target. It can't be distinguished from a misspelt level.
            ("my_crate", "my_crate"),
        ],
        invalid: &["a=b=c", "x=loud", "[unclosed", "info,x=9", "info hyper=warn", "info;hyper=warn", ",", " , "],
    },
    Variable {
        name: "BOTTICELLI_OBS_LOG_FORMAT",
        with: &[],
        shown: |plan| format!("{:?}", logs(plan).format),
        default: "Text",
        valid: &[("text", "Text"), ("json", "Json"), ("JSON", "Json"), ("off", "Off")],
        invalid: &["xml", "pretty", "none", "text,json"],
    },
    Variable {
        name: "BOTTICELLI_OBS_ON_FAILURE",
        with: &[],
        shown: |plan| format!("{:?}", plan.policy),
        default: "Fail",
        valid: &[("fail", "Fail"), ("degrade", "Degrade"), ("Degrade", "Degrade")],
        invalid: &["panic", "ignore", "degraded", "true"],
    },
];

#[test]
fn log_and_span_filters_are_two_things() {
    let console = ("OTEL_TRACES_EXPORTER", "console");
    let plan = |variable| super::plan([console, variable]).expect("valid");
    let log = plan(("RUST_LOG", "trace"));
    assert_eq!((logs(&log).filter.as_str(), spans(&log).filter.as_str()), ("trace", "info"));
    let span = plan(("BOTTICELLI_OBS_SPAN_FILTER", "trace"));
    assert_eq!((logs(&span).filter.as_str(), spans(&span).filter.as_str()), ("info", "trace"));
}

#[test]
fn the_instance_id_is_random_unless_it_is_set() {
    let id =
        |variables: &[(&str, &str)]| attribute(&plan(variables.iter().copied()).expect("valid"), "service.instance.id");
    assert_eq!(id(&[("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=i1")]), "i1");
    let random = id(&[]);
    // A UUID of version 4, variant 1.
    assert_eq!((random.len(), &random[14..15]), (36, "4"), "{random}");
    assert!("89ab".contains(&random[19..20]), "{random}");
    assert_eq!(random, id(&[]), "it is that of the process");
}

#[test]
fn the_page_and_the_spans_name_the_same_instance() {
    let variables = [("OTEL_TRACES_EXPORTER", "console"), ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2,a=3")];
    let plan = plan(variables).expect("valid");
    assert_eq!(page(&plan).target, spans(&plan).resource);
}

#[test]
fn the_service_name_comes_first() {
    let plan = plan([("OTEL_RESOURCE_ATTRIBUTES", "a=1,service.name=n,b=2")]).expect("valid");
    let keys: Vec<&str> = page(&plan).target.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["service.name", "service.instance.id", "a", "b"]);
}

#[test]
fn a_disabled_sdk_is_disabled_whatever_else_is_set() {
    for row in super::variables().filter(|row| row.name != "OTEL_SDK_DISABLED") {
        let of_logs = matches!(row.name, "RUST_LOG" | "BOTTICELLI_OBS_LOG_FORMAT" | "BOTTICELLI_OBS_ON_FAILURE");
        for value in row.invalid {
            let set = [(row.name, *value), ("OTEL_SDK_DISABLED", "true")];
            let plan = plan(row.with.iter().copied().chain(set));
            if of_logs {
                assert_refused(row.name, plan);
            } else {
                let plan = plan.unwrap_or_else(|error| panic!("{error}"));
                assert!(plan.metrics.is_none() && plan.traces.is_none());
            }
        }
    }
}

#[test]
fn a_fault_stops_only_the_pipelines_that_use_the_setting() {
    for (name, wrong) in [
        ("BOTTICELLI_OBS_ALLOWED_NETWORKS", [true, false, false]),
        ("OTEL_TRACES_SAMPLER", [false, true, false]),
        ("RUST_LOG", [false, false, true]),
        ("OTEL_RESOURCE_ATTRIBUTES", [true, true, false]),
    ] {
        let environment = Environment::from_iter([(name, "x=y=z,broken")]);
        let plan = Plan::resolve(&Builder::new(), &environment).expect("the policy is valid");
        assert_eq!(["metrics", "traces", "logs"].map(|pipeline| plan.faults.has_stopped(pipeline)), wrong, "{name}");
        assert_eq!(plan.metrics.is_none(), wrong[0], "{name}");
    }
}

#[test]
fn a_setting_that_stops_several_pipelines_is_one_fault() {
    let console = ("OTEL_TRACES_EXPORTER", "console");
    for (name, value) in [("OTEL_SDK_DISABLED", "perhaps"), ("OTEL_RESOURCE_ATTRIBUTES", "broken")] {
        let environment = Environment::from_iter([console, (name, value)]);
        let plan = Plan::resolve(&Builder::new(), &environment).expect("the policy is valid");
        let faults: Vec<_> = plan.faults.iter().collect();
        let [fault] = faults.as_slice() else { panic!("{name}: {faults:?}") };
        assert!(fault.error.to_string().starts_with(name), "{fault:?}");
        assert_eq!(fault.pipelines[..2], ["metrics", "traces"]);
        assert!(plan.metrics.is_none() && plan.traces.is_none());
    }
}

#[test]
fn every_fault_is_found_at_once() {
    let wrong = ["RUST_LOG", "OTEL_RESOURCE_ATTRIBUTES", "BOTTICELLI_OBS_ALLOWED_NETWORKS", "OTEL_TRACES_SAMPLER"];
    let environment = Environment::from_iter(wrong.map(|name| (name, "x=y=z,broken")));
    let plan = Plan::resolve(&Builder::new(), &environment).expect("the policy is valid");
    let found: Vec<String> = plan.faults.iter().map(|fault| fault.error.to_string()).collect();
    assert!(
        found.len() == wrong.len() && found.iter().zip(wrong).all(|(text, name)| text.starts_with(name)),
        "{found:?}"
    );
}
