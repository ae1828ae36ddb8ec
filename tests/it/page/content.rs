//! The page: exact names and types, true values, zeros before the first event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use botticelli_obs::{
    Builder, ErrorType, LlmCall, LlmTask, LlmToolCall, METRICS, Metric, MetricKind, Unit, Usage, counter, declare,
    describe_counter, describe_gauge, describe_histogram, gauge, histogram, llm_duration, llm_error, llm_request,
    llm_tokens, metrics,
};

use crate::support::page::{Page, is_told_by_clients};

const PAIR: &[(&str, &str)] = &[("provider", "gemini"), ("model", "gemini-2.5-flash")];

/// Returns the page of what is recorded.
fn page_of(builder: Builder, record: impl FnOnce()) -> Page {
    let (recorder, page) = builder.recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn page(record: impl FnOnce()) -> Page {
    page_of(Builder::new(), record)
}

fn one_call() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(12, 30));
    call.finish();
}

/// The families of the catalogue that can be on a page without traces, with their types.
fn catalogue() -> BTreeMap<&'static str, &'static str> {
    METRICS
        .iter()
        .filter(|metric| !metric.name.contains("spans_") && !metric.name.contains("export_"))
        .filter(|metric| cfg!(target_os = "linux") || !metric.name.starts_with("process."))
        .map(|metric| (metric.prometheus, metric.kind.as_str()))
        .collect()
}

/// A call whose client tells everything.
fn one_told_call() {
    LlmCall::start("gemini", "gemini-2.5-flash").scope_sync(|| {
        let call = LlmCall::current().expect("the code runs inside a call");
        call.record_wait(Duration::from_secs(1));
        call.attempt().fail(ErrorType::Network);
        call.attempt().finish();
    });
    let mut paid = LlmCall::start("gemini", "gemini-2.5-flash");
    paid.record_cost(0.01);
    paid.finish();
    gauge!("llm.price", &[PAIR, &[("kind", "input")]].concat()).set(0.3);
    for budget in ["llm.budget.limit", "llm.budget.spent"] {
        gauge!(budget, "budget" => "bot").set(1.0);
    }
    LlmTask::start("content_generator").scope_sync(|| {
        let mut paid = LlmCall::start("gemini", "gemini-2.5-flash");
        paid.record_cost(0.01);
        paid.finish();
        for _ in 0..2 {
            LlmToolCall::builder("search").with_arguments("weather").start().fail(ErrorType::Network);
        }
    });
    LlmTask::start("content_generator").finish();
    let labels = [PAIR, &[("kind", "requests_minute")]].concat();
    gauge!("llm.ratelimit.limit", &labels).set(100.0);
    gauge!("llm.ratelimit.remaining", &labels).set(99.0);
}

fn types(page: &Page) -> BTreeMap<&str, &str> {
    page.types.iter().map(|(family, kind)| (family.as_str(), kind.as_str())).collect()
}

#[test]
fn every_metric_of_the_catalogue_is_on_the_page_of_a_declared_pair() {
    let page = page_of(Builder::new().add_model("gemini", "gemini-2.5-flash"), || ());
    let is_declared = |metric: &&Metric| {
        metric.name.starts_with("llm.") && !metric.name.contains("timestamp") && !is_told_by_clients(metric)
    };
    for metric in METRICS.iter().filter(is_declared) {
        assert_eq!(
            page.types.get(metric.prometheus).map(String::as_str),
            Some(metric.kind.as_str()),
            "{}",
            metric.name
        );
    }
}

#[test]
fn the_owners_six_metrics_have_these_names_and_values() {
    let page = page(|| {
        one_call();
        LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Timeout);
    });
    assert_eq!(page.value("llm_requests_total", PAIR), 2.0);
    assert_eq!(page.value("llm_errors_total", &[PAIR, &[("error_type", "timeout")]].concat()), 1.0);
    assert_eq!(page.value("llm_duration_count", PAIR), 2.0);
    assert_eq!(page.value("llm_duration_bucket", &[PAIR, &[("le", "0.16")]].concat()), 2.0);
    assert!(page.value("llm_duration_sum", PAIR) < 0.16);
    assert_eq!(page.value("llm_tokens_total", PAIR), 42.0);
    assert_eq!(page.value("llm_tokens_prompt_total", PAIR), 12.0);
    assert_eq!(page.value("llm_tokens_completion_total", PAIR), 30.0);
}

