//! One call, however it ends: exactly once, where it belongs, with the right numbers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use botticelli_obs::{
    ClassifyError, ErrorType, LlmCall, Recorder, Usage, declare, llm_duration, llm_error, llm_request, llm_tokens,
    metrics,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::support::page::Page;

const PAIR: &[(&str, &str)] = &[("provider", "gemini"), ("model", "gemini-2.5-flash")];

/// A recorder of the `metrics` ecosystem, as a program or a test may have it.
struct Foreign {
    recorder: DebuggingRecorder,
    snapshotter: Snapshotter,
}

impl Foreign {
    fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        Self { recorder, snapshotter }
    }

    /// Returns the values that are not 0 by name; of a histogram, how many samples it has.
    fn values(&self) -> Vec<(String, f64)> {
        let snapshot = self.snapshotter.snapshot().into_vec().into_iter();
        let mut values: Vec<(String, f64)> = snapshot
            .map(|(key, _, _, value)| {
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.into_inner(),
                    DebugValue::Histogram(samples) => samples.len() as f64,
                };
                let error = key.key().labels().find(|label| label.key() == "error_type");
                let suffix = error.map_or_else(String::new, |label| format!(" {}", label.value()));
                (format!("{}{suffix}", key.key().name()), value)
            })
            .filter(|(name, value)| *value != 0.0 && !name.contains("timestamp"))
            .collect();
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    }
}

fn start() -> LlmCall {
    LlmCall::start("gemini", "gemini-2.5-flash")
}

/// Records with a foreign recorder current.
fn recorded(record: impl FnOnce()) -> Vec<(String, f64)> {
    let foreign = Foreign::new();
    metrics::with_local_recorder(&foreign.recorder, record);
    foreign.values()
}

fn values(values: &[(&str, f64)]) -> Vec<(String, f64)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// What one failed call leaves.
fn failed(error: &str) -> Vec<(String, f64)> {
    values(&[("llm.duration", 1.0), (&format!("llm.errors {error}"), 1.0), ("llm.requests", 1.0)])
}

#[test]
fn finished_call_counts_as_a_success() {
    let found = recorded(|| {
        let mut call = start();
        call.record_usage(Usage::new(12, 30).with_cache_read(10).with_cache_write(2).with_reasoning(20));
        call.finish();
    });
    let wanted = [
        ("llm.duration", 1.0),
        ("llm.requests", 1.0),
        ("llm.tokens", 42.0),
        ("llm.tokens.cache_read", 10.0),
        ("llm.tokens.cache_write", 2.0),
        ("llm.tokens.completion", 30.0),
        ("llm.tokens.prompt", 12.0),
        ("llm.tokens.reasoning", 20.0),
    ];
    assert_eq!(found, values(&wanted));
}

#[test]
fn success_without_usage_is_counted_as_such() {
    let wanted = [("llm.duration", 1.0), ("llm.requests", 1.0), ("llm.usage.missing", 1.0)];
    assert_eq!(recorded(|| start().finish()), values(&wanted));
}

#[test]
fn failed_call_counts_with_its_class() {
    struct ApiError(u16);
    impl ClassifyError for ApiError {
        fn error_type(&self) -> ErrorType {
            ErrorType::from_http_status(self.0)
        }
    }
    assert_eq!(recorded(|| start().fail(ErrorType::ContextLength)), failed("context_length"));
    assert_eq!(recorded(|| start().fail(&ApiError(429))), failed("rate_limit"));
    for &error in ErrorType::ALL {
        assert_eq!(recorded(|| start().fail(error)), failed(error.as_str()));
    }
}

#[test]
fn recorded_error_stays_until_another_replaces_it() {
    let error = |end: fn(LlmCall)| {
        recorded(|| {
            let mut call = start();
            call.record_error(ErrorType::Auth);
            call.record_error(ErrorType::Decode);
            end(call);
        })
    };
    assert_eq!(error(LlmCall::finish), failed("decode"));
    assert_eq!(error(drop), failed("decode"));
    assert_eq!(error(|call| call.fail(ErrorType::Stream)), failed("stream"));
}

