//! Calls that other libraries have on their spans, which are made by hand here. `tests/clients` has the libraries.

mod hostile;
mod inside;
mod installed;

use botticelli_obs::testing::Capture;
use botticelli_obs::tracing::{self, Span, field};
use botticelli_obs::{ErrorType, SpanMetrics};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

const PROVIDER: &str = "anthropic";
const MODEL: &str = "claude-sonnet-4-5";

/// Runs code with the bridge as the only layer.
fn capture(code: impl FnOnce()) -> Capture {
    let capture = Capture::new();
    let subscriber = Registry::default().with(SpanMetrics::layer());
    capture.run(|| tracing::subscriber::with_default(subscriber, code));
    capture
}

/// The span of a library that puts failures on it, as genai does.
fn span(operation: &str) -> Span {
    tracing::info_span!(
        target: "genai::otel::span",
        "genai.chat",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        gen_ai.operation.name = operation,
        gen_ai.provider.name = PROVIDER,
        gen_ai.request.model = MODEL,
        gen_ai.response.id = field::Empty,
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.response.time_to_first_chunk = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        gen_ai.usage.cache_read.input_tokens = field::Empty,
        gen_ai.usage.cache_creation.input_tokens = field::Empty,
        gen_ai.usage.reasoning.output_tokens = field::Empty,
        gen_ai.input.messages = field::Empty,
    )
}

/// The span of a library that puts no failures on it and learns late which call it is, as rig does.
fn silent_span() -> Span {
    tracing::info_span!(
        target: "rig::completions",
        "chat",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = field::Empty,
        gen_ai.request.model = field::Empty,
        gen_ai.response.id = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        gen_ai.usage.reasoning_tokens = field::Empty,
    )
}

fn name(span: &Span) {
    span.record("gen_ai.provider.name", PROVIDER);
    span.record("gen_ai.request.model", MODEL);
}

