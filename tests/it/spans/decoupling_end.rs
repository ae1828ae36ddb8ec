//! Flushing and ending: bounded in every state and every runtime, complete where the backend is well, exact in any case; and
//! spans don't mind what happens to the page.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use botticelli_obs::LlmCall;

use crate::support::peer::{Mood, Peer};
use crate::support::process::{cpu_time, own_threads};
use crate::support::program::{
    CALLS, CALLS_LIMIT, Program, Spans, make_calls, observe, observe_in_every_runtime, patient, variables,
};
use crate::support::{free_port, get, wait_for};

const QUIET: std::ops::RangeInclusive<usize> = 0..=0;

const TIMEOUT: Duration = Duration::from_secs(30);

const ALL_EXPORTED: Spans = Spans { exported: CALLS, dropped: 0, failures: 0, said: 0 };

#[test]
fn the_end_is_bounded_in_every_runtime() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    observe_in_every_runtime(&patient(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        program.call(CALLS);
        for timeout in [Duration::ZERO, Duration::from_millis(300)] {
            let error = program.flush(timeout).expect_err("nothing was taken");
            assert_eq!((error.lost_spans(), error.waiting_spans()), (0, CALLS));
        }
        let spans = program.shut_down(Duration::from_millis(300));
        assert_eq!((spans.exported, spans.dropped, spans.said), (0, CALLS, CALLS));
        // Also the one that waited for the backend, before the export's own limit of 10 s.
        wait_for("the threads are gone", Duration::from_secs(7), || own_threads().is_empty().then_some(()));
    });
}

#[test]
fn dropping_is_bounded_in_every_runtime() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    observe_in_every_runtime(&patient(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        program.call(CALLS);
        let spans = program.drop_telemetry();
        assert_eq!((spans.exported, spans.dropped), (0, CALLS));
    });
}

/// With a backend that is well, the end loses nothing, though nothing had been exported before.
fn loses_nothing(peer: &Peer, protocol: &'static str) {
    let mut variables = variables(peer.addr, protocol);
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()));
    if observe_in_every_runtime(&variables, QUIET, || {
        let program = Program::start();
        program.call(CALLS);
        assert_eq!(program.shut_down(TIMEOUT), ALL_EXPORTED);
        wait_for("the threads are gone", TIMEOUT, || own_threads().is_empty().then_some(()));
    }) {
        assert_eq!(peer.received().spans.len() as u64, 3 * CALLS);
    }
}

#[test]
fn shutdown_loses_nothing_in_every_runtime() {
    loses_nothing(&Peer::grpc(Mood::Takes), "grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn shutdown_by_http_loses_nothing_in_every_runtime() {
    loses_nothing(&Peer::http(Mood::Takes), "http/protobuf");
}

#[test]
fn a_full_queue_is_still_exported_when_the_telemetry_is_dropped() {
    let peer = Peer::grpc(Mood::Takes);
    if observe(&patient(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        program.call(2_048);
        let spans = program.drop_telemetry();
        assert_eq!((spans.exported, spans.dropped), (2_048, 0));
    }) {
        assert_eq!(peer.received().spans.len(), 2_048);
    }
}

#[test]
fn flush_does_not_wait_for_what_ends_meanwhile() {
    let peer = Peer::grpc(Mood::Takes);
    observe(&variables(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    LlmCall::start("gemini", "gemini-2.5-flash").finish();
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            wait_for("the program is busy", TIMEOUT, || (program.requests() >= 100.0).then_some(()));
            let started = Instant::now();
            let flushed = program.flush(2 * TIMEOUT);
            let took = started.elapsed();
            done.store(true, Ordering::Relaxed);
            flushed.expect("what had ended before is exported");
            assert!(took < TIMEOUT, "flush took {took:?}");
        });
    });
}

/// Calls on many threads go on while the program shuts down: each span is exported or dropped, and none is both.
fn is_exact_at_the_end(mood: Mood, timeout: Duration) {
    let peer = Peer::grpc(mood);
    let mut variables = variables(peer.addr, "grpc");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()));
    observe(&variables, QUIET, || {
        let peer = Peer::grpc(mood);
        let program = Program::exporting_to(peer.addr);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        make_calls(1);
                        std::thread::yield_now();
                    }
                });
            }
            wait_for("the program is busy", TIMEOUT, || (program.requests() >= 2_000.0).then_some(()));
            let ended_before = program.requests() as u64;
            let spans = program.shut_down(timeout);
            done.store(true, Ordering::Relaxed);
            assert!(spans.exported + spans.dropped >= ended_before, "{ended_before} before, {spans:?}");
            if matches!(mood, Mood::Takes) {
                assert_eq!(spans.exported, peer.received().spans.len() as u64);
            } else {
                assert_eq!(spans.exported, 0);
            }
        });
    });
}

#[test]
fn the_account_is_exact_when_calls_outlive_a_healthy_pipeline() {
    is_exact_at_the_end(Mood::Takes, TIMEOUT);
}

#[test]
fn the_account_is_exact_when_calls_outlive_a_stuck_pipeline() {
    is_exact_at_the_end(Mood::NeverAnswers, Duration::from_millis(300));
}

#[test]
fn waiting_for_an_absent_backend_burns_no_processor() {
    let addr = ([127, 0, 0, 1], free_port()).into();
    observe(&variables(addr, "grpc"), 0..=1, || {
        let program = Program::start();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // There is always something left to flush.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    make_calls(1);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let before = cpu_time(std::process::id());
            let _ = program.flush(Duration::from_secs(2));
            done.store(true, Ordering::Relaxed);
            let burnt = cpu_time(std::process::id()) - before;
            assert!(burnt < Duration::from_secs(1), "{burnt:?} of processor time in 2 s");
        });
    });
}

#[test]
fn a_page_that_nobody_scrapes_leaves_the_spans_alone() {
    let peer = Peer::grpc(Mood::Takes);
    if observe(&variables(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        make_calls(CALLS);
        assert_eq!(program.shut_down(TIMEOUT), ALL_EXPORTED);
    }) {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}

#[test]
fn a_page_under_a_flood_leaves_the_spans_alone() {
    let peer = Peer::grpc(Mood::Takes);
    if observe(&variables(peer.addr, "grpc"), QUIET, || {
        let program = Program::start();
        let addr = program.telemetry.metrics_addr().expect("there is a listener");
        let connect = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(500)).ok();
        let half_open: Vec<_> = (0..300).filter_map(connect).collect();
        assert!(half_open.len() > 100, "{} connections", half_open.len());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = get(addr, "/metrics", Duration::from_millis(200));
                    }
                });
            }
            let started = Instant::now();
            make_calls(CALLS);
            let took = started.elapsed();
            let flushed = program.flush(TIMEOUT);
            done.store(true, Ordering::Relaxed);
            flushed.expect("every span arrives");
            assert!(took < CALLS_LIMIT, "{CALLS} calls took {took:?}");
        });
        assert_eq!(program.shut_down(TIMEOUT), ALL_EXPORTED);
    }) {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}
