//! The span of a call ends when the call ends, whoever holds it: it lasts as long as the call's sample of `llm_duration`.

use std::future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use botticelli_obs::{
    Builder, ClassifyError, Counter, ErrorType, Gauge, Histogram, Key, KeyName, LlmCall, LlmResponse, Metadata,
    Recorder, SharedString, Telemetry, Unit, metrics, tracing,
};
use futures_util::{FutureExt, StreamExt, stream};
use opentelemetry_proto::tonic::trace::v1::Span;
use tracing::Instrument;

use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};
use crate::support::{in_own_process, wait_for};

const FLUSH: Duration = Duration::from_secs(30);

/// What each call takes at least, beyond what a test's own steps take.
const WORK: Duration = Duration::from_millis(5);

#[derive(Debug)]
struct Reply;

impl LlmResponse for Reply {}

#[derive(Debug)]
struct Refused;

impl ClassifyError for Refused {
    fn error_type(&self) -> ErrorType {
        ErrorType::Auth
    }
}

type Item = Result<Reply, Refused>;

async fn work() -> Item {
    tokio::time::sleep(WORK).await;
    Ok(Reply)
}

async fn hang() -> Item {
    tokio::time::sleep(WORK).await;
    future::pending().await
}

/// Keeps a span for ever, as work does that never ends.
fn hold(span: &tracing::Span) {
    std::mem::forget(span.clone());
}

#[botticelli_obs::llm_call(provider = "p", model = model)]
async fn instrumented(model: &str) -> Item {
    hang().await
}

fn begin(model: &str) -> LlmCall {
    let call = LlmCall::start("p", model);
    assert!(!call.span().is_disabled());
    call
}

/// A model, and what begins and ends a call to it.
type Way = (&'static str, fn(&'static str));

