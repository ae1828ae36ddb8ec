//! Spans inside calls and calls inside spans: each call is counted once, and what is below finds the call.

use std::time::Duration;

use botticelli_obs::{ErrorType, LlmCall, Usage, tracing};
use futures_util::FutureExt;
use tracing::Instrument;

use super::{MODEL, PROVIDER, capture, name, silent_span, span};

fn answer(span: &tracing::Span) {
    span.record("gen_ai.usage.input_tokens", 3);
    span.record("gen_ai.usage.output_tokens", 4);
    span.record("gen_ai.response.id", "1");
}

#[test]
fn span_inside_a_call_is_a_part_of_it_whatever_its_names() {
    let capture = capture(|| {
        let call = LlmCall::start("router", "best");
        let inside = call.observe_with(
            async {
                answer(&span("generate_content"));
                Ok::<_, ErrorType>(())
            },
            |_, _| {},
        );
        inside.now_or_never().expect("it is ready").expect("it succeeds");
    });
    assert_eq!(capture.llm("router", "best").requests(), 1);
    assert_eq!(capture.llm("router", "best").tokens(), 7);
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 0);
}

#[test]
fn call_takes_the_class_of_a_span_inside_where_it_knows_none() {
    let capture = capture(|| {
        let call = LlmCall::start(PROVIDER, MODEL);
        let inside = call.observe_with(
            async {
                span("chat").record("error.type", "529");
                Err::<(), _>(ErrorType::Unknown)
            },
            |_, _| {},
        );
        let _ = inside.now_or_never();
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 1);
    assert_eq!(capture.llm(PROVIDER, MODEL).errors_of(ErrorType::Overloaded), 1);
}

#[test]
fn another_kind_of_operation_inside_a_call_is_a_call() {
    let capture = capture(|| {
        LlmCall::start(PROVIDER, MODEL).observe_sync_with(|| answer(&span("embeddings")));
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 2);
}

#[test]
fn call_and_span_inside_a_span_are_parts_of_it() {
    let capture = capture(|| {
        let outer = span("chat");
        outer.in_scope(|| {
            let mut call = LlmCall::start(PROVIDER, MODEL);
            call.record_usage(Usage::new(3, 4));
            call.finish();
            answer(&span("chat"));
        });
        outer.record("gen_ai.response.id", "1");
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 14);
}

#[test]
fn code_inside_an_entered_span_finds_the_call() {
    let capture = capture(|| {
        let span = span("chat");
        assert!(LlmCall::current().is_none());
        let inside = async {
            let call = LlmCall::current().expect("the span is entered");
            call.record_wait(Duration::from_secs(2));
            let refused: Result<(), _> = call.attempt().observe(async { Err(ErrorType::RateLimit) }).await;
            assert!(refused.is_err());
            call.attempt().observe(async { Ok::<_, ErrorType>(()) }).await
        };
        inside.instrument(span.clone()).now_or_never().expect("it is ready").expect("it succeeds");
        assert!(LlmCall::current().is_none());
        answer(&span);
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.attempts(), 2);
    assert_eq!(llm.attempt_errors_of(ErrorType::RateLimit), 1);
    assert_eq!(llm.waits(), [2.0]);
}

#[test]
fn call_is_found_that_starts_while_its_span_is_entered() {
    let capture = capture(|| {
        let span = silent_span();
        span.in_scope(|| {
            assert!(LlmCall::current().is_none());
            name(&span);
            LlmCall::current().expect("the call has started").attempt().finish();
        });
        assert!(LlmCall::current().is_none());
        answer(&span);
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).attempts(), 1);
}

#[test]
fn attempts_inside_a_part_count_for_the_call_around_it() {
    let capture = capture(|| {
        LlmCall::start("router", "best").observe_sync_with(|| {
            let span = span("chat");
            span.in_scope(|| LlmCall::current().expect("a call").attempt().finish());
        });
    });
    assert_eq!(capture.llm("router", "best").attempts(), 1);
    assert_eq!(capture.llm(PROVIDER, MODEL).attempts(), 0);
}

#[test]
fn spans_left_in_another_order_than_they_were_entered_leave_nothing_behind() {
    capture(|| {
        let [first, second] = [span("chat"), span("embeddings")];
        let [first_entered, second_entered] = [first.enter(), second.enter()];
        drop(first_entered);
        assert!(LlmCall::current().is_some());
        drop(second_entered);
        assert!(LlmCall::current().is_none());
        // Entered twice.
        let twice = [first.enter(), first.enter()];
        drop(twice);
        assert!(LlmCall::current().is_none());
    });
}

#[test]
fn span_of_another_thread_is_not_around_this_one() {
    capture(|| {
        let span = span("chat");
        span.in_scope(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(LlmCall::current().is_none()));
            });
        });
    });
}

trait ObserveSync {
    fn observe_sync_with(self, code: impl FnOnce());
}

impl ObserveSync for LlmCall {
    fn observe_sync_with(mut self, code: impl FnOnce()) {
        self.scope_sync(code);
        self.finish();
    }
}