#[test]
fn span_with_a_response_is_a_call() {
    let capture = capture(|| {
        let span = span("chat");
        span.record("gen_ai.response.id", "msg_1");
        span.record("gen_ai.response.finish_reasons", r#"["end_turn"]"#);
        span.record("gen_ai.response.time_to_first_chunk", 0.25);
        span.record("gen_ai.usage.input_tokens", 1_200_i64);
        span.record("gen_ai.usage.output_tokens", 300_u64);
        span.record("gen_ai.usage.cache_read.input_tokens", 1_000);
        span.record("gen_ai.usage.cache_creation.input_tokens", 100);
        span.record("gen_ai.usage.reasoning.output_tokens", 120);
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.durations().len(), 1);
    assert_eq!(llm.tokens(), 1_500);
    assert_eq!(llm.prompt_tokens(), 1_200);
    assert_eq!(llm.cache_read_tokens(), 1_000);
    assert_eq!(llm.cache_write_tokens(), 100);
    assert_eq!(llm.reasoning_tokens(), 120);
    assert_eq!(llm.finished("stop"), 1);
    assert_eq!(llm.first_chunks(), [0.25]);
    assert_eq!(llm.in_flight(), 0.0);
}

#[test]
fn operations_that_ask_no_model_are_no_calls() {
    let capture = capture(|| {
        for operation in ["execute_tool", "invoke_agent", "create_agent", "rerank", ""] {
            span(operation).record("gen_ai.usage.input_tokens", 1);
        }
        // Without an operation.
        tracing::info_span!("chat", gen_ai.request.model = MODEL, gen_ai.usage.input_tokens = 1);
    });
    assert_eq!(capture.to_string(), "");
    let capture = self::capture(|| {
        for operation in ["chat", "generate_content", "text_completion", "embeddings"] {
            span(operation).record("gen_ai.usage.input_tokens", 1);
        }
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).requests(), 4);
}

#[test]
fn call_is_in_flight_while_its_span_is_open() {
    let recorded = Capture::new();
    let subscriber = Registry::default().with(SpanMetrics::layer());
    recorded.run(|| {
        tracing::subscriber::with_default(subscriber, || {
            let span = span("chat");
            assert_eq!(recorded.llm(PROVIDER, MODEL).in_flight(), 1.0);
            assert_eq!(recorded.llm(PROVIDER, MODEL).requests(), 0);
            drop(span);
            assert_eq!(recorded.llm(PROVIDER, MODEL).in_flight(), 0.0);
            assert_eq!(recorded.llm(PROVIDER, MODEL).requests(), 1);
        });
    });
}

#[test]
fn names_may_come_after_the_start() {
    let capture = capture(|| {
        let span = silent_span();
        name(&span);
        span.record("gen_ai.usage.input_tokens", 3);
        span.record("gen_ai.usage.output_tokens", 4);
        span.record("gen_ai.usage.reasoning_tokens", 2);
        // A span of an agent that becomes that of a call.
        let adopted = tracing::info_span!(
            "agent",
            gen_ai.operation.name = field::Empty,
            gen_ai.provider.name = field::Empty,
            gen_ai.request.model = field::Empty,
            gen_ai.response.id = field::Empty,
        );
        name(&adopted);
        adopted.record("gen_ai.operation.name", "chat");
        adopted.record("gen_ai.response.id", "1");
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 2);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 7);
    assert_eq!(llm.reasoning_tokens(), 2);
    assert_eq!(llm.usage_missing(), 1);
}

#[test]
fn providers_are_as_on_labels() {
    let capture = capture(|| {
        for provider in ["gcp.gemini", "gemini", "aws.bedrock"] {
            tracing::info_span!(
                "chat",
                gen_ai.operation.name = "chat",
                gen_ai.system = provider,
                gen_ai.request.model = %"models/m",
                gen_ai.response.model = "m-1",
            );
        }
    });
    assert_eq!(capture.llm("gemini", "m").requests(), 2);
    assert_eq!(capture.llm("bedrock", "m").requests(), 1);
}

#[test]
fn failures_have_our_classes() {
    for (word, class) in [
        ("429", ErrorType::RateLimit),
        ("connect", ErrorType::Network),
        ("response_not_json", ErrorType::Decode),
        ("rate_limit", ErrorType::RateLimit),
        ("SomethingElse", ErrorType::Unknown),
    ] {
        let capture = capture(|| {
            let span = span("chat");
            span.record("otel.status_code", "error");
            span.record("error.type", word);
        });
        let llm = capture.llm(PROVIDER, MODEL);
        assert_eq!(llm.errors(), 1, "{word}");
        assert_eq!(llm.errors_of(class), 1, "{word}");
    }
    let capture = capture(|| {
        let span = span("chat");
        span.record("gen_ai.response.id", "1");
        span.record("otel.status_code", "ERROR");
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).errors_of(ErrorType::Unknown), 1);
}

#[test]
fn span_that_says_nothing_is_cancelled_where_failures_would_be_said_and_unknown_elsewhere() {
    let capture = capture(|| {
        drop(span("chat"));
        name(&silent_span());
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 2);
    assert_eq!(llm.errors_of(ErrorType::Cancelled), 1);
    assert_eq!(llm.errors_of(ErrorType::Unknown), 1);
}

#[test]
fn span_that_a_panic_closes_is_a_panic() {
    let capture = capture(|| {
        let panicked = std::panic::catch_unwind(|| {
            let _span = span("chat").entered();
            panic!("as expected");
        });
        assert!(panicked.is_err());
    });
    assert_eq!(capture.llm(PROVIDER, MODEL).errors_of(ErrorType::Panic), 1);
}

#[test]
fn call_ends_with_what_happens_last_once_it_is_known_how_it_went() {
    let recorded = Capture::new();
    let subscriber = Registry::default().with(SpanMetrics::layer());
    let mut at_most = std::time::Duration::ZERO;
    recorded.run(|| {
        tracing::subscriber::with_default(subscriber, || {
            let began = std::time::Instant::now();
            let span = span("chat");
            span.record("gen_ai.usage.input_tokens", 3);
            span.in_scope(|| {});
            at_most = began.elapsed();
            // A task that goes on, or a response that is kept, holds the span.
            while began.elapsed() <= 2 * at_most {}
        });
    });
    let [lasted] = recorded.llm(PROVIDER, MODEL).durations()[..] else { panic!("one call") };
    assert!(lasted <= at_most.as_secs_f64(), "{lasted} s, not {at_most:?}");
}

#[test]
fn spans_of_this_crate_and_of_low_levels_are_left_out() {
    let recorded = Capture::new();
    // One registry with both layers, as `install` sets.
    let subscriber = Registry::default().with(SpanMetrics::layer());
    recorded.run(|| {
        tracing::subscriber::with_default(subscriber, || {
            botticelli_obs::LlmCall::start(PROVIDER, MODEL).finish();
            tracing::debug_span!(
                "chat",
                gen_ai.operation.name = "chat",
                gen_ai.provider.name = PROVIDER,
                gen_ai.request.model = MODEL,
            );
        });
    });
    assert_eq!(recorded.llm(PROVIDER, MODEL).requests(), 1);
}
