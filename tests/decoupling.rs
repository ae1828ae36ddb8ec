//! Whatever happens to the trace backend: the calls, the page and the end of the program are unharmed, and every span is
//! accounted for.

#![cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use botticelli_obs::{Builder, LlmCall, Telemetry, Usage};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use support::page::Page;
use support::peer::{Mood, Peer};
use support::{free_port, get, in_own_process, wait_for};
use tonic::Code;

const CALLS: u64 = 1_000;

/// What a call may cost when the backend is in trouble: nothing that a person could measure.
const CALLS_LIMIT: Duration = Duration::from_secs(2);

/// What waiting may take beyond the time it was given.
const SLACK: Duration = Duration::from_millis(700);

/// A program under observation.
struct Program {
    telemetry: Telemetry,
    snapshotter: Snapshotter,
}

/// What became of the spans.
#[derive(Debug, PartialEq, Eq)]
struct Spans {
    exported: u64,
    dropped: u64,
    failures: u64,
}

impl Program {
    fn start() -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let started = Instant::now();
        let telemetry = Builder::new()
            .with_prometheus_endpoint("127.0.0.1:0")
            .add_recorder(recorder)
            .install()
            .expect("a backend in trouble does not keep a program from starting");
        assert!(started.elapsed() < CALLS_LIMIT, "install took {:?}", started.elapsed());
        Self { telemetry, snapshotter }
    }

    /// Makes calls, and checks that they are quick and on the page.
    fn call(&self, calls: u64) {
        let before = self.requests();
        let started = Instant::now();
        for _ in 0..calls {
            let mut call = LlmCall::start("gemini", "gemini-2.5-flash");
            call.record_usage(Usage::new(3, 4));
            call.finish();
        }
        assert!(started.elapsed() < CALLS_LIMIT, "{calls} calls took {:?}", started.elapsed());
        assert_eq!(self.requests() - before, calls as f64);
    }

    fn page(&self) -> Page {
        let addr = self.telemetry.metrics_addr().expect("there is a listener");
        Page::parse(&get(addr, "/metrics", Duration::from_secs(5)).expect("the page is served").body)
    }

    fn requests(&self) -> f64 {
        self.page().sum("llm_requests_total")
    }

    fn exported(&self) -> f64 {
        self.page().sum("botticelli_obs_spans_exported_total")
    }

    /// Shuts down within the time given, and returns what became of the spans; `lost` is what the error said.
    fn shutdown(self, timeout: Duration) -> (Spans, u64) {
        let started = Instant::now();
        let lost = self.telemetry.shutdown(timeout).map_or_else(|error| error.lost_spans(), |()| 0);
        assert!(started.elapsed() < timeout + SLACK, "shutdown({timeout:?}) took {:?}", started.elapsed());
        let mut spans = Spans { exported: 0, dropped: 0, failures: 0 };
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            if let DebugValue::Counter(value) = value {
                match key.key().name() {
                    "botticelli.obs.spans_exported" => spans.exported += value,
                    "botticelli.obs.spans_dropped" => spans.dropped += value,
                    "botticelli.obs.export_failures" => spans.failures += value,
                    _ => {}
                }
            }
        }
        (spans, lost)
    }
}

/// The variables of a program that exports often to this address.
fn variables(addr: SocketAddr, protocol: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{addr}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ]
}

/// Runs the scenario in a process of its own, and returns how often it has complained about the backend.
fn observe(test: &str, variables: &[(&str, String)], scenario: impl FnOnce()) -> Option<usize> {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = in_own_process(test, &variables, scenario)?;
    Some(String::from_utf8_lossy(&output.stderr).matches("takes no spans").count())
}

/// A backend that takes nothing: all spans are lost, said, and counted.
fn everything_is_lost(test: &str, addr: SocketAddr, protocol: &'static str) {
    let complaints = observe(test, &variables(addr, protocol), || {
        let program = Program::start();
        program.call(CALLS);
        let started = Instant::now();
        let flushed = program.telemetry.flush(Duration::from_secs(1));
        assert!(started.elapsed() < Duration::from_secs(1) + SLACK, "flush(1 s) took {:?}", started.elapsed());
        flushed.expect_err("nothing was taken");
        program.call(CALLS);
        let (spans, _) = program.shutdown(Duration::from_secs(1));
        assert_eq!((spans.exported, spans.dropped), (0, 2 * CALLS), "{spans:?}");
    });
    if let Some(complaints) = complaints {
        assert!(complaints <= 1, "reported {complaints} times");
    }
}

#[test]
fn an_absent_backend_harms_nothing() {
    everything_is_lost("an_absent_backend_harms_nothing", SocketAddr::from(([127, 0, 0, 1], free_port())), "grpc");
}

#[test]
fn an_absent_http_backend_harms_nothing() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    everything_is_lost("an_absent_http_backend_harms_nothing", addr, "http/protobuf");
}

