//! The exporter's page beside ours: random programs have the same families, types, labels and values on both.
//!
//! Each program runs in a process of its own with the exporter's listener, whose page is read over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::support::page::Page;
use crate::support::server::Prometheus;
use crate::support::{find_program, get, in_own_process, in_scenario, run_with_input, wait_for};
use botticelli_obs::{
    Builder, ErrorType, Label, LlmCall, Telemetry, Unit, Usage, counter, declare, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram, llm_duration, llm_error, llm_request, llm_tokens,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const LIMIT: Duration = Duration::from_secs(30);

/// How much of itself a sum may lose to the order of its additions.
const PRECISION: f64 = 1e-9;

const NAMES: &[&str] = &[
    "jobs",
    "jobs.done",
    "jobs_done",
    "jobs_done_total",
    "queue.depth",
    "job.latency",
    "job_latency_seconds",
    "job-latency",
    "1st:job",
    "größe",
    "disk_ratio",
    "bytes.bytes",
    "x_sum",
    "x_total",
    "llm.requests",
    "llm_requests_total",
    "llm.errors",
    "llm.finish",
    "llm.tokens.cache_read",
    "llm.duration",
    "llm_time_to_first_chunk_seconds",
    "llm.in_flight",
    "llm.last_success_timestamp",
    "llm.unknown",
    "botticelli.obs.spans_dropped",
];

/// What a histogram's name must not end in, nor a counter's: the exporter takes it for its own suffix.
fn ends_in_reserved_suffix(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Counter => name.ends_with("total") && !name.ends_with("_total"),
        Kind::Gauge => false,
        Kind::Histogram => ["count", "sum", "bucket", "total"].iter().any(|suffix| name.ends_with(suffix)),
    }
}

const LABELS: &[&str] =
    &["zone", "provider", "model", "error_type", "reason", "le", "quantile", "__name__", "bad-name", "", "é"];

const VALUES: &[&str] =
    &["a", "b", "c", "other", "timeout", "stop", "", " ", "unknown", "{x=1},", "ü", "\"q\"", "a\\b", "a\nb"];

const PROVIDERS: &[&str] = &["gemini", "groq", "other", "", "ü \"x\""];

const MODELS: &[&str] = &["models/gemini-2.5-flash", "gemini-2.5-flash", "llama", "a", "b", "other", " ", "c\\d"];

const NUMBERS: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    1.0,
    0.25,
    0.01,
    0.3,
    2.5,
    7.0,
    1234.5,
    1e-7,
    1e17,
    1e300,
    -1.0,
    -0.3,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

const COUNTS: &[u64] = &[0, 1, 2, 7, 1000, 1 << 40, 1 << 53, (1 << 53) + 1];

const TOKENS: &[u64] = &[0, 1, 12, 1000, 1 << 53, (1 << 53) + 1, u64::MAX];

const UNITS: &[Option<Unit>] = &[
    None,
    Some(Unit::Count),
    Some(Unit::Percent),
    Some(Unit::Seconds),
    Some(Unit::Milliseconds),
    Some(Unit::Bytes),
    Some(Unit::CountPerSecond),
];

const TEXTS: &[&str] = &["What it is.", "", "Another \"text\"."];

const REASONS: &[&str] = &["stop", "length", "tool_use", "SAFETY", "nonsense"];

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A program; numbers are places in the lists above.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Program {
    max_series: usize,
    buckets: Vec<(usize, Vec<u8>)>,
    globals: Vec<(usize, usize)>,
    declared: Vec<(usize, usize)>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Step {
    Call { pair: (usize, usize), usage: Option<[usize; 5]>, reasons: Vec<usize>, chunks: u8, end: End },
    Fact { pair: (usize, usize), fact: u8, number: usize, tokens: usize },
    Declare(usize, usize),
    Describe { kind: Kind, name: usize, unit: usize, text: usize },
    Record { kind: Kind, name: usize, labels: Vec<(usize, usize)>, how: How },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum End {
    Success,
    Failure(usize),
    Dropped,
}

/// How something is recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct How {
    /// Which method of a handle; 0 for none.
    method: u8,
    number: usize,
    count: usize,
    samples: usize,
}

fn place<T>(list: &'static [T]) -> std::ops::Range<usize> {
    0..list.len()
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Counter), Just(Kind::Gauge), Just(Kind::Histogram)]
}

