//! The crate's metrics recorded by their names, as a library does that was built on the facade of 0.1 and finds a recorder that it
//! does not know.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::support::page::Page;
use botticelli_obs::metrics::{self, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use botticelli_obs::{Builder, ErrorType, LlmCall, Usage, counter, declare, gauge, histogram};

const PAIR: [(&str, &str); 2] = [("provider", "gemini"), ("model", "gemini-2.5-flash")];

/// What the facade 0.1 registers for a pair with a recorder that does not answer its question.
struct Facade01;

impl Facade01 {
    fn register(recorder: &dyn Recorder) {
        static METADATA: Metadata<'static> = Metadata::new("botticelli_obs", Level::INFO, Some("botticelli_obs"));
        // The question of 0.1, which a recorder of 0.2 answers for itself alone.
        recorder.describe_gauge(KeyName::from_const_str("botticelli.obs.recorder"), None, SharedString::const_str(""));
        let labels = || PAIR.map(|(name, value)| Label::from_static_parts(name, value)).to_vec();
        let with = |name, value| [labels(), vec![Label::from_static_parts(name, value)]].concat();
        let counter = |name, labels| _ = recorder.register_counter(&Key::from_parts(name, labels), &METADATA);
        for name in ["requests", "tokens", "tokens.prompt", "tokens.completion", "usage.missing"] {
            counter(format!("llm.{name}"), labels());
        }
        for error in ErrorType::ALL {
            counter("llm.errors".to_owned(), with("error_type", error.as_str()));
        }
        _ = recorder.register_gauge(&Key::from_parts("llm.in_flight", labels()), &METADATA);
        for name in ["llm.duration", "llm.time_to_first_chunk", "llm.time_per_output_chunk"] {
            _ = recorder.register_histogram(&Key::from_parts(name, labels()), &METADATA);
        }
    }

    /// A call of 0.1 from start to end, in its order.
    fn call(error: Option<&'static str>) {
        metrics::with_recorder(Self::register);
        let [provider, model] = PAIR;
        gauge!("llm.in_flight", "provider" => provider.1, "model" => model.1).increment(1.0);
        counter!("llm.requests", "provider" => provider.1, "model" => model.1).increment(1);
        histogram!("llm.duration", "provider" => provider.1, "model" => model.1).record(0.5);
        for (name, tokens) in [("llm.tokens", 7), ("llm.tokens.prompt", 3), ("llm.tokens.completion", 4)] {
            counter!(name, "provider" => provider.1, "model" => model.1).increment(tokens);
        }
        if let Some(error) = error {
            counter!("llm.errors", "provider" => provider.1, "model" => model.1, "error_type" => error).increment(1);
        }
        gauge!("llm.in_flight", "provider" => provider.1, "model" => model.1).decrement(1.0);
    }
}

#[test]
fn each_call_of_a_library_on_the_facade_0_1_is_counted_once_beside_those_of_0_2() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        Facade01::call(None);
        Facade01::call(Some("timeout"));
        let mut call = LlmCall::start(PAIR[0].1, PAIR[1].1);
        call.record_usage(Usage::new(3, 4));
        call.finish();
        LlmCall::start(PAIR[0].1, PAIR[1].1).fail(ErrorType::Timeout);
    });
    let page = Page::parse(&page.render());
    assert_eq!(page.value("llm_requests_total", &PAIR), 4.0);
    assert_eq!(page.value("llm_duration_count", &PAIR), 4.0);
    assert_eq!(page.value("llm_errors_total", &[&PAIR[..], &[("error_type", "timeout")]].concat()), 2.0);
    assert_eq!(page.value("llm_tokens_total", &PAIR), 21.0);
    assert_eq!(page.value("llm_tokens_prompt_total", &PAIR), 9.0);
    assert_eq!(page.value("llm_tokens_completion_total", &PAIR), 12.0);
    assert_eq!(page.value("llm_in_flight", &PAIR), 0.0);
    assert_eq!(page.of("llm_time_to_first_chunk_seconds_count").len(), 1, "what is registered is on the page");
}

