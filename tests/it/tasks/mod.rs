//! Tasks and tools: each run exactly once, and each call in it for every task around it.

mod properties;
mod spans;

use std::future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use botticelli_obs::{Builder, ErrorType, LlmCall, LlmTask, LlmToolCall, Recorder, Usage, metrics};
use futures_util::FutureExt;

use crate::support::page::Page;

/// The labels of a task.
fn labels<'a>(task: &'a str, kind: &'a str, nested: &'a str) -> [(&'a str, &'a str); 3] {
    [("task", task), ("kind", kind), ("nested", nested)]
}

const BOT: [(&str, &str); 3] = [("task", "content_generator"), ("kind", "bot"), ("nested", "false")];

/// Returns the page of what is recorded.
fn page_of(builder: Builder, record: impl FnOnce()) -> Page {
    let (recorder, page) = builder.recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, record);
    Page::parse(&page.render())
}

fn page(record: impl FnOnce()) -> Page {
    page_of(Builder::new(), record)
}

fn bot() -> LlmTask {
    LlmTask::builder("content_generator").with_kind("bot").start()
}

fn call(tokens: u64) {
    let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.record_usage(Usage::new(tokens, 0));
    call.finish();
}

#[test]
fn a_run_that_succeeds_has_a_duration_and_a_time() {
    let page = page(|| bot().finish());
    assert_eq!(page.value("llm_task_runs_total", &BOT), 1.0);
    assert_eq!(page.value("llm_task_duration_seconds_count", &BOT), 1.0);
    assert_eq!(page.value("llm_task_in_flight", &BOT), 0.0);
    assert!(page.value("llm_task_last_success_timestamp_seconds", &BOT) > 1.7e9);
    assert!(page.of("llm_task_errors_total").is_empty());
}

#[test]
fn readers_have_zeros_while_the_first_run_is_in_flight() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    let task = metrics::with_local_recorder(&recorder, bot);
    let running = Page::parse(&page.render());
    assert_eq!(running.value("llm_task_in_flight", &BOT), 1.0);
    for counter in ["runs", "calls", "tokens", "tool_calls"] {
        assert_eq!(running.value(&format!("llm_task_{counter}_total"), &BOT), 0.0, "{counter}");
    }
    task.finish();
    assert_eq!(Page::parse(&page.render()).value("llm_task_in_flight", &BOT), 0.0);
}

#[test]
fn however_a_run_ends_it_is_counted_once() {
    let ends: [(&str, fn()); 7] = [
        ("auth", || bot().fail(ErrorType::Auth)),
        ("cancelled", || drop(bot())),
        ("cancelled", || {
            let pending = bot().observe(future::pending::<Result<(), ErrorType>>());
            assert!(pending.now_or_never().is_none());
        }),
        ("timeout", || {
            let failed = bot().observe(async { Err::<(), _>(ErrorType::Timeout) }).now_or_never();
            assert_eq!(failed, Some(Err(ErrorType::Timeout)));
        }),
        ("decode", || {
            let empty = bot().observe_with(async { 0 }, |posts| (*posts == 0).then_some(ErrorType::Decode));
            assert_eq!(empty.now_or_never(), Some(0));
        }),
        ("panic", || {
            let task = bot();
            let inside = AssertUnwindSafe(|| task.observe_sync(|| -> Result<(), ErrorType> { panic!("on purpose") }));
            assert!(catch_unwind(inside).is_err());
        }),
        ("panic", || {
            let inside = async {
                if true {
                    panic!("on purpose");
                }
                Ok::<_, ErrorType>(())
            };
            let mut observed = Box::pin(bot().observe(inside));
            assert!(catch_unwind(AssertUnwindSafe(|| observed.as_mut().now_or_never())).is_err());
        }),
    ];
    for (error, end) in ends {
        let page = page(end);
        assert_eq!(page.value("llm_task_errors_total", &[&BOT[..], &[("error_type", error)]].concat()), 1.0, "{error}");
        assert_eq!((page.sum("llm_task_errors_total"), page.sum("llm_task_runs_total")), (1.0, 1.0), "{error}");
        assert_eq!(page.value("llm_task_in_flight", &BOT), 0.0, "{error}");
        assert!(page.of("llm_task_last_success_timestamp_seconds").is_empty(), "{error}");
    }
}

