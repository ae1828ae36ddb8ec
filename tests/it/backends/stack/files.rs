//! The stack of `examples/stack`: its dashboards, rules and configurations say what the crate records.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use botticelli_obs::METRICS;
use serde_json::{Value, json};

use super::dashboards;
use super::promql::Known;
use super::queries::{self, Purpose, list, text};
use crate::support::find_program;
use crate::support::page::Page;
use crate::support::server::Folder;

/// The catalogue, and what the rules record.
fn known() -> Known {
    let mut known = Known::new();
    for query in queries::of_rules().into_iter().filter(|query| query.purpose == Purpose::Recording) {
        let labels = known.check(&query.expr).unwrap_or_else(|error| panic!("{}: {error}", query.place));
        known.add_recorded(&query.place, labels);
    }
    known
}

#[test]
fn dashboards_are_what_the_code_makes() {
    let bless = std::env::var_os("BLESS").is_some();
    for (name, dashboard) in dashboards::all() {
        let file = queries::path(&format!("grafana/dashboards/{name}.json"));
        let made = format!("{dashboard:#}\n");
        if bless {
            fs::write(&file, &made).expect("the dashboard can be written");
        }
        let shipped = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            shipped == made,
            "{name}.json is not current: BLESS=1 cargo test --all-features --test it dashboards_are"
        );
    }
}

#[test]
fn every_query_asks_for_what_is_recorded() {
    let known = known();
    let queries: Vec<_> = queries::of_dashboards().into_iter().chain(queries::of_rules()).collect();
    assert!(queries.len() > 100, "only {} queries were found", queries.len());
    for query in queries {
        known.check(&query.expr).unwrap_or_else(|error| panic!("{}: {error}\n{}", query.place, query.expr));
    }
}

