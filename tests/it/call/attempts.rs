//! What code inside a call records without having the call: attempts, waits; and the inside of a call that is driven by hand.

use std::future;
use std::thread;
use std::time::Duration;

use botticelli_obs::testing::{Attribute, Capture, CapturedSpan};
use botticelli_obs::{Attempt, CurrentCall, ErrorType, LlmCall, Usage};
use futures_util::FutureExt;

const PROVIDER: &str = "groq";
const MODEL: &str = "llama-3.3-70b-versatile";

fn start() -> LlmCall {
    LlmCall::start(PROVIDER, MODEL)
}

fn current() -> CurrentCall {
    LlmCall::current().expect("the code runs inside a call")
}

fn capture(code: impl Future<Output = ()>) -> Capture {
    let capture = Capture::new();
    capture.observe(code).now_or_never().expect("it is ready");
    capture
}

/// A client that is refused twice.
async fn retrying_client() -> Result<u64, ErrorType> {
    let call = current();
    for wait in [1, 2] {
        let refused: Result<u64, _> = call.attempt().observe(async { Err(ErrorType::RateLimit) }).await;
        assert_eq!(refused, Err(ErrorType::RateLimit));
        call.record_wait(Duration::from_secs(wait));
    }
    call.attempt().observe(async { Ok(7) }).await
}

#[test]
fn attempts_and_waits_of_a_call_are_counted_beside_it() {
    let capture = capture(async {
        let sent = start().observe_with(retrying_client(), |call, result| {
            call.record_usage(Usage::new(0, *result.expect("the third is taken")));
        });
        assert_eq!(sent.await, Ok(7));
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.attempts(), 3);
    assert_eq!(llm.attempt_errors_of(ErrorType::RateLimit), 2);
    assert_eq!(llm.attempt_durations().len(), 3);
    assert_eq!(llm.waits(), [3.0]);
}

#[test]
fn attempts_are_spans_inside_the_call_that_no_backend_takes_for_calls() {
    let capture = capture(async {
        let _ = start().observe_with(retrying_client(), |_, _| {}).await;
    });
    let spans = capture.spans();
    let (attempts, calls): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name() == "attempt");
    let [call] = calls[..] else { panic!("{spans:?}") };
    assert_eq!(attempts.len(), 3);
    for (number, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.parent_id(), Some(call.id()));
        assert!(attempt.is_client());
        let resent = attempt.attribute("http.request.resend_count");
        assert_eq!(resent, (number > 0).then_some(Attribute::Int(number as i64)));
        assert_eq!(attempt.is_error(), number < 2);
        assert!(["gen_ai.operation.name", "gen_ai.request.model"].iter().all(|name| attempt.attribute(name).is_none()));
    }
    let llm = capture.llm(PROVIDER, MODEL);
    let mut lasted: Vec<_> = attempts.iter().map(|span| span.duration().as_secs_f64()).collect();
    lasted.sort_by(f64::total_cmp);
    assert_eq!(lasted, llm.attempt_durations());
}

#[test]
fn what_an_attempt_has_learnt_is_on_its_span_and_messages_are_not() {
    let capture = capture(async {
        let refused = start().observe_sync(|| -> Result<Silent, ErrorType> {
            let mut attempt = current().attempt();
            attempt.record_status(429);
            attempt.record_error_code("insufficient_quota");
            attempt.record_error_code("You have exceeded your quota, dear jane@example.org");
            attempt.record_request_id("req_011CS.a-b");
            attempt.record_request_id(&"x".repeat(65));
            attempt.fail(ErrorType::RateLimit);
            Err(ErrorType::RateLimit)
        });
        assert!(refused.is_err());
    });
    let spans = capture.spans();
    let attempt = spans.iter().find(|span| span.name() == "attempt").expect("there is an attempt");
    let text = |text: &str| Some(Attribute::Text(text.to_owned()));
    assert_eq!(attempt.attribute("http.response.status_code"), Some(Attribute::Int(429)));
    assert_eq!(attempt.attribute("botticelli.error.code"), text("insufficient_quota"));
    assert_eq!(attempt.attribute("botticelli.request.id"), text("req_011CS.a-b"));
    assert_eq!(attempt.attribute("error.type"), text("rate_limit"));
}

