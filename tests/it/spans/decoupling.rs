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

/// It is logged that the backend takes nothing, once.
const SAID: RangeInclusive<usize> = 1..=1;

/// Nothing is logged before the program ends.
const UNSAID: RangeInclusive<usize> = 0..=0;

/// A backend that refuses everything for good: all spans are lost, said, and counted.
fn everything_is_lost(addr: SocketAddr, protocol: &'static str) {
    let timeout = 30 * TIMEOUT;
    observe_in_every_runtime(&patient(addr, protocol), SAID, || {
        let program = Program::start();
        program.call(CALLS);
        let flushed = program.flush(timeout).expect_err("nothing was taken");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (CALLS, 0));
        program.call(CALLS);
        let spans = program.shut_down(timeout);
        assert_eq!(spans, Spans { exported: 0, dropped: 2 * CALLS, failures: 2, said: CALLS });
    });
}

/// A backend that is away: the spans wait, and those that wait at the end are lost, said, and counted.
fn everything_waits(addr: SocketAddr, protocol: &'static str, complaints: RangeInclusive<usize>) {
    // Long enough for a complaint, or cut short.
    let timeout = if complaints == SAID { 2 * TIMEOUT } else { TIMEOUT / 2 };
    observe_in_every_runtime(&patient(addr, protocol), complaints, || {
        let program = Program::start();
        program.call(CALLS);
        let flushed = program.flush(timeout).expect_err("nothing was taken");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, CALLS));
        program.call(CALLS);
        let spans = program.shut_down(TIMEOUT / 2);
        assert_eq!((spans.exported, spans.dropped, spans.said), (0, 2 * CALLS, 2 * CALLS), "{spans:?}");
    });
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

#[test]
fn an_absent_backend_harms_nothing() {
    everything_waits(nowhere(), "grpc", SAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_absent_http_backend_harms_nothing() {
    everything_waits(nowhere(), "http/protobuf", SAID);
}

#[test]
fn a_backend_that_accepts_and_says_nothing_harms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    everything_waits(addr, "grpc", UNSAID);
}

#[test]
fn a_backend_that_never_answers_harms_nothing() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    everything_waits(peer.addr, "grpc", UNSAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_never_answers_harms_nothing() {
    let peer = Peer::http(Mood::NeverAnswers);
    everything_waits(peer.addr, "http/protobuf", UNSAID);
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
    everything_waits(addr, "grpc", UNSAID);
}

#[cfg(feature = "otlp-http")]
#[test]
fn a_black_hole_by_http_harms_nothing() {
    let (listener, _filling) = black_hole();
    let addr = listener.local_addr().expect("it is bound");
    everything_waits(addr, "http/protobuf", UNSAID);
}

#[test]
fn a_black_hole_is_said() {
    let (listener, _filling) = black_hole();
    let addr = listener.local_addr().expect("it is bound");
    observe(&patient(addr, "grpc"), SAID, || {
        let program = Program::start();
        program.call(CALLS);
        // A try ends after 3 s, while the kernel would go on connecting for two minutes.
        let flushed = program.flush(Duration::from_secs(5)).expect_err("nothing was taken");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, CALLS));
    });
}

#[test]
fn a_backend_that_refuses_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost(peer.addr, "grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_refuses_harms_nothing() {
    let peer = Peer::http(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost(peer.addr, "http/protobuf");
}

#[test]
fn a_backend_that_is_unavailable_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::Unavailable));
    everything_waits(peer.addr, "grpc", SAID);
}

#[test]
fn a_backend_that_is_exhausted_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::ResourceExhausted));
    everything_is_lost(peer.addr, "grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn an_http_backend_that_is_exhausted_harms_nothing() {
    let peer = Peer::http(Mood::Refuses(Code::ResourceExhausted));
    everything_waits(peer.addr, "http/protobuf", SAID);
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
fn a_backend_that_comes_up_late_gets_every_span() {
    observe(&[], SAID, || {
        let addr = nowhere();
        let program = Program::exporting_to(addr);
        program.call(10);
        let flushed = program.flush(2 * TIMEOUT).expect_err("nobody listens yet");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, 10));
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(20);
        program.flush(30 * TIMEOUT).expect("the backend is there");
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (30, 0, 0));
        assert_eq!(peer.received().spans.len(), 30);
    });
}

#[test]
fn a_backend_that_goes_away_midway_costs_nothing() {
    observe(&[], SAID, || {
        let peer = Peer::grpc(Mood::Takes);
        let addr = peer.addr;
        let program = Program::exporting_to(addr);
        program.call(10);
        program.flush(30 * TIMEOUT).expect("the backend is there");
        drop(peer);
        program.call(10);
        program.flush(2 * TIMEOUT).expect_err("the backend is gone");
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(10);
        let spans = program.shut_down(30 * TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (30, 0, 0));
        assert_eq!(peer.received().spans.len(), 20);
    });
}

#[test]
fn an_absent_backend_is_reported_once_over_many_batches() {
    let mut variables = variables(nowhere(), "grpc");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()));
    observe(&variables, SAID, || {
        let program = Program::start();
        for batch in 1..=6_u32 {
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
        let queue_full = || program.page().value("botticelli_obs_spans_dropped_total", &[("reason", "queue_full")]);
        wait_for("what the queue can't hold is dropped", 30 * TIMEOUT, || {
            (queue_full() == (5 * CALLS - 64) as f64).then_some(())
        });
        let spans = program.shut_down(TIMEOUT / 2);
        assert_eq!((spans.exported, spans.dropped, spans.said), (0, 5 * CALLS, 64));
    });
}
