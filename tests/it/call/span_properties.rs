//! The span of a call in every order of enter, exit, clone, spawn and end: exported once, when the call ends, for as long as the call.

use std::thread;
use std::time::Duration;

use botticelli_obs::testing::Capture;
use botticelli_obs::{ErrorType, LlmCall, tracing};
use proptest::prelude::*;
use tracing::Span;
use tracing::span::EnteredSpan;

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    Exit,
    Clone,
    Forget,
    /// Begins a span inside, which another thread ends later.
    Spawn,
    Join,
    /// Logs a line, where the call's span is the current one maybe.
    Log,
    Chunk,
    End(End),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Finish,
    Fail,
    Drop,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enter),
        3 => Just(Step::Exit),
        1 => Just(Step::Clone),
        1 => Just(Step::Forget),
        2 => Just(Step::Spawn),
        2 => Just(Step::Join),
        1 => Just(Step::Log),
        1 => Just(Step::Chunk),
        2 => prop::sample::select(&[End::Finish, End::Fail, End::Drop][..]).prop_map(Step::End),
    ]
}

/// Takes the steps; returns how many spans of children have ended.
fn take(steps: &[Step], capture: &Capture) -> usize {
    let mut call = Some(LlmCall::start("p", "m"));
    let span = call.as_ref().expect("it was just started").span().clone();
    let (mut entered, mut clones, mut children): (Vec<EnteredSpan>, Vec<Span>, Vec<Span>) = Default::default();
    let mut ended_children = 0;
    for step in steps {
        match step {
            Step::Enter => entered.push(span.clone().entered()),
            Step::Exit => drop(entered.pop()),
            Step::Clone => clones.push(span.clone()),
            Step::Forget => clones.clear(),
            Step::Spawn => children.push(tracing::info_span!(parent: &span, "child")),
            Step::Join => {
                let dispatch = tracing::dispatcher::get_default(Clone::clone);
                for child in children.drain(..) {
                    let dispatch = dispatch.clone();
                    let end = move || tracing::dispatcher::with_default(&dispatch, || child.in_scope(|| ()));
                    thread::spawn(end).join().expect("no panic");
                    ended_children += 1;
                }
            }
            Step::Log => tracing::error!("a line"),
            Step::Chunk => call.iter_mut().for_each(LlmCall::record_chunk),
            Step::End(end) => {
                if let Some(call) = call.take() {
                    match end {
                        End::Finish => call.finish(),
                        End::Fail => call.fail(ErrorType::Auth),
                        End::Drop => drop(call),
                    }
                    let spans = capture.spans();
                    assert_eq!(spans.last().map(|span| span.name()), Some("chat m"), "it is exported now: {spans:?}");
                    assert_eq!(spans.len(), ended_children + 1, "{spans:?}");
                }
            }
        }
    }
    drop(call);
    // In the order of entering, which is not that of exiting.
    drop(entered);
    ended_children + children.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_span_of_a_call_is_the_call(steps in prop::collection::vec(any_step(), 0..16)) {
        let capture = Capture::new();
        let children = capture.run(|| take(&steps, &capture));
        let spans = capture.spans();
        prop_assert_eq!(spans.len(), children + 1, "{:?}", spans);
        let calls: Vec<_> = spans.iter().filter(|span| span.name() == "chat m").collect();
        prop_assert_eq!(calls.len(), 1, "{:?}", spans);
        let llm = capture.llm("p", "m");
        let sample = Duration::from_secs_f64(llm.durations()[0]);
        prop_assert!(calls[0].duration().abs_diff(sample) <= Duration::from_nanos(1), "{:?} {sample:?}", calls[0].duration());
        let error = calls[0].attribute("error.type");
        prop_assert_eq!(calls[0].is_error(), error.is_some());
        prop_assert_eq!(llm.errors().get(), u64::from(error.is_some()));
        if let Some(error) = error {
            prop_assert_eq!(error, calls[0].error_description().expect("an error has a description"));
        }
        for child in spans.iter().filter(|span| span.name() == "child") {
            prop_assert_eq!((child.parent_id(), child.trace_id()), (Some(calls[0].id()), calls[0].trace_id()));
        }
    }
}