/// Every way in which a call can end.
const WAYS: &[Way] = &[
    ("finished-after-the-span-was-left", |model| {
        let call = begin(model);
        call.span().in_scope(|| tracing::info!("sending the request"));
        thread::sleep(WORK);
        call.finish();
    }),
    ("finished-and-never-entered", |model| {
        let call = begin(model);
        thread::sleep(WORK);
        call.finish();
    }),
    ("finished-inside", |model| {
        let call = begin(model);
        let span = call.span().clone();
        span.in_scope(|| {
            thread::sleep(WORK);
            call.finish();
            thread::sleep(WORK);
        });
    }),
    ("failed", |model| {
        let call = begin(model);
        hold(call.span());
        thread::sleep(WORK);
        call.fail(ErrorType::RateLimit);
    }),
    ("dropped", |model| {
        let call = begin(model);
        let span = call.span().clone();
        span.in_scope(|| thread::sleep(WORK));
        thread::sleep(WORK);
        drop(call);
        thread::sleep(WORK);
    }),
    ("dropped-by-a-panic", |model| {
        let call = begin(model);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let call = call;
            hold(call.span());
            thread::sleep(WORK);
            std::panic::resume_unwind(Box::new(call.span().is_disabled()));
        }));
        panicked.expect_err("the panic goes on");
    }),
    ("ended-by-another-thread", |model| {
        let call = begin(model);
        thread::spawn(move || {
            thread::sleep(WORK);
            call.finish();
        });
    }),
    ("held-by-a-thread-that-never-leaves-it", |model| {
        let call = begin(model);
        let span = call.span().clone();
        thread::spawn(move || {
            let _inside = span.enter();
            loop {
                thread::park();
            }
        });
        thread::sleep(WORK);
        call.finish();
    }),
    ("a-function", |model| {
        let call = begin(model);
        let _ = call.observe_sync(|| {
            hold(&tracing::Span::current());
            thread::sleep(WORK);
            Item::Ok(Reply)
        });
    }),
    ("a-function-that-panics", |model| {
        let call = begin(model);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _ = call.observe_sync(|| -> Item {
                thread::sleep(WORK);
                std::panic::resume_unwind(Box::new(()))
            });
        }));
        panicked.expect_err("the panic goes on");
    }),
    ("a-future", |model| {
        let call = begin(model);
        let _ = block_on(call.observe(work()));
    }),
    ("a-future-that-is-never-polled", |model| {
        let call = begin(model);
        let observed = call.observe(hang());
        thread::sleep(WORK);
        drop(observed);
    }),
    ("a-future-that-panics", |model| {
        let call = begin(model);
        let observed = call.observe(async {
            hold(&tracing::Span::current());
            let _ = work().await;
            std::panic::resume_unwind(Box::new(()));
            #[expect(unreachable_code, reason = "it has a type")]
            Item::Ok(Reply)
        });
        let panicked = block_on(AssertUnwindSafe(observed).catch_unwind());
        thread::sleep(WORK);
        assert!(panicked.is_err());
    }),
    ("an-aborted-task", |model| {
        let call = begin(model);
        block_on(async {
            let task = tokio::spawn(call.observe(hang()));
            tokio::time::sleep(2 * WORK).await;
            task.abort();
            assert!(task.await.expect_err("it was aborted").is_cancelled());
        });
    }),
    ("a-lost-race", |model| {
        let call = begin(model);
        block_on(async {
            tokio::select! {
                _ = call.observe(hang()) => panic!("it hangs"),
                () = tokio::time::sleep(2 * WORK) => {}
            }
        });
    }),
    ("a-call-out-of-time", |model| {
        let call = LlmCall::builder("p", model).with_timeout(2 * WORK).start();
        block_on(async {
            tokio::select! {
                _ = call.observe(hang()) => panic!("it hangs"),
                () = tokio::time::sleep(4 * WORK) => {}
            }
        });
    }),
    ("work-that-goes-on", |model| {
        let call = begin(model);
        let _ = block_on(call.observe(async {
            hold(&tracing::Span::current());
            tokio::spawn(hang().in_current_span());
            work().await
        }));
    }),
    ("a-closure-that-reports", |model| {
        let call = begin(model);
        let _ = block_on(call.observe_with(work(), |_, _| thread::sleep(WORK)));
    }),
    ("a-stream", |model| {
        let call = begin(model);
        let items = stream::iter([Item::Ok(Reply), Ok(Reply)]).then(|item| async {
            let _ = work().await;
            item
        });
        block_on(async { call.wrap_stream(Box::pin(items)).for_each(|_| future::ready(())).await });
    }),
    ("a-stream-that-is-dropped", |model| {
        let call = begin(model);
        let items = stream::once(work()).chain(stream::pending());
        block_on(async {
            let mut items = Box::pin(call.wrap_stream(items));
            items.next().await;
            thread::sleep(WORK);
        });
    }),
    ("a-stream-that-is-never-polled", |model| {
        let call = begin(model);
        let items = call.wrap_stream(stream::pending::<Item>());
        thread::sleep(WORK);
        drop(items);
    }),
    ("a-stream-that-does-not-open", |model| {
        let call = begin(model);
        let opening = call.observe_stream(async {
            let _ = work().await;
            Err::<stream::Pending<Item>, _>(Refused)
        });
        assert!(block_on(opening).is_err());
    }),
    ("a-stream-by-a-closure", |model| {
        let call = begin(model);
        let items = call.wrap_stream_with(stream::pending::<u8>(), |_, _| ());
        thread::sleep(WORK);
        drop(items);
    }),
    ("a-call-with-a-part", |model| {
        let call = begin(model);
        let _ = block_on(call.observe(async {
            let part = LlmCall::start("p", model);
            let result = part.observe(work()).await;
            drop(LlmCall::start("p", model));
            thread::sleep(WORK);
            result
        }));
    }),
    ("an-instrumented-function", |model| {
        block_on(async {
            tokio::select! {
                _ = instrumented(model) => panic!("it hangs"),
                () = tokio::time::sleep(2 * WORK) => {}
            }
        });
    }),
];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(future)
}

fn start(peer: &Peer) -> Telemetry {
    let builder = Builder::new().without_listener().with_otlp_endpoint(format!("http://{}", peer.addr));
    builder.install().expect("it installs")
}

/// The spans of this name that have arrived.
fn named(peer: &Peer, name: &str) -> Vec<Span> {
    peer.received().spans.into_iter().filter(|span| span.name == name).collect()
}

fn one(peer: &Peer, name: &str) -> Span {
    let mut spans = named(peer, name);
    assert_eq!(spans.len(), 1, "{name}: {spans:#?}");
    spans.remove(0)
}

fn lasts(span: &Span) -> Duration {
    Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano)
}

/// The sample of the one call to this model, once it has ended.
fn sample(telemetry: &Telemetry, model: &str) -> Option<Duration> {
    let page = Page::parse(&telemetry.render());
    let labels = [("provider", "p"), ("model", model)];
    let calls = page.value("llm_duration_count", &labels);
    assert!(calls <= 1.0, "{model}: {calls}");
    (calls == 1.0).then(|| Duration::from_secs_f64(page.value("llm_duration_sum", &labels)))
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_nanos()).expect("it is before 2554")
}