#[test]
fn families_are_those_of_the_catalogue_and_no_more() {
    let page = page_of(Builder::new().add_model("gemini", "gemini-2.5-flash"), || {
        one_call();
        one_told_call();
    });
    let mut wanted = catalogue();
    // Said by `install` only.
    wanted.remove("botticelli_obs_pipeline_up");
    assert_eq!(types(&page), wanted);
    for metric in METRICS.iter().filter(|metric| wanted.contains_key(metric.prometheus)) {
        assert_eq!(page.help[metric.prometheus], metric.description);
    }
}

#[test]
fn labels_are_those_of_the_catalogue() {
    let page = page_of(Builder::new().add_model("gemini", "gemini-2.5-flash"), || {
        one_call();
        one_told_call();
    });
    for metric in METRICS.iter().filter(|metric| metric.name.starts_with("llm.")) {
        let name = match metric.kind {
            MetricKind::Histogram => format!("{}_count", metric.prometheus),
            _ => metric.prometheus.to_owned(),
        };
        for (labels, _) in page.of(&name) {
            let names: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
            assert_eq!(names, metric.labels.iter().copied().collect(), "{name}");
        }
    }
}

#[test]
fn descriptions_by_others_change_neither_names_nor_help() {
    let describe = || {
        for spelling in ["llm.duration", "llm_duration", "llm/duration"] {
            describe_histogram!(spelling, Unit::Milliseconds, "mine");
        }
        for spelling in ["llm.requests", "llm_requests", "llm_requests_total", "llm.requests.total"] {
            describe_counter!(spelling, Unit::Bytes, "mine");
            describe_gauge!(spelling, Unit::Bytes, "mine");
            describe_histogram!(spelling, Unit::Bytes, "mine");
        }
        describe_gauge!("llm.in_flight", Unit::Seconds, "mine");
        describe_counter!("llm.tokens.prompt", Unit::Count, "mine");
        describe_gauge!("target_info", Unit::Percent, "mine");
        describe_gauge!("botticelli_obs_build_info", Unit::Seconds, "mine");
    };
    let declared = || Builder::new().add_model("gemini", "gemini-2.5-flash");
    let plain = page_of(declared(), one_call);
    let before = page_of(declared(), || {
        describe();
        one_call();
    });
    let after = page_of(declared(), || {
        one_call();
        describe();
    });
    assert_eq!((&before.types, &before.help), (&plain.types, &plain.help));
    assert_eq!((&after.types, &after.help), (&plain.types, &plain.help));
    assert_eq!(before.value("llm_duration_count", PAIR), 1.0);
}

#[test]
fn spellings_of_a_catalogue_name_share_one_series() {
    let page = page(|| {
        for spelling in ["llm.requests", "llm_requests", "llm_requests_total", "llm.requests.total"] {
            counter!(spelling, "provider" => "gemini", "model" => "gemini-2.5-flash").increment(1);
        }
        counter!("llm_requests", "model" => "gemini-2.5-flash", "provider" => "gemini").increment(1);
        llm_request!("gemini", "gemini-2.5-flash");
        histogram!("llm_duration", "provider" => "gemini", "model" => "gemini-2.5-flash").record(0.5);
        llm_duration!("gemini", "gemini-2.5-flash", 1.0);
    });
    assert_eq!(page.value("llm_requests_total", PAIR), 6.0);
    assert_eq!(page.value("llm_duration_count", PAIR), 2.0);
    assert_eq!(page.value("llm_duration_sum", PAIR), 1.5);
}

#[test]
fn catalogue_name_of_another_kind_is_not_recorded() {
    let page = page(|| {
        one_call();
        for spelling in ["llm.requests", "llm_requests_total"] {
            gauge!(spelling, "provider" => "gemini").set(7.0);
            histogram!(spelling, "provider" => "gemini").record(7.0);
        }
        counter!("llm.duration", "provider" => "gemini").increment(7);
        counter!("llm_duration_total", "provider" => "gemini").increment(7);
        gauge!("llm_duration", "provider" => "gemini").set(7.0);
        counter!("llm.in_flight").increment(7);
    });
    assert_eq!(page.sum("llm_requests_total"), 1.0);
    assert_eq!(page.sum("llm_duration_count"), 1.0);
    assert_eq!(page.sum("llm_in_flight"), 0.0);
    for (family, kind) in types(&page) {
        if let Some(wanted) = catalogue().get(family) {
            assert_eq!(kind, *wanted, "{family}");
        }
    }
}

