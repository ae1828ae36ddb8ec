//! What recording takes of the heap: nothing, once a provider and model are known.

use std::time::Duration;

use allocation_counter::measure;
use botticelli_obs::{Builder, ErrorType, LlmCall, declare, llm_duration, llm_error, llm_request, llm_tokens, metrics};

use crate::support::in_own_process;
use crate::support::page::Page;

const MODELS: [&str; 3] = ["gemini-2.5-flash", "models/gemini-2.5-pro", "gemini-2.0-flash"];

/// Requests, duration, three token counters.
fn finished_call(model: &str) {
    llm_request!("gemini", model);
    llm_duration!("gemini", model, Duration::from_millis(700));
    llm_tokens!("gemini", model, prompt: 12, completion: 30);
    llm_request!("gemini", model, duration: 0.7, prompt: 12, completion: 30);
}

/// How often the heap is asked for memory by a hundred rounds of calls, after a first one.
fn allocations(record: impl Fn(&str)) -> u64 {
    let round = || MODELS.iter().for_each(|model| record(model));
    round();
    measure(|| (0..100).for_each(|_| round())).count_total
}

#[test]
fn finished_call_of_a_known_pair_allocates_nothing() {
    in_own_process(&[("PROMETHEUS_ENDPOINT", "off")], || {
        let telemetry = botticelli_obs::install().expect("it installs");
        assert_eq!(allocations(finished_call), 0);
        assert_eq!(Page::parse(&telemetry.render()).sum("llm_tokens_total"), 606.0 * 42.0);
    });
}

#[test]
fn finished_call_allocates_nothing_with_a_recorder_of_the_thread() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || assert_eq!(allocations(finished_call), 0));
    assert_eq!(Page::parse(&page.render()).sum("llm_duration_count"), 606.0);
}

#[test]
fn failed_call_of_a_known_pair_allocates_nothing() {
    let (recorder, _page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        assert_eq!(allocations(|model| llm_error!("gemini", model, ErrorType::Timeout)), 0);
    });
}

#[test]
fn chunk_allocates_nothing() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        declare("gemini", "gemini-2.5-flash");
        let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
        assert_eq!(measure(|| (0..1_000).for_each(|_| call.record_chunk())).count_total, 0);
        call.finish();
    });
    assert_eq!(Page::parse(&page.render()).sum("llm_time_per_output_chunk_seconds_count"), 999.0);
}

#[test]
fn pair_beyond_the_bound_allocates_but_keeps_nothing() {
    let (recorder, _page) = Builder::new().with_max_series(1).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        finished_call("a");
        finished_call("b");
        let kept = measure(|| (0..1_000).for_each(|model| finished_call(&model.to_string())));
        assert_eq!(kept.count_current, 0, "{kept:?}");
    });
}
