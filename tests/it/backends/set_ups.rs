//! The doctor in set-ups of real servers, of which one is broken: it blames that one, and no other.

use std::net::SocketAddr;

use super::doctor::{Said, bot, doctor, loopback, url};
use crate::support::jaeger::{Between, Jaeger, Ways, free_address};
use crate::support::observers::{Grafana, OtherJaeger};
use crate::support::server::{Folder, Prometheus};
use crate::support::{find_program, free_port, wait_for};

/// What is set otherwise than where everything is well, and the blame: the part, with words of the finding or of its remedy.
type SetUp<'a> = (&'a str, Vec<(&'a str, String)>, Option<(&'a str, &'a str)>);

/// The parts that the doctor finds broken, with what it says about each.
fn blamed(said: &Said) -> Vec<(String, String)> {
    let broken = said.findings().into_iter().filter(|finding| finding["verdict"] == "broken");
    let text = |finding: &serde_json::Value| {
        let [mistake, found, remedy] = ["mistake", "found", "remedy"].map(|key| finding[key].as_str().unwrap_or("-"));
        (finding["check"].as_str().unwrap_or_default().to_owned(), format!("{mistake}: {found} -> {remedy}"))
    };
    broken.map(text).collect()
}

/// A Prometheus that scrapes the target and leaves out the counter of calls.
fn prometheus_that_drops(target: SocketAddr) -> Option<Prometheus> {
    let folder = Folder::new("prometheus");
    let config = folder.path().join("prometheus.yml");
    let drop = "{source_labels: [__name__], regex: llm_requests_total, action: drop}";
    let job = format!(
        "{{job_name: botticelli, metric_relabel_configs: [{drop}], static_configs: [{{targets: ['{target}']}}]}}"
    );
    let text = format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{job}]\n");
    std::fs::write(&config, text).expect("the configuration can be written");
    Prometheus::with_config(&config, folder)
}

fn wait_for_sample(prometheus: &Prometheus, query: &str) {
    wait_for("prometheus has scraped", std::time::Duration::from_secs(60), || prometheus.query(query).pop());
}