fn any_pair() -> impl Strategy<Value = (usize, usize)> {
    (place(PROVIDERS), place(MODELS))
}

fn any_step() -> impl Strategy<Value = Step> {
    let tokens = || place(TOKENS);
    let usage = [tokens(), tokens(), tokens(), tokens(), tokens()];
    let end = prop_oneof![Just(End::Success), (0..ErrorType::ALL.len()).prop_map(End::Failure), Just(End::Dropped)];
    let call = (any_pair(), prop::option::of(usage), prop::collection::vec(place(REASONS), 0..3), 0_u8..3, end)
        .prop_map(|(pair, usage, reasons, chunks, end)| Step::Call { pair, usage, reasons, chunks, end });
    let fact = (any_pair(), 0_u8..5, place(NUMBERS), tokens()).prop_map(|(pair, fact, number, tokens)| Step::Fact {
        pair,
        fact,
        number,
        tokens,
    });
    let named = || {
        (any_kind(), place(NAMES)).prop_filter("reserved", |(kind, name)| !ends_in_reserved_suffix(*kind, NAMES[*name]))
    };
    let describe = (named(), place(UNITS), place(TEXTS)).prop_map(|((kind, name), unit, text)| Step::Describe {
        kind,
        name,
        unit,
        text,
    });
    let how = (0_u8..4, place(NUMBERS), place(COUNTS), 0_usize..=1000)
        .prop_map(|(method, number, count, samples)| How { method, number, count, samples });
    let record = (named(), prop::collection::vec((place(LABELS), place(VALUES)), 0..4), how)
        .prop_map(|((kind, name), labels, how)| Step::Record { kind, name, labels, how });
    prop_oneof![
        3 => call,
        2 => fact,
        1 => any_pair().prop_map(|(provider, model)| Step::Declare(provider, model)),
        2 => describe,
        8 => record,
    ]
}

fn any_program() -> impl Strategy<Value = Program> {
    (
        prop_oneof![1_usize..5, Just(1_000)],
        prop::collection::vec((place(NAMES), prop::collection::vec(0_u8..14, 1..4)), 0..3),
        prop::collection::vec((0_usize..5, 4..VALUES.len()), 0..3),
        prop::collection::vec(any_pair(), 0..3),
        prop::collection::vec(any_step(), 0..60),
    )
        .prop_map(|(max_series, buckets, globals, declared, steps)| Program {
            max_series,
            buckets,
            globals,
            declared,
            steps,
        })
        .prop_map(without_ambiguous_bounds)
}

/// The exporter is told bounds before it is known which units there are: those of `job.latency` count for its name with any unit,
/// and so for another histogram that is called `job_latency_seconds` in code.
fn without_ambiguous_bounds(mut program: Program) -> Program {
    let is_spelt_out = |name: usize| NAMES[name] == "job_latency_seconds";
    if program.buckets.iter().any(|(name, _)| matches!(NAMES[*name], "job.latency" | "job-latency")) {
        program.buckets.retain(|(name, _)| !is_spelt_out(*name));
        program
            .steps
            .retain(|step| !matches!(step, Step::Record { kind: Kind::Histogram, name, .. } if is_spelt_out(*name)));
    }
    program
}

impl Program {
    fn install(&self) -> Telemetry {
        let mut builder = Builder::new()
            .with_exporter_listener()
            .with_prometheus_endpoint("127.0.0.1:0")
            .with_max_series(self.max_series);
        for (name, bounds) in &self.buckets {
            builder = builder
                .with_buckets(NAMES[*name], bounds.iter().map(|at| NUMBERS[usize::from(*at)]).collect::<Vec<_>>());
        }
        for (name, value) in &self.globals {
            builder = builder.add_global_label(LABELS[*name], VALUES[*value]);
        }
        for (provider, model) in &self.declared {
            builder = builder.add_model(PROVIDERS[*provider], MODELS[*model]);
        }
        builder.install().expect("it installs")
    }
}

