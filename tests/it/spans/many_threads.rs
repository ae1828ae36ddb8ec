//! The registry of `tracing-subscriber` has room for the spans of 4,096 threads at a time, and panics in any further one.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use botticelli_obs::{Builder, LlmCall};

use crate::support::page::Page;
use crate::support::{in_own_process, skip};

const THREADS: usize = 4_200;
const ROOM: usize = 4_096;

/// Each thread starts a call, finds out whether it has a span, and ends it when all of them have started one. Returns how many had one;
/// `None` if the system has not so many threads.
fn calls_of_threads() -> Option<usize> {
    let (started, starts) = mpsc::channel();
    let all = Arc::new(Barrier::new(THREADS + 1));
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let (started, all) = (started.clone(), Arc::clone(&all));
        let call = move || {
            let call = LlmCall::start("p", "m");
            let _ = started.send(!call.span().is_disabled());
            all.wait();
            call.observe_sync(|| LlmCall::start("p", "inner").finish());
        };
        threads.push(thread::Builder::new().stack_size(128 * 1024).spawn(call).ok()?);
    }
    let spans = (0..THREADS).filter_map(|_| starts.recv().ok()).filter(|has_span| *has_span).count();
    all.wait();
    threads.into_iter().for_each(|thread| thread.join().expect("no call panics"));
    Some(spans)
}

#[test]
fn calls_of_more_threads_than_the_registry_has_room_for_are_counted() {
    in_own_process(&[], || {
        let telemetry = Builder::new()
            .without_listener()
            .with_otlp_endpoint("http://127.0.0.1:1")
            .with_log_filter("off")
            .install()
            .expect("it installs");
        LlmCall::start("p", "before").finish();
        let Some(spans) = calls_of_threads() else { return skip("the system has not so many threads") };
        assert!((1..=ROOM).contains(&spans), "{spans}");
        let page = Page::parse(&telemetry.render());
        for model in ["m", "inner"] {
            let labels = [("provider", "p"), ("model", model)];
            assert_eq!(page.value("llm_requests_total", &labels), THREADS as f64);
            assert_eq!(page.value("llm_in_flight", &labels), 0.0);
        }
        assert_eq!(page.sum("llm_errors_total"), 0.0);
        // This thread has its place from before.
        let call = LlmCall::start("p", "later");
        assert!(!call.span().is_disabled());
        call.finish();
        let _ = telemetry.shutdown(Duration::ZERO);
    });
}