#[test]
fn the_broken_part_of_a_set_up_is_blamed_and_no_other() {
    if ["jaeger", "prometheus", "prometheus3"].into_iter().any(|program| find_program(program).is_none()) {
        return;
    }
    let there = "it is installed";
    let jaeger = Jaeger::start().expect(there);
    let unused = Jaeger::start().expect(there);
    let without_otlp = Jaeger::without_otlp().expect(there);
    let (older, newer) = (OtherJaeger::older(jaeger.api), OtherJaeger::newer(jaeger.api));
    let between = |traces, has_page| Between::start(Ways { traces, has_page, ..Ways::default() }).expect(there);
    let collector = between(Some(jaeger.grpc), true);
    let without_metrics = between(Some(jaeger.grpc), false);
    let without_traces = between(None, true);
    let astray = between(Some(free_address()), true);

    let bot = bot(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url(jaeger.grpc)), ("OTEL_SERVICE_NAME", "bot")]);
    let prometheus = Prometheus::scraping(bot.metrics, "1s").expect(there);
    let without_job = Prometheus::scraping_as("another", prometheus.addr(), "1s").expect(there);
    let wrong_port = Prometheus::scraping(loopback(free_port()), "1s").expect(there);
    let dropping = prometheus_that_drops(bot.metrics).expect(there);
    let without_receiver = Prometheus::of_pushes("prometheus3", false).expect(there);
    let (grafana, grafana_of_another) = (Grafana::before(prometheus.addr()), Grafana::before(without_job.addr()));
    wait_for_sample(&prometheus, "llm_requests_total");
    wait_for_sample(&without_job, "up == 1");
    wait_for_sample(&wrong_port, "up == 0");
    wait_for_sample(&dropping, "llm_errors_total");

    let well = [
        ("PROMETHEUS_ENDPOINT", bot.metrics.to_string()),
        ("OTEL_SERVICE_NAME", "bot".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url(jaeger.grpc)),
        ("PROMETHEUS_URL", url(prometheus.addr())),
        ("JAEGER_URL", url(jaeger.api)),
        ("GRAFANA_URL", url(grafana.addr)),
    ];
    let set = |name, value: String| (name, value);
    let endpoint = |addr| set("OTEL_EXPORTER_OTLP_ENDPOINT", url(addr));
    let http = || set("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned());
    let pushes = || set("OTEL_METRICS_EXPORTER", "prometheus,otlp".to_owned());
    let receiver = format!("{}/api/v1/otlp/v1/metrics", url(without_receiver.addr()));
    let set_ups: Vec<SetUp<'_>> = vec![
        ("all well, by gRPC", vec![], None),
        ("all well, by HTTP", vec![endpoint(jaeger.http), http()], None),
        ("all well, an older Jaeger", vec![set("JAEGER_URL", url(older.addr))], None),
        ("all well, a newer Jaeger", vec![set("JAEGER_URL", url(newer.addr))], None),
        ("all well, through a Collector", vec![endpoint(collector.grpc), pushes()], None),
        (
            "Jaeger without OTLP, by HTTP",
            vec![endpoint(without_otlp.http), http()],
            Some(("traces", "HTTP status 400")),
        ),
        (
            "Jaeger without OTLP, by gRPC",
            vec![endpoint(without_otlp.http)],
            Some(("traces", "start Jaeger or a Collector there")),
        ),
        ("gRPC to the port of HTTP", vec![endpoint(jaeger.http)], Some(("traces", "wrong-otlp-port"))),
        ("HTTP to the port of gRPC", vec![endpoint(jaeger.grpc), http()], Some(("traces", "wrong-otlp-port"))),
        ("nobody at the endpoint", vec![endpoint(free_address())], Some(("traces", "Connection refused"))),
        ("metrics to Jaeger", vec![pushes()], Some(("metrics", "metrics-to-jaeger"))),
        (
            "a Collector without a pipeline for metrics",
            vec![endpoint(without_metrics.grpc), pushes()],
            Some(("metrics", "a Collector with a pipeline for metrics")),
        ),
        (
            "a Collector without a pipeline for traces",
            vec![endpoint(without_traces.http), http(), pushes()],
            Some(("traces", "takes no traces")),
        ),
        (
            "metrics to a Prometheus without its OTLP receiver",
            vec![
                pushes(),
                set("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", receiver),
                set("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf".to_owned()),
            ],
            Some(("metrics", "--web.enable-otlp-receiver")),
        ),
        ("two Jaegers", vec![set("JAEGER_URL", url(unused.api))], Some(("jaeger", "at the same Jaeger"))),
        (
            "a Collector that sends spans elsewhere",
            vec![endpoint(astray.grpc), set("JAEGER_URL", url(unused.api))],
            Some(("jaeger", "with a Collector between them, see its log")),
        ),
        ("Jaeger asked at its OTLP port", vec![set("JAEGER_URL", url(jaeger.http))], Some(("jaeger", "usually 16686"))),
        (
            "Jaeger asked where nobody is",
            vec![set("JAEGER_URL", url(free_address()))],
            Some(("jaeger", "Connection refused")),
        ),
        (
            "Prometheus without the job",
            vec![set("PROMETHEUS_URL", url(without_job.addr()))],
            Some(("prometheus", "empty-datasource")),
        ),
        (
            "Prometheus with another port",
            vec![set("PROMETHEUS_URL", url(wrong_port.addr()))],
            Some(("prometheus", "wrong-scrape-port")),
        ),
        (
            "Prometheus that drops the calls",
            vec![set("PROMETHEUS_URL", url(dropping.addr()))],
            Some(("prometheus", "has no llm_requests_total of it")),
        ),
        (
            "two Prometheus, and Grafana asks the other",
            vec![set("GRAFANA_URL", url(grafana_of_another.addr))],
            Some(("grafana", "empty-datasource")),
        ),
        (
            "Prometheus asked where Jaeger is",
            vec![set("PROMETHEUS_URL", url(jaeger.api))],
            Some(("prometheus", "correct PROMETHEUS_URL")),
        ),
        (
            "the page asked where nobody is",
            vec![set("PROMETHEUS_ENDPOINT", free_address().to_string())],
            Some(("page", "set PROMETHEUS_ENDPOINT to that address")),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, changes, blame) in set_ups {
        let mut variables = well.to_vec();
        variables.extend(changes);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let said = doctor(&variables);
        let blamed = blamed(&said);
        let is_right = match (blame, &blamed[..]) {
            (None, []) => said.status == 0 && said.of("jaeger")["verdict"] == "good",
            (Some((check, words)), [(broken, told)]) => check == broken && told.contains(words) && said.status == 1,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{name}: {blamed:#?} instead of {blame:?}: {:#}", said.json));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
