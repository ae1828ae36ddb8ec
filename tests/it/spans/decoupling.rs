//! Whatever happens to the trace backend: the calls, the page and the end of the program are unharmed, and every span is
//! accounted for.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use tonic::Code;

use crate::support::peer::{Mood, Peer};
use crate::support::program::{CALLS, Program, Spans, observe, observe_in_every_runtime, patient, variables};
use crate::support::{free_port, wait_for};

const TIMEOUT: Duration = Duration::from_secs(1);

/// The backend answers soon that it takes nothing, which is logged once.
const SAID: RangeInclusive<usize> = 1..=1;

/// The backend does not answer before the program ends, which the shutdown says.
const UNSAID: RangeInclusive<usize> = 0..=0;

/// A backend that takes nothing: all spans are lost, said, and counted.
fn everything_is_lost(addr: SocketAddr, protocol: &'static str, complaints: RangeInclusive<usize>) {
    let answers = complaints == SAID;
    // Long enough for an answer, or cut short where there is none.
    let timeout = if answers { 30 * TIMEOUT } else { TIMEOUT / 2 };
    observe_in_every_runtime(&patient(addr, protocol), complaints, || {
        let program = Program::start();
        program.call(CALLS);
        let flushed = program.flush(timeout).expect_err("nothing was taken");
        let expected = if answers { (CALLS, 0) } else { (0, CALLS) };
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), expected);
        program.call(CALLS);
        let spans = program.shut_down(timeout);
        assert_eq!((spans.exported, spans.dropped), (0, 2 * CALLS), "{spans:?}");
        assert_eq!(spans.said, if answers { CALLS } else { 2 * CALLS });
        assert!(!answers || spans.failures >= 2, "{spans:?}");
    });
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[test]
fn an_absent_backend_harms_nothing() {
    everything_is_lost(nowhere(), "grpc", SAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_absent_http_backend_harms_nothing() {
    everything_is_lost(nowhere(), "http/protobuf", SAID);
}

#[test]
fn a_backend_that_accepts_and_says_nothing_harms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    everything_is_lost(addr, "grpc", UNSAID);
}

#[test]
fn a_backend_that_never_answers_harms_nothing() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    everything_is_lost(peer.addr, "grpc", UNSAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_never_answers_harms_nothing() {
    let peer = Peer::http(Mood::NeverAnswers);
    everything_is_lost(peer.addr, "http/protobuf", UNSAID);
}

/// A listener whose backlog is full: the kernel drops what comes, as a firewall does.
fn black_hole() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    let fill = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
    let filling = std::iter::from_fn(fill).take(5_000).collect();
    (listener, filling)
}

#[test]
fn a_black_hole_harms_nothing() {
    let (listener, _filling) = black_hole();
    let addr = listener.local_addr().expect("it is bound");
    everything_is_lost(addr, "grpc", UNSAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn a_black_hole_by_http_harms_nothing() {
    let (listener, _filling) = black_hole();
    let addr = listener.local_addr().expect("it is bound");
    everything_is_lost(addr, "http/protobuf", UNSAID);
}

#[test]
fn a_black_hole_is_given_up_and_said() {
    let (listener, _filling) = black_hole();
    let addr = listener.local_addr().expect("it is bound");
    observe(&patient(addr, "grpc"), SAID, || {
        let program = Program::start();
        program.call(CALLS);
        // The export ends within its 10 s, while the kernel would go on connecting for two minutes.
        let flushed = program.flush(Duration::from_secs(12)).expect_err("nothing was taken");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (CALLS, 0));
    });
}

#[test]
fn a_backend_that_refuses_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost(peer.addr, "grpc", SAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_refuses_harms_nothing() {
    let peer = Peer::http(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost(peer.addr, "http/protobuf", SAID);
}

#[test]
fn a_backend_that_is_unavailable_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::Unavailable));
    everything_is_lost(peer.addr, "grpc", SAID);
}

#[test]
fn a_backend_that_is_exhausted_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::ResourceExhausted));
    everything_is_lost(peer.addr, "grpc", SAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_is_exhausted_harms_nothing() {
    let peer = Peer::http(Mood::Refuses(Code::ResourceExhausted));
    everything_is_lost(peer.addr, "http/protobuf", SAID);
}

#[test]
fn an_export_that_is_taken_in_part_harms_nothing() {
    let peer = Peer::grpc(Mood::Rejects(3));
    observe(&patient(peer.addr, "grpc"), 0..=1, || {
        let program = Program::start();
        program.call(CALLS);
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!(spans.exported + spans.dropped, CALLS, "{spans:?}");
    });
}

#[test]
fn a_slow_backend_gets_every_span() {
    let peer = Peer::grpc(Mood::TakesAfter(Duration::from_millis(300)));
    if observe(&variables(peer.addr, "grpc"), UNSAID, || {
        let program = Program::start();
        program.call(CALLS);
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!(spans, Spans { exported: CALLS, dropped: 0, failures: 0, said: 0 });
    }) {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}

#[test]
fn a_backend_that_comes_up_late_gets_what_comes_then() {
    observe(&[], SAID, || {
        let addr = nowhere();
        let program = Program::exporting_to(addr);
        program.call(10);
        let flushed = program.flush(30 * TIMEOUT).expect_err("nobody listens yet");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (10, 0));
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(20);
        program.flush(30 * TIMEOUT).expect("the backend is there");
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (20, 10, 0));
        assert_eq!(peer.received().spans.len(), 20);
    });
}

