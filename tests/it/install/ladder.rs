//! For programs that own a part of the set-up: the recorder alone, the layer alone, more beside ours.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use botticelli_obs::{
    Builder, Counter, ErrorType, Gauge, Histogram, Key, KeyName, Layer, LlmCall, Metadata, MetricsHandle, Recorder,
    Registry, SharedString, TraceExporter, TraceGuard, Unit, Usage, counter, histogram, llm_request, metrics, tracing,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use metrics_util::layers::{FanoutBuilder, Layer as _, PrefixLayer};

use crate::support::page::Page;
use crate::support::process::{own_threads, resident_memory};
use crate::support::server::Process;
use crate::support::{clear_environment, free_port, get, in_own_process, wait_for};

const PAIR: &[(&str, &str)] = &[("provider", "gemini"), ("model", "gemini-2.5-flash")];
const LIMIT: Duration = Duration::from_secs(30);

fn requests(page: &MetricsHandle) -> f64 {
    Page::parse(&page.render()).sum("llm_requests_total")
}

fn one_call() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
}

#[test]
fn recorder_can_be_made_the_process_recorder() {
    in_own_process(&[], || {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        one_call();
        assert_eq!(requests(&page), 0.0, "nothing was installed yet");
        metrics::set_global_recorder(recorder).expect("it is the first");
        one_call();
        std::thread::spawn(one_call).join().expect("no panic");
        assert_eq!(requests(&page), 2.0);
        assert_eq!(Page::parse(&page.render()).value("llm_tokens_total", PAIR), 84.0);
        assert_eq!(page.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    });
}

#[test]
fn recorder_opens_no_port_and_asks_for_none() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let endpoint = taken.local_addr().expect("it is bound").to_string();
    in_own_process(&[("PROMETHEUS_ENDPOINT", &endpoint)], || {
        let (_recorder, page) = Builder::new().recorder().expect("the taken port is no matter");
        assert!(page.render().contains("botticelli_obs_build_info"));
    });
}

#[test]
fn recorder_reports_bad_settings() {
    let variables = [("BOTTICELLI_OBS_ALLOWED_NETWORKS", "everyone")];
    in_own_process(&variables, || {
        let error = Builder::new().recorder().expect_err("not a network");
        assert!(error.is_invalid_setting() && error.to_string().contains("BOTTICELLI_OBS_ALLOWED_NETWORKS"));
        let error = Builder::new()
            .add_allowed_network("10.0.0.0/8")
            .with_buckets("job.latency", [])
            .recorder()
            .expect_err("no bounds");
        assert!(error.to_string().contains("with_buckets"), "{error}");
        assert!(own_threads().is_empty());
    });
}

#[test]
fn recorder_is_inert_when_the_last_handle_is_dropped() {
    in_own_process(&[], || {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let other = page.clone();
        drop(page);
        let latency = metrics::with_local_recorder(&recorder, || {
            one_call();
            histogram!("job.latency")
        });
        assert_eq!(requests(&other), 1.0);
        // A thread takes its name when it first runs.
        wait_for("upkeep runs", LIMIT, || (own_threads().len() == 1).then_some(()));
        drop(other);
        wait_for("upkeep ends", LIMIT, || own_threads().is_empty().then_some(()));
        let before = resident_memory();
        for _ in 0..2_000_000 {
            latency.record(1.0);
        }
        metrics::with_local_recorder(&recorder, one_call);
        let grown = resident_memory().saturating_sub(before);
        assert!(grown < 4 * 1024 * 1024, "grown by {grown} bytes");
    });
}

#[test]
fn several_recorders_live_side_by_side() {
    let new = || Builder::new().recorder().expect("a recorder");
    let ((first, first_page), (second, second_page)) = (new(), new());
    metrics::with_local_recorder(&first, || {
        one_call();
        metrics::with_local_recorder(&second, || (0..2).for_each(|_| one_call()));
    });
    assert_eq!((requests(&first_page), requests(&second_page)), (1.0, 2.0));
}

