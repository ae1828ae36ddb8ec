//! A backend that is away for a while costs nothing, as long as the queue has room; and every span is exported or dropped.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use botticelli_obs::LlmCall;
use tonic::Code;

use crate::support::peer::{Mood, Peer};
use crate::support::program::{Program, Spans, observe, patient, variables};
use crate::support::{free_port, wait_for};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Too short for a backend that is away.
const SHORT: Duration = Duration::from_millis(300);

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Makes calls whose models are numbers.
fn numbered_calls(numbers: std::ops::Range<u32>) {
    numbers.for_each(|number| LlmCall::start("openai", number.to_string()).finish());
}

/// The models of the calls that the peer has received, in their order.
fn models(peer: &Peer) -> Vec<String> {
    peer.received().spans.into_iter().map(|span| span.name.trim_start_matches("chat ").to_owned()).collect()
}

fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn start_peer(protocol: &str, addr: SocketAddr) -> Peer {
    if protocol == "grpc" { Peer::grpc_on(addr, Mood::Takes) } else { Peer::http_on(addr, Mood::Takes) }
}

/// The backend is stopped twice and started again; everything arrives, in order.
fn restarts_cost_nothing(protocol: &'static str) {
    let mut variables = variables(nowhere(), protocol);
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()));
    observe(&variables, 0..=1, || {
        let addr = nowhere();
        let program = Program::exporting_to(addr);
        let mut next = 0;
        for _ in 0..3 {
            numbered_calls(next..next + 300);
            let flushed = program.flush(SHORT).expect_err("nobody listens");
            assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, 300));
            let peer = start_peer(protocol, addr);
            wait_for("the spans arrive unasked", TIMEOUT, || (peer.received().spans.len() == 300).then_some(()));
            numbered_calls(next + 300..next + 400);
            program.flush(TIMEOUT).expect("the backend is there");
            assert_eq!(models(&peer), numbers(next..next + 400));
            next += 400;
        }
        let spans = program.shut_down(TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (1_200, 0, 0));
    });
}

#[test]
fn restarts_of_a_backend_cost_nothing_by_grpc() {
    restarts_cost_nothing("grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn restarts_of_a_backend_cost_nothing_by_http() {
    restarts_cost_nothing("http/protobuf");
}

#[test]
fn a_backend_that_stops_answering_for_a_while_costs_nothing() {
    let mut variables = variables(nowhere(), "grpc");
    variables.push(("OTEL_EXPORTER_OTLP_TIMEOUT", "200".to_owned()));
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()));
    observe(&variables, 0..=1, || {
        let peer = Peer::grpc(Mood::NeverAnswers);
        let program = Program::exporting_to(peer.addr);
        numbered_calls(0..700);
        wait_for("several tries", TIMEOUT, || (peer.received().tries >= 3).then_some(()));
        peer.set_mood(Mood::Takes);
        numbered_calls(700..800);
        let spans = program.shut_down(TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (800, 0, 0));
        assert_eq!(models(&peer), numbers(0..800));
    });
}

#[test]
fn a_full_queue_gives_up_the_oldest_spans() {
    let mut variables = patient(nowhere(), "grpc");
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE", "64".to_owned()));
    variables.retain(|(name, _)| *name != "OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
    observe(&variables, 0..=1, || {
        let peer = Peer::grpc(Mood::Refuses(Code::Unavailable));
        let program = Program::exporting_to(peer.addr);
        numbered_calls(0..1);
        program.flush(SHORT).expect_err("the backend refuses");
        numbered_calls(1..200);
        let dropped = || program.page().value("botticelli_obs_spans_dropped_total", &[("reason", "queue_full")]);
        wait_for("what is beyond the queue is dropped", TIMEOUT, || (dropped() == 136.0).then_some(()));
        peer.set_mood(Mood::Takes);
        let spans = program.shut_down(TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (64, 136, 0));
        assert_eq!(models(&peer).last().map(String::as_str), Some("199"));
        let oldest: u32 = models(&peer)[0].parse().expect("a number");
        // A batch that was on its way meanwhile was not given up.
        assert!(
            oldest == 136
                || models(&peer).windows(2).filter(|pair| number(&pair[1]) != number(&pair[0]) + 1).count() == 1
        );
    });
}

fn number(model: &str) -> u32 {
    model.parse().expect("a number")
}

/// A refusal that is final loses the batch at once; it is not sent again.
fn is_final(peer: &Peer, protocol: &'static str) -> bool {
    let is_parent = observe(&patient(peer.addr, protocol), 1..=1, || {
        let program = Program::start();
        numbered_calls(0..10);
        let flushed = program.flush(TIMEOUT).expect_err("the backend refuses");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (10, 0));
        let spans = program.shut_down(TIMEOUT);
        assert_eq!(spans, Spans { exported: 0, dropped: 10, failures: 1, said: 0 });
    });
    assert!(!is_parent || peer.received().tries == 1);
    is_parent
}

