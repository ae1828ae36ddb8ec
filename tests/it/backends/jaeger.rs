//! A real Jaeger holds exactly what the bot has counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::stack::queries::{dashboards, list, text};
use crate::support::bot::{Bot, Tally};
use crate::support::jaeger::{Jaeger, Span};
use crate::support::page::Page;
use crate::support::server::Prometheus;
use crate::support::{get, get_with, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

const CALLS: usize = 500;

/// Many quick calls, a fifth of which fail, half of them streamed.
const OPTIONS: &[&str] = &[
    "--calls",
    "500",
    "--rate",
    "150",
    "--concurrency",
    "32",
    "--error-rate",
    "0.2",
    "--latency-scale",
    "0.02",
    "--timeout",
    "1s",
    "--linger",
    "600s",
];

/// What says that a span is a call's.
const MODEL: &str = "gen_ai.request.model";

fn start_bot(jaeger: &Jaeger, protocol: &str) -> Bot {
    let addr = if protocol == "grpc" { jaeger.grpc } else { jaeger.http };
    let endpoint = format!("http://{addr}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_SERVICE_NAME", "bot"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    Bot::start(OPTIONS, &variables)
}

fn holds_exactly_what_the_bot_counted(protocol: &str) {
    let Some(jaeger) = Jaeger::start() else { return };
    let mut bot = start_bot(&jaeger, protocol);
    let tally = bot.tally(PATIENCE);
    let page = Page::parse(&get(bot.metrics, "/metrics", PATIENCE).expect("the page is served").body);
    let exemplars = Exemplar::of(&bot);
    bot.signal("TERM");
    assert!(bot.wait(PATIENCE).success(), "{}", bot.stderr());

    // A message, the task that answers it, and its call.
    let spans = jaeger.wait_for_spans("bot", 3 * CALLS);
    let (calls, around): (Vec<Span>, Vec<Span>) =
        spans.into_iter().partition(|span| span.attributes.contains_key(MODEL));
    assert_eq!((calls.len(), around.len()), (CALLS, 2 * CALLS));
    let around: BTreeMap<&str, &Span> = around.iter().map(|span| (span.id.as_str(), span)).collect();
    for call in &calls {
        let failed = call.attributes.contains_key("error.type");
        assert_eq!((call.kind, call.status), (3, if failed { 2 } else { 0 }), "{call:?}");
        let mut inner = call;
        for name in ["invoke_agent answer", "bot.message"] {
            let outer = around.get(inner.parent.as_str()).unwrap_or_else(|| panic!("no {name} around {inner:?}"));
            assert_eq!((outer.name.as_str(), &outer.trace), (name, &call.trace), "{call:?}");
            assert!(outer.start <= inner.start && inner.end <= outer.end, "{outer:?} {inner:?}");
            inner = outer;
        }
    }
    assert_eq!(tally.iter().map(|pair| pair.requests).sum::<u64>(), CALLS as u64);
    assert!(tally.iter().map(|pair| pair.errors.values().sum::<u64>()).sum::<u64>() > 50, "{tally:?}");
    for pair in &tally {
        let of_pair: Vec<&Span> = calls.iter().filter(|call| call.text(MODEL) == pair.model).collect();
        equals_tally(&of_pair, pair);
        equals_page(&of_pair, pair, &page);
    }
    // The duration of a call is the very sample.
    assert!(exemplars.len() > 10, "{exemplars:?}");
    for exemplar in exemplars {
        let call = calls.iter().find(|call| (&call.trace, &call.id) == (&exemplar.trace, &exemplar.span));
        let call = call.unwrap_or_else(|| panic!("no span of {exemplar:?}"));
        if exemplar.family == "llm_duration_bucket" {
            assert!((call.seconds() - exemplar.value).abs() < 1e-9, "{exemplar:?} {call:?}");
        }
    }
    is_found(&jaeger, &calls);
}

fn equals_tally(calls: &[&Span], pair: &Tally) {
    let mut errors = BTreeMap::new();
    for call in calls {
        assert_eq!(call.name, format!("chat {}", pair.model));
        if call.attributes.contains_key("error.type") {
            *errors.entry(call.text("error.type").to_owned()).or_default() += 1;
        }
    }
    let tokens = |attribute| calls.iter().map(|call| call.number(attribute)).sum::<u64>();
    assert_eq!((calls.len() as u64, &errors), (pair.requests, &pair.errors), "{}", pair.model);
    assert_eq!(tokens("gen_ai.usage.input_tokens"), pair.prompt_tokens, "{}", pair.model);
    assert_eq!(tokens("gen_ai.usage.output_tokens"), pair.completion_tokens, "{}", pair.model);
}

/// The samples of the page are the durations of the spans: their number, their sum, and how many are below each bound.
fn equals_page(calls: &[&Span], pair: &Tally, page: &Page) {
    let labels = [("provider", pair.provider.as_str()), ("model", pair.model.as_str())];
    let sum: f64 = calls.iter().map(|call| call.seconds()).sum();
    assert_eq!(page.value("llm_duration_count", &labels), calls.len() as f64, "{}", pair.model);
    let on_page = page.value("llm_duration_sum", &labels);
    assert!((on_page - sum).abs() < 1e-6, "{}: {on_page} s on the page, {sum} s in spans", pair.model);
    for (of, below) in page.of("llm_duration_bucket") {
        if (of["provider"].as_str(), of["model"].as_str()) == (&pair.provider, &pair.model) {
            let bound = of["le"].parse::<f64>().expect("a bound is a number");
            let spans = calls.iter().filter(|call| call.seconds() <= bound).count();
            assert_eq!(below, spans as f64, "{} in {bound} s", pair.model);
        }
    }
}

/// An exemplar of the page.
#[derive(Debug)]
struct Exemplar {
    family: String,
    trace: String,
    span: String,
    value: f64,
}

impl Exemplar {
    fn of(bot: &Bot) -> Vec<Self> {
        let accept = [("Accept", "application/openmetrics-text; version=1.0.0")];
        let page = get_with(bot.metrics, "/metrics", &accept, PATIENCE).expect("the page is served").body;
        page.lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let (sample, exemplar) = line.split_once(" # {")?;
        let (labels, rest) = exemplar.split_once("} ")?;
        let label = |name: &str| Some(labels.split_once(&format!("{name}=\""))?.1.split('"').next()?.to_owned());
        let family = sample.split('{').next()?.to_owned();
        Some(Self {
            family,
            trace: label("trace_id")?,
            span: label("span_id")?,
            value: rest.split(' ').next()?.parse().ok()?,
        })
    }
}

/// The search that dashboards link to finds the failed calls, and no others.
fn is_found(jaeger: &Jaeger, calls: &[Span]) {
    let traces = |calls: &mut dyn Iterator<Item = &Span>| calls.map(|call| call.trace.clone()).collect::<BTreeSet<_>>();
    let failed = traces(&mut calls.iter().filter(|call| call.attributes.contains_key("error.type")));
    for link in links() {
        let found: BTreeSet<String> = jaeger.search(&link).into_iter().collect();
        let wanted = if link.contains("tags=") { &failed } else { &traces(&mut calls.iter()) };
        // Jaeger before 2.17 with spans in memory takes the text `true` of any search for the Boolean `false`: jaegertracing/jaeger#8217.
        let is_old = link.contains("error%22%3A") && found.is_empty();
        assert!(is_old || found == *wanted, "{link} finds {} traces of {}", found.len(), wanted.len());
    }
    let classes: BTreeSet<&str> =
        calls.iter().map(|call| call.text("error.type")).filter(|class| !class.is_empty()).collect();
    assert!(classes.len() > 2, "{classes:?}");
    for class in classes {
        let found: BTreeSet<String> = jaeger
            .search(&format!("service=bot&limit=1500&tags=%7B%22error.type%22%3A%22{class}%22%7D"))
            .into_iter()
            .collect();
        assert_eq!(found, traces(&mut calls.iter().filter(|call| call.text("error.type") == class)), "{class}");
    }
}

/// The queries of all links to Jaeger's search in the dashboards, for the service and the last hour.
fn links() -> BTreeSet<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970").as_millis();
    let dashboards = dashboards();
    let panels = dashboards.iter().flat_map(|dashboard| list(&dashboard["panels"]));
    let links = panels.flat_map(|panel| list(&panel["links"])).map(|link: &Value| text(&link["url"]));
    let queries = links.filter_map(|url| url.split_once("${jaeger}/search?")).map(|(_, query)| {
        let query = query.replace("${service}", "bot").replace("limit=20", "limit=1500");
        query.replace("${__from}", &(now - 3_600_000).to_string()).replace("${__to}", &(now + 60_000).to_string())
    });
    let queries: BTreeSet<String> = queries.collect();
    assert_eq!(queries.len(), 2, "{queries:?}");
    queries
}

#[test]
fn jaeger_holds_exactly_what_the_bot_counted_by_grpc() {
    holds_exactly_what_the_bot_counted("grpc");
}

#[test]
fn jaeger_holds_exactly_what_the_bot_counted_by_http() {
    holds_exactly_what_the_bot_counted("http/protobuf");
}

#[test]
fn an_exemplar_in_prometheus_leads_to_its_trace_in_jaeger() {
    let Some(jaeger) = Jaeger::start() else { return };
    let bot = start_bot(&jaeger, "grpc");
    let Some(prometheus) = Prometheus::with_exemplars("prometheus3", bot.metrics) else { return };
    bot.tally(PATIENCE);
    let failed = r#"llm_errors_total{error_type="rate_limit"}"#;
    for query in ["llm_duration_bucket", failed] {
        let (labels, exemplar) =
            wait_for("prometheus holds an exemplar", PATIENCE, || prometheus.exemplars(query).pop());
        let (trace, span) = (text(&exemplar["labels"]["trace_id"]), text(&exemplar["labels"]["span_id"]));
        let spans =
            wait_for("jaeger has the trace", PATIENCE, || Some(jaeger.trace(trace)).filter(|spans| spans.len() == 3));
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        let call = spans.iter().find(|of| of.id == span).expect("the span is there");
        let chat = format!("chat {}", text(&labels["model"]));
        let expected = BTreeSet::from(["bot.message", "invoke_agent answer", chat.as_str()]);
        assert_eq!((call.trace.as_str(), names), (trace, expected));
        if query == failed {
            assert_eq!(call.text("error.type"), "rate_limit");
        } else {
            let value: f64 = text(&exemplar["value"]).parse().expect("a number");
            assert!((call.seconds() - value).abs() < 1e-9, "{call:?} {exemplar}");
        }
    }
}
