//! The bound on series: what is beyond it is folded into one, and nothing is lost.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use botticelli_obs::{
    Builder, ErrorType, LlmCall, Usage, counter, declare, gauge, histogram, llm_duration, llm_error, llm_request,
    llm_tokens, metrics,
};
use proptest::prelude::*;

use crate::support::page::Page;
use crate::support::warnings::Warnings;
use crate::support::{in_own_process, wait_for};

const OTHERS: &[(&str, &str)] = &[("provider", "gemini"), ("model", "other")];

fn page_of(builder: Builder, record: impl FnOnce()) -> Page {
    let (recorder, page) = builder.recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

/// The page of what is recorded with room for three series.
fn page(record: impl FnOnce()) -> Page {
    page_of(Builder::new().with_max_series(3), record)
}

fn call(provider: &str, model: &str) {
    let mut call = LlmCall::start(provider, model);
    call.record_usage(Usage::new(2, 3));
    call.finish();
}

fn overflow(page: &Page, metric: &str) -> f64 {
    page.value("botticelli_obs_label_overflow_total", &[("metric", metric)])
}

/// How many different values a label has in a family.
fn values(page: &Page, name: &str, label: &str) -> BTreeSet<String> {
    page.of(name).into_iter().filter_map(|(labels, _)| labels.get(label).cloned()).collect()
}

#[test]
fn pairs_beyond_the_bound_are_one_for_each_provider() {
    let page = page(|| {
        for model in ["a", "b", "c", "d", "e", "a", "d"] {
            call("gemini", model);
        }
        LlmCall::start("openai", "f").fail(ErrorType::Timeout);
    });
    let openai = [("provider", "openai"), ("model", "other")];
    assert_eq!(page.of("llm_requests_total").len(), 5);
    assert_eq!(page.value("llm_requests_total", &[("provider", "gemini"), ("model", "a")]), 2.0);
    assert_eq!(page.value("llm_requests_total", OTHERS), 3.0);
    assert_eq!(page.value("llm_requests_total", &openai), 1.0);
    assert_eq!(page.value("llm_duration_count", OTHERS), 3.0);
    assert_eq!(page.value("llm_errors_total", &[&openai[..], &[("error_type", "timeout")]].concat()), 1.0);
    assert_eq!(page.value("llm_tokens_total", OTHERS), 15.0);
    assert_eq!(page.value("llm_in_flight", OTHERS), 0.0);
    assert_eq!(overflow(&page, "llm"), 4.0);
}

#[test]
fn providers_beyond_a_hundred_share_one_pair() {
    let page = page(|| {
        ["a", "b", "c"].iter().for_each(|model| call("gemini", model));
        (0..150).for_each(|number| call(&format!("provider-{number}"), "m"));
    });
    let all = [("provider", "other"), ("model", "other")];
    assert_eq!(page.of("llm_requests_total").len(), 3 + 100 + 1);
    assert_eq!(page.value("llm_requests_total", &[("provider", "provider-99"), ("model", "other")]), 1.0);
    assert_eq!(page.value("llm_requests_total", &all), 50.0);
    assert_eq!(overflow(&page, "llm"), 150.0);
}

#[test]
fn overflow_is_zero_before_there_is_any() {
    assert_eq!(overflow(&page(|| call("gemini", "a")), "llm"), 0.0);
}

#[test]
fn pair_is_admitted_once_for_all_metrics() {
    let page = page(|| {
        for model in ["a", "b", "c", "d"] {
            llm_request!("gemini", model);
        }
        for model in ["d", "c", "b", "a"] {
            llm_error!("gemini", model, ErrorType::Auth);
            llm_duration!("gemini", model, 0.5);
            llm_tokens!("gemini", model, prompt: 1, completion: 1);
            counter!("llm.requests", "provider" => "gemini", "model" => model).increment(1);
        }
    });
    for family in ["llm_requests_total", "llm_errors_total", "llm_duration_count", "llm_tokens_total"] {
        assert_eq!(values(&page, family, "model"), BTreeSet::from(["a", "b", "c", "other"].map(str::to_owned)));
    }
    assert_eq!(page.value("llm_requests_total", OTHERS), 2.0);
    assert_eq!(page.sum("llm_requests_total"), 8.0);
}

#[test]
fn spellings_of_a_model_take_one_place() {
    let page = page(|| {
        for model in ["a", "models/a", "models/ a", " models/models/a ", "a\n", "b"] {
            call("gemini", model);
        }
        call("gemini", "c");
    });
    // "a\n" is "a" after its blanks are cut.
    assert_eq!(page.value("llm_requests_total", &[("provider", "gemini"), ("model", "a")]), 5.0);
    assert_eq!(overflow(&page, "llm"), 0.0);
}

#[test]
fn blanks_around_a_name_are_no_part_of_it_however_many() {
    let page = page(|| call("gemini", &format!("models/{}x", " ".repeat(200))));
    assert_eq!(page.value("llm_requests_total", &[("provider", "gemini"), ("model", "x")]), 1.0);
    let page = page_of(Builder::new(), || call(&format!("{}x", "\u{2003}".repeat(99)), "\t models/ \n"));
    assert_eq!(page.value("llm_requests_total", &[("provider", "x"), ("model", "unknown")]), 1.0);
}

#[test]
fn declared_pair_beyond_the_bound_is_folded_too() {
    let page = page(|| ["a", "b", "c", "d"].iter().for_each(|model| declare("gemini", model)));
    assert_eq!(values(&page, "llm_requests_total", "model").len(), 4);
    assert_eq!(page.value("llm_requests_total", OTHERS), 0.0);
}

#[test]
fn model_called_other_is_no_overflow() {
    let page = page(|| {
        call("other", "other");
        ["a", "b", "c"].iter().for_each(|model| call("gemini", model));
    });
    assert_eq!(page.of("llm_requests_total").len(), 4);
    assert_eq!(overflow(&page, "llm"), 0.0);
}

#[test]
fn labels_of_llm_metrics_are_those_of_the_catalogue_whoever_records_them() {
    let page = page(|| {
        for user in 0..10 {
            let user = user.to_string();
            counter!("llm.requests", "model" => "a", "user" => user.clone()).increment(1);
            counter!("llm.errors", "provider" => "x", "model" => "a", "error_type" => user.clone()).increment(1);
            counter!("llm.finish", "provider" => "x", "model" => "a", "finish_reason" => user).increment(1);
        }
    });
    assert_eq!(page.value("llm_requests_total", &[("provider", "unknown"), ("model", "a")]), 10.0);
    let pair = [("provider", "x"), ("model", "a")];
    assert_eq!(page.value("llm_errors_total", &[&pair[..], &[("error_type", "unknown")]].concat()), 10.0);
    assert_eq!(page.value("llm_finish_total", &[&pair[..], &[("finish_reason", "other")]].concat()), 10.0);
}

#[test]
fn label_sets_of_any_metric_are_bounded_one_by_one() {
    let page = page(|| {
        for id in 0..10 {
            let id = id.to_string();
            counter!("jobs", "id" => id.clone(), "kind" => "x").increment(1);
            histogram!("job.latency", "id" => id).record(0.5);
            counter!("ticks").increment(1);
        }
        counter!("jobs", "id" => "0", "kind" => "x").increment(1);
    });
    assert_eq!(page.of("jobs_total").len(), 4);
    assert_eq!(page.value("jobs_total", &[("id", "0"), ("kind", "x")]), 2.0);
    assert_eq!(page.value("jobs_total", &[("id", "other"), ("kind", "other")]), 7.0);
    assert_eq!(page.value("job_latency_count", &[("id", "other")]), 7.0);
    assert_eq!(page.value("ticks_total", &[]), 10.0);
    assert_eq!((overflow(&page, "jobs_total"), overflow(&page, "job_latency")), (7.0, 7.0));
}

#[test]
fn label_names_made_up_at_run_time_are_folded_into_one_series() {
    let page = page(|| (0..10).for_each(|id| counter!("jobs", format!("label_{id}") => "x").increment(1)));
    assert_eq!(page.of("jobs_total").len(), 4);
    assert_eq!(page.value("jobs_total", &[("label_0", "other")]), 7.0);
}

#[test]
fn metric_names_made_up_at_run_time_are_bounded() {
    let page = page(|| (0..1_007).for_each(|id| counter!(format!("jobs.of.{id}")).increment(1)));
    assert_eq!(page.types.keys().filter(|family| family.starts_with("jobs_of")).count(), 1_000);
    assert_eq!(overflow(&page, "other"), 7.0);
}

#[test]
fn names_are_bounded_when_threads_make_them_up_together() {
    for _ in 0..50 {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let count = |name: String| metrics::with_local_recorder(&recorder, || counter!(name).increment(1));
        (0..999).for_each(|id| count(format!("jobs.of.{id}")));
        let together = Barrier::new(4);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (together, count) = (&together, &count);
                scope.spawn(move || {
                    together.wait();
                    count(format!("jobs.of.thread.{thread}"));
                });
            }
        });
        let page = Page::parse(&page.render());
        assert_eq!(page.types.keys().filter(|family| family.starts_with("jobs_of")).count(), 1_000);
        assert_eq!(overflow(&page, "other"), 3.0);
    }
}