#[test]
fn however_an_attempt_ends_it_is_recorded_once() {
    let capture = capture(async {
        let mut call = start();
        call.scope_sync(|| {
            current().attempt().finish();
            current().attempt().fail(ErrorType::Network);
            drop(current().attempt());
            // Dropped before and after the first poll.
            drop(current().attempt().observe(future::pending::<Result<u64, ErrorType>>()));
            assert_eq!(current().attempt().observe(future::pending::<Result<u64, ErrorType>>()).now_or_never(), None);
            let attempt: Attempt = current().attempt();
            thread::spawn(|| {
                let _attempt = attempt;
                panic!("on purpose");
            })
            .join()
            .expect_err("it panics");
        });
        call.finish();
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.attempts(), 6);
    assert_eq!(llm.attempt_errors_of(ErrorType::Network), 1);
    assert_eq!(llm.attempt_errors_of(ErrorType::Cancelled), 3);
    assert_eq!(llm.attempt_errors_of(ErrorType::Panic), 1);
    assert_eq!(llm.errors(), 0);
}

#[test]
fn calls_that_nobody_tells_of_attempts_have_none_of_their_series() {
    let capture = capture(async { start().finish() });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.attempts(), 0);
    assert_eq!(llm.attempt_durations(), [0.0; 0]);
    assert_eq!(llm.waits(), [0.0; 0]);
}

#[test]
fn attempts_and_waits_of_a_part_are_those_of_the_whole() {
    let capture = capture(async {
        let inner = || async {
            current().attempt().finish();
            current().record_wait(Duration::from_secs(2));
            Ok::<_, ErrorType>(())
        };
        let twice = async {
            start().observe_with(inner(), |_, _| {}).await?;
            start().observe_with(inner(), |_, _| {}).await
        };
        let _ = start().observe_with(twice, |_, _| {}).await;
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.attempts(), 2);
    assert_eq!(llm.waits(), [4.0]);
    let spans = capture.spans();
    let resent = |span: &CapturedSpan| span.attribute("http.request.resend_count").is_some();
    assert_eq!(spans.iter().filter(|span| resent(span)).count(), 1);
}

#[test]
fn waiting_is_measured_and_no_part_of_an_attempt() {
    let capture = Capture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it starts");
    let limited = async {
        let call = current();
        call.wait(tokio::time::sleep(Duration::from_millis(30))).await;
        // A limiter that is given up.
        let wait = call.wait(tokio::time::sleep(Duration::from_secs(60)));
        tokio::time::timeout(Duration::from_millis(30), wait).await.expect_err("it takes longer");
        // Never polled, so it has not waited.
        drop(call.wait(future::pending::<()>()));
        call.attempt().observe(async { Ok::<_, ErrorType>(()) }).await
    };
    runtime.block_on(capture.observe(async {
        let _ = start().observe_with(limited, |_, _| {}).await;
    }));
    let llm = capture.llm(PROVIDER, MODEL);
    let (waits, attempts) = (llm.waits(), llm.attempt_durations());
    assert_eq!((waits.len(), attempts.len()), (1, 1));
    assert!(waits[0] >= 0.06 && waits[0] <= llm.durations()[0], "{waits:?}");
    assert!(attempts[0] < waits[0], "{attempts:?}");
}

#[test]
fn handle_works_in_other_tasks_and_does_nothing_after_the_call() {
    let capture = Capture::new();
    let handle = capture.run(|| {
        assert!(LlmCall::current().is_none());
        let mut call = start();
        assert!(LlmCall::current().is_none(), "a call that is driven by hand has no inside by itself");
        let handle = call.scope_sync(current);
        let sent = handle.clone();
        thread::spawn(move || {
            assert!(LlmCall::current().is_none());
            sent.record_wait(Duration::from_secs(1));
            sent.attempt().finish();
        })
        .join()
        .expect("it does not panic");
        call.finish();
        handle
    });
    handle.record_wait(Duration::from_secs(1));
    handle.attempt().fail(ErrorType::Network);
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.waits(), [1.0]);
    assert_eq!(llm.attempts(), 1);
    assert_eq!(llm.attempt_errors_of(ErrorType::Network), 0);
}