#[test]
fn histograms_of_the_program_are_histograms_with_default_buckets() {
    let page = page(|| {
        histogram!("job.latency").record(0.3);
        histogram!("job.latency").record(-1.0);
    });
    assert_eq!(page.types["job_latency"], "histogram");
    let bounds = page.of("job_latency_bucket").len();
    assert_eq!(bounds, 23, "22 bounds and infinity");
    assert_eq!(page.value("job_latency_bucket", &[("le", "0.001")]), 1.0);
    assert_eq!(page.value("job_latency_bucket", &[("le", "0.5")]), 2.0);
    assert_eq!(page.value("job_latency_bucket", &[("le", "10000")]), 2.0);
    assert_eq!(page.value("job_latency_sum", &[]), -0.7);
}

#[test]
fn buckets_are_those_of_the_catalogue_unless_set() {
    let builder = Builder::new()
        .with_buckets("job.latency", [3.0, 1.0, 3.0])
        .with_buckets("llm.time_to_first_chunk", vec![0.25])
        .add_model("gemini", "gemini-2.5-flash");
    let page = page_of(builder, || {
        histogram!("job.latency").record(2.0);
        histogram!("job.size").record(2.0);
    });
    let bounds = |name: &str| -> BTreeSet<String> {
        page.of(&format!("{name}_bucket")).into_iter().map(|(labels, _)| labels["le"].clone()).collect()
    };
    let set =
        |bounds: &[f64]| -> BTreeSet<String> { bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]).collect() };
    assert_eq!(bounds("job_latency"), set(&[1.0, 3.0]));
    assert_eq!(bounds("job_size").len(), 23);
    assert_eq!(bounds("llm_time_to_first_chunk_seconds"), set(&[0.25]));
    for metric in METRICS.iter().filter(|metric| matches!(metric.name, "llm.duration" | "llm.time_per_output_chunk")) {
        assert_eq!(bounds(metric.prometheus), set(metric.buckets), "{}", metric.name);
    }
}

#[test]
fn buckets_of_a_catalogue_metric_are_set_by_any_of_its_names() {
    for name in ["llm.duration", "llm_duration"] {
        let page = page_of(Builder::new().with_buckets(name, [1.0]), one_call);
        assert_eq!(page.of("llm_duration_bucket").len(), 2, "{name}");
    }
    for name in ["llm.time_to_first_chunk", "llm_time_to_first_chunk", "llm_time_to_first_chunk_seconds"] {
        let builder = Builder::new().with_buckets(name, [1.0]).add_model("gemini", "gemini-2.5-flash");
        assert_eq!(page_of(builder, || ()).of("llm_time_to_first_chunk_seconds_bucket").len(), 2, "{name}");
    }
}

#[test]
fn samples_that_are_no_durations_are_dropped_and_counted() {
    let page = page(|| {
        for sample in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.001, 0.5, 0.0] {
            llm_duration!("gemini", "gemini-2.5-flash", sample);
            histogram!("job.latency").record(sample);
        }
        histogram!("llm.duration", "provider" => "gemini", "model" => "gemini-2.5-flash").record_many(f64::NAN, 5);
        histogram!("llm.time_to_first_chunk", "provider" => "a", "model" => "b").record(-1.0);
    });
    let invalid = |metric| page.value("botticelli_obs_invalid_samples_total", &[("metric", metric)]);
    assert_eq!(page.value("llm_duration_count", PAIR), 2.0);
    assert_eq!(page.value("llm_duration_sum", PAIR), 0.5);
    assert_eq!(page.value("job_latency_count", &[]), 3.0);
    assert_eq!(page.value("job_latency_sum", &[]), 0.499);
    assert_eq!(invalid("job_latency"), 3.0);
    assert_eq!(invalid("llm_time_to_first_chunk_seconds"), 1.0);
    assert_eq!(invalid("llm_time_per_output_chunk_seconds"), 0.0);
    assert_eq!(invalid("llm_duration"), 4.0 + 5.0);
}