#[test]
fn gauges_beyond_the_bound_add_up_and_are_not_set() {
    let page = page(|| {
        for id in 0..10 {
            gauge!("queue.length", "id" => id.to_string()).increment(2.0);
            gauge!("queue.length", "id" => id.to_string()).decrement(1.0);
            gauge!("room.temperature", "id" => id.to_string()).set(20.0);
        }
    });
    assert_eq!(page.value("queue_length", &[("id", "other")]), 7.0);
    // Not even with 0, which nobody has measured.
    assert_eq!(page.of("room_temperature").len(), 3);
}

#[test]
fn recorder_beside_the_page_gets_the_same_bound() {
    let beside = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = beside.snapshotter();
    page_of(Builder::new().with_max_series(1).add_recorder(beside), || {
        ["a", "b", "c"].iter().for_each(|m| call("x", m))
    });
    let models: BTreeSet<String> = snapshotter
        .snapshot()
        .into_vec()
        .iter()
        .filter(|(key, ..)| key.key().name() == "llm.requests")
        .filter_map(|(key, ..)| key.key().labels().find(|label| label.key() == "model").map(|l| l.value().to_owned()))
        .collect();
    assert_eq!(models, BTreeSet::from(["a".to_owned(), "other".to_owned()]));
}

#[test]
fn nothing_is_lost_when_threads_meet_at_the_bound() {
    const THREADS: usize = 4;
    const CALLS: usize = 2_000;
    let (recorder, page) = Builder::new().with_max_series(50).recorder().expect("a recorder");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let recorder = &recorder;
            scope.spawn(move || {
                metrics::with_local_recorder(recorder, || {
                    for number in 0..CALLS {
                        // All threads come to the same pair at about the same time.
                        let model = (number % 500).to_string();
                        call("gemini", &model);
                        counter!("jobs", "id" => model, "of" => if thread == 0 { "a" } else { "b" }).increment(1);
                    }
                });
            });
        }
    });
    let page = Page::parse(&page.render());
    assert_eq!(page.of("llm_requests_total").len(), 51);
    assert_eq!(page.of("jobs_total").len(), 51);
    for family in ["llm_requests_total", "llm_duration_count", "jobs_total"] {
        assert_eq!(page.sum(family), (THREADS * CALLS) as f64, "{family}");
    }
    assert_eq!(page.sum("llm_tokens_total"), (THREADS * CALLS * 5) as f64);
    assert_eq!(overflow(&page, "llm"), page.value("llm_requests_total", OTHERS));
}