impl Step {
    fn run(&self) {
        let names = |pair: (usize, usize)| (PROVIDERS[pair.0], MODELS[pair.1]);
        match self {
            Self::Call { pair, usage, reasons, chunks, end } => {
                let (provider, model) = names(*pair);
                let mut call = LlmCall::start(provider, model);
                (0..*chunks).for_each(|_| call.record_chunk());
                reasons.iter().for_each(|reason| call.record_finish_reason(REASONS[*reason]));
                if let Some(usage) = usage {
                    let [prompt, completion, read, write, reasoning] = usage.map(|tokens| TOKENS[tokens]);
                    let usage = Usage::new(prompt, completion).with_cache_read(read).with_cache_write(write);
                    call.record_usage(usage.with_reasoning(reasoning));
                }
                match end {
                    End::Success => call.finish(),
                    End::Failure(error) => call.fail(ErrorType::ALL[*error]),
                    End::Dropped => drop(call),
                }
            }
            Self::Fact { pair, fact, number, tokens } => {
                let ((provider, model), number, tokens) = (names(*pair), NUMBERS[*number], TOKENS[*tokens]);
                match fact {
                    0 => llm_request!(provider, model),
                    1 => llm_error!(provider, model, ErrorType::Timeout),
                    2 => llm_duration!(provider, model, number),
                    3 => llm_tokens!(provider, model, prompt: tokens, completion: 1),
                    _ => llm_request!(provider, model, duration: number, prompt: 1, completion: tokens),
                }
            }
            Self::Declare(provider, model) => declare(PROVIDERS[*provider], MODELS[*model]),
            Self::Describe { kind, name, unit, text } => describe(*kind, NAMES[*name], UNITS[*unit], TEXTS[*text]),
            Self::Record { kind, name, labels, how } => {
                let labels: Vec<Label> =
                    labels.iter().map(|(name, value)| Label::new(LABELS[*name], VALUES[*value])).collect();
                how.record(*kind, NAMES[*name], labels);
            }
        }
    }
}

fn describe(kind: Kind, name: &'static str, unit: Option<Unit>, text: &'static str) {
    match (kind, unit) {
        (Kind::Counter, Some(unit)) => describe_counter!(name, unit, text),
        (Kind::Counter, None) => describe_counter!(name, text),
        (Kind::Gauge, Some(unit)) => describe_gauge!(name, unit, text),
        (Kind::Gauge, None) => describe_gauge!(name, text),
        (Kind::Histogram, Some(unit)) => describe_histogram!(name, unit, text),
        (Kind::Histogram, None) => describe_histogram!(name, text),
    }
}

impl How {
    fn record(&self, kind: Kind, name: &'static str, labels: Vec<Label>) {
        let (number, count) = (NUMBERS[self.number], COUNTS[self.count]);
        match kind {
            Kind::Counter => {
                let counter = counter!(name, labels);
                match self.method {
                    0 => {}
                    1 => counter.absolute(count),
                    _ => counter.increment(count),
                }
            }
            Kind::Gauge => {
                let gauge = gauge!(name, labels);
                match self.method {
                    0 => {}
                    1 => gauge.set(number),
                    2 => gauge.increment(number),
                    _ => gauge.decrement(number),
                }
            }
            Kind::Histogram => {
                let histogram = histogram!(name, labels);
                match self.method {
                    0 => {}
                    1 => histogram.record_many(number, self.samples),
                    _ => histogram.record(number),
                }
            }
        }
    }
}

/// Whether a family is on both pages: what the process takes is read when our page is made, and no recorder is given it.
fn is_compared(name: &str) -> bool {
    !name.starts_with("process_")
}

