//! OpenMetrics: what it says, who gets it, and the way from an exemplar to its trace.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::page::Page;
use crate::support::server::{Collector, Prometheus};
use crate::support::{Response, find_program, get, get_with, in_own_process, wait_for};
use botticelli_obs::{
    Builder, ErrorType, LlmCall, Telemetry, Unit, Usage, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram, metrics,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";
const LIMIT: Duration = Duration::from_secs(30);

fn addr(telemetry: &Telemetry) -> SocketAddr {
    telemetry.metrics_addr().expect("there is a listener")
}

fn openmetrics(telemetry: &Telemetry) -> Response {
    get_with(addr(telemetry), "/metrics", &[("Accept", OPENMETRICS)], LIMIT).expect("it answers")
}

/// One call that succeeds after a chunk, and one that fails.
fn calls() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_chunk();
    call.record_usage(Usage::new(12, 30));
    call.finish();
    LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::RateLimit);
}

/// A real Prometheus scrapes OpenMetrics by itself, and its exemplars name the spans that a real collector has received.
fn exemplars_name_the_spans(program: &str) {
    if find_program(program).is_none() || find_program("rotel-agent").is_none() {
        return;
    }
    let Some(collector) = Collector::start() else { return };
    let endpoint = format!("http://{}", collector.grpc);
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("SCRAPED_BY", program)];
    let output = in_own_process(&variables, || {
        let telemetry = Builder::new().with_prometheus_endpoint("127.0.0.1:0").install().expect("it installs");
        let program = std::env::var("SCRAPED_BY").expect("it is set");
        let prometheus = Prometheus::with_exemplars(&program, addr(&telemetry)).expect("it is there");
        calls();
        telemetry.flush(LIMIT).expect("the spans arrive");
        for (query, count) in
            [("llm_duration_bucket", 1), ("llm_time_to_first_chunk_seconds_bucket", 1), ("llm_errors_total", 1)]
        {
            let found = wait_for(query, Duration::from_secs(60), || {
                Some(prometheus.exemplars(query)).filter(|found| found.len() >= count)
            });
            for (series, exemplar) in found {
                let id = |name: &str| exemplar["labels"][name].as_str().expect("an id").to_owned();
                let class = series["error_type"].as_str().unwrap_or("-");
                // Read by the parent, which has the collector.
                let line = format!("exemplar {query} {class} {} {}\n", id("trace_id"), id("span_id"));
                std::io::stdout().write_all(line.as_bytes()).expect("standard output takes it");
            }
        }
        assert!(!telemetry.render().contains("trace_id"), "text has no exemplars");
        let text = get(addr(&telemetry), "/metrics", LIMIT).expect("it answers");
        assert!(!text.body.contains("trace_id"), "nor has a scraper that does not ask for OpenMetrics");
        assert!(prometheus.log().to_lowercase().matches("error").count() == 0, "{}", prometheus.log());
    });
    let Some(output) = output else { return };
    let spans = collector.spans(2);
    let printed = String::from_utf8_lossy(&output.stdout);
    // The first one stands behind the name of the test.
    let found = printed.lines().filter_map(|line| line.split_once("exemplar "));
    let found: Vec<Vec<&str>> = found.map(|(_, words)| words.split(' ').collect()).collect();
    assert!(found.len() >= 3, "{printed}");
    for exemplar in found {
        let [query, class, trace, span] = exemplar[..] else { panic!("four words: {exemplar:?}") };
        let known = spans.iter().find(|known| known.trace == trace && known.id == span);
        let known = known.unwrap_or_else(|| panic!("{query}: no span {trace} {span} in {spans:#?}"));
        match query {
            "llm_errors_total" => {
                assert_eq!((class, known.attributes["error.type"].as_str()), ("rate_limit", "Str(rate_limit)"));
            }
            "llm_time_to_first_chunk_seconds_bucket" => assert!(!known.attributes.contains_key("error.type")),
            _ => {}
        }
    }
}

#[test]
fn exemplars_in_prometheus_2_name_the_spans_of_their_calls() {
    exemplars_name_the_spans("prometheus");
}