#[test]
fn a_backend_that_accepts_and_says_nothing_harms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    everything_is_lost("a_backend_that_accepts_and_says_nothing_harms_nothing", addr, "grpc");
}

#[test]
fn a_backend_that_never_answers_harms_nothing() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    everything_is_lost("a_backend_that_never_answers_harms_nothing", peer.addr, "grpc");
}

#[test]
fn an_http_backend_that_never_answers_harms_nothing() {
    let peer = Peer::http(Mood::NeverAnswers);
    everything_is_lost("an_http_backend_that_never_answers_harms_nothing", peer.addr, "http/protobuf");
}

#[test]
fn a_black_hole_harms_nothing() {
    // Once the backlog is full the kernel drops what comes, as a firewall does.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let addr = listener.local_addr().expect("it is bound");
    let fill = || TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
    let _filling: Vec<TcpStream> = std::iter::from_fn(fill).take(5_000).collect();
    everything_is_lost("a_black_hole_harms_nothing", addr, "grpc");
}

#[test]
fn a_backend_that_refuses_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost("a_backend_that_refuses_harms_nothing", peer.addr, "grpc");
}

#[test]
fn a_backend_that_is_unavailable_harms_nothing() {
    let peer = Peer::grpc(Mood::Refuses(Code::Unavailable));
    everything_is_lost("a_backend_that_is_unavailable_harms_nothing", peer.addr, "grpc");
}

#[test]
fn an_http_backend_that_refuses_harms_nothing() {
    let peer = Peer::http(Mood::Refuses(Code::InvalidArgument));
    everything_is_lost("an_http_backend_that_refuses_harms_nothing", peer.addr, "http/protobuf");
}

#[test]
fn an_absent_backend_is_reported_once_over_many_batches() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let complaints =
        observe("an_absent_backend_is_reported_once_over_many_batches", &variables(addr, "http/protobuf"), || {
            let program = Program::start();
            for batch in 1..=5_u32 {
                program.call(10);
                wait_for("another failure", Duration::from_secs(10), || {
                    let failures = program.page().sum("botticelli_obs_export_failures_total");
                    (failures >= f64::from(batch)).then_some(())
                });
            }
        });
    if let Some(complaints) = complaints {
        assert_eq!(complaints, 1);
    }
}

#[test]
fn a_slow_backend_gets_every_span() {
    let peer = Peer::grpc(Mood::TakesAfter(Duration::from_millis(300)));
    let complaints = observe("a_slow_backend_gets_every_span", &variables(peer.addr, "grpc"), || {
        let program = Program::start();
        program.call(CALLS);
        assert_eq!(program.shutdown(Duration::from_secs(10)), (Spans { exported: CALLS, dropped: 0, failures: 0 }, 0));
    });
    if let Some(complaints) = complaints {
        assert_eq!((complaints, peer.received().spans.len() as u64), (0, CALLS));
    }
}

#[test]
fn a_backend_that_comes_up_late_gets_what_comes_then() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    observe("a_backend_that_comes_up_late_gets_what_comes_then", &variables(addr, "grpc"), || {
        let Some(addr) =
            std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().and_then(|url| url.strip_prefix("http://")?.parse().ok())
        else {
            panic!("the endpoint is an address")
        };
        let program = Program::start();
        program.call(10);
        program.telemetry.flush(Duration::from_secs(5)).expect_err("nobody listens yet");
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(20);
        wait_for("the backend takes spans", Duration::from_secs(20), || (program.exported() >= 20.0).then_some(()));
        let (spans, lost) = program.shutdown(Duration::from_secs(5));
        assert_eq!((spans.exported, spans.dropped, lost), (20, 10, 0));
        assert_eq!(peer.received().spans.len(), 20);
    });
}

#[test]
fn a_backend_that_goes_away_midway_costs_only_what_came_meanwhile() {
    let peer = Peer::grpc(Mood::Takes);
    observe("a_backend_that_goes_away_midway_costs_only_what_came_meanwhile", &variables(peer.addr, "grpc"), || {
        // The one of the parent stays; this one is of the child, which stops and starts it.
        let peer = Peer::grpc(Mood::Takes);
        let addr = peer.addr;
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let telemetry = Builder::new()
            .with_prometheus_endpoint("127.0.0.1:0")
            .with_otlp_endpoint(format!("http://{addr}"))
            .add_recorder(recorder)
            .install()
            .expect("it installs");
        let program = Program { telemetry, snapshotter };
        program.call(10);
        program.telemetry.flush(Duration::from_secs(5)).expect("the backend is there");
        drop(peer);
        program.call(10);
        program.telemetry.flush(Duration::from_secs(5)).expect_err("the backend is gone");
        let peer = Peer::grpc_on(addr, Mood::Takes);
        program.call(10);
        let (spans, lost) = program.shutdown(Duration::from_secs(10));
        assert_eq!((spans.exported, spans.dropped, lost), (20, 10, 0));
        assert_eq!(peer.received().spans.len(), 10);
    });
}