#[test]
fn however_a_call_ends_its_span_lasts_as_long() {
    in_own_process(&[], || {
        let peer = Peer::grpc(Mood::Takes);
        let telemetry = start(&peer);
        for &(model, way) in WAYS {
            let before = nanoseconds(SystemTime::now());
            way(model);
            let sample = wait_for(model, FLUSH, || sample(&telemetry, model));
            let ended = nanoseconds(SystemTime::now());
            telemetry.flush(FLUSH).expect("every span arrives");
            let span = one(&peer, &format!("chat {model}"));
            assert!(lasts(&span).abs_diff(sample) <= Duration::from_nanos(1), "{model}: {sample:?} and {span:?}");
            assert!(sample >= WORK, "{model}: {sample:?}");
            assert!((before..=ended).contains(&span.start_time_unix_nano), "{model}");
        }
        telemetry.shutdown(FLUSH).expect("nothing is left");
        for (model, _) in WAYS {
            one(&peer, &format!("chat {model}"));
        }
    });
}

#[test]
fn what_ends_later_inside_a_call_has_its_own_time_and_its_parent() {
    in_own_process(&[], || {
        let peer = Peer::grpc(Mood::Takes);
        let telemetry = start(&peer);
        let call = LlmCall::start("p", "m");
        let early = call.span().in_scope(|| tracing::info_span!("early"));
        let span = call.span().clone();
        thread::sleep(WORK);
        call.finish();
        telemetry.flush(FLUSH).expect("every span arrives");
        let of_call = one(&peer, "chat m");
        assert!(named(&peer, "early").is_empty());

        thread::sleep(WORK);
        let late = span.in_scope(|| tracing::info_span!("late"));
        let explicit = tracing::info_span!(parent: &span, "explicit");
        // Neither of these changes what has been exported.
        span.in_scope(|| tracing::error!("too late"));
        span.record("error.type", "too late");
        thread::sleep(WORK);
        drop((early, late, explicit, span));
        telemetry.shutdown(FLUSH).expect("every span arrives");
        for name in ["early", "late", "explicit"] {
            let span = one(&peer, name);
            assert_eq!((&span.trace_id, &span.parent_span_id), (&of_call.trace_id, &of_call.span_id), "{name}");
            assert!(span.end_time_unix_nano >= of_call.end_time_unix_nano + WORK.as_nanos() as u64, "{name}");
        }
        assert_eq!(one(&peer, "chat m"), of_call);
    });
}

#[test]
fn spawned_work_that_never_ends_does_not_hold_up_the_span() {
    in_own_process(&[], || {
        let peer = Peer::grpc(Mood::Takes);
        let telemetry = start(&peer);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
        let observed = LlmCall::start("p", "m").observe(async {
            tokio::spawn(hang().in_current_span());
            work().await
        });
        let _ = runtime.block_on(observed);
        telemetry.shutdown(FLUSH).expect("every span arrives");
        one(&peer, "chat m");
        drop(runtime);
    });
}

/// Writes a log line for each span that is dropped.
struct Complains;

impl metrics::CounterFn for Complains {
    fn increment(&self, value: u64) {
        if value > 0 {
            tracing::error!("dropped: {value}");
        }
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Complains {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let is_of_dropped = key.name() == "botticelli.obs.spans_dropped";
        if is_of_dropped && key.labels().any(|label| label.value() == "queue_full") {
            Counter::from_arc(Arc::new(Self))
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn no_code_of_others_runs_while_a_span_is_locked() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    let endpoint = format!("http://{}", peer.addr);
    let variables = [("OTEL_BSP_MAX_QUEUE_SIZE", "1"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)];
    let output = in_own_process(&variables, || {
        let telemetry = Builder::new().without_listener().add_recorder(Complains).install().expect("it installs");
        for _ in 0..3 {
            let call = LlmCall::start("p", "m");
            // The line is one of the call, and would wait for the lock of its span.
            call.span().clone().in_scope(|| call.finish());
        }
        wait_for("the counts of both", FLUSH, || {
            let page = Page::parse(&telemetry.render());
            (page.sum("botticelli_obs_spans_dropped_total") == 2.0).then_some(())
        });
        let _ = telemetry.shutdown(Duration::ZERO);
    });
    let Some(output) = output else { return };
    let log = String::from_utf8_lossy(&output.stderr);
    // One line or two: what is dropped meanwhile is counted together.
    let lines = log.lines().filter_map(|line| line.split_once("dropped: ")?.1.parse::<u64>().ok());
    assert_eq!(lines.sum::<u64>(), 2, "{log}");
}
