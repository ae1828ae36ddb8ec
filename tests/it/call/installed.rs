//! Calls of the process' recorder, which finds pairs by a shorter way than any other one.

use std::time::Duration;

use botticelli_obs::{Builder, ErrorType, LlmCall, Telemetry, Usage, llm_request, metrics};

use crate::support::in_own_process;
use crate::support::page::Page;

const MODEL: &str = "gemini-2.5-flash";

fn install(builder: Builder) -> Telemetry {
    builder.without_listener().without_subscriber().install().expect("it is the first of this process")
}

fn page(telemetry: &Telemetry) -> Page {
    Page::parse(&telemetry.render())
}

fn requests(page: &Page, model: &str) -> Option<f64> {
    page.get("llm_requests_total", &[("provider", "gemini"), ("model", model)])
}

/// Records a call inside one to `gemini-2.5-flash`.
fn inside(inner: impl Fn() -> LlmCall) {
    LlmCall::start("gemini", MODEL).observe_sync(|| inner().finish());
}

#[test]
fn call_inside_another_is_a_part_of_it_if_all_its_names_are_the_same() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new().with_max_series(2));
        // The first one opens the pair, the others find it.
        for _ in 0..3 {
            inside(|| LlmCall::start("gemini", MODEL));
            inside(|| LlmCall::builder("gemini", MODEL).with_operation("embeddings").start());
            inside(|| LlmCall::start("gemini", "gemini-2.5-pro"));
        }
        assert_eq!(requests(&page(&telemetry), MODEL), Some(12.0));
        assert_eq!(requests(&page(&telemetry), "gemini-2.5-pro"), Some(3.0));
        // These share one pair.
        for _ in 0..3 {
            LlmCall::start("gemini", "beyond").observe_sync(|| LlmCall::start("gemini", "the-bound").finish());
            LlmCall::start("gemini", "other").observe_sync(|| LlmCall::start("gemini", "beyond").finish());
        }
        assert_eq!(requests(&page(&telemetry), "other"), Some(12.0));
    });
}

#[test]
fn call_has_nothing_of_the_one_that_ended_before_it_on_its_thread() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new());
        for _ in 0..3 {
            let mut first = LlmCall::builder("gemini", "first").with_timeout(Duration::ZERO).start();
            first.record_usage(Usage::new(3, 4));
            first.record_finish_reason("stop");
            first.record_chunk();
            first.fail(ErrorType::Auth);
            LlmCall::start("gemini", "second").finish();
            drop(LlmCall::start("gemini", "third"));
            LlmCall::start("gemini", "third").observe_sync(|| LlmCall::start("gemini", "first").finish());
        }
        let page = page(&telemetry);
        let of = |name: &str, model: &str, third: &[(&str, &str)]| {
            page.get(name, &[&[("provider", "gemini"), ("model", model)], third].concat())
        };
        assert_eq!(of("llm_tokens_total", "first", &[]), Some(21.0));
        assert_eq!(of("llm_tokens_total", "second", &[]), Some(0.0));
        assert_eq!(of("llm_usage_missing_total", "second", &[]), Some(3.0));
        assert_eq!(of("llm_finish_total", "second", &[("finish_reason", "stop")]), None);
        assert_eq!(of("llm_errors_total", "second", &[("error_type", "auth")]), None);
        assert_eq!(of("llm_errors_total", "third", &[("error_type", "cancelled")]), Some(3.0));
        assert_eq!(of("llm_errors_total", "third", &[("error_type", "timeout")]), None);
        assert_eq!(of("llm_time_to_first_chunk_seconds_count", "second", &[]), None);
        assert_eq!(page.sum("llm_in_flight"), 0.0);
    });
}

#[test]
fn every_spelling_and_every_way_to_record_a_call_count_for_one_pair() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new());
        for model in [MODEL, "models/gemini-2.5-flash", " gemini-2.5-flash "] {
            for _ in 0..3 {
                llm_request!("gemini", model, duration: 0.5, prompt: 1, completion: 2);
                llm_request!(" gemini", model);
                LlmCall::start("gemini", model).finish();
            }
        }
        let page = page(&telemetry);
        assert_eq!(requests(&page, MODEL), Some(27.0));
        assert_eq!(page.sum("llm_requests_total"), 27.0);
    });
}

#[test]
fn local_recorder_gets_the_calls_of_a_pair_that_the_process_recorder_knows() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new());
        let (local, local_page) = Builder::new().recorder().expect("a recorder");
        let record = || {
            llm_request!("gemini", MODEL, duration: 0.5, prompt: 1, completion: 2);
            LlmCall::start("gemini", MODEL).finish();
        };
        for _ in 0..3 {
            record();
            metrics::with_local_recorder(&local, record);
        }
        assert_eq!(requests(&page(&telemetry), MODEL), Some(6.0));
        assert_eq!(requests(&Page::parse(&local_page.render()), MODEL), Some(6.0));
    });
}

#[test]
fn finished_call_whose_numbers_no_call_has_is_a_request_and_counts_as_invalid() {
    in_own_process(&[], || {
        let telemetry = install(Builder::new());
        for seconds in [0.0, -0.0, 1e9, f64::MIN_POSITIVE, -1.0, f64::NAN, f64::INFINITY] {
            llm_request!("gemini", MODEL, duration: seconds, prompt: 1, completion: 2);
        }
        llm_request!("gemini", MODEL, duration: 1.0, prompt: u64::MAX, completion: 2);
        let page = page(&telemetry);
        assert_eq!(requests(&page, MODEL), Some(8.0));
        assert_eq!(page.sum("llm_duration_count"), 5.0);
        assert_eq!(page.sum("llm_tokens_total"), 21.0);
        assert_eq!(page.sum("botticelli_obs_invalid_samples_total"), 4.0);
    });
}