#[test]
fn exemplars_in_prometheus_3_name_the_spans_of_their_calls() {
    exemplars_name_the_spans("prometheus3");
}

#[test]
fn there_are_no_exemplars_without_traces_or_samples_or_where_they_are_off() {
    for traces in [
        &[("OTEL_TRACES_EXPORTER", "none")][..],
        &[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_TRACES_SAMPLER", "always_off")],
        &[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")],
    ] {
        let variables = [&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], traces].concat();
        let output = in_own_process(&variables, || {
            let telemetry = botticelli_obs::install().expect("it installs");
            calls();
            let page = openmetrics(&telemetry).body;
            assert!(page.ends_with("# EOF\n") && page.contains("llm_requests_total{"), "{page}");
            assert!(!page.contains("trace_id"), "{page}");
        });
        if output.is_none() {
            return;
        }
    }
}

#[test]
fn both_formats_have_the_same_series_and_values() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        calls();
        gauge!("level").set(-1.5);
        counter!("jobs", "a" => "b\"c").increment(3);
        histogram!("negative").record(-3.0);
        let openmetrics = openmetrics(&telemetry).body;
        let lines = |page: &str| -> Vec<String> {
            // What the process takes changes between two pages.
            let is_left_out = |line: &str| line.is_empty() || line.starts_with('#') || line.starts_with("process_");
            let lines = page.lines().filter(|line| !is_left_out(line));
            // The bounds of buckets are written `1` in text and `1.0` in OpenMetrics.
            let mut lines: Vec<String> = lines
                .map(|line| match line.split_once("le=\"") {
                    Some((start, rest)) => {
                        let (bound, end) = rest.split_once('"').expect("a bound ends");
                        format!("{start}le={:?}{end}", bound.parse::<f64>().expect("a number"))
                    }
                    None => line.to_owned(),
                })
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&openmetrics), lines(&telemetry.render()));
    });
}

#[test]
fn counters_that_openmetrics_would_confuse_with_another_one_are_of_unknown_type() {
    for (names, unknown) in [
        (["jobs", "jobs_created"], "jobs_created_total"),
        (["jobs_created", "jobs"], "jobs_created_total"),
        (["jobs", "jobs_total_total"], "jobs_total_total"),
        (["jobs_total_total", "jobs"], "jobs_total_total"),
    ] {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        metrics::with_local_recorder(&recorder, || names.map(|name| counter!(name).increment(1)));
        let (_, body) = page.respond(Some(OPENMETRICS));
        assert!(body.contains(&format!("\n# TYPE {unknown} unknown\n{unknown} 1\n")), "{names:?}: {body}");
        assert!(body.contains("\n# TYPE jobs counter\njobs_total 1\n"), "{names:?}: {body}");
    }
}