#[test]
fn bound_of_zero_is_refused() {
    let error = Builder::new().with_max_series(0).recorder().expect_err("there must be some");
    assert!(error.is_invalid_setting() && error.to_string().starts_with("with_max_series"), "{error}");
}

#[test]
fn overflow_is_logged_once_a_metric() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        let warnings = Warnings::default();
        let builder = Builder::new().with_max_series(1).add_layer(warnings.clone());
        let _telemetry = builder.install().expect("it installs");
        let warnings_of = |metric: &str| {
            let beginning = format!("metrics: {metric} has more than 1 label sets");
            warnings.count(|warning| warning.starts_with(&beginning))
        };
        // Once there is a line of the last one, all three rounds have been reported.
        for last in ["llm", "jobs_total", "ticks_total"] {
            for id in ["a", "b", "c"] {
                match last {
                    "llm" => call("gemini", id),
                    "jobs_total" => counter!("jobs", "id" => id).increment(1),
                    _ => counter!("ticks", "id" => id).increment(1),
                }
                call("gemini", id);
            }
            let what = format!("the warning of {last}");
            wait_for(&what, Duration::from_secs(30), || (warnings_of(last) > 0).then_some(()));
        }
        assert_eq!(["llm", "jobs_total", "ticks_total"].map(warnings_of), [1, 1, 1]);
    });
}