/// Counts by name, as the recorder of `metrics-util` has them.
fn counts(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let counters = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| match value {
        DebugValue::Counter(count) => Some((key.key().name().to_owned(), count)),
        _ => None,
    });
    counters.collect()
}

#[test]
fn calls_reach_every_recorder_of_a_fanout_around_ours() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let other = DebuggingRecorder::new();
    let snapshotter = other.snapshotter();
    let both = FanoutBuilder::default().add_recorder(recorder).add_recorder(other).build();
    metrics::with_local_recorder(&both, || {
        one_call();
        LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Auth);
        counter!("jobs").increment(1);
    });
    assert_eq!(requests(&page), 2.0);
    assert_eq!(Page::parse(&page.render()).value("jobs_total", &[]), 1.0);
    let counts = counts(&snapshotter);
    assert_eq!((counts["llm.requests"], counts["llm.tokens"], counts["jobs"]), (2, 42, 1), "{counts:?}");
}

#[test]
fn calls_pass_the_layers_around_ours() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let prefixed = PrefixLayer::new("bot").layer(recorder);
    metrics::with_local_recorder(&prefixed, || {
        one_call();
        llm_request!("gemini", "gemini-2.5-flash");
    });
    let page = Page::parse(&page.render());
    assert_eq!(page.value("bot_llm_requests_total", PAIR), 2.0);
    assert_eq!(page.sum("llm_requests_total"), 0.0);
}

/// A recorder of a program's own: it keeps the keys of what is registered and described.
#[derive(Clone, Default)]
struct Seen {
    keys: Arc<Mutex<Vec<Key>>>,
    described: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    fn keep(&self, key: &Key) {
        self.keys.lock().expect("no panic").push(key.clone());
    }

    fn describe(&self, name: &KeyName) {
        self.described.lock().expect("no panic").push(name.as_str().to_owned());
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }
    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }
    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.keep(key);
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.keep(key);
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.keep(key);
        Histogram::noop()
    }
}

#[test]
fn added_recorder_sees_the_same_names_and_clean_labels() {
    let seen = Seen::default();
    let (recorder, page) = Builder::new().add_recorder(seen.clone()).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        LlmCall::start(" gemini", "models/gemini-2.5-flash\n").finish();
        counter!("llm_requests_total", "provider" => "gemini", "model" => "gemini-2.5-flash").increment(1);
        counter!("jobs.done", "a b" => "x\ny").increment(1);
        llm_request!("x".repeat(1000), "m");
    });
    assert_eq!(requests(&page), 3.0);
    let keys = seen.keys.lock().expect("no panic");
    let requests: Vec<&Key> = keys.iter().filter(|key| key.name() == "llm.requests").collect();
    // Each pair is registered once, however it is spelt and recorded.
    assert_eq!(requests.len(), 2);
    let labels = |key: &Key| -> Vec<(String, String)> {
        key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
    };
    let pair: Vec<(String, String)> = PAIR.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    assert_eq!(labels(requests[0]), pair);
    assert_eq!(labels(requests[1])[0].1.len(), 128);
    let jobs = keys.iter().find(|key| key.name() == "jobs.done").expect("it was registered");
    assert_eq!(labels(jobs), [("a_b".to_owned(), "x_y".to_owned())]);
    let described = seen.described.lock().expect("no panic");
    assert!(
        described.iter().any(|name| name == "llm.requests") && !described.iter().any(|name| name.contains("recorder"))
    );
}

#[test]
fn added_recorder_counts_with_an_installed_page() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let other = DebuggingRecorder::new();
        let snapshotter = other.snapshotter();
        let telemetry = Builder::new().add_recorder(other).install().expect("it installs");
        one_call();
        histogram!("job.latency").record(f64::NAN);
        let page =
            Page::parse(&get(telemetry.metrics_addr().expect("a listener"), "/metrics", LIMIT).expect("a page").body);
        assert_eq!(page.value("llm_tokens_total", PAIR), 42.0);
        let counts = counts(&snapshotter);
        assert_eq!((counts["llm.requests"], counts["llm.tokens"]), (1, 42), "{counts:?}");
    });
}

