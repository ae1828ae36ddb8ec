//! A call around a future or a function: however it ends, once, and with what was known.

use std::convert::Infallible;
use std::future;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::Duration;

use botticelli_obs::testing::Capture;
use botticelli_obs::{ClassifyError, ErrorType, LlmCall, LlmResponse, Usage};
use futures_util::FutureExt;

use crate::support::wait_for;

const MODEL: &str = "gemini-2.5-flash";

/// What no test waits for.
const LONG: Duration = Duration::from_secs(60);

struct Reply;

impl LlmResponse for Reply {
    fn usage(&self) -> Option<Usage> {
        Some(Usage::new(12, 30))
    }

    fn finish_reason(&self) -> Option<&str> {
        Some("stop")
    }
}

#[derive(Debug)]
struct ApiError(u16);

impl ClassifyError for ApiError {
    fn error_type(&self) -> ErrorType {
        ErrorType::from_http_status(self.0)
    }
}

fn start() -> LlmCall {
    LlmCall::start("gemini", MODEL)
}

/// A call whose time is over when it has started.
fn overdue() -> LlmCall {
    LlmCall::builder("gemini", MODEL).with_timeout(Duration::ZERO).start()
}

/// Checks that one call has ended, with this error.
#[track_caller]
fn assert_failed(capture: &Capture, error: ErrorType) {
    let llm = capture.llm("gemini", MODEL);
    assert_eq!(llm.errors_of(error), 1);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 1);
    assert_eq!(llm.in_flight(), 0.0, "{capture}");
    assert_eq!(capture.spans().len(), 1, "{capture}");
    assert_eq!(capture.spans()[0].attribute("error.type").expect("an error"), error.as_str());
}

#[test]
fn output_tells_how_the_call_turned_out() {
    let capture = Capture::new();
    capture.run(|| {
        start().observe(async { Reply }).now_or_never();
        start().observe(async { Ok::<_, ApiError>(Reply) }).now_or_never();
        start().observe(async { Err::<Reply, _>(ApiError(429)) }).now_or_never();
        start().observe_sync(|| Reply);
        start().observe_sync(|| Err::<Reply, _>(ApiError(429))).map(drop).expect_err("it failed");
    });
    let llm = capture.llm("gemini", MODEL);
    assert_eq!(llm.requests(), 5);
    assert_eq!(llm.errors_of(ErrorType::RateLimit), 2);
    assert_eq!(llm.tokens(), 3 * 42);
    assert_eq!(llm.finished("stop"), 3);
    assert_eq!(llm.usage_missing(), 0);
}

#[test]
fn observed_with_a_closure_an_error_is_unknown_unless_it_knows_better() {
    let capture = Capture::new();
    capture.run(|| {
        let failed = || future::ready(Err::<(), u16>(503));
        start().observe_with(failed(), |_, _| {}).now_or_never();
        start()
            .observe_with(failed(), |call, result| {
                call.record_error(ErrorType::from_http_status(*result.expect_err("it failed")));
            })
            .now_or_never();
        let replied = future::ready(Ok::<u64, Infallible>(3));
        start()
            .observe_with(replied, |call, result| {
                call.record_usage(Usage::new(0, *result.expect("it replied")));
            })
            .now_or_never();
    });
    let llm = capture.llm("gemini", MODEL);
    assert_eq!(llm.errors_of(ErrorType::Unknown), 1);
    assert_eq!(llm.errors_of(ErrorType::Overloaded), 1);
    assert_eq!(llm.requests(), 3);
    assert_eq!(llm.tokens(), 3);
}

#[test]
fn dropped_future_is_cancelled_and_keeps_what_an_inner_call_has_told() {
    let capture = Capture::new();
    capture.run(|| {
        let mut observed = Box::pin(start().observe(async {
            start().observe(async { Reply }).await;
            future::pending::<Reply>().await
        }));
        assert!(observed.as_mut().now_or_never().is_none());
    });
    assert_failed(&capture, ErrorType::Cancelled);
    assert_eq!(capture.llm("gemini", MODEL).tokens(), 42);
}

#[test]
fn panic_that_is_caught_around_the_future_is_a_panic() {
    let capture = Capture::new();
    capture.run(|| {
        let caught = AssertUnwindSafe(start().observe(async { panic!("on purpose") as Reply })).catch_unwind();
        assert!(caught.now_or_never().expect("it is ready").is_err());
    });
    assert_failed(&capture, ErrorType::Panic);
}