#[test]
fn a_call_counts_for_each_task_around_it() {
    let page = page(|| {
        call(1);
        bot().scope_sync(|| {
            call(10);
            LlmTask::start("planner").scope_sync(|| {
                call(100);
                LlmTask::start("planner").scope_sync(|| call(1_000));
            });
        });
        call(10_000);
    });
    let tokens = |labels: &[(&str, &str)]| page.value("llm_task_tokens_total", labels);
    assert_eq!(tokens(&BOT), 1_110.0);
    assert_eq!(tokens(&labels("planner", "task", "true")), 1_100.0 + 1_000.0);
    assert_eq!(page.value("llm_task_calls_total", &BOT), 3.0);
    assert_eq!(page.sum("llm_tokens_total"), 11_111.0);
}

#[test]
fn a_call_counts_for_the_task_in_which_it_started() {
    let page = page(|| {
        let task = bot();
        let inside = task.scope_sync(|| LlmCall::start("gemini", "gemini-2.5-flash"));
        let outside = LlmCall::start("gemini", "gemini-2.5-flash");
        task.scope_sync(|| outside.finish());
        task.finish();
        inside.finish();
    });
    assert_eq!(page.value("llm_task_calls_total", &BOT), 1.0);
}

#[test]
fn a_part_of_a_call_does_not_count_beside_it() {
    let page = page(|| {
        bot().scope_sync(|| LlmCall::start("gemini", "gemini-2.5-flash").observe_sync(|| call(7)));
    });
    assert_eq!(page.value("llm_task_calls_total", &BOT), 1.0);
    assert_eq!(page.value("llm_task_tokens_total", &BOT), 7.0);
}

#[test]
fn a_task_inside_a_call_is_no_part_of_it() {
    let page = page(|| {
        LlmCall::start("gemini", "gemini-2.5-flash").observe_sync(|| {
            bot().scope_sync(|| LlmCall::start("ollama", "llama3.2").finish());
        });
    });
    assert_eq!(page.value("llm_task_calls_total", &BOT), 1.0);
    assert_eq!(page.sum("llm_requests_total"), 2.0);
}

#[test]
fn work_that_is_handed_over_is_inside_the_task_and_no_other() {
    let (recorder, page) = Builder::new().recorder().expect("a recorder");
    metrics::with_local_recorder(&recorder, || {
        assert!(LlmTask::current().is_none());
        bot().scope_sync(|| {
            let task = LlmTask::current().expect("the code runs inside a task");
            // Spawned work is no part of the call around.
            LlmCall::start("gemini", "gemini-2.5-flash").scope_sync(|| {
                assert_eq!(task.scope(async { call(5) }).now_or_never(), Some(()));
            });
            std::thread::scope(|threads| {
                let (recorder, task) = (recorder.clone(), task.clone());
                threads.spawn(move || {
                    metrics::with_local_recorder(&recorder, || {
                        call(3);
                        task.scope_sync(|| call(2));
                    });
                });
            });
        });
    });
    let page = Page::parse(&page.render());
    // The call that was dropped counts as well.
    assert_eq!(page.value("llm_task_calls_total", &BOT), 3.0);
    assert_eq!(page.value("llm_task_tokens_total", &BOT), 7.0);
    assert_eq!(page.sum("llm_requests_total"), 4.0);
}

#[test]
fn tool_calls_have_their_own_metrics_and_count_for_tasks() {
    let page = page(|| {
        LlmToolCall::start("search").finish();
        bot().scope_sync(|| {
            let found = LlmToolCall::start("search").observe_sync(|| Ok::<_, ErrorType>(3));
            assert_eq!(found, Ok(3));
            LlmToolCall::start("fetch").fail(ErrorType::NotFound);
            drop(LlmToolCall::start("fetch"));
        });
    });
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "search")]), 2.0);
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "fetch")]), 2.0);
    assert_eq!(page.value("llm_tool_duration_seconds_count", &[("tool", "fetch")]), 2.0);
    for error in ["not_found", "cancelled"] {
        assert_eq!(page.value("llm_tool_errors_total", &[("tool", "fetch"), ("error_type", error)]), 1.0);
    }
    assert_eq!(page.value("llm_task_tool_calls_total", &BOT), 3.0);
}