#[test]
fn a_counter_set_by_name_takes_what_calls_have_counted_into_account() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        LlmCall::start(PAIR[0].1, PAIR[1].1).finish();
        let requests = counter!("llm.requests", "provider" => PAIR[0].1, "model" => PAIR[1].1);
        requests.absolute(10);
        requests.absolute(4);
        LlmCall::start(PAIR[0].1, PAIR[1].1).finish();
        gauge!("llm.last_success_timestamp", "provider" => PAIR[0].1, "model" => PAIR[1].1).set(5.0);
    });
    let page = Page::parse(&page.render());
    assert_eq!(page.value("llm_requests_total", &PAIR), 11.0);
    assert_eq!(page.value("llm_last_success_timestamp_seconds", &PAIR), 5.0);
}

#[test]
fn a_counter_set_by_several_threads_at_once_has_the_highest_value() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let requests = metrics::with_local_recorder(
        &recorder,
        || counter!("llm.requests", "provider" => PAIR[0].1, "model" => PAIR[1].1),
    );
    for highest in (1..=2_000).map(|round| round * 10) {
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for value in [highest, highest, highest - 3] {
                let (requests, start) = (&requests, &start);
                scope.spawn(move || {
                    start.wait();
                    requests.absolute(value);
                });
            }
        });
        assert_eq!(Page::parse(&page.render()).value("llm_requests_total", &PAIR), highest as f64);
    }
}

/// How many series each group of the README's table has, for a pair of which everything was recorded.
#[test]
fn a_pair_costs_the_series_that_the_readme_says() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        declare(PAIR[0].1, PAIR[1].1);
        let mut call = LlmCall::start(PAIR[0].1, PAIR[1].1);
        call.scope_sync(|| {
            let call = LlmCall::current().expect("the code runs inside a call");
            call.record_wait(Duration::from_secs(1));
            ErrorType::ALL.iter().for_each(|error| call.attempt().fail(*error));
        });
        call.finish();
        for number in ["requests", "tokens", "input_tokens", "output_tokens"] {
            for kind in ["", "_minute", "_hour", "_day"].map(|window| format!("{number}{window}")) {
                for metric in ["llm.ratelimit.limit", "llm.ratelimit.remaining"] {
                    let labels = [PAIR[0], PAIR[1], ("kind", kind.as_str())];
                    gauge!(metric, labels.map(|(name, value)| Label::new(name, value.to_owned())).to_vec()).set(1.0);
                }
            }
        }
        let third = |name, value| [PAIR[0], PAIR[1], (name, value)];
        for outcome in ["success", "error", "cancelled"] {
            counter!("llm.cost", &third("outcome", outcome)).increment(1);
        }
        for status in ["provider", "priced", "partial", "missing"] {
            counter!("llm.cost.lookups", &third("status", status)).increment(1);
        }
        for kind in ["input", "output", "cache_read", "cache_write", "reasoning"] {
            gauge!("llm.price", &third("kind", kind)).set(1.0);
        }
        // Not a kind.
        gauge!("llm.ratelimit.limit", "provider" => PAIR[0].1, "model" => PAIR[1].1, "kind" => "sheep").set(1.0);
    });
    let text = page.render();
    let lines = |names: &[&str]| {
        let of_pair = text.lines().filter(|line| line.contains("model=\"gemini-2.5-flash\""));
        let name = |line: &str| line.split('{').next().unwrap_or_default().to_owned();
        let base = |name: String| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).map(str::to_owned))
                .unwrap_or(name)
        };
        of_pair.filter(|line| names.contains(&base(name(line)).as_str())).count()
    };
    let readme = include_str!("../../../README.md");
    let start = "| group | metrics | series a pair |\n|---|---|---|\n";
    let table = &readme[readme.find(start).expect("the table is there") + start.len()..];
    let mut sum = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [group, names, series] = cells[..] else { panic!("three cells: {row}") };
        let names: Vec<&str> =
            names.split(", ").map(|name| name.trim_matches('`')).filter(|name| !name.is_empty()).collect();
        let series: usize = series.parse().expect("a number");
        if group == "all" {
            assert_eq!((series, text.lines().filter(|line| line.contains("model=\"")).count()), (sum, sum));
        } else {
            assert_eq!(lines(&names), series, "{group}");
            sum += series;
        }
    }
    assert!(sum > 0);
}