#[test]
fn dropped_call_counts_as_cancelled() {
    assert_eq!(recorded(|| drop(start())), failed("cancelled"));
}

#[test]
fn call_dropped_by_a_panic_counts_as_a_panic() {
    let found = recorded(|| {
        let panicked = catch_unwind(|| {
            let _call = start();
            panic!("on purpose");
        });
        panicked.expect_err("the panic goes on");
    });
    assert_eq!(found, failed("panic"));
}

#[test]
fn call_of_a_destructor_that_a_panic_runs_is_not_a_panic() {
    struct CallsWhenDropped;
    impl Drop for CallsWhenDropped {
        fn drop(&mut self) {
            drop(start());
        }
    }
    let found = recorded(|| {
        let panicked = catch_unwind(|| {
            let _calls = CallsWhenDropped;
            panic!("on purpose");
        });
        panicked.expect_err("the panic goes on");
    });
    assert_eq!(found, failed("cancelled"));
}

#[test]
fn later_usage_replaces_the_earlier_and_is_kept_on_failure() {
    let found = recorded(|| {
        let mut call = start();
        call.record_usage(Usage::new(1000, 1000).with_reasoning(5));
        call.record_usage(Usage::new(1, 2));
        call.fail(ErrorType::Stream);
    });
    let wanted = [
        ("llm.duration", 1.0),
        ("llm.errors stream", 1.0),
        ("llm.requests", 1.0),
        ("llm.tokens", 3.0),
        ("llm.tokens.completion", 2.0),
        ("llm.tokens.prompt", 1.0),
    ];
    assert_eq!(found, values(&wanted));
}

#[test]
fn tokens_never_overflow() {
    assert_eq!(Usage::new(u64::MAX, 1).total(), u64::MAX);
    recorded(|| {
        let mut call = start();
        call.record_usage(Usage::new(u64::MAX, u64::MAX));
        call.finish();
    });
}

#[test]
fn call_is_in_flight_until_it_ends() {
    let foreign = Foreign::new();
    metrics::with_local_recorder(&foreign.recorder, || {
        let calls: Vec<LlmCall> = (0..3).map(|_| start()).collect();
        assert_eq!(foreign.values(), values(&[("llm.in_flight", 3.0)]));
        calls.into_iter().for_each(LlmCall::finish);
    });
    // A snapshot of this recorder sets its gauges back to 0.
    assert!(foreign.values().contains(&("llm.in_flight".to_owned(), -3.0)), "{:?}", foreign.values());
}

#[test]
fn call_stays_with_the_recorder_of_its_start() {
    type End = fn(LlmCall);
    let endings: [(&str, End); 4] = [
        ("", LlmCall::finish),
        (" auth", |call| call.fail(ErrorType::Auth)),
        (" cancelled", drop),
        (" panic", |call| {
            let panicked = catch_unwind(AssertUnwindSafe(move || {
                let _call = call;
                panic!("on purpose");
            }));
            panicked.expect_err("the panic goes on");
        }),
    ];
    for (error, end) in endings {
        let (first, second) = (Foreign::new(), Foreign::new());
        let start_in_first = || metrics::with_local_recorder(&first.recorder, start);
        let elsewhere = start_in_first();
        metrics::with_local_recorder(&second.recorder, || end(elsewhere));
        let nowhere = start_in_first();
        std::thread::spawn(move || end(nowhere)).join().expect("no panic");

        let found = first.values();
        let value = |name: &str| found.iter().find(|(of, _)| of == name).map(|(_, value)| *value);
        assert_eq!(
            (value("llm.requests"), value("llm.duration"), value("llm.in_flight")),
            (Some(2.0), Some(2.0), None)
        );
        assert_eq!(value(&format!("llm.errors{error}")), (!error.is_empty()).then_some(2.0));
        assert!(second.values().is_empty(), "{:?}", second.values());
    }
}

