//! Calls in destructors of thread-locals, when the subscriber's own thread-locals may be gone: they are counted, and nothing panics.

use std::cell::RefCell;
use std::future;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, TraceExporter, tracing};
use futures_util::{FutureExt, stream};

use crate::support::in_own_process;
use crate::support::page::Page;

/// Something done when a thread ends.
struct Goodbye(Option<Box<dyn FnOnce()>>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        if let Some(say) = self.0.take() {
            say();
        }
    }
}

thread_local! {
    static GOODBYE: RefCell<Goodbye> = const { RefCell::new(Goodbye(None)) };
}

/// What a thread has done before it ends: thread-locals are dropped in the reverse order of their first use.
const BEFORE: &[fn()] = &[
    || {},
    || LlmCall::start("p", "before").finish(),
    || LlmCall::start("p", "before").observe_sync(|| ()),
    || drop(tracing::info_span!("work")),
    || tracing::info_span!("work").in_scope(|| tracing::info!("at work")),
    || tracing::info!("at work"),
    || {
        tracing::info!("at work");
        LlmCall::start("p", "before").finish();
        tracing::info_span!("work").in_scope(|| tracing::info!("at work"));
    },
];

/// Makes something that is done when the thread ends, with one call.
type AtEnd = fn() -> Box<dyn FnOnce()>;

const AT_END: &[AtEnd] = &[
    || Box::new(|| LlmCall::start("p", "end").finish()),
    || Box::new(|| drop(LlmCall::start("p", "end"))),
    || Box::new(|| LlmCall::start("p", "end").observe_sync(|| LlmCall::start("p", "end").finish())),
    || {
        let call = LlmCall::start("p", "end");
        Box::new(|| call.finish())
    },
    || {
        let mut call = LlmCall::start("p", "end");
        call.record_chunk();
        Box::new(|| call.observe_sync(|| ()))
    },
    || {
        let mut observed = Box::pin(LlmCall::start("p", "end").observe(future::pending::<()>()));
        assert!(observed.as_mut().now_or_never().is_none());
        Box::new(|| drop(observed))
    },
    || {
        let call = LlmCall::builder("p", "end").with_timeout(Duration::from_secs(60)).start();
        let mut observed = Box::pin(call.observe(future::pending::<()>()));
        Box::new(move || assert!(observed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()))
    },
    || {
        let items = LlmCall::start("p", "end").wrap_stream(stream::pending::<()>());
        Box::new(|| drop(items))
    },
    #[cfg(feature = "http")]
    || {
        Box::new(|| {
            let call = LlmCall::start("p", "end");
            call.inject(&mut botticelli_obs::propagation::HeaderMap::new());
            call.finish();
        })
    },
    || {
        Box::new(|| {
            botticelli_obs::declare("p", "end");
            botticelli_obs::llm_request!("p", "end");
        })
    },
];

fn say_goodbye(goodbye: Box<dyn FnOnce()>) {
    GOODBYE.with(|last| last.borrow_mut().0 = Some(goodbye));
}

fn calls_at_the_end_of_threads(format: &str) {
    let run = || {
        let builder = Builder::new().without_listener().with_trace_exporter(TraceExporter::Stdout);
        let telemetry = builder.install().expect("it installs");
        let mut threads = 0.0;
        for &before in BEFORE {
            for &at_end in AT_END {
                for first in [false, true] {
                    let thread = thread::spawn(move || {
                        if first {
                            GOODBYE.with(|_| ());
                        }
                        before();
                        say_goodbye(at_end());
                        before();
                    });
                    thread.join().expect("no panic");
                    threads += 1.0;
                }
            }
        }
        let page = Page::parse(&telemetry.render());
        let labels = [("provider", "p"), ("model", "end")];
        assert_eq!(page.value("llm_requests_total", &labels), threads);
        assert_eq!(page.value("llm_in_flight", &labels), 0.0);
        telemetry.shutdown(Duration::from_secs(30)).expect("standard output takes everything");
    };
    let Some(output) = in_own_process(&[("BOTTICELLI_OBS_LOG_FORMAT", format)], run) else { return };
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn calls_at_the_end_of_a_thread_are_counted() {
    calls_at_the_end_of_threads("text");
}

#[test]
fn calls_at_the_end_of_a_thread_are_counted_beside_json_lines() {
    calls_at_the_end_of_threads("json");
}

#[test]
fn a_log_line_at_the_end_of_a_thread_does_not_abort_the_process() {
    for format in ["text", "json"] {
        let run = || {
            let builder = Builder::new().without_listener().with_trace_exporter(TraceExporter::Stdout);
            let telemetry = builder.install().expect("it installs");
            for &before in BEFORE {
                let thread = thread::spawn(move || {
                    say_goodbye(Box::new(|| tracing::info!("goodbye")));
                    before();
                });
                thread.join().expect("no panic");
            }
            telemetry.shutdown(Duration::from_secs(30)).expect("standard output takes everything");
        };
        let Some(output) = in_own_process(&[("BOTTICELLI_OBS_LOG_FORMAT", format)], run) else { return };
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_call_that_is_kept_until_its_thread_ends_has_its_span() {
    in_own_process(&[], || {
        let builder = Builder::new().without_listener().with_trace_exporter(TraceExporter::Stdout);
        let telemetry = builder.install().expect("it installs");
        for first in [false, true] {
            let thread = thread::spawn(move || {
                if first {
                    GOODBYE.with(|_| ());
                }
                let call = LlmCall::start("p", "end");
                call.span().in_scope(|| tracing::info!("at work"));
                say_goodbye(Box::new(|| call.finish()));
            });
            thread.join().expect("no panic");
        }
        telemetry.flush(Duration::from_secs(30)).expect("standard output takes everything");
        let page = Page::parse(&telemetry.render());
        assert_eq!(page.sum("botticelli_obs_spans_exported_total"), 2.0);
    });
}