#[test]
fn tool_calls_with_equal_arguments_in_one_run_are_repeated() {
    let search = |arguments: &str| LlmToolCall::builder("search").with_arguments(arguments).start().finish();
    let page = page(|| {
        search("outside");
        search("outside");
        for _ in 0..2 {
            // Each run begins anew.
            bot().scope_sync(|| {
                search("weather");
                search("weather");
                search("news");
                search("weather");
                LlmToolCall::builder("fetch").with_arguments("weather").start().finish();
                LlmToolCall::start("search").finish();
                LlmToolCall::start("search").finish();
                LlmTask::start("inner").scope_sync(|| search("news"));
            });
        }
    });
    let repeated = |labels: &[(&str, &str)]| page.get("llm_task_repeated_tool_calls_total", labels);
    assert_eq!(repeated(&BOT), Some(2.0 * 3.0));
    assert_eq!(repeated(&labels("inner", "task", "true")), None);
    assert_eq!(page.value("llm_task_tool_calls_total", &BOT), 2.0 * 8.0);
}

#[test]
fn names_are_clean_and_bounded_and_sums_stay_right() {
    let page = page_of(Builder::new().with_max_series(3), || {
        for task in ["a", " a ", "", "b\n", "c", "d", "e"] {
            LlmTask::start(task).scope_sync(|| call(1));
            LlmToolCall::start(task).finish();
        }
        LlmTask::start("a").scope_sync(|| LlmTask::start("f").scope_sync(|| call(1)));
    });
    let calls = |task, nested| page.value("llm_task_calls_total", &labels(task, "task", nested));
    assert_eq!(["a", "b", "c", "other", "unknown"].map(|task| calls(task, "false")), [3.0, 1.0, 1.0, 2.0, 1.0]);
    assert_eq!(calls("other", "true"), 1.0);
    assert_eq!(page.of("llm_task_calls_total").len(), 6);
    assert_eq!(page.value("llm_tool_calls_total", &[("tool", "other")]), 2.0);
    let overflow = |metric| page.value("botticelli_obs_label_overflow_total", &[("metric", metric)]);
    assert_eq!((overflow("llm_task"), overflow("llm_tool")), (3.0, 2.0));
}

#[test]
fn there_are_sixteen_kinds() {
    let page = page(|| {
        for kind in 0..20 {
            LlmTask::builder("post").with_kind(&format!("kind{kind}")).start().finish();
        }
    });
    assert_eq!(page.of("llm_task_runs_total").len(), 17);
    assert_eq!(page.value("llm_task_runs_total", &labels("post", "other", "false")), 4.0);
    assert_eq!(page.value("botticelli_obs_label_overflow_total", &[("metric", "llm_task_kind")]), 4.0);
}

#[test]
fn other_recorders_get_tasks_and_cost_in_whole_numbers() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let record = || {
        bot().scope_sync(|| {
            let mut call = LlmCall::start("openrouter", "gpt-4o");
            call.record_cost(0.25);
            call.finish();
        });
    };
    metrics::with_local_recorder(&recorder as &dyn Recorder, record);
    let recorded: Vec<(String, String)> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| (key.key().name().to_owned(), format!("{value:?}")))
        .collect();
    for name in ["llm.cost.nano_usd", "llm.task.cost.nano_usd"] {
        assert!(recorded.contains(&(name.to_owned(), "Counter(250000000)".to_owned())), "{name}: {recorded:#?}");
    }
    assert!(recorded.iter().all(|(name, _)| name != "llm.cost" && name != "llm.task.cost"));
    assert!(recorded.contains(&("llm.task.runs".to_owned(), "Counter(1)".to_owned())));
}

#[test]
fn without_a_recorder_nothing_is_recorded_and_everything_runs() {
    let task = bot();
    assert!(!task.scope_sync(|| LlmTask::current().is_some()));
    assert_eq!(task.observe_sync(|| Ok::<_, ErrorType>(1)), Ok(1));
    assert_eq!(LlmToolCall::start("search").observe_sync(|| Err::<(), _>(ErrorType::Auth)), Err(ErrorType::Auth));
}