#[test]
fn queries_of_the_page_on_bots_ask_for_what_is_recorded() {
    let known = known();
    let page = include_str!("../../../../src/bots.md");
    let rows = page.lines().skip_while(|line| *line != "| panel | query |").skip(2);
    let rows = rows.take_while(|row| row.starts_with('|'));
    let queries: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(queries.len() >= 12, "{queries:?}");
    for query in queries {
        known.check(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[test]
fn a_query_that_would_show_nothing_is_found() {
    let known = known();
    for query in [
        "sum(rate(llm_requests[5m]))",
        "sum by (bot) (rate(llm_requests_total[5m]))",
        r#"llm_requests_total{error_type="timeout"}"#,
        r#"llm_errors_total{error_type="ratelimit"}"#,
        r#"llm_errors_total{error_type=~"timeout|aborted"}"#,
        "rate(llm_errors_total[5m]) / rate(llm_requests_total[5m])",
        "sum by (model) (rate(llm_errors_total[5m])) / sum by (provider) (rate(llm_requests_total[5m]))",
        "sum by (model) (rate(llm_errors_total[5m])) or 0 * sum by (provider) (rate(llm_requests_total[5m]))",
        "histogram_quantile(0.95, sum by (model) (rate(llm_duration_bucket[5m])))",
        "rate(llm_duration_seconds_sum[5m])",
        r#"llm_time_to_first_chunk_seconds_bucket{le="2.5"}"#,
        "llm:error_ratio:rate4h",
        "sum(rate(llm_requests_total[5m])",
    ] {
        assert!(known.check(query).is_err(), "{query} passes");
    }
    assert_eq!(known.check("sum(llm_in_flight) / 2"), Ok(Some(BTreeSet::new())));
}

#[test]
fn a_recorded_name_tells_its_window() {
    for query in queries::of_rules().into_iter().filter(|query| query.purpose == Purpose::Recording) {
        if let Some((_, window)) = query.place.rsplit_once(":rate") {
            let windows: Vec<_> = query.expr.split('[').skip(1).filter_map(|rest| rest.split(']').next()).collect();
            assert!(windows.iter().all(|asked| *asked == window), "{} asks for {windows:?}", query.place);
        }
    }
}

#[test]
fn rules_are_evaluated_as_often_as_they_reckon_with() {
    for name in queries::files("prometheus/rules") {
        let file = queries::yaml(&name);
        for group in list(&file["groups"]) {
            assert_eq!(group["interval"], "15s", "{name}: {}", group["name"]);
            for expr in list(&group["rules"]).iter().map(|rule| text(&rule["expr"])) {
                let counts = expr.matches("]) * ").count();
                assert_eq!(expr.matches("]) * 15 >= ").count(), counts, "{expr}");
            }
        }
    }
}

/// The panels of all dashboards with the names of their dashboards and their own.
fn panels() -> Vec<(String, Value)> {
    let named = |dashboard: &Value| -> Vec<_> {
        let panels = list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row");
        panels
            .map(|panel| (format!("{}: {}", text(&dashboard["title"]), text(&panel["title"])), panel.clone()))
            .collect()
    };
    queries::dashboards().iter().flat_map(named).collect()
}

#[test]
fn panels_say_what_they_show() {
    for (place, panel) in panels() {
        assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{place} has no unit");
        let nothing = text(&panel["fieldConfig"]["defaults"]["noValue"]);
        let expected = [
            "No traffic",
            "No errors",
            dashboards::WITHOUT_ATTEMPTS,
            dashboards::WITHOUT_PROCESS,
            dashboards::WITHOUT_PRICES,
            dashboards::WITHOUT_TASKS,
        ];
        assert!(expected.contains(&nothing), "{place} says nothing without data");
        let link = text(&panel["links"][0]["url"]);
        assert!(link.contains("/search?service=${service}"), "{place} has no link to traces");
        assert!(!list(&panel["targets"]).is_empty(), "{place} asks nothing");
        for target in list(&panel["targets"]) {
            // What only makes a 0 of nothing is not shown.
            let expr = text(&target["expr"]).split(" or 0 * count(").next().unwrap_or_default();
            for name in expr.split(|c: char| !c.is_ascii_alphanumeric() && !['_', ':'].contains(&c)) {
                let is_of = |metric: &&str| name.strip_prefix(*metric).is_some_and(is_histogram_part);
                let of_catalogue = METRICS.iter().map(|metric| metric.prometheus).find(is_of);
                let named = of_catalogue.or_else(|| (name.starts_with("llm:") || name == "up").then_some(name));
                if let Some(metric) = named {
                    let description = text(&panel["description"]);
                    assert!(
                        description.contains(&format!("`{metric}`")),
                        "{place} does not name {metric}: {description:?}"
                    );
                }
            }
        }
    }
}

fn is_histogram_part(suffix: &str) -> bool {
    ["", "_bucket", "_sum", "_count"].contains(&suffix)
}

#[test]
fn legends_name_labels_that_results_have() {
    let known = known();
    for (place, panel) in panels() {
        for target in list(&panel["targets"]).iter().filter(|target| target["format"] == "time_series") {
            let labels = known.check(&queries::substitute(text(&target["expr"]))).expect("queries are checked");
            for part in text(&target["legendFormat"]).split("{{").skip(1) {
                let label = part.split("}}").next().unwrap_or_default();
                assert!(labels.as_ref().is_some_and(|labels| labels.contains(label)), "{place}: {label} in {labels:?}");
            }
        }
    }
}

#[test]
fn panels_lie_side_by_side() {
    for dashboard in queries::dashboards() {
        let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard["panels"]) {
            assert!(ids.insert(panel["id"].as_u64()), "{} has the number of another", panel["title"]);
            let place = |side: &str| panel["gridPos"][side].as_u64().expect("a panel has a place");
            assert!(place("x") + place("w") <= 24, "{} is too wide", panel["title"]);
            for cell in (place("x")..place("x") + place("w"))
                .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
            {
                assert!(taken.insert(cell), "{} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_owners_four_questions_are_panels() {
    let overview = queries::dashboards().into_iter().find(|dashboard| dashboard["uid"] == "llm-overview");
    let overview = overview.expect("there is an overview");
    for title in ["Error rate", "Average response time", "Tokens per minute", "Requests by provider"] {
        assert!(list(&overview["panels"]).iter().any(|panel| panel["title"] == title), "{title} is missing");
    }
}

#[test]
fn dashboards_and_data_sources_agree_on_uids() {
    let provisioned = queries::yaml("grafana/provisioning/datasources/datasources.yml");
    let uids: Vec<&str> = list(&provisioned["datasources"]).iter().map(|source| text(&source["uid"])).collect();
    assert_eq!(uids, ["prometheus", "jaeger"]);
    for dashboard in queries::dashboards() {
        let variable = &dashboard["templating"]["list"][0];
        assert_eq!((text(&variable["name"]), text(&variable["current"]["value"])), ("datasource", "prometheus"));
    }
    for (place, panel) in panels() {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
    }
}

#[test]
fn exemplars_are_kept_shown_and_lead_to_traces() {
    let compose = queries::yaml("compose.yaml");
    let services = compose["services"].as_object().expect("there are services");
    let prometheuses: Vec<_> = services.iter().filter(|(name, _)| name.starts_with("prometheus")).collect();
    assert_eq!(prometheuses.len(), 3);
    for (name, service) in prometheuses {
        let flags = list(&service["command"]);
        assert!(flags.iter().any(|flag| flag == "--enable-feature=exemplar-storage"), "{name}");
    }
    let provisioned = queries::yaml("grafana/provisioning/datasources/datasources.yml");
    let [prometheus, jaeger] = list(&provisioned["datasources"]) else { panic!("there are two data sources") };
    let destination = &prometheus["jsonData"]["exemplarTraceIdDestinations"][0];
    assert_eq!((&destination["name"], &destination["datasourceUid"]), (&json!("trace_id"), &jaeger["uid"]));
    let mut dotted = Vec::new();
    for (place, panel) in panels() {
        let has_dots = list(&panel["targets"]).iter().any(|target| target["exemplar"] == true);
        if has_dots {
            dotted.push(place);
        }
    }
    for title in ["Response time", "First chunk"] {
        assert!(dotted.iter().any(|place| place.contains(title)), "{title}: {dotted:?}");
    }
}

#[test]
fn every_alert_is_explained_and_tested() {
    let readme = queries::read("README.md");
    let tests: Vec<Value> = queries::files("prometheus/tests").iter().map(|name| queries::yaml(name)).collect();
    let cases = tests.iter().flat_map(|file| list(&file["tests"])).flat_map(|test| list(&test["alert_rule_test"]));
    let tested: BTreeSet<_> = cases
        .flat_map(|case| {
            list(&case["exp_alerts"])
                .iter()
                .map(|alert| (text(&case["alertname"]), text(&alert["exp_labels"]["severity"])))
        })
        .collect();
    let rules = queries::rules();
    let alerts: Vec<_> = rules.iter().filter(|rule| rule["alert"].is_string()).collect();
    assert!(alerts.len() > 10, "only {} alerts were found", alerts.len());
    for alert in alerts {
        let (name, severity) = (text(&alert["alert"]), text(&alert["labels"]["severity"]));
        assert!(["page", "ticket"].contains(&severity), "{name} has no severity");
        assert!(tested.contains(&(name, severity)), "no promtool test sees {name} ({severity}) fire");
        for annotation in ["summary", "description"] {
            assert!(!text(&alert["annotations"][annotation]).is_empty(), "{name} has no {annotation}");
        }
        assert_eq!(text(&alert["annotations"]["runbook"]), format!("README.md#{}", name.to_lowercase()));
        assert!(readme.contains(&format!("\n### {name}\n")), "README.md does not explain {name}");
    }
}

#[test]
fn promtool_accepts_configurations_and_rules() {
    let Some(promtool) = find_program("promtool") else { return };
    let run = |arguments: &[&str], files: &[String]| {
        let paths = files.iter().map(|name| queries::path(name));
        let output = Command::new(&promtool).args(arguments).args(paths).output().expect("promtool runs");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?} {files:?}: {}", String::from_utf8_lossy(&said));
    };
    run(&["check", "config"], &["prometheus/prometheus.yml".to_owned()]);
    run(&["check", "rules"], &queries::files("prometheus/rules"));
    run(&["test", "rules"], &queries::files("prometheus/tests"));
}

#[test]
fn a_bot_that_called_twice_in_a_day_shows_on_the_overview() {
    let Some(promtool) = find_program("promtool") else { return };
    let series = |name: &str, model: &str, values: &str| {
        let error = if name == "llm_errors_total" { r#",error_type="timeout""# } else { "" };
        let series = format!(r#"{name}{{job="botticelli",instance="a",provider="gemini",model="{model}"{error}}}"#);
        json!({"series": series, "values": values})
    };
    let daily = r#"{provider="gemini", model="daily"}"#;
    let of_panel = |title: &str, labels: &str, value: f64| {
        let place = format!("LLM overview: {title}");
        let query = queries::of_dashboards().into_iter().find(|query| query.place == place).expect("it is a panel");
        let expr = format!("round({}, 0.01)", query.expr);
        json!({"expr": expr, "eval_time": "24h", "exp_samples": [{"labels": labels, "value": value}]})
    };
    let cases = json!({"evaluation_interval": "1m", "tests": [{
        "interval": "1m",
        "input_series": [
            series("llm_requests_total", "daily", "0x359 1x719 2x400"),
            series("llm_errors_total", "daily", "0x1079 1x400"),
            series("llm_tokens_total", "daily", "0x359 42x1120"),
            series("llm_requests_total", "idle", "7x1500"),
            series("llm_errors_total", "idle", "7x1500"),
            series("llm_tokens_total", "idle", "7x1500"),
        ],
        "promql_expr_test": [
            of_panel("Calls", "{}", 2.0),
            of_panel("Error ratio", "{}", 0.5),
            of_panel("Tokens", "{}", 42.0),
            of_panel("Tokens by model", daily, 42.0),
            of_panel("Models in the time shown", daily, 2.0),
        ],
    }]});
    let folder = Folder::new("sparse");
    let file = folder.path().join("sparse.yml");
    fs::write(&file, cases.to_string()).expect("the cases can be written");
    let output = Command::new(promtool).args(["test", "rules"]).arg(file).output().expect("promtool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn vmalert_accepts_the_rules() {
    let Some(vmalert) = find_program("vmalert") else { return };
    let rules = queries::path("prometheus/rules/*.yml");
    let output = Command::new(vmalert).arg("-dryRun").arg(format!("-rule={}", rules.display())).output();
    let output = output.expect("vmalert runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn collectors_define_what_their_pipelines_name() {
    for file in ["scale/collector-edge.yaml", "scale/collector-gateway.yaml", "collector/collector.yaml"] {
        let config = queries::yaml(file);
        let pipelines = config["service"]["pipelines"].as_object().expect("there are pipelines");
        for kind in ["receivers", "processors", "exporters"] {
            let named: BTreeSet<&str> =
                pipelines.values().flat_map(|pipeline| list(&pipeline[kind])).map(text).collect();
            let defined =
                config[kind].as_object().expect("components are defined").keys().map(String::as_str).collect();
            assert_eq!(named, defined, "{file}: {kind}");
        }
    }
}

#[test]
fn compose_pins_its_images_and_stays_on_loopback() {
    let mut profiles: BTreeMap<String, usize> = BTreeMap::new();
    for (name, service) in services("") {
        assert!(service["healthcheck"]["test"].is_array(), "{name} has no health check");
        for profile in list(&service["profiles"]).iter().map(text) {
            *profiles.entry(profile.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(profiles, BTreeMap::from([("bot", 4), ("bridge", 3), ("host", 3)].map(|(of, n)| (of.to_owned(), n))));
}

#[test]
fn the_collectors_compose_pins_its_images_and_stays_on_loopback() {
    let names: Vec<String> = services("collector/").into_keys().collect();
    assert_eq!(names, ["collector", "grafana", "jaeger", "prometheus"]);
}

/// The services of a compose file, whose images are pinned, whose ports are on loopback and whose mounts are there.
fn services(folder: &str) -> BTreeMap<String, Value> {
    let compose = queries::yaml(&format!("{folder}compose.yaml"));
    let services = compose["services"].as_object().expect("there are services");
    for (name, service) in services {
        if let Some(image) = service["image"].as_str() {
            let (_, tag) = image.rsplit_once(':').expect("an image has a tag");
            assert_eq!(tag.trim_start_matches('v').split('.').count(), 3, "{image} is not pinned");
        }
        for port in list(&service["ports"]).iter().map(text) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
        for volume in list(&service["volumes"]).iter().map(text).filter(|volume| volume.starts_with('.')) {
            let (source, rest) = volume.split_once(':').expect("a volume has a target");
            assert!(rest.ends_with(":ro,z"), "{name}: {volume}");
            let source = queries::path(&format!("{folder}{source}"));
            assert!(source.exists(), "{name} mounts {}, which is not there", source.display());
        }
    }
    services.iter().map(|(name, service)| (name.clone(), service.clone())).collect()
}

#[cfg(feature = "install")]
#[test]
fn the_sizes_that_scaling_reckons_with_are_real() {
    let (recorder, page) = botticelli_obs::Builder::new().recorder().expect("a recorder can be made");
    let mut sizes = Vec::new();
    for models in [1, 11] {
        botticelli_obs::metrics::with_local_recorder(&recorder, || {
            for model in 0..models {
                botticelli_obs::declare("openai", format!("a-model-{model:02}"));
                botticelli_obs::LlmCall::start("openai", format!("a-model-{model:02}")).finish();
            }
        });
        let text = page.render();
        sizes.push((Page::parse(&text).samples.len(), text.len()));
    }
    let [few, many] = sizes[..] else { unreachable!() };
    let series = (many.0 - few.0) / 10;
    let readme = queries::read("scale/README.md");
    assert!(readme.contains(&format!("A declared model has {series} series")), "it is {series}");
    // 44 kB for five models, help texts included.
    let bytes = few.1 + 4 * (many.1 - few.1) / 10;
    assert!((38_000..50_000).contains(&bytes), "{bytes} bytes for five models");
}
