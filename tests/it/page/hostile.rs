//! The page is readable whatever a program and its users put into names and labels.

use std::collections::BTreeMap;
use std::process::Command;

use botticelli_obs::{
    Builder, ErrorType, LlmCall, Usage, counter, describe_counter, gauge, histogram, llm_error, llm_request, metrics,
};
use proptest::prelude::*;

use crate::support::page::Page;
use crate::support::{find_program, run_with_input};

fn rendered(record: impl FnOnce()) -> String {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    page.render()
}

/// Returns what `promtool check metrics` has to say; `None` where there is no promtool.
fn promtool(page: &str) -> Option<String> {
    let mut check = Command::new(find_program("promtool")?);
    check.args(["check", "metrics"]);
    let output = run_with_input(check, page);
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn hostile_values() -> Vec<String> {
    let texts = [
        "",
        " ",
        "a\nb",
        "a\"b",
        "a\\",
        "\\\\",
        "\\\"",
        "a\\n",
        "\0",
        "a\rb",
        "\r\n",
        "\u{85}",
        "{}",
        "a,b=\"c\"",
        "#",
        "}",
        "é",
        "日本語",
        "NaN",
        "# TYPE x counter",
    ];
    let long = ["x".repeat(1 << 20), "😀".repeat(100), format!("{}😀", "x".repeat(126))];
    texts.into_iter().map(str::to_owned).chain(long).collect()
}

#[test]
fn hostile_label_values_leave_the_page_readable() {
    let values = hostile_values();
    let text = rendered(|| {
        for value in &values {
            counter!("jobs", "name" => value.clone()).increment(1);
            gauge!("level", "name" => value.clone()).set(1.0);
            histogram!("job.latency", "name" => value.clone()).record(1.0);
            llm_request!(value, value);
            llm_error!(value, value, ErrorType::Unknown);
            let mut call = LlmCall::start(value, value);
            call.record_usage(Usage::new(1, 1));
            call.finish();
        }
    });
    let page = Page::parse(&text);
    let recorded = values.len() as f64;
    assert_eq!(page.sum("jobs_total"), recorded);
    assert_eq!(page.sum("job_latency_count"), recorded);
    assert_eq!(page.sum("llm_requests_total"), 2.0 * recorded);
    assert_eq!(page.sum("llm_errors_total"), recorded);
    assert_eq!(page.sum("llm_tokens_total"), 2.0 * recorded);
    assert!(page.samples.keys().all(|(_, labels)| labels.values().all(|value| value.len() <= 128)));
    assert!(page.samples.keys().all(|(_, labels)| labels.values().all(|value| !value.contains(char::is_control))));
    if let Some(findings) = promtool(&text) {
        assert!(!findings.contains("error while linting"), "{findings}");
    }
}

#[test]
fn long_value_is_cut_at_a_character() {
    let page = Page::parse(&rendered(|| llm_request!("x".repeat(126) + "😀", "😀".repeat(1000))));
    let requests = page.of("llm_requests_total");
    let (labels, _) = requests[0];
    assert_eq!(labels["provider"], "x".repeat(126));
    assert_eq!(labels["model"], "😀".repeat(32));
}

#[test]
fn provider_and_model_are_trimmed_and_never_blank() {
    let page = Page::parse(&rendered(|| {
        llm_request!(" gemini\n", "models/gemini-2.5-flash");
        llm_request!("gemini", "gemini-2.5-flash");
        llm_request!("", "\t \n");
        LlmCall::start("", "models/").finish();
        counter!("jobs", "model" => "models/a").increment(1);
    }));
    assert_eq!(page.value("llm_requests_total", &[("provider", "gemini"), ("model", "gemini-2.5-flash")]), 2.0);
    assert_eq!(page.value("llm_requests_total", &[("provider", "unknown"), ("model", "unknown")]), 2.0);
    assert_eq!(page.value("jobs_total", &[("model", "models/a")]), 1.0);
}

#[test]
fn hostile_label_names_leave_the_page_readable() {
    let names = [
        "le",
        "quantile",
        "__name__",
        "__",
        "",
        "a b",
        "a\nb",
        "a\"b",
        "1a",
        "é",
        "a=b",
        "a,b",
        "{",
        "\0",
        "le\n",
        "_",
        "a:b",
        "_.name__",
        ".-name__",
        "__.name__",
        "__1a",
        "__é",
        "é.x",
        "_:x",
    ];
    let text = rendered(|| {
        for name in names {
            counter!("jobs", name => "x").increment(1);
            gauge!("level", name => "x").set(1.0);
            histogram!("job.latency", name => "x").record(1.0);
            llm_request!("a", "b");
            counter!("llm.requests", "provider" => "a", "model" => "b", name => "x").increment(1);
        }
    });
    let page = Page::parse(&text);
    assert_eq!(page.sum("jobs_total"), names.len() as f64);
    assert_eq!(page.sum("job_latency_count"), names.len() as f64);
    assert_eq!(page.sum("llm_requests_total"), 2.0 * names.len() as f64);
    assert_eq!(page.value("jobs_total", &[("exported_le", "x")]), 1.0);
    assert!(page.samples.keys().all(|(_, labels)| labels.keys().all(|name| !name.starts_with("__"))), "{text}");
    if let Some(findings) = promtool(&text) {
        assert!(!findings.contains("error while linting"), "{findings}");
    }
}

#[test]
fn of_label_names_that_become_one_the_first_counts() {
    let page = Page::parse(&rendered(|| {
        counter!("jobs", "a.b" => "1", "a-b" => "2", "a_b" => "3").increment(1);
        counter!("jobs", "a_b" => "1").increment(1);
        histogram!("job.latency", "le" => "1", "exported_le" => "2").record(1.0);
        counter!("llm.requests", "provider" => "a", "provider" => "b", "model" => "m").increment(1);
    }));
    assert_eq!(page.value("jobs_total", &[("a_b", "1")]), 2.0);
    assert_eq!(page.value("job_latency_count", &[("exported_le", "1")]), 1.0);
    assert_eq!(page.value("llm_requests_total", &[("provider", "a"), ("model", "m")]), 1.0);
}

#[test]
fn hostile_descriptions_leave_the_page_readable() {
    let text = rendered(|| {
        for (index, text) in hostile_values().into_iter().enumerate() {
            let name = format!("jobs.{index}");
            describe_counter!(name.clone(), text);
            counter!(name).increment(1);
        }
    });
    Page::parse(&text);
    if let Some(findings) = promtool(&text) {
        assert!(!findings.contains("error while linting"), "{findings}");
    }
}

#[test]
fn spellings_of_one_name_of_the_programs_share_a_series() {
    let page = Page::parse(&rendered(|| {
        for spelling in ["jobs.done", "jobs_done", "jobs_done_total", "jobs done"] {
            counter!(spelling).increment(1);
        }
        gauge!("queue.length").increment(1.0);
        gauge!("queue_length").increment(1.0);
        histogram!("job.latency").record(1.0);
        histogram!("job_latency").record(1.0);
    }));
    assert_eq!(page.value("jobs_done_total", &[]), 4.0);
    assert_eq!(page.value("queue_length", &[]), 2.0);
    assert_eq!(page.value("job_latency_count", &[]), 2.0);
}

#[test]
fn name_used_for_two_kinds_belongs_to_the_first() {
    let text = rendered(|| {
        gauge!("jobs_total").set(5.0);
        counter!("jobs").increment(1);
        histogram!("latency").record(1.0);
        gauge!("latency").set(5.0);
        gauge!("latency_sum").set(5.0);
        gauge!("latency.count").set(5.0);
        gauge!("size_bucket").set(5.0);
        histogram!("size").record(1.0);
        LlmCall::start("a", "b").finish();
        gauge!("llm.duration.sum").set(5.0);
    });
    let page = Page::parse(&text);
    assert_eq!(page.value("jobs_total", &[]), 5.0);
    assert_eq!(page.value("latency_count", &[]), 1.0);
    assert_eq!(page.value("size_bucket", &[]), 5.0);
    assert_eq!(page.get("llm_duration_sum", &[]), None);
    assert!(!page.types.contains_key("size"));
}

#[test]
fn what_is_recorded_under_a_name_of_ours_as_another_kind_counts_as_invalid() {
    let page = Page::parse(&rendered(|| {
        LlmCall::start("a", "b").finish();
        gauge!("llm.duration", "provider" => "a", "model" => "b").set(5.0);
        gauge!("llm_duration").increment(5.0);
        histogram!("llm.requests").record_many(1.0, 3);
        counter!("target_info").increment(5);
    }));
    for (metric, records) in [("llm_duration", 2.0), ("llm_requests_total", 3.0), ("target_info", 1.0)] {
        assert_eq!(page.value("botticelli_obs_invalid_samples_total", &[("metric", metric)]), records, "{metric}");
    }
    assert_eq!((page.sum("llm_requests_total"), page.sum("llm_duration_count")), (1.0, 1.0));
}

#[test]
fn health_counters_have_each_series_once_whatever_a_program_calls_its_metrics() {
    let (recorder, page) = Builder::new().with_max_series(1).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        for name in ["a", "b", "c"] {
            gauge!("llm", "name" => name).set(1.0);
            gauge!("other", "name" => name).set(1.0);
            llm_request!("p", name);
        }
        (0..1_001).for_each(|name| gauge!(format!("level.{name}")).set(1.0));
        counter!("botticelli.obs.label_overflow", "metric" => "llm").increment(5);
        counter!("botticelli_obs_invalid_samples_total", "metric" => "llm_duration").increment(5);
    });
    let page = Page::parse(&page.render());
    let value = |name: &str, metric| page.value(&format!("botticelli_obs_{name}_total"), &[("metric", metric)]);
    assert_eq!(value("label_overflow", "llm"), 2.0 + 2.0 + 5.0);
    assert_eq!(
        value("label_overflow", "other"),
        2.0 + 3.0,
        "of the metric of that name, and of names beyond their bound"
    );
    assert_eq!(value("invalid_samples", "llm_duration"), 5.0);
}