/// What is compared: types and texts by family, values by sample, bounds of buckets as numbers.
#[derive(Debug)]
struct Comparable {
    families: BTreeMap<String, (String, Option<String>)>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Comparable {
    fn new(page: &str) -> Self {
        let page = Page::parse(page);
        let families = page
            .types
            .into_iter()
            .filter(|(name, _)| is_compared(name))
            .map(|(name, kind)| (name.clone(), (kind, page.help.get(&name).cloned())))
            .collect();
        let samples = page.samples.into_iter().filter(|((name, _), _)| is_compared(name));
        Self { families, samples: samples.collect() }
    }

    /// Returns what is not the same on the exporter's page.
    fn differences(&self, exporter: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let names: BTreeSet<_> = self.families.keys().chain(exporter.families.keys()).collect();
        for name in names {
            let (ours, theirs) = (self.families.get(name), exporter.families.get(name));
            if ours != theirs {
                differences.push(format!("family {name}: ours {ours:?}, the exporter's {theirs:?}"));
            }
        }
        let samples: BTreeSet<_> = self.samples.keys().chain(exporter.samples.keys()).collect();
        for sample in samples {
            let (ours, theirs) = (self.samples.get(sample), exporter.samples.get(sample));
            let is_equal = match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    let is_near = (ours - theirs).abs() <= PRECISION * ours.abs().max(theirs.abs());
                    ours == theirs || ours.is_nan() && theirs.is_nan() || sample.0.ends_with("_sum") && is_near
                }
                _ => false,
            };
            if !is_equal {
                differences.push(format!("sample {sample:?}: ours {ours:?}, the exporter's {theirs:?}"));
            }
        }
        differences
    }
}

/// Writes the bound of a bucket in one way: as a number it is the same on both pages.
fn with_bound(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if let Some(bound) = labels.get_mut("le") {
        *bound = format!("{:e}", bound.replace("+Inf", "inf").parse::<f64>().expect("a bound is a number"));
    }
    labels
}

/// Waits until both pages are the same: the health counters reach the exporter every half second.
fn assert_same_pages(telemetry: &Telemetry) {
    let addr = telemetry.metrics_addr().expect("there is a listener");
    let end = Instant::now() + LIMIT;
    loop {
        let theirs = get(addr, "/metrics", LIMIT).expect("it answers").body;
        let differences = Comparable::new(&telemetry.render()).differences(&Comparable::new(&theirs));
        if differences.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{differences:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const PROGRAM: &str = "BOTTICELLI_TEST_PROGRAM";

/// The number of random programs.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

#[test]
fn random_programs_have_the_same_pages() {
    if in_scenario() {
        let program: Program = serde_json::from_str(&std::env::var(PROGRAM).expect("set")).expect("a program");
        let telemetry = program.install();
        program.steps.iter().for_each(Step::run);
        return assert_same_pages(&telemetry);
    }
    let config = ProptestConfig {
        cases: cases(),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(program in any_program())| {
        let program = serde_json::to_string(&program).expect("it can be written");
        in_own_process(&[(PROGRAM, &program)], || ());
    });
}

/// A program with something of everything.
fn everything() {
    describe_counter!("jobs.done", "Jobs that are done.");
    describe_histogram!("job.latency", Unit::Seconds, "How long a job takes.");
    for (model, reads) in [("gemini-2.5-flash", 3), ("llama", 0)] {
        let mut call = LlmCall::start("gemini", model);
        call.record_chunk();
        call.record_chunk();
        call.record_finish_reason("stop");
        call.record_usage(Usage::new(12, 30).with_cache_read(reads));
        call.finish();
        LlmCall::start("gemini", model).fail(ErrorType::RateLimit);
        drop(LlmCall::start("gemini", model));
    }
    llm_request!("groq", "llama", duration: Duration::from_millis(300), prompt: 1, completion: 2);
    declare("groq", "gemma");
    for zone in ["a", "b", "c", "other"] {
        counter!("jobs.done", "zone" => zone).increment(3);
        gauge!("queue.depth", "zone" => zone).increment(2.5);
        histogram!("job.latency", "zone" => zone).record_many(0.3, 700);
    }
    histogram!("job.latency", "zone" => "a").record(f64::NAN);
    // The names of families that are there already.
    gauge!("jobs_done_total").set(1.0);
    describe_counter!("jobs.done", Unit::Bytes, "Said too late.");
}

fn install_exporter() -> Telemetry {
    Builder::new()
        .with_exporter_listener()
        .with_prometheus_endpoint("127.0.0.1:0")
        .with_max_series(2)
        .with_buckets("job.latency", [0.1, 1e-6, 1e16])
        .add_global_label("zone", "c")
        .add_global_label("error_type", "of all")
        .add_model("ollama", "llama3.2")
        .install()
        .expect("it installs")
}

#[test]
fn something_of_everything_has_the_same_pages() {
    in_own_process(&[], || {
        let telemetry = install_exporter();
        everything();
        assert_same_pages(&telemetry);
        let page = get(telemetry.metrics_addr().expect("a listener"), "/metrics", LIMIT).expect("it answers").body;
        let page = Page::parse(&page);
        assert_eq!(page.types["job_latency_seconds"], "histogram");
        assert_eq!(page.help["jobs_done_total"], "Jobs that are done.");
        for family in ["target_info", "botticelli_obs_build_info", "botticelli_obs_pipeline_up"] {
            assert!(page.types.contains_key(family), "{family} is missing");
        }
        for metric in ["llm", "jobs_done_total", "queue_depth", "job_latency_seconds"] {
            let overflow = page.of("botticelli_obs_label_overflow_total");
            assert!(
                overflow.iter().any(|(labels, count)| labels["metric"] == metric && *count > 0.0),
                "{metric}: {overflow:?}"
            );
        }
    });
}

/// Returns every sample that Prometheus has scraped, without its own.
fn scraped(prometheus: &Prometheus) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let own = ["up", "scrape_"];
    let samples = prometheus.query("{__name__!=\"\"}").into_iter().map(|(labels, value)| {
        let labels = labels.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()));
        let (names, labels): (Vec<_>, Vec<_>) = labels.partition(|(name, _)| name == "__name__");
        let labels = labels.into_iter().filter(|(name, _)| name != "job" && name != "instance").collect();
        ((names[0].1.clone(), labels), value)
    });
    samples.filter(|((name, _), _)| !own.iter().any(|own| name.starts_with(own))).collect()
}