/// Keeps the names of spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.lock().expect("no panic").push(attributes.metadata().name().to_owned());
    }
}

#[test]
fn added_layer_sees_spans_even_without_an_exporter_and_logs() {
    let variables = [("PROMETHEUS_ENDPOINT", "off"), ("BOTTICELLI_OBS_LOG_FORMAT", "off")];
    in_own_process(&variables, || {
        let spans = Spans::default();
        let _telemetry = Builder::new().add_layer(spans.clone()).install().expect("it installs");
        tracing::info_span!("of_the_program").in_scope(one_call);
        assert_eq!(*spans.0.lock().expect("no panic"), ["of_the_program", "llm_call"]);
    });
}

#[test]
fn trace_layer_exports_under_a_subscriber_of_the_programs_own() {
    let Some(output) = in_own_process(&[], || {
        let builder = Builder::new().with_trace_exporter(TraceExporter::Stdout);
        let (layer, guard) = builder.trace_layer::<Registry>().expect("a layer");
        assert!(!tracing::dispatcher::has_been_set());
        let subscriber = layer.with_subscriber(Registry::default());
        tracing::subscriber::set_global_default(subscriber).expect("it is the first");
        tracing::info_span!("of_the_program").in_scope(one_call);
        guard.flush(LIMIT).expect("nothing was lost");
        LlmCall::start("gemini", "gemini-2.5-pro").fail(ErrorType::Auth);
        guard.shutdown(LIMIT).expect("nothing was lost");
        LlmCall::start("gemini", "too-late").finish();
        wait_for("the crate's threads end", LIMIT, || own_threads().is_empty().then_some(()));
    }) else {
        return;
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout.matches("span \"of_the_program\" internal").count(), 1, "{stdout}");
    assert_eq!(stdout.matches("span \"chat gemini-2.5-flash\" client").count(), 1, "{stdout}");
    assert_eq!(stdout.matches("span \"chat gemini-2.5-pro\" client").count(), 1, "{stdout}");
    assert!(!stdout.contains("too-late"), "{stdout}");
}

fn trace_layer() -> (Box<dyn Layer<Registry> + Send + Sync>, TraceGuard) {
    Builder::new().with_trace_exporter(TraceExporter::Stdout).trace_layer().expect("a layer")
}

fn one_exported_call(layer: Box<dyn Layer<Registry> + Send + Sync>, guard: &TraceGuard) {
    tracing::subscriber::with_default(layer.with_subscriber(Registry::default()), one_call);
    guard.flush(LIMIT).expect("nothing was lost");
}

fn exported(page: &MetricsHandle) -> f64 {
    Page::parse(&page.render()).value("botticelli_obs_spans_exported_total", &[])
}

#[test]
fn recorder_counts_the_spans_of_a_layer_that_is_made_after_it() {
    in_own_process(&[], || {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let (layer, guard) = trace_layer();
        // From the start, as on the page of `install`.
        let reasons = Page::parse(&page.render()).of("botticelli_obs_spans_dropped_total").len();
        assert!(reasons > 0 && exported(&page) == 0.0);
        metrics::set_global_recorder(recorder).expect("it is the first");
        one_exported_call(layer, &guard);
        assert_eq!(exported(&page), 1.0);
    });
}

#[test]
fn recorder_counts_the_spans_of_a_layer_that_is_made_before_it() {
    in_own_process(&[], || {
        let (layer, guard) = trace_layer();
        one_exported_call(layer, &guard);
        let (layer, other_guard) = trace_layer();
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        assert_eq!(exported(&page), 1.0, "what was exported before is not lost");
        metrics::set_global_recorder(recorder).expect("it is the first");
        one_exported_call(layer, &other_guard);
        assert_eq!(exported(&page), 2.0);
    });
}

