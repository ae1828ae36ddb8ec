//! A real Jaeger, or a Collector, is away for a while: no span is lost that the queue has room for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use botticelli_obs::LlmCall;
use serde_json::json;

use crate::support::jaeger::{self, Jaeger, Span, free_address, otlp_receiver};
use crate::support::program::{Program, observe, variables};
use crate::support::{find_program, wait_for};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Too short for a backend that is away.
const SHORT: Duration = Duration::from_millis(300);

const SERVICE: &str = "calls";

/// Makes calls whose answers have numbers.
fn numbered_calls(numbers: Range<usize>) {
    for number in numbers {
        let mut call = LlmCall::start("openai", "gpt-4o-mini");
        call.record_response_id(&number.to_string());
        call.finish();
    }
}

fn numbers(spans: &[Span]) -> BTreeSet<usize> {
    let ids = spans.iter().map(|span| span.text("gen_ai.response.id")).filter(|id| !id.is_empty());
    ids.map(|id| id.parse().expect("a number")).collect()
}

/// Runs a scenario with a program that exports early to wherever the scenario tells, if Jaeger is there.
fn run(protocol: &'static str, scenario: impl FnOnce(bool)) {
    if find_program("jaeger").is_none() {
        return;
    }
    let mut variables = variables(free_address(), protocol);
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()));
    variables.push(("OTEL_SERVICE_NAME", SERVICE.to_owned()));
    observe(&variables, 0..=1, || scenario(protocol == "grpc"));
}

fn addr_of(jaeger: &Jaeger, is_grpc: bool) -> SocketAddr {
    if is_grpc { jaeger.grpc } else { jaeger.http }
}

fn stopped_for_twelve_seconds(is_grpc: bool) {
    let jaeger = Jaeger::start().expect("it is installed");
    let program = Program::exporting_to(addr_of(&jaeger, is_grpc));
    numbered_calls(0..100);
    program.flush(TIMEOUT).expect("jaeger takes them");
    jaeger.program.signal("STOP");
    // Longer than the limit of a request, which is 10 s.
    for second in 1..=12 {
        numbered_calls(100 * second..100 * (second + 1));
        assert_eq!(program.requests(), 100.0 * (second + 1) as f64);
        std::thread::sleep(Duration::from_secs(1));
    }
    jaeger.program.signal("CONT");
    numbered_calls(1300..1400);
    let spans = program.shut_down(TIMEOUT);
    assert_eq!((spans.exported, spans.dropped, spans.said), (1400, 0, 0));
    // What it has not answered in time it may take nevertheless, and gets again.
    wait_for("every span is there", TIMEOUT, || (numbers(&jaeger.spans(SERVICE)) == (0..1400).collect()).then_some(()));
}

#[test]
fn a_jaeger_that_is_stopped_for_twelve_seconds_costs_nothing_by_grpc() {
    run("grpc", stopped_for_twelve_seconds);
}

#[test]
fn a_jaeger_that_is_stopped_for_twelve_seconds_costs_nothing_by_http() {
    run("http/protobuf", stopped_for_twelve_seconds);
}

fn killed_and_started_anew(is_grpc: bool) {
    let (grpc, http) = (free_address(), free_address());
    let program = Program::exporting_to(if is_grpc { grpc } else { http });
    for next in [0, 1000, 2000] {
        numbered_calls(next..next + 600);
        let flushed = program.flush(SHORT).expect_err("nobody listens");
        assert_eq!((flushed.lost_spans(), flushed.waiting_spans()), (0, 600));
        let jaeger = Jaeger::start_on(grpc, http).expect("it is installed");
        numbered_calls(next + 600..next + 1000);
        program.flush(TIMEOUT).expect("jaeger is there");
        let spans = jaeger.wait_for_spans(SERVICE, 1000);
        assert_eq!((spans.len(), numbers(&spans)), (1000, (next..next + 1000).collect()));
    }
    let spans = program.shut_down(TIMEOUT);
    assert_eq!((spans.exported, spans.dropped, spans.said), (3000, 0, 0));
}

#[test]
fn a_jaeger_that_is_killed_and_started_anew_costs_nothing_by_grpc() {
    run("grpc", killed_and_started_anew);
}

#[test]
fn a_jaeger_that_is_killed_and_started_anew_costs_nothing_by_http() {
    run("http/protobuf", killed_and_started_anew);
}

/// Starts a Collector that refuses everything, because it has no memory left.
fn start_without_memory(grpc: SocketAddr, http: SocketAddr) -> jaeger::Program {
    let config = json!({
        "receivers": otlp_receiver(grpc, http),
        "processors": {"memory_limiter": {"check_interval": "100ms", "limit_mib": 1}},
        "exporters": {"nop": {}},
        "service": {"pipelines": {"traces": {
            "receivers": ["otlp"],
            "processors": ["memory_limiter"],
            "exporters": ["nop"],
        }}},
    });
    let program = jaeger::Program::start(config, &[grpc, http]).expect("it is installed");
    wait_for("it refuses", TIMEOUT, || program.log().contains("Refusing data").then_some(()));
    program
}

fn refusing(is_grpc: bool) {
    let (grpc, http) = (free_address(), free_address());
    let collector = start_without_memory(grpc, http);
    let program = Program::exporting_to(if is_grpc { grpc } else { http });
    numbered_calls(0..700);
    wait_for("it has refused several times", TIMEOUT, || {
        let failures = program.page().sum("botticelli_obs_export_failures_total");
        (failures >= 3.0).then_some(())
    });
    drop(collector);
    let jaeger = Jaeger::start_on(grpc, http).expect("it is installed");
    numbered_calls(700..800);
    let spans = program.shut_down(TIMEOUT);
    assert_eq!((spans.exported, spans.dropped, spans.said), (800, 0, 0));
    let spans = jaeger.wait_for_spans(SERVICE, 800);
    assert_eq!((spans.len(), numbers(&spans)), (800, (0..800).collect()));
}

#[test]
fn a_collector_that_has_no_memory_left_for_a_while_costs_nothing_by_grpc() {
    run("grpc", refusing);
}

#[test]
fn a_collector_that_has_no_memory_left_for_a_while_costs_nothing_by_http() {
    run("http/protobuf", refusing);
}

#[test]
fn a_jaeger_that_takes_only_small_messages_gets_small_ones() {
    run("grpc", |_| {
        let (grpc, http) = (free_address(), free_address());
        let mut receivers = otlp_receiver(grpc, http);
        receivers["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"] = json!(1);
        let jaeger = Jaeger::start_with(grpc, http, receivers).expect("it is installed");
        let program = Program::exporting_to(grpc);
        let document = "x".repeat(20_000);
        for number in 0..300 {
            let _entered = tracing::info_span!("work", document = %document).entered();
            numbered_calls(number..number + 1);
        }
        let spans = program.shut_down(TIMEOUT);
        assert_eq!((spans.exported, spans.dropped, spans.said), (600, 0, 0));
        let spans = jaeger.wait_for_spans(SERVICE, 600);
        assert_eq!((spans.len(), numbers(&spans)), (600, (0..300).collect()));
        assert!(spans.iter().filter(|span| span.name == "work").all(|span| span.text("document") == document));
    });
}