#[test]
fn current_is_the_innermost_call_that_has_not_ended() {
    let capture = Capture::new();
    capture.run(|| {
        let mut outer = start();
        outer.scope_sync(|| {
            let mut inner = LlmCall::start("openai", "gpt-4o-mini");
            inner.scope_sync(|| current().attempt().finish());
            let handle = inner.scope_sync(current);
            inner.finish();
            handle.attempt().finish();
            current().attempt().finish();
        });
        outer.finish();
    });
    assert_eq!(capture.llm("openai", "gpt-4o-mini").attempts(), 1);
    assert_eq!(capture.llm(PROVIDER, MODEL).attempts(), 1);
}

#[test]
fn a_call_inside_a_scope_is_counted_once_and_what_it_knows_is_handed_up() {
    let capture = capture(async {
        let mut call = start();
        let inner = call.scope(async {
            let mut layer = start();
            layer.record_usage(Usage::new(3, 4));
            layer.finish();
        });
        inner.await;
        call.finish();
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.tokens(), 7);
    assert_eq!(capture.spans().len(), 1);
}

#[test]
fn other_spellings_of_a_call_are_the_same_call() {
    let capture = capture(async {
        let part = || LlmCall::builder(" gemini", "models/gemini-2.5-flash").with_operation("generate_content").start();
        LlmCall::start("gemini", "gemini-2.5-flash")
            .observe_sync(|| {
                part().finish();
                LlmCall::builder("gemini", "gemini-2.5-flash").with_operation("embeddings").start().finish();
                Ok::<_, ErrorType>(Silent)
            })
            .expect("it is");
    });
    assert_eq!(capture.llm("gemini", "gemini-2.5-flash").requests(), 2);
}

#[derive(Clone, Copy, Debug)]
struct Silent;

impl botticelli_obs::LlmResponse for Silent {}

#[test]
fn usage_is_handed_up_field_by_field() {
    let capture = capture(async {
        let mut call = start();
        call.record_usage(Usage::new(1_000, 0));
        call.scope_sync(|| {
            let mut part = start();
            part.record_usage(Usage::new(900, 50).with_cache_read(800));
            part.finish();
        });
        call.finish();
    });
    let llm = capture.llm(PROVIDER, MODEL);
    assert_eq!(
        (llm.prompt_tokens().get(), llm.completion_tokens().get(), llm.cache_read_tokens().get()),
        (1_000, 50, 800)
    );
}

#[cfg(feature = "http")]
#[test]
fn rate_limits_of_an_answer_are_gauges_and_nonsense_is_none() {
    use botticelli_obs::propagation::HeaderMap;

    let headers = |headers: &[(&'static str, &'static str)]| -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    };
    let capture = Capture::new();
    let gauge =
        |name: &str, kind: &str| capture.gauge(name, &[("provider", PROVIDER), ("model", MODEL), ("kind", kind)]);
    capture.run(|| {
        let mut call = start();
        call.scope_sync(|| {
            current().record_rate_limits(&headers(&[
                ("x-ratelimit-limit-requests", "14400"),
                ("x-ratelimit-remaining-requests", "14399"),
                ("x-ratelimit-limit-tokens", "-1"),
                ("x-ratelimit-remaining-tokens", "many"),
            ]));
            current().record_rate_limits(&headers(&[("x-ratelimit-remaining-requests", "14398")]));
        });
        call.finish();
    });
    assert_eq!(gauge("llm.ratelimit.limit", "requests"), Some(14_400.0));
    assert_eq!(gauge("llm.ratelimit.remaining", "requests"), Some(14_398.0));
    assert_eq!(gauge("llm.ratelimit.limit", "tokens"), None);
    assert_eq!(gauge("llm.ratelimit.remaining", "tokens"), None);
}