#[test]
fn recorder_of_another_crate_counts_the_spans_of_a_layer_that_is_made_before_it() {
    in_own_process(&[], || {
        let (layer, guard) = trace_layer();
        let other = DebuggingRecorder::new();
        let snapshotter = other.snapshotter();
        metrics::set_global_recorder(other).expect("it is the first");
        one_exported_call(layer, &guard);
        assert_eq!(counts(&snapshotter)["botticelli.obs.spans_exported"], 1);
    });
}

#[test]
fn recorders_of_one_process_name_the_same_instance() {
    let (_first, first) = Builder::new().recorder().expect("a recorder");
    let (_second, second) = Builder::new().recorder().expect("a recorder");
    let instance = |page: &MetricsHandle| {
        let page = Page::parse(&page.render());
        page.of("target_info").first().map(|(labels, _)| labels["service_instance_id"].clone())
    };
    assert!(instance(&first).is_some());
    assert_eq!(instance(&first), instance(&second));
}

#[test]
fn trace_layer_without_an_exporter_does_nothing() {
    let Some(output) = in_own_process(&[], || {
        for builder in [Builder::new(), Builder::new().with_trace_exporter(TraceExporter::None)] {
            let (layer, guard) = builder.trace_layer::<Registry>().expect("a layer");
            tracing::subscriber::with_default(layer.with_subscriber(Registry::default()), one_call);
            guard.flush(Duration::ZERO).expect("there is nothing to lose");
            guard.shutdown(Duration::ZERO).expect("there is nothing to lose");
        }
        assert!(own_threads().is_empty());
    }) else {
        return;
    };
    assert!(!String::from_utf8_lossy(&output.stdout).contains("span "));
}

#[test]
fn install_takes_what_the_ladder_leaves() {
    let Some(output) = in_own_process(&[("PROMETHEUS_ENDPOINT", "127.0.0.1:0")], || {
        let spans = Builder::new().with_trace_exporter(TraceExporter::Stdout);
        let (layer, guard) = spans.trace_layer::<Registry>().expect("a layer");
        tracing::subscriber::set_global_default(layer.with_subscriber(Registry::default())).expect("it is the first");
        let telemetry = Builder::new().without_subscriber().install().expect("it installs");
        one_call();
        assert!(telemetry.render().contains("llm_requests_total{"));
        guard.flush(LIMIT).expect("nothing was lost");
        assert_eq!(Page::parse(&telemetry.render()).value("botticelli_obs_spans_exported_total", &[]), 1.0);
        drop(guard);
    }) else {
        return;
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains("span \"chat gemini-2.5-flash\""));
}

/// `cargo test` builds examples beside the tests, but not when it is told a single test file.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests are in a folder of the target folder");
    let program = folder.join("examples").join(name);
    assert!(program.is_file(), "{} is missing: cargo build --all-features --examples", program.display());
    let mut command = Command::new(program);
    clear_environment(&mut command);
    command
}

#[test]
fn page_is_a_route_of_the_programs_own_server() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let child = example("axum").arg(addr.to_string()).stdout(Stdio::null()).spawn().expect("the example starts");
    let _example = Process(child);
    let page = wait_for("the page is served", LIMIT, || get(addr, "/metrics", LIMIT).ok());
    assert!(page.head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    let of_ollama = &[("provider", "ollama"), ("model", "llama3.2")];
    assert_eq!(Page::parse(&page.body).value("llm_requests_total", of_ollama), 0.0);

    assert_eq!(get(addr, "/ask", LIMIT).expect("it answers").status, 200);
    let page = Page::parse(&get(addr, "/metrics", LIMIT).expect("it answers").body);
    assert_eq!(page.value("llm_requests_total", of_ollama), 1.0);
    assert_eq!(page.value("llm_tokens_total", of_ollama), 42.0);
    assert_eq!(page.value("llm_duration_bucket", &[of_ollama, &[("le", "0.08")][..]].concat()), 0.0);
}
