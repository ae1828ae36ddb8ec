//! Values nobody expects, and content that must not be read.

use std::fmt;

use botticelli_obs::tracing::{self, field};
use botticelli_obs::{ErrorType, SpanMetrics};
use proptest::prelude::*;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::{MODEL, PROVIDER, capture, span};

/// Content that says when somebody looks at it.
struct Content;

impl fmt::Display for Content {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("content was formatted")
    }
}

#[test]
fn content_is_never_formatted() {
    let capture = capture(|| {
        let span = tracing::info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = PROVIDER,
            gen_ai.request.model = MODEL,
            gen_ai.input.messages = %Content,
            gen_ai.output.messages = field::Empty,
            gen_ai.system_instructions = %Content,
            gen_ai.tool.definitions = %Content,
            gen_ai.prompt = %Content,
            gen_ai.response.id = "1",
        );
        span.record("gen_ai.output.messages", field::display(Content));
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 1);
}

#[test]
fn nonsense_is_not_recorded() {
    let capture = capture(|| {
        let span = span("chat");
        span.record("gen_ai.usage.input_tokens", -3);
        span.record("gen_ai.usage.output_tokens", f64::NAN);
        span.record("gen_ai.response.time_to_first_chunk", -1.0);
        span.record("gen_ai.response.finish_reasons", "[]");
        span.record("gen_ai.response.id", true);
        span.record("error.type", "");
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors_of(ErrorType::Cancelled), 1);
    assert!(llm.first_chunks().is_empty());
    assert_eq!(llm.tokens(), 0);
}

#[test]
fn numbers_may_be_text_and_text_may_be_formatted() {
    let capture = capture(|| {
        let span = span("chat");
        span.record("gen_ai.usage.input_tokens", "3");
        span.record("gen_ai.usage.output_tokens", 4.0);
        span.record("gen_ai.response.finish_reasons", field::debug(["stop", "length"]));
        span.record("gen_ai.response.id", field::debug("1"));
        span.record("error.type", 503);
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.tokens(), 7);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(llm.finished("length"), 1);
    assert_eq!(llm.errors_of(ErrorType::Overloaded), 1);
}

#[test]
fn layer_that_is_there_twice_counts_once() {
    let capture = botticelli_obs::testing::Capture::new();
    let subscriber = Registry::default().with(SpanMetrics::layer()).with(SpanMetrics::layer());
    capture.run(|| {
        tracing::subscriber::with_default(subscriber, || {
            let span = span("chat");
            span.in_scope(|| span.record("gen_ai.usage.input_tokens", 3));
        });
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 1);
    assert_eq!(capture.llm(PROVIDER, MODEL).tokens(), 3);
}

proptest! {
    #[test]
    fn any_texts_and_numbers_end_as_one_call(
        texts in prop::collection::vec(any::<String>(), 6),
        long in 0_usize..2_000,
        numbers in prop::collection::vec(any::<i64>(), 3),
        seconds in any::<f64>(),
    ) {
        let capture = capture(|| {
            let span = span("chat");
            span.record("error.type", texts[0].as_str());
            span.record("gen_ai.response.finish_reasons", texts[1].as_str());
            span.record("gen_ai.response.id", field::display("é".repeat(long)));
            span.record("gen_ai.usage.input_tokens", numbers[0]);
            span.record("gen_ai.usage.output_tokens", numbers[1] as u64);
            span.record("gen_ai.usage.cache_read.input_tokens", texts[2].as_str());
            span.record("gen_ai.response.time_to_first_chunk", seconds);
        });
        prop_assert_eq!(capture.llm(PROVIDER, MODEL).requests().get(), 1);
        prop_assert_eq!(capture.llm(PROVIDER, MODEL).in_flight(), 0.0);
    }
}