#[test]
fn prometheus_scrapes_from_the_exporter_what_our_page_has() {
    in_own_process(&[], || {
        let telemetry = install_exporter();
        everything();
        assert_same_pages(&telemetry);
        let addr = telemetry.metrics_addr().expect("there is a listener");
        let Some(prometheus) = Prometheus::scraping(addr, "1s") else { return };
        wait_for("the first scrape", Duration::from_secs(40), || prometheus.query("llm_requests_total").pop());
        let ours = Page::parse(&telemetry.render());
        // Prometheus keeps a bound as it is written, or in its own way from version 3 on.
        let by_number = |samples: BTreeMap<(String, BTreeMap<String, String>), f64>| Comparable {
            families: BTreeMap::new(),
            samples: samples
                .into_iter()
                .filter(|((name, _), _)| is_compared(name))
                .map(|((name, labels), value)| ((name, with_bound(labels)), value))
                .collect(),
        };
        // Without labels that are empty Prometheus has the same series.
        let differences = by_number(ours.samples).differences(&by_number(scraped(&prometheus)));
        assert!(differences.is_empty(), "{differences:#?}");
        let metadata = prometheus.metadata();
        for (family, kind) in ours.types.iter().filter(|(family, _)| is_compared(family)) {
            // The metadata of a histogram has the name of its family.
            assert_eq!(metadata["data"][family][0]["type"], **kind, "{family}");
        }
    });
}

#[test]
fn promtool_finds_nothing_new_on_the_exporters_page() {
    in_own_process(&[], || {
        let Some(promtool) = find_program("promtool") else { return };
        let telemetry = Builder::new()
            .with_exporter_listener()
            .with_prometheus_endpoint("127.0.0.1:0")
            .add_model("ollama", "llama3.2")
            .install()
            .expect("it installs");
        let page = get(telemetry.metrics_addr().expect("a listener"), "/metrics", LIMIT).expect("it answers").body;
        let mut check = std::process::Command::new(promtool);
        check.args(["check", "metrics"]);
        let output = run_with_input(check, &page);
        let findings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && findings.trim().is_empty(), "{findings}");
    });
}