#[cfg(feature = "install")]
#[test]
fn call_stays_with_the_page_of_its_start() {
    let new = || botticelli_obs::Builder::new().recorder().expect("a recorder");
    let ((first, first_page), (second, second_page)) = (new(), new());
    let start_in_first = || metrics::with_local_recorder(&first, start);
    for end in [LlmCall::finish, drop, |call: LlmCall| call.fail(ErrorType::Auth)] {
        let elsewhere = start_in_first();
        metrics::with_local_recorder(&second, || end(elsewhere));
        let nowhere = start_in_first();
        std::thread::spawn(move || end(nowhere)).join().expect("no panic");
    }
    let page = Page::parse(&first_page.render());
    assert_eq!((page.value("llm_requests_total", PAIR), page.value("llm_in_flight", PAIR)), (6.0, 0.0));
    assert_eq!(page.value("llm_errors_total", &[PAIR, &[("error_type", "auth")]].concat()), 2.0);
    assert_eq!(page.value("llm_errors_total", &[PAIR, &[("error_type", "cancelled")]].concat()), 2.0);
    assert_eq!(page.sum("llm_errors_total"), 4.0);
    assert!(!second_page.render().contains("provider="));
}

#[test]
fn call_started_without_a_recorder_stays_inert() {
    let call = start();
    assert_eq!(recorded(|| call.finish()), values(&[]));
}

#[test]
fn recorder_that_is_gone_is_no_trouble() {
    let foreign = Foreign::new();
    let call = metrics::with_local_recorder(&foreign.recorder, start);
    drop(foreign);
    call.finish();
}

#[test]
fn recorders_behind_a_pointer_are_recorders() {
    let foreign = Foreign::new();
    let shared: Arc<dyn Recorder> = Arc::new(foreign.recorder);
    metrics::with_local_recorder(&shared, || start().fail(ErrorType::Auth));
    assert_eq!(
        Foreign { recorder: DebuggingRecorder::new(), snapshotter: foreign.snapshotter }.values(),
        failed("auth")
    );
}

#[test]
fn macros_take_any_text_and_borrow_it() {
    let found = recorded(|| {
        let (provider, model) = (String::from("gemini"), String::from("gemini-2.5-flash"));
        let (shared, borrowed): (Arc<str>, &String) = (Arc::from("gemini"), &model);
        llm_request!("gemini", "gemini-2.5-flash");
        llm_request!(provider, model);
        llm_request!(&provider, borrowed);
        llm_request!(&*provider, &&model,);
        llm_request!(shared, Box::<str>::from("gemini-2.5-flash"));
        llm_error!(provider, borrowed, ErrorType::Timeout);
        llm_duration!(&provider, model, std::time::Duration::from_millis(1500));
        llm_duration!(provider, &model, 1.5);
        llm_duration!(provider, &model, 2_u32);
        llm_tokens!(provider, model, prompt: 12, completion: 30);
        llm_tokens!(&provider, borrowed, prompt: u64::from(provider.is_empty()), completion: 1,);
        drop((provider, model, shared));
    });
    let wanted = [
        ("llm.duration", 3.0),
        ("llm.errors timeout", 1.0),
        ("llm.requests", 5.0),
        ("llm.tokens", 43.0),
        ("llm.tokens.completion", 31.0),
        ("llm.tokens.prompt", 12.0),
    ];
    assert_eq!(found, values(&wanted));
}

#[test]
fn macros_evaluate_their_arguments_once() {
    let mut evaluated = 0;
    let found = recorded(|| {
        llm_request!(
            {
                evaluated += 1;
                "gemini"
            },
            {
                evaluated += 1;
                "gemini-2.5-flash"
            }
        );
    });
    assert_eq!((found, evaluated), (values(&[("llm.requests", 1.0)]), 2));
}