#[test]
fn a_backend_that_goes_away_midway_costs_only_what_came_meanwhile() {
    observe(&[], SAID, || {
        let peer = Peer::grpc(Mood::Takes);
        let addr = peer.addr;
        let program = Program::exporting_to(addr);
        program.call(10);
        program.flush(30 * TIMEOUT).expect("the backend is there");
        drop(peer);
        program.call(10);
        program.flush(30 * TIMEOUT).expect_err("the backend is gone");
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(10);
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (20, 10, 0));
        assert_eq!(peer.received().spans.len(), 10);
    });
}

#[test]
fn an_absent_backend_is_reported_once_over_many_batches() {
    let mut variables = variables(nowhere(), "grpc");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()));
    observe(&variables, SAID, || {
        let program = Program::start();
        for batch in 1..=4_u32 {
            program.call(10);
            wait_for("another failure", 30 * TIMEOUT, || {
                let failures = program.page().value("botticelli_obs_export_failures_total", &[("signal", "traces")]);
                (failures >= f64::from(batch)).then_some(())
            });
        }
    });
}

#[test]
fn a_backend_that_comes_and_goes_is_reported_once() {
    observe(&[], SAID, || {
        let peer = Peer::grpc(Mood::Takes);
        let program = Program::exporting_to(peer.addr);
        for _ in 0..5 {
            peer.set_mood(Mood::Refuses(Code::InvalidArgument));
            program.call(1);
            program.flush(30 * TIMEOUT).expect_err("the backend refuses");
            peer.set_mood(Mood::Takes);
            program.call(1);
            program.flush(30 * TIMEOUT).expect("the backend takes");
        }
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!(spans, Spans { exported: 5, dropped: 5, failures: 5, said: 0 });
    });
}

#[test]
fn a_full_queue_drops_and_counts() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    let mut variables = variables(peer.addr, "grpc");
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE", "64".to_owned()));
    observe(&variables, UNSAID, || {
        let program = Program::start();
        program.call(5 * CALLS);
        let queue_full = program.page().value("botticelli_obs_spans_dropped_total", &[("reason", "queue_full")]);
        assert_eq!(queue_full, (5 * CALLS - 64) as f64, "what the queue holds waits, the rest is dropped at once");
        let spans = program.shut_down(TIMEOUT / 2);
        assert_eq!((spans.exported, spans.dropped, spans.said), (0, 5 * CALLS, 64));
    });
}
