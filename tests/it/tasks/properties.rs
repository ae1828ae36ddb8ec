//! Tasks in every order of nesting and of ends, with calls that end in every way: the totals are those of the calls.
//!
//! A script is run for real, and writes down what it does; what has to be recorded follows from that.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use botticelli_obs::{Builder, ErrorType, LlmCall, LlmTask, LlmToolCall, MetricsRecorder, Usage, metrics};
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::support::page::Page;

#[derive(Clone, Debug)]
enum Step {
    /// A call of so many tokens, and so many nano-dollars.
    Call(u64, u64, End),
    Tool(End),
    Task {
        name: u8,
        around: Around,
        steps: Vec<Step>,
        end: End,
    },
    /// On another thread: outside of the task, or handed over to it.
    Spawn {
        is_handed_over: bool,
        steps: Vec<Step>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Around {
    Code,
    Function,
    Future,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Success,
    Failure,
    Dropped,
    Panic,
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(vec![End::Success, End::Failure, End::Dropped, End::Panic])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        3 => (0..50_u64, 0..1_000_000_000_u64, end()).prop_map(|(tokens, cost, end)| Step::Call(tokens, cost, end)),
        1 => end().prop_map(Step::Tool),
    ];
    let step = leaf.prop_recursive(4, 24, 4, |inner| {
        let steps = prop::collection::vec(inner, 0..4);
        let around = prop::sample::select(vec![Around::Code, Around::Function, Around::Future]);
        prop_oneof![
            3 => (0..3_u8, around, steps.clone(), end())
                .prop_map(|(name, around, steps, end)| Step::Task { name, around, steps, end }),
            1 => (any::<bool>(), steps).prop_map(|(is_handed_over, steps)| Step::Spawn { is_handed_over, steps }),
        ]
    });
    prop::collection::vec(step, 0..5)
}

/// What has to be recorded, by task and whether it is nested.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    tasks: BTreeMap<(u8, bool), Counts>,
    /// All calls, and those outside of tasks.
    all: Counts,
    outside: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    runs: u64,
    errors: u64,
    calls: u64,
    tokens: u64,
    nano_usd: u64,
    tool_calls: u64,
}

impl Totals {
    fn add(&mut self, around: &[(u8, bool)], add: impl Fn(&mut Counts)) {
        add(&mut self.all);
        around.iter().for_each(|task| add(self.tasks.entry(*task).or_default()));
        if around.is_empty() {
            add(&mut self.outside);
        }
    }
}

struct Script<'a> {
    recorder: &'a MetricsRecorder,
    totals: Totals,
}