#[test]
fn panic_in_a_function_is_a_panic() {
    let capture = Capture::new();
    capture.run(|| {
        let caught = std::panic::catch_unwind(|| start().observe_sync(|| panic!("on purpose") as Reply));
        assert!(caught.is_err());
    });
    assert_failed(&capture, ErrorType::Panic);
}

#[test]
fn reply_that_comes_too_late_is_a_timeout_with_its_tokens() {
    let observed: [fn(); 3] = [
        || {
            overdue().observe(async { Reply }).now_or_never();
        },
        || {
            overdue().observe_sync(|| Reply);
        },
        || {
            overdue().observe(async { overdue().observe(async { Reply }).await }).now_or_never();
        },
    ];
    for observe in observed {
        let capture = Capture::new();
        capture.run(observe);
        assert_failed(&capture, ErrorType::Timeout);
        assert_eq!(capture.llm("gemini", MODEL).tokens(), 42);
    }
}

#[test]
fn call_dropped_after_its_time_is_a_timeout() {
    let capture = Capture::new();
    capture.run(|| drop(overdue()));
    assert_failed(&capture, ErrorType::Timeout);
}

#[test]
fn call_in_time_is_no_timeout() {
    for timeout in [Duration::from_secs(3600), Duration::MAX] {
        let capture = Capture::new();
        capture.run(|| {
            let call = LlmCall::builder("gemini", MODEL).with_timeout(timeout).start();
            call.observe(async { Reply }).now_or_never();
        });
        assert_eq!(capture.llm("gemini", MODEL).errors(), 0);
    }
}

#[test]
fn call_that_hangs_ends_when_its_time_is_over() {
    let capture = Capture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        // Nothing but the call itself wakes this task, and nobody drops it.
        let call = capture.run(|| LlmCall::builder("gemini", MODEL).with_timeout(Duration::from_millis(20)).start());
        let mut hangs = Box::pin(call.observe(future::pending::<Reply>()));
        assert!(hangs.as_mut().now_or_never().is_none(), "polled by another task first");
        let hangs = tokio::spawn(hangs);
        let ended = async {
            while capture.llm("gemini", MODEL).requests() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it ends by itself");
        assert!(!hangs.is_finished());
        assert_failed(&capture, ErrorType::Timeout);
        hangs.abort();
        assert!(hangs.await.is_err());
    });
    assert_failed(&capture, ErrorType::Timeout);
}

#[test]
fn every_call_that_hangs_ends_whatever_else_is_waited_for() {
    let capture = Capture::new();
    let start = |model, timeout| capture.run(|| LlmCall::builder("gemini", model).with_timeout(timeout).start());
    let hang = |model, timeout| Box::pin(start(model, timeout).observe(future::pending::<Reply>()));
    // What comes sooner must not wait for this one.
    let mut patient = hang("patient", LONG * 10);
    assert!(patient.as_mut().now_or_never().is_none());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let llm = capture.llm("gemini", MODEL);
    for round in 1..=5 {
        for number in 0..50 {
            runtime.spawn(hang(MODEL, Duration::from_millis(number * 7 % 40)));
            // Dropped before its time, it wakes nobody.
            assert!(hang("dropped", LONG).as_mut().now_or_never().is_none());
        }
        wait_for("every call to end", LONG, || (llm.requests() == round * 50).then_some(()));
    }
    assert_eq!(llm.errors_of(ErrorType::Timeout), 250);
    assert_eq!(capture.llm("gemini", "dropped").errors_of(ErrorType::Cancelled), 250);
    assert_eq!(capture.llm("gemini", "patient").requests(), 0);
}

#[test]
fn futures_that_are_not_send_are_observed() {
    let capture = Capture::new();
    capture.run(|| {
        let local = std::rc::Rc::new(());
        start().observe(async move { drop(local) }).now_or_never();
    });
    assert_eq!(capture.llm("gemini", MODEL).requests(), 1);
}

#[test]
fn future_may_move_between_threads() {
    let capture = Capture::new();
    let mut observed = capture.run(|| {
        Box::pin(start().observe(async {
            let mut polled = false;
            future::poll_fn(
                |_| if std::mem::replace(&mut polled, true) { ().into() } else { std::task::Poll::Pending },
            )
            .await;
            start().observe(async { Reply }).await;
        }))
    });
    assert!(observed.as_mut().now_or_never().is_none());
    thread::spawn(move || observed.now_or_never()).join().expect("no panic").expect("it is ready");
    let llm = capture.llm("gemini", MODEL);
    assert_eq!(llm.requests(), 1);
    assert_eq!(llm.errors(), 0);
    assert_eq!(llm.tokens(), 42);
}