#[test]
fn label_set_that_is_called_other_shares_the_series_for_others() {
    let page = page(|| {
        for zone in ["other", "a", "other", "b", "c", "d", "e", "other"] {
            counter!("jobs", "zone" => zone).increment(1);
            gauge!("level", "zone" => zone).increment(1.0);
        }
    });
    for name in ["jobs_total", "level"] {
        assert_eq!(page.of(name).len(), 4, "{name}");
        assert_eq!(page.value(name, &[("zone", "other")]), 5.0, "{name}");
    }
    assert_eq!(overflow(&page, "jobs_total"), 2.0);
}

#[test]
fn series_without_labels_is_not_the_one_for_others() {
    let page = page(|| {
        gauge!("level").set(7.0);
        for zone in ["a", "b", "c", "d"] {
            gauge!("level", "zone" => zone).increment(1.0);
        }
        gauge!("level").set(8.0);
    });
    assert_eq!(page.value("level", &[]), 8.0);
    assert_eq!(page.value("level", &[("zone", "other")]), 2.0);
}

#[test]
fn label_of_every_series_is_on_each_once() {
    let builder = Builder::new().add_global_label("error_type", "x").add_global_label("metric", "x");
    let page = page_of(builder.add_global_label("zone", "a").add_global_label("zone", "b"), || {
        LlmCall::start("gemini", "a").fail(ErrorType::Timeout);
        counter!("jobs").increment(1);
        counter!("jobs", "zone" => "b").increment(1);
        counter!("jobs", "zone" => "a").increment(1);
    });
    let of_all = [("error_type", "x"), ("metric", "x")];
    assert_eq!(page.value("jobs_total", &[&of_all[..], &[("zone", "b")]].concat()), 2.0);
    assert_eq!(page.value("jobs_total", &[&of_all[..], &[("zone", "a")]].concat()), 1.0);
    let labels = [("error_type", "timeout"), ("metric", "x"), ("zone", "b"), ("provider", "gemini"), ("model", "a")];
    assert_eq!(page.value("llm_errors_total", &labels), 1.0);
}

proptest! {
    #[test]
    fn every_record_is_on_the_page(models in prop::collection::vec("[ -~\n]{0,6}", 1..40), bound in 1_usize..10) {
        let page = page_of(Builder::new().with_max_series(bound), || models.iter().for_each(|model| call("gemini", model)));
        prop_assert!(page.of("llm_requests_total").len() <= bound + 1);
        prop_assert_eq!(page.sum("llm_requests_total"), models.len() as f64);
        prop_assert_eq!(page.sum("llm_duration_count"), models.len() as f64);
        prop_assert_eq!(page.sum("llm_tokens_prompt_total"), 2.0 * models.len() as f64);
    }
}