impl Script<'_> {
    fn run(&mut self, steps: &[Step], around: &mut Vec<(u8, bool)>) {
        steps.iter().for_each(|step| self.step(step, around));
    }

    fn step(&mut self, step: &Step, around: &mut Vec<(u8, bool)>) {
        match step {
            Step::Call(tokens, nano_usd, end) => {
                let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
                call.record_usage(Usage::new(*tokens, 0));
                call.record_cost(*nano_usd as f64 / 1e9);
                match end {
                    End::Success => call.finish(),
                    End::Failure => call.fail(ErrorType::ServerError),
                    End::Dropped => drop(call),
                    End::Panic => panics(|| {
                        let _call = call;
                        panic!("on purpose")
                    }),
                }
                self.totals.add(around, |counts| {
                    counts.calls += 1;
                    counts.tokens += tokens;
                    counts.nano_usd += nano_usd;
                });
            }
            Step::Tool(end) => {
                let tool = LlmToolCall::start("search");
                match end {
                    End::Success => tool.finish(),
                    End::Failure => tool.fail(ErrorType::ServerError),
                    End::Dropped => drop(tool),
                    End::Panic => panics(|| {
                        let _tool = tool;
                        panic!("on purpose")
                    }),
                }
                self.totals.add(around, |counts| counts.tool_calls += 1);
            }
            Step::Task { name, around: by, steps, end } => {
                let task = LlmTask::start(format!("task{name}"));
                let labels = (*name, !around.is_empty());
                around.push(labels);
                self.inside(task, *by, steps, *end, around);
                around.pop();
                let counts = self.totals.tasks.entry(labels).or_default();
                counts.runs += 1;
                counts.errors += u64::from(*end != End::Success);
            }
            Step::Spawn { is_handed_over, steps } => {
                let task = LlmTask::current().filter(|_| *is_handed_over);
                let recorder = self.recorder.clone();
                let mut outside = Vec::new();
                let around = if task.is_some() { around } else { &mut outside };
                thread::scope(|threads| {
                    let script = &mut *self;
                    threads.spawn(move || {
                        metrics::with_local_recorder(&recorder, || match task {
                            Some(task) => task.scope_sync(|| script.run(steps, around)),
                            None => script.run(steps, around),
                        });
                    });
                });
            }
        }
    }

    fn inside(&mut self, task: LlmTask, by: Around, steps: &[Step], end: End, around: &mut Vec<(u8, bool)>) {
        let result = || match end {
            End::Failure => Err(ErrorType::ServerError),
            _ => Ok(()),
        };
        match (by, end) {
            (Around::Code, _) => {
                task.scope_sync(|| self.run(steps, around));
                match end {
                    End::Success => task.finish(),
                    End::Failure => task.fail(ErrorType::ServerError),
                    End::Dropped => drop(task),
                    End::Panic => panics(|| {
                        let _task = task;
                        panic!("on purpose")
                    }),
                }
            }
            (_, End::Panic) => panics(|| {
                let _ = task.observe_sync(|| -> Result<(), ErrorType> {
                    self.run(steps, around);
                    panic!("on purpose")
                });
            }),
            (_, End::Dropped) => {
                let mut steps = Some(steps);
                let pending = std::future::poll_fn(|_| {
                    if let Some(steps) = steps.take() {
                        self.run(steps, around);
                    }
                    std::task::Poll::<Result<(), ErrorType>>::Pending
                });
                assert!(task.observe(pending).now_or_never().is_none());
            }
            (Around::Function, _) => {
                let _ = task.observe_sync(|| {
                    self.run(steps, around);
                    result()
                });
            }
            (Around::Future, _) => {
                let inside = async {
                    self.run(steps, around);
                    result()
                };
                assert!(task.observe(inside).now_or_never().is_some());
            }
        }
    }
}

fn panics(code: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(code)).is_err());
}

/// Nano-dollars of a fraction on the page.
fn nano(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_call_counts_once_for_each_task_around_it(steps in steps()) {
        let (recorder, page) = Builder::new().recorder().expect("a recorder");
        let totals = metrics::with_local_recorder(&recorder, || {
            let mut script = Script { recorder: &recorder, totals: Totals::default() };
            script.run(&steps, &mut Vec::new());
            script.totals
        });
        let page = Page::parse(&page.render());
        for (&(name, is_nested), counts) in &totals.tasks {
            let (name, nested) = (format!("task{name}"), is_nested.to_string());
            let labels = [("task", name.as_str()), ("kind", "task"), ("nested", nested.as_str())];
            let value = |metric: &str| page.get(&format!("llm_task_{metric}"), &labels).unwrap_or(0.0);
            let errors = page.of("llm_task_errors_total").into_iter();
            let errors = errors.filter(|(of, _)| of["task"] == name && of["nested"] == nested).map(|(_, count)| count as u64);
            let found = Counts {
                runs: value("runs_total") as u64,
                errors: errors.sum(),
                calls: value("calls_total") as u64,
                tokens: value("tokens_total") as u64,
                nano_usd: nano(value("cost_usd_total")),
                tool_calls: value("tool_calls_total") as u64,
            };
            prop_assert_eq!(found, *counts, "{}", name);
            prop_assert_eq!(value("in_flight"), 0.0);
            prop_assert_eq!(value("duration_seconds_count") as u64, counts.runs);
        }
        // What no task holds, and what the outermost tasks hold, is the whole.
        let outermost = |metric: &str| -> f64 {
            page.of(metric).into_iter().filter(|(of, _)| of["nested"] == "false").map(|(_, value)| value).sum()
        };
        prop_assert_eq!(nano(outermost("llm_task_cost_usd_total")) + totals.outside.nano_usd, totals.all.nano_usd);
        prop_assert_eq!(nano(page.sum("llm_cost_usd_total")), totals.all.nano_usd);
        prop_assert_eq!(outermost("llm_task_calls_total") as u64 + totals.outside.calls, totals.all.calls);
        prop_assert_eq!(page.sum("llm_requests_total") as u64, totals.all.calls);
        prop_assert_eq!(outermost("llm_task_tokens_total") as u64 + totals.outside.tokens, totals.all.tokens);
        prop_assert_eq!(page.sum("llm_tokens_total") as u64, totals.all.tokens);
    }
}