#[test]
fn declared_pair_has_zeros_for_every_outcome() {
    for page in [
        page(|| declare("gemini", "gemini-2.5-flash")),
        page(|| (0..3).for_each(|_| declare(String::from("gemini"), "gemini-2.5-flash"))),
        page_of(Builder::new().add_model("gemini", "gemini-2.5-flash"), || ()),
    ] {
        let types: BTreeSet<&str> =
            page.of("llm_errors_total").into_iter().map(|(labels, _)| labels["error_type"].as_str()).collect();
        assert_eq!(types, ErrorType::ALL.iter().map(|error| error.as_str()).collect());
        assert_eq!(page.of("llm_finish_total").len(), 6);
        let llm = page.samples.iter().filter(|((name, _), _)| name.starts_with("llm_"));
        assert!(llm.clone().all(|(_, value)| *value == 0.0), "{:#?}", page.samples);
        assert!(llm.clone().all(|((_, labels), _)| labels["model"] == "gemini-2.5-flash"));
        assert_eq!(page.value("llm_duration_count", PAIR), 0.0);
        assert!(page.of("llm_last_success_timestamp_seconds").is_empty(), "0 would be 1970");
    }
}

#[test]
fn declaring_a_pair_that_has_been_called_changes_nothing() {
    let page = page(|| {
        one_call();
        LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Auth);
        declare("gemini", "gemini-2.5-flash");
    });
    assert_eq!(page.value("llm_requests_total", PAIR), 2.0);
    assert_eq!(page.sum("llm_errors_total"), 1.0);
    assert_eq!(page.sum("llm_tokens_total"), 42.0);
}

#[test]
fn undeclared_pair_has_zeros_while_its_first_call_runs() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let call = metrics::with_local_recorder(&recorder, || LlmCall::start("gemini", "gemini-2.5-flash"));
    let running = Page::parse(&page.render());
    let has_zero = |metric: &&Metric| metric.kind == MetricKind::Counter && metric.labels.len() == 2;
    for metric in METRICS.iter().filter(has_zero).filter(|metric| !is_told_by_clients(metric)) {
        assert_eq!(running.get(metric.prometheus, PAIR), Some(0.0), "{}", metric.prometheus);
    }
    assert_eq!(running.value("llm_duration_count", PAIR), 0.0);
    assert_eq!(running.value("llm_in_flight", PAIR), 1.0);
    assert!(running.of("llm_errors_total").is_empty());
    call.finish();
    assert_eq!(Page::parse(&page.render()).value("llm_in_flight", PAIR), 0.0);
}

#[test]
fn single_macros_record_what_they_are_told() {
    let page = page(|| {
        llm_error!("gemini", "gemini-2.5-flash", ErrorType::RateLimit);
        llm_tokens!("gemini", "gemini-2.5-flash", prompt: 12, completion: 30);
    });
    assert_eq!(page.value("llm_errors_total", &[PAIR, &[("error_type", "rate_limit")]].concat()), 1.0);
    assert_eq!(page.value("llm_tokens_total", PAIR), 42.0);
    assert_eq!(page.value("llm_requests_total", PAIR), 0.0);
    assert_eq!(page.value("llm_duration_count", PAIR), 0.0);
}

#[test]
fn request_macro_records_a_whole_call_if_it_is_told_one() {
    let page = page(|| {
        let (model, took) = ("gemini-2.5-flash", std::time::Duration::from_millis(700));
        llm_request!("gemini", model, duration: took, prompt: 12, completion: 30);
        llm_request!("gemini", model, duration: 0.5, prompt: 1, completion: 2,);
    });
    assert_eq!(page.value("llm_requests_total", PAIR), 2.0);
    assert_eq!((page.value("llm_duration_count", PAIR), page.value("llm_duration_sum", PAIR)), (2.0, 1.2));
    assert_eq!(page.value("llm_tokens_total", PAIR), 45.0);
    assert_eq!(page.value("llm_tokens_prompt_total", PAIR), 13.0);
    assert_eq!(page.value("llm_tokens_completion_total", PAIR), 32.0);
    assert_eq!(page.sum("llm_errors_total"), 0.0);
}

#[test]
fn page_says_who_exports_it() {
    let page = page_of(Builder::new().with_service_name("bot-server").add_global_label("zone", "a"), || {
        counter!("jobs", "zone" => "b").increment(1);
        counter!("jobs").increment(1);
    });
    let targets = page.of("target_info");
    let [(target, 1.0)] = targets.as_slice() else { panic!("one target_info") };
    assert_eq!(target["service_name"], "bot-server");
    assert_eq!(target["service_instance_id"].len(), 36);
    let version = [("version", env!("CARGO_PKG_VERSION")), ("zone", "a")];
    assert_eq!(page.value("botticelli_obs_build_info", &version), 1.0);
    assert_eq!(page.value("jobs_total", &[("zone", "b")]), 1.0);
    assert_eq!(page.value("jobs_total", &[("zone", "a")]), 1.0);
}