#[test]
fn promtool_finds_nothing_wrong_with_our_own_families() {
    let (recorder, page) = Builder::new().add_model("gemini", "gemini-2.5-flash").recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        call.record_usage(Usage::new(12, 30));
        call.finish();
    });
    if let Some(findings) = promtool(&page.render()) {
        assert_eq!(findings, "");
    }
}

/// What a program may do to the recorder.
#[derive(Clone, Debug)]
enum Act {
    Count(u32),
    Set(f64),
    Sample(f64),
    Call(bool),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0_u32..1000).prop_map(Act::Count),
        any::<f64>().prop_map(Act::Set),
        (-1e6..1e6).prop_map(Act::Sample),
        Just(Act::Sample(f64::NAN)),
        any::<bool>().prop_map(Act::Call),
    ]
}

/// Words that collide often, between texts of any kind.
fn texts() -> impl Strategy<Value = String> {
    const WORDS: &[&str] =
        &["jobs", "jobs_total", "jobs.a", "jobs_a", "jobs_sum", "le", "a.b", "a_b", "llm.requests", "llm_x", "models/"];
    prop_oneof![prop::sample::select(WORDS).prop_map(str::to_owned), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_label_value_is_short_and_plain_and_counts_where_its_clean_form_counts(
        value in prop_oneof![any::<String>(), "(models/)?[a\"\\\\\n\u{85}é]{0,20}", "(models/)?[aé日😀]{0,140}"],
    ) {
        let record = |value: &str| {
            counter!("jobs", "name" => value.to_owned()).increment(1);
            llm_request!(value, value);
        };
        let values = |text: &str, name: &str, label: &str| -> Vec<String> {
            Page::parse(text).of(name).into_iter().filter_map(|(labels, _)| labels.get(label).cloned()).collect()
        };
        let text = rendered(|| record(&value));
        let (jobs, models) = (values(&text, "jobs_total", "name"), values(&text, "llm_requests_total", "model"));
        prop_assert_eq!((jobs.len(), models.len()), (1, 1));
        for clean in [&jobs[0], &models[0]] {
            prop_assert!(clean.len() <= 128 && !clean.contains(|c: char| c.is_control() || c == '"' || c == '\\'), "{clean:?}");
        }
        prop_assert!(!models[0].is_empty());
        let text = rendered(|| {
            record(&value);
            counter!("jobs", "name" => jobs[0].clone()).increment(1);
        });
        prop_assert_eq!(Page::parse(&text).value("jobs_total", &[("name", &jobs[0])]), 2.0);
    }

    #[test]
    fn any_page_is_readable_and_keeps_every_sum(
        acts in prop::collection::vec((texts(), prop::collection::vec((texts(), texts()), 0..4), acts()), 1..40),
    ) {
        // Each kind has a prefix of its own, which no generated text has: a text such as `cꟕn` would be a name with the prefix `c_`.
        let (mut counts, mut samples) = (0_u64, 0_u64);
        let mut calls = BTreeMap::from([(true, 0_u64), (false, 0)]);
        let text = rendered(|| for (name, labels, act) in &acts {
            match act {
                Act::Count(count) => {
                    counter!(format!("counted.{name}.n"), labels).increment(u64::from(*count));
                    counts += u64::from(*count);
                }
                Act::Set(value) => {
                    gauge!(format!("set.{name}"), labels).set(*value);
                }
                Act::Sample(value) => {
                    histogram!(format!("sampled.{name}.n"), labels).record(*value);
                    samples += u64::from(value.is_finite());
                }
                Act::Call(success) => {
                    let call = LlmCall::start(name, name);
                    if *success { call.finish() } else { drop(call) }
                    *calls.entry(*success).or_default() += 1;
                }
            }
            // And now of any kind, whoever comes first.
            match act {
                Act::Count(count) => counter!(name.clone(), labels).increment(u64::from(*count)),
                Act::Set(value) => gauge!(name.clone(), labels).set(*value),
                Act::Sample(value) if !ends_like_a_part(name) => histogram!(name.clone(), labels).record(*value),
                Act::Sample(_) | Act::Call(_) => {}
            }
        });
        let page = Page::parse(&text);
        let sum_of = |start: &str, end: &str| -> f64 {
            let samples = page.samples.iter();
            samples.filter(|((name, _), _)| name.starts_with(start) && name.ends_with(end)).map(|(_, value)| value).sum()
        };
        prop_assert_eq!(sum_of("counted_", "_n_total"), counts as f64);
        prop_assert_eq!(sum_of("sampled_", "_n_count"), samples as f64);
        prop_assert_eq!(page.sum("llm_errors_total"), calls[&false] as f64);
        prop_assert!(page.sum("llm_duration_count") == (calls[&true] + calls[&false]) as f64);
    }
}

/// The exporter leaves the ending out where a name has it already: `x_count` would have no `x_count_count`.
fn ends_like_a_part(name: &str) -> bool {
    ["sum", "count", "bucket"].iter().any(|ending| name.ends_with(ending))
}