#[test]
fn what_grpc_refuses_for_good_is_sent_once() {
    let codes = [Code::InvalidArgument, Code::Unauthenticated, Code::Unimplemented, Code::ResourceExhausted];
    let _ = codes.iter().all(|code| is_final(&Peer::grpc(Mood::Refuses(*code)), "grpc"));
}

#[cfg(feature = "otlp-http")]
#[test]
fn what_http_refuses_for_good_is_sent_once() {
    is_final(&Peer::http(Mood::Refuses(Code::InvalidArgument)), "http/protobuf");
}

/// A backend that asks for a pause gets one: it is not asked again before, not even by a flush.
fn gets_its_pause(peer: &Peer, protocol: &'static str) {
    observe(&patient(peer.addr, protocol), 0..=0, || {
        let program = Program::start();
        numbered_calls(0..10);
        for _ in 0..3 {
            let flushed = program.flush(SHORT).expect_err("it has asked for a pause");
            assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, 10));
        }
        let spans = program.shut_down(SHORT);
        assert_eq!((spans.exported, spans.dropped, spans.failures, spans.said), (0, 10, 1, 10));
    });
}

#[test]
fn a_pause_that_grpc_asks_for_is_kept() {
    gets_its_pause(&Peer::grpc(Mood::Throttles(60)), "grpc");
}

#[cfg(feature = "otlp-http")]
#[test]
fn a_pause_that_http_asks_for_is_kept() {
    gets_its_pause(&Peer::http(Mood::Throttles(60)), "http/protobuf");
}

#[test]
fn spans_that_are_rejected_count_as_dropped() {
    let peer = Peer::grpc(Mood::Rejects(3));
    let output = observe(&patient(peer.addr, "grpc"), 0..=0, || {
        let program = Program::start();
        numbered_calls(0..10);
        program.flush(TIMEOUT).expect_err("some are rejected");
        assert_eq!(program.shut_down(TIMEOUT), Spans { exported: 7, dropped: 3, failures: 0, said: 0 });
    });
    assert!(!output || peer.received().tries == 1);
}

/// A backend that is well, slow, refuses, hangs or throttles by chance, and calls on several threads: whatever has arrived was
/// exported, and what was exported and dropped is what has ended.
#[test]
fn the_account_is_exact_whatever_the_backend_does() {
    const CALLS: u32 = 6_000;
    const SEED: &str = "TEST_SEED";
    let mut variables = variables(nowhere(), "grpc");
    variables.extend([
        ("OTEL_BSP_SCHEDULE_DELAY", "5".to_owned()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "500".to_owned()),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50".to_owned()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "100".to_owned()),
    ]);
    let _ = (0..3).all(|seed: u64| {
        let variables = [variables.as_slice(), &[(SEED, seed.to_string())]].concat();
        observe(&variables, 0..=1, || {
            let seed: u64 = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).expect("it is set");
            let peer = Peer::grpc(Mood::Takes);
            let program = Program::exporting_to(peer.addr);
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let backend = scope.spawn(|| {
                    let mut random = fastrand::Rng::with_seed(seed);
                    while !done.load(Ordering::Relaxed) {
                        peer.set_mood(match random.u8(..7) {
                            0 => Mood::Refuses(Code::Unavailable),
                            1 => Mood::Refuses(Code::InvalidArgument),
                            2 => Mood::Refuses(Code::Aborted),
                            3 => Mood::NeverAnswers,
                            4 => Mood::TakesAfter(Duration::from_millis(5)),
                            _ => Mood::Takes,
                        });
                        std::thread::sleep(Duration::from_millis(random.u64(1..20)));
                    }
                    peer.set_mood(Mood::Takes);
                });
                let callers: Vec<_> = (0..3)
                    .map(|caller| {
                        scope.spawn(move || {
                            let mut random = fastrand::Rng::with_seed(seed * 10 + caller);
                            for number in 0..CALLS / 3 {
                                numbered_calls(number * 3 + caller as u32..number * 3 + caller as u32 + 1);
                                if random.u8(..50) == 0 {
                                    std::thread::sleep(Duration::from_millis(random.u64(1..10)));
                                }
                            }
                        })
                    })
                    .collect();
                for caller in callers {
                    caller.join().expect("it makes its calls");
                    let _ = program.flush(Duration::from_millis(50));
                }
                done.store(true, Ordering::Relaxed);
                backend.join().expect("it ends");
            });
            let spans = program.shut_down(TIMEOUT);
            assert_eq!(spans.exported + spans.dropped, u64::from(CALLS), "{spans:?}");
            let arrived: HashSet<Vec<u8>> = peer.received().spans.into_iter().map(|span| span.span_id).collect();
            // What the backend took although its answer came too late may have been dropped afterwards.
            assert!(arrived.len() as u64 >= spans.exported, "{} arrived, {spans:?}", arrived.len());
        })
    });
}
