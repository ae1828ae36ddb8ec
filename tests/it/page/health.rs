//! The crate's own health on the page, and who exports it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, METRICS, TraceExporter, metrics};

use crate::support::page::Page;
use crate::support::server::Folder;
use crate::support::{clear_environment, in_own_process, in_scenario, scenario_command};

#[test]
fn health_is_on_the_page_before_anything_happens() {
    in_own_process(&[], || {
        let builder = Builder::new().without_listener().with_trace_exporter(TraceExporter::Stdout);
        let telemetry = builder.install().expect("it installs");
        let page = Page::parse(&telemetry.render());
        for reason in ["queue_full", "export_failed", "too_large", "shutdown"] {
            assert_eq!(page.value("botticelli_obs_spans_dropped_total", &[("reason", reason)]), 0.0);
        }
        assert_eq!(page.of("botticelli_obs_spans_dropped_total").len(), 4);
        assert_eq!(page.value("botticelli_obs_spans_exported_total", &[]), 0.0);
        assert_eq!(page.value("botticelli_obs_export_failures_total", &[("signal", "traces")]), 0.0);
        for pipeline in ["metrics", "traces"] {
            assert_eq!(page.value("botticelli_obs_pipeline_up", &[("pipeline", pipeline)]), 1.0);
        }
        let health = page.types.iter().filter(|(family, _)| family.starts_with("botticelli_obs_"));
        for (family, kind) in health {
            let metric = METRICS.iter().find(|metric| metric.prometheus == family);
            let metric = metric.unwrap_or_else(|| panic!("{family} is not in the catalogue"));
            assert_eq!((metric.kind.as_str(), metric.description), (kind.as_str(), page.help[family].as_str()));
            for (labels, _) in page.of(family) {
                let names: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
                assert_eq!(names, metric.labels.iter().copied().collect(), "{family}");
            }
        }
    });
}

#[test]
fn pipelines_that_are_not_wanted_are_neither_up_nor_down() {
    in_own_process(&[], || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.get("botticelli_obs_pipeline_up", &[("pipeline", "traces")]), None);
        assert!(page.types.keys().all(|family| !family.contains("spans_")), "{:?}", page.types);
    });
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn spans_that_the_end_gives_up_are_dropped_by_it() {
    use crate::support::peer::{Mood, Peer};
    use botticelli_obs::{Layer, Registry, tracing};

    in_own_process(&[], || {
        let peer = Peer::grpc(Mood::NeverAnswers);
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let builder = Builder::new().with_otlp_endpoint(format!("http://{}", peer.addr));
        let (layer, guard) =
            metrics::with_local_recorder(&recorder, || builder.trace_layer::<Registry>()).expect("a layer");
        let _subscriber = tracing::subscriber::set_default(layer.with_subscriber(Registry::default()));
        (0..7).for_each(|_| LlmCall::start("gemini", "gemini-2.5-flash").finish());
        let lost = guard.shutdown(Duration::from_millis(300)).expect_err("nobody answers");
        // What comes later is no span at all.
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        let page = Page::parse(&page.render());
        let dropped = |reason| page.value("botticelli_obs_spans_dropped_total", &[("reason", reason)]);
        assert_eq!(lost.lost_spans(), 7);
        assert_eq!((dropped("shutdown"), dropped("queue_full"), dropped("export_failed")), (7.0, 0.0, 0.0));
    });
}

#[test]
fn target_info_has_the_attributes_of_the_resource() {
    let variables = [
        ("OTEL_SERVICE_NAME", "bot-server"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=other,service.version=1.2.3,service.instance.id=i-1,deployment.environment.name=a%22b",
        ),
    ];
    in_own_process(&variables, || {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        let page = Page::parse(&telemetry.render());
        let labels = [
            ("service_name", "bot-server"),
            ("service_version", "1.2.3"),
            ("service_instance_id", "i-1"),
            ("deployment_environment_name", "a'b"),
        ];
        assert_eq!(page.value("target_info", &labels), 1.0);
        assert_eq!((page.types["target_info"].as_str(), page.of("target_info").len()), ("gauge", 1));
    });
}

#[test]
fn service_has_the_name_of_the_executable_with_its_dots() {
    if in_scenario() {
        let telemetry = Builder::new().without_listener().install().expect("it installs");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.of("target_info")[0].0["service_name"], "bot-1.2");
        return;
    }
    let folder = Folder::new("executable");
    let program = folder.path().join("bot-1.2");
    std::fs::copy(std::env::current_exe().expect("the test's own path"), &program).expect("it can be copied");
    let command = scenario_command(&[]);
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut renamed = Command::new(&program);
    clear_environment(&mut renamed);
    let output = renamed.args(command.get_args()).envs(variables).output().expect("the copy runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