#[test]
fn a_full_queue_drops_and_counts() {
    let peer = Peer::grpc(Mood::NeverAnswers);
    let mut variables = variables(peer.addr, "grpc");
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE", "64".to_owned()));
    observe("a_full_queue_drops_and_counts", &variables, || {
        let program = Program::start();
        program.call(5 * CALLS);
        let queue_full = program.page().value("botticelli_obs_spans_dropped_total", &[("reason", "queue_full")]);
        assert_eq!(queue_full, (5 * CALLS - 64) as f64, "what the queue holds waits, the rest is dropped at once");
        let (spans, lost) = program.shutdown(Duration::from_millis(500));
        assert_eq!((spans.exported, spans.dropped, lost), (0, 5 * CALLS, 64));
    });
}

#[test]
fn a_healthy_backend_gets_every_span_at_shutdown() {
    let peer = Peer::grpc(Mood::Takes);
    let mut variables = variables(peer.addr, "grpc");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()));
    let complaints = observe("a_healthy_backend_gets_every_span_at_shutdown", &variables, || {
        let program = Program::start();
        program.call(2 * CALLS);
        assert_eq!(
            program.shutdown(Duration::from_secs(5)),
            (Spans { exported: 2 * CALLS, dropped: 0, failures: 0 }, 0)
        );
    });
    if complaints.is_some() {
        assert_eq!(peer.received().spans.len() as u64, 2 * CALLS);
    }
}

#[test]
fn a_healthy_backend_gets_every_span_when_the_telemetry_is_dropped() {
    let peer = Peer::http(Mood::Takes);
    let mut variables = variables(peer.addr, "http/protobuf");
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "600000".to_owned()));
    let test = "a_healthy_backend_gets_every_span_when_the_telemetry_is_dropped";
    let complaints = observe(test, &variables, || {
        let program = Program::start();
        program.call(CALLS);
        drop(program.telemetry);
    });
    if complaints.is_some() {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}

/// Ends a program inside a runtime of the program's own, with a backend that never answers.
fn ends_in_time(test: &str, runtime: fn() -> tokio::runtime::Builder, end: fn(Program)) {
    let peer = Peer::grpc(Mood::NeverAnswers);
    observe(test, &variables(peer.addr, "grpc"), || {
        let runtime = runtime().enable_all().build().expect("a runtime can be had");
        runtime.block_on(async {
            let program = Program::start();
            program.call(CALLS);
            end(program);
        });
    });
}

fn shut_down(program: Program) {
    let (spans, lost) = program.shutdown(Duration::from_secs(1));
    assert_eq!((spans.exported, spans.dropped, lost), (0, CALLS, CALLS));
}

#[test]
fn shutdown_is_bounded_in_a_current_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread;
    ends_in_time("shutdown_is_bounded_in_a_current_thread_runtime", runtime, shut_down);
}

#[test]
fn shutdown_is_bounded_in_a_multi_thread_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread;
    ends_in_time("shutdown_is_bounded_in_a_multi_thread_runtime", runtime, shut_down);
}

#[test]
fn dropping_is_bounded_and_quiet() {
    ends_in_time("dropping_is_bounded_and_quiet", tokio::runtime::Builder::new_current_thread, |program| {
        let started = Instant::now();
        drop(program.telemetry);
        assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "drop took {:?}", started.elapsed());
    });
}

#[test]
fn a_healthy_backend_gets_every_span_from_a_current_thread_runtime() {
    let peer = Peer::grpc(Mood::Takes);
    let test = "a_healthy_backend_gets_every_span_from_a_current_thread_runtime";
    let complaints = observe(test, &variables(peer.addr, "grpc"), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
        runtime.block_on(async {
            let program = Program::start();
            program.call(CALLS);
            assert_eq!(
                program.shutdown(Duration::from_secs(5)),
                (Spans { exported: CALLS, dropped: 0, failures: 0 }, 0)
            );
        });
    });
    if complaints.is_some() {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}

#[test]
fn a_page_under_a_flood_leaves_the_spans_alone() {
    let peer = Peer::grpc(Mood::Takes);
    let complaints = observe("a_page_under_a_flood_leaves_the_spans_alone", &variables(peer.addr, "grpc"), || {
        let program = Program::start();
        let addr = program.telemetry.metrics_addr().expect("there is a listener");
        let connect = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(500)).ok();
        let _half_open: Vec<_> = (0..300).filter_map(connect).collect();
        for _ in 0..CALLS {
            LlmCall::start("gemini", "gemini-2.5-flash").finish();
        }
        program.telemetry.flush(Duration::from_secs(5)).expect("every span arrives");
        let page = Page::parse(&program.telemetry.render());
        assert_eq!(page.sum("botticelli_obs_spans_exported_total"), CALLS as f64);
    });
    if complaints.is_some() {
        assert_eq!(peer.received().spans.len() as u64, CALLS);
    }
}
