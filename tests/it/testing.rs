//! The test kit: what a capture sees, what it doesn't, and what a failed assertion shows.

use std::future;
use std::panic::catch_unwind;
use std::thread;

use botticelli_obs::testing::{Attribute, Capture};
use botticelli_obs::{ErrorType, LlmCall, Usage, counter, gauge, histogram, llm_request};
use futures_util::FutureExt;

fn call(tokens: u64) {
    let mut call = LlmCall::start("ollama", "llama3.2");
    call.record_usage(Usage::new(tokens, 0));
    call.finish();
}

#[test]
fn captures_see_their_own_code_alone_in_parallel() {
    let captures: Vec<_> = (0..8)
        .map(|thread| {
            thread::spawn(move || {
                let capture = Capture::new();
                for _ in 0..=thread {
                    capture.run(|| call(1));
                }
                capture
            })
        })
        .collect();
    for (thread, capture) in captures.into_iter().enumerate() {
        let capture = capture.join().expect("no panic");
        assert_eq!(capture.llm("ollama", "llama3.2").requests(), thread as u64 + 1);
        assert_eq!(capture.spans().len(), thread + 1);
    }
}

#[tokio::test]
async fn async_code_is_captured_across_await_points() {
    let capture = Capture::new();
    let code = async {
        call(1);
        tokio::task::yield_now().await;
        call(2);
    };
    tokio::join!(capture.observe(code), async { call(4) });
    assert_eq!(capture.llm("ollama", "llama3.2").tokens(), 3);
}

#[tokio::test]
async fn spawned_code_is_captured_by_a_clone() {
    let capture = Capture::new();
    let unseen = capture.run(|| tokio::spawn(async { call(1) }));
    let seen = tokio::spawn(capture.clone().observe(async { call(2) }));
    unseen.await.expect("no panic");
    seen.await.expect("no panic");
    assert_eq!(capture.llm("ollama", "llama3.2").tokens(), 2);
}

#[test]
fn dropped_future_ends_its_spans_in_the_capture() {
    let capture = Capture::new();
    let outer = async {
        let inner = LlmCall::builder("ollama", "llama3.2").without_nesting().start();
        inner.observe_with(future::pending::<Result<(), ()>>(), |_, _| {}).await
    };
    let call = capture.run(|| LlmCall::start("ollama", "llama3.2"));
    let code = call.observe_with(outer, |_, _| {});
    assert!(capture.observe(code).now_or_never().is_none());
    assert_eq!(capture.llm("ollama", "llama3.2").errors_of(ErrorType::Cancelled), 2);
    assert_eq!(capture.spans().len(), 2);
}

#[test]
fn other_metrics_are_captured_with_their_labels() {
    let capture = Capture::new();
    capture.run(|| {
        counter!("bot.posts", "channel" => "discord").increment(3);
        gauge!("bot.queue").set(2.5);
        histogram!("bot.wait").record(0.5);
        histogram!("bot.wait").record(0.25);
        llm_request!("gemini", "gemini-2.5-flash");
    });
    assert_eq!(capture.counter("bot.posts", &[("channel", "discord")]), 3);
    assert_eq!(capture.counter("bot.posts", &[]), 0);
    assert_eq!(capture.gauge("bot.queue", &[]), Some(2.5));
    assert_eq!(capture.gauge("bot.other", &[]), None);
    assert_eq!(capture.histogram("bot.wait", &[]), [0.25, 0.5]);
    assert_eq!(capture.llm("gemini", "gemini-2.5-flash").requests(), 1);
}

#[test]
fn spans_have_names_kinds_parents_and_typed_attributes() {
    let capture = Capture::new();
    capture.run(|| {
        let message = tracing::info_span!("bot.message", number = 7, ratio = 0.5, urgent = true);
        message.in_scope(|| LlmCall::start("gemini", "gemini-2.5-flash").fail(ErrorType::Auth));
    });
    let spans = capture.spans();
    let [call, message] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((call.name(), call.is_client(), call.is_error()), ("chat gemini-2.5-flash", true, true));
    assert_eq!((message.name(), message.is_client(), message.is_error()), ("bot.message", false, false));
    assert_eq!((call.parent_id(), call.trace_id()), (Some(message.id()), message.trace_id()));
    assert_eq!(message.parent_id(), None);
    assert_eq!(message.attribute("number").expect("an attribute"), 7);
    assert_eq!(message.attribute("ratio"), Some(Attribute::Float(0.5)));
    assert_eq!(message.attribute("urgent"), Some(Attribute::Bool(true)));
    assert_eq!(call.attribute("error.type").expect("an attribute"), "auth");
    assert_eq!(call.attribute("number"), None);
    assert_eq!((call.error_description(), message.error_description()), (Some("auth"), None));
}

#[test]
fn unsigned_fields_are_numbers_where_they_fit() {
    let capture = Capture::new();
    capture.run(|| {
        let message = tracing::info_span!(
            "bot.message",
            small = 7_u8,
            long = 1_u128,
            size = 3_usize,
            most = i64::MAX as u64,
            beyond = u64::MAX,
            text = "12",
            signed = -5_i64,
            negative = -6_i128,
            later = tracing::field::Empty,
            both = tracing::field::Empty,
        );
        message.record("later", 9_u64);
        message.record("both", 1_u32);
        message.record("both", "one");
        tracing::info_span!(parent: &message, "inner", text = 12_u32);
        tracing::info_span!(parent: &message, "plain", text = "12");
    });
    let spans = capture.spans();
    let [inner, plain, message] = spans.as_slice() else { panic!("{spans:?}") };
    let numbers =
        [("small", 7), ("long", 1), ("size", 3), ("most", i64::MAX), ("signed", -5), ("negative", -6), ("later", 9)];
    for (name, number) in numbers {
        assert_eq!(message.attribute(name).expect(name), number, "{name}");
    }
    for (name, text) in [("beyond", "18446744073709551615"), ("text", "12"), ("both", "one")] {
        assert_eq!(message.attribute(name).expect(name), text, "{name}");
    }
    assert_eq!(inner.attribute("text").expect("text"), 12);
    assert_eq!(plain.attribute("text").expect("text"), "12");
}

#[test]
fn failed_assertion_shows_what_was_recorded() {
    let panicked = catch_unwind(|| {
        let capture = Capture::new();
        capture.run(|| call(12));
        assert_eq!(capture.llm("ollama", "llama3.3").requests(), 1);
    });
    let message = panicked.expect_err("it fails");
    let message = message.downcast_ref::<String>().expect("a message");
    for part in ["llm.requests", "llama3.2", "llm.tokens", " = 12", "chat llama3.2"] {
        assert!(message.contains(part), "{message}");
    }
}