/// The macros where nothing has its usual name.
mod bare {
    #![no_implicit_prelude]
    #![allow(dead_code, reason = "these names are only in the way")]

    mod std {}
    mod core {}
    mod metrics {}
    mod alloc {}
    struct String;
    struct Option;
    struct ErrorType;
    trait AsRef {}
    trait Into {}

    pub(super) fn records(provider: &str, model: &str) {
        ::botticelli_obs::llm_request!(provider, model);
        ::botticelli_obs::llm_error!(provider, model, ::botticelli_obs::ErrorType::Auth);
        ::botticelli_obs::llm_duration!(provider, model, 1.0);
        ::botticelli_obs::llm_tokens!(provider, model, prompt: 1, completion: 2);
    }
}

#[test]
fn macros_work_where_nothing_has_its_usual_name() {
    let found = recorded(|| bare::records("gemini", "gemini-2.5-flash"));
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn labels_are_provider_and_model() {
    let foreign = Foreign::new();
    metrics::with_local_recorder(&foreign.recorder, || {
        start().finish();
        llm_request!("gemini", "gemini-2.5-flash");
    });
    for (key, ..) in foreign.snapshotter.snapshot().into_vec() {
        let labels: Vec<(&str, &str)> = key.key().labels().map(|label| (label.key(), label.value())).collect();
        assert!(labels.starts_with(PAIR), "{key:?}");
    }
}

#[test]
fn threads_record_together() {
    let foreign = Arc::new(Foreign::new());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let foreign = Arc::clone(&foreign);
            std::thread::spawn(move || {
                metrics::with_local_recorder(&foreign.recorder, || {
                    for _ in 0..250 {
                        start().fail(ErrorType::Overloaded);
                    }
                });
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let wanted = [("llm.duration", 2000.0), ("llm.errors overloaded", 2000.0), ("llm.requests", 2000.0)];
    assert_eq!(foreign.values(), values(&wanted));
}

#[test]
fn types_cross_threads() {
    fn can_be_sent<T: Send + 'static>() {}
    fn can_be_shared<T: Send + Sync + 'static>() {}
    can_be_sent::<LlmCall>();
    can_be_shared::<Usage>();
    can_be_shared::<ErrorType>();
    #[cfg(feature = "install")]
    {
        use botticelli_obs::{
            Builder, FlushError, InstallError, MetricsHandle, MetricsRecorder, Telemetry, TraceGuard,
        };
        can_be_sent::<Builder>();
        can_be_shared::<Telemetry>();
        can_be_shared::<MetricsRecorder>();
        can_be_shared::<MetricsHandle>();
        can_be_shared::<TraceGuard>();
        can_be_shared::<InstallError>();
        can_be_shared::<FlushError>();
    }
}

#[test]
fn a_pair_is_anything_that_is_text() {
    struct Model(&'static str);

    impl AsRef<str> for Model {
        fn as_ref(&self) -> &str {
            self.0
        }
    }

    let foreign = Foreign::new();
    metrics::with_local_recorder(&foreign.recorder, || {
        let (owned, shared): (String, Arc<str>) = ("gemini".to_owned(), "gemini-2.5-flash".into());
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        LlmCall::start(&owned, &shared).finish();
        LlmCall::start(owned.clone(), Arc::clone(&shared)).finish();
        LlmCall::start(std::borrow::Cow::Borrowed("gemini"), Model("gemini-2.5-flash")).finish();
        LlmCall::builder("gemini", &Model("gemini-2.5-flash")).start().finish();
        LlmCall::builder(&owned, &shared).start().finish();
        declare(&owned, Model("gemini-2.5-flash"));
        llm_request!(owned, Model("gemini-2.5-flash"));
    });
    let requests = foreign.values().into_iter().find(|(name, _)| name == "llm.requests");
    assert_eq!(requests.map(|(_, value)| value), Some(7.0));
}