/// What a program records, with names and labels that collide often.
#[derive(Clone, Debug)]
enum Act {
    Count(String, String, u32),
    Set(String, String, f64),
    Sample(String, String, f64),
    Describe(String, u8, u8),
    Call(String, bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = || {
        let words = [
            "jobs",
            "jobs.total",
            "jobs_total_total",
            "jobs_total_created",
            "jobs_created",
            "jobs.count",
            "jobs.sum",
            "jobs_bucket",
            "a",
            "a.info",
            "total",
            "_total",
            "x y",
        ];
        prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
    };
    let act = prop_oneof![
        (name(), any::<String>(), any::<u32>()).prop_map(|(name, label, count)| Act::Count(name, label, count)),
        (name(), any::<String>(), any::<f64>()).prop_map(|(name, label, value)| Act::Set(name, label, value)),
        (name(), any::<String>(), -1e9..1e9).prop_map(|(name, label, value)| Act::Sample(name, label, value)),
        (name(), 0_u8..3, 0_u8..4).prop_map(|(name, kind, unit)| Act::Describe(name, kind, unit)),
        (any::<String>(), any::<bool>()).prop_map(|(model, success)| Act::Call(model, success)),
    ];
    prop::collection::vec(act, 1..30)
}

impl Act {
    fn run(&self) {
        match self {
            Self::Count(name, label, count) => counter!(name.clone(), "l" => label.clone()).increment((*count).into()),
            Self::Set(name, label, value) => gauge!(name.clone(), "l" => label.clone()).set(*value),
            Self::Sample(name, label, value) => histogram!(name.clone(), "l" => label.clone()).record(*value),
            Self::Describe(name, kind, unit) => {
                let unit = [Unit::Count, Unit::Seconds, Unit::Bytes, Unit::Percent][usize::from(*unit)];
                match kind {
                    0 => describe_counter!(name.clone(), unit, "what \"it\" is\\\n"),
                    1 => describe_gauge!(name.clone(), unit, "what it is"),
                    _ => describe_histogram!(name.clone(), unit, "what it is"),
                }
            }
            Self::Call(model, true) => LlmCall::start("p", model).finish(),
            Self::Call(model, false) => drop(LlmCall::start("p", model)),
        }
    }
}

/// Pages of random programs in both formats, and one with exemplars.
fn pages() -> Vec<(&'static str, String)> {
    let mut runner = TestRunner::deterministic();
    let mut pages = Vec::new();
    for _ in 0..100 {
        let acts = acts().new_tree(&mut runner).expect("a program").current();
        let (recorder, page) = Builder::new().with_buckets("jobs.sum", [-2.0, 1e7]).recorder().expect("a recorder");
        metrics::with_local_recorder(&recorder, || acts.iter().for_each(Act::run));
        for accept in ["text/plain", OPENMETRICS] {
            let (content_type, body) = page.respond(Some(accept));
            pages.push((if content_type.starts_with("text/plain") { "text" } else { "openmetrics" }, body));
        }
        Page::parse(&page.render());
    }
    pages
}

/// Reads pages from standard input, each after a line with its format and length in bytes.
const READER: &str = r#"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text
data, read = sys.stdin.buffer, 0
while line := data.readline():
    form, length = line.split()
    page = data.read(int(length)).decode()
    families = list((openmetrics if form == b"openmetrics" else text)(page))
    assert families or len(page) < 10, page
    read += 1
print(read, "pages read")
"#;

#[test]
fn the_client_of_python_reads_every_page() {
    let Some(python) = find_program("python3") else { return };
    let has_client = Command::new(&python).args(["-c", "import prometheus_client"]).output().expect("python runs");
    if !has_client.status.success() {
        let required = std::env::var_os("REQUIRE_BACKENDS").is_some_and(|value| value == "1");
        assert!(!required, "python3 has no prometheus_client, and REQUIRE_BACKENDS=1");
        return;
    }
    let pages = pages();
    let mut child = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let count = pages.len();
    let writer = std::thread::spawn(move || {
        for (format, page) in pages {
            // Fails where python has found a mistake and is gone: its words are in the output.
            let _ = write!(stdin, "{format} {}\n{page}", page.len());
        }
    });
    let output = child.wait_with_output().expect("python ends");
    writer.join().expect("no panic");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), format!("{count} pages read"), "{errors}");
}

/// A real Prometheus takes the pages of random programs, in the format that it asks for.
fn scrapes_pages_of_random_programs(program: &str) {
    if find_program(program).is_none() {
        return;
    }
    let pages: Vec<String> = pages()
        .into_iter()
        .filter(|(format, page)| *format == "openmetrics" && page.len() > 10)
        .map(|(_, page)| page)
        .collect();
    let served = crate::support::serve_pages(&pages, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let prometheus = Prometheus::with_exemplars(program, served).expect("it is there");
    // Each scrape gets the next page.
    wait_for("every page is scraped", Duration::from_secs(120), || {
        let scraped = prometheus.query("count_over_time(up[10m])").pop().map_or(0.0, |(_, value)| value);
        (scraped >= 20.0).then_some(())
    });
    let failed = prometheus.query("count_over_time(up[10m]) - sum_over_time(up[10m])").pop().map(|(_, failed)| failed);
    assert_eq!(failed, Some(0.0), "{}", prometheus.log());
}

#[test]
fn prometheus_2_scrapes_pages_of_random_programs() {
    scrapes_pages_of_random_programs("prometheus");
}

#[test]
fn prometheus_3_scrapes_pages_of_random_programs() {
    scrapes_pages_of_random_programs("prometheus3");
}
