//! Metrics that a program leaves out: no reader gets them.

use crate::support::page::Page;
use botticelli_obs::{Builder, ErrorType, LlmCall, Usage, counter, describe_counter, gauge, histogram, metrics};
use metrics_util::debugging::DebuggingRecorder;

fn record() {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(3, 4));
    call.record_chunk();
    call.record_chunk();
    call.record_finish_reason("stop");
    call.finish();
    LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Timeout);
    describe_counter!("tool.calls", "calls of tools");
    counter!("tool.calls").increment(1);
    gauge!("tool_queue").set(1.0);
    histogram!("toolbox").record(1.0);
    counter!("llm.finish", "provider" => "gemini", "model" => "m", "finish_reason" => "stop").increment(1);
}

#[test]
fn what_is_left_out_is_on_no_page_and_with_no_recorder() {
    let beside = DebuggingRecorder::new();
    let snapshotter = beside.snapshotter();
    let builder = ["llm.time_*", "llm_finish_total", "tool.*", "tool_*", "botticelli.obs.build_info", "llm.duration"]
        .into_iter()
        .fold(Builder::new(), Builder::without_metrics);
    let (recorder, page) = builder.add_recorder(beside).recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    let text = page.render();
    let page = Page::parse(&text);
    for gone in ["time_to_first_chunk", "time_per_output", "llm_finish", "tool_", "build_info", "llm_duration"] {
        let is_of_another = |line: &&str| line.starts_with("botticelli_obs_invalid_samples_total");
        assert!(!text.lines().filter(|line| !is_of_another(line)).any(|line| line.contains(gone)), "{gone}: {text}");
    }
    assert_eq!(page.sum("llm_requests_total"), 2.0);
    assert_eq!((page.sum("llm_errors_total"), page.sum("llm_tokens_total")), (1.0, 7.0));
    assert_eq!(page.value("toolbox_count", &[]), 1.0);
    let names: Vec<String> =
        snapshotter.snapshot().into_vec().iter().map(|(key, ..)| key.key().name().to_owned()).collect();
    assert!(names.iter().any(|name| name == "llm.requests") && names.iter().any(|name| name == "toolbox"));
    for gone in ["llm.time_to_first_chunk", "llm.finish", "tool.calls", "tool_queue", "llm.duration"] {
        assert!(!names.iter().any(|name| name == gone), "{gone}: {names:?}");
    }
}

#[test]
fn everything_can_be_left_out() {
    let (recorder, page) = Builder::new().without_metrics("*").recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    assert_eq!(page.render(), "");
}
