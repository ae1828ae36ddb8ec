//! Settings of the traces: which spans are exported, what of them, in which batches, and what travels on.

use std::collections::HashMap;
use std::process::Output;
use std::time::Duration;

use botticelli_obs::{Builder, ErrorType, LlmCall, Sampler, Telemetry, TraceExporter};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::page::Page;
use crate::support::peer::{Mood, Peer};
use crate::support::{in_own_process, wait_for};

const FLUSH: Duration = Duration::from_secs(30);

fn start() -> Telemetry {
    Builder::new().without_listener().with_service_name("bot").install().expect("it installs")
}

/// A message with two calls: three spans.
fn message() {
    tracing::info_span!("bot.message", channel = "discord").in_scope(|| {
        LlmCall::start("gemini", "gemini-2.5-flash").finish();
        LlmCall::start("groq", "llama-3.3-70b-versatile").fail(ErrorType::RateLimit);
    });
}

fn exports_a_message() {
    let telemetry = start();
    message();
    telemetry.shutdown(FLUSH).expect("every span arrives");
}

/// Runs the scenario in a process of its own that exports to the peer.
fn exporting_to(peer: &Peer, more: &[(&str, &str)], scenario: impl FnOnce()) -> Option<Output> {
    let endpoint = format!("http://{}", peer.addr);
    in_own_process(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], more].concat(), scenario)
}

fn names(peer: &Peer) -> Vec<String> {
    peer.received().spans.into_iter().map(|span| span.name).collect()
}

fn exported(telemetry: &Telemetry) -> f64 {
    Page::parse(&telemetry.render()).sum("botticelli_obs_spans_exported_total")
}

#[test]
fn a_clients_debug_span_with_a_prompt_stays_at_home() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let prompt = "my secret prompt";
        tracing::debug_span!("client.request", prompt).in_scope(message);
        tracing::info_span!("bot.step").in_scope(|| tracing::debug!(prompt, "sending"));
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    let more = [("RUST_LOG", "trace")];
    if exporting_to(&peer, &more, run).is_some() {
        assert_eq!(names(&peer).len(), 4, "the message, its two calls, and the step");
        assert!(!format!("{:?}", peer.received()).contains("secret"));
    }
}

#[test]
fn the_span_filter_can_ask_for_debug_spans() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let prompt = "my secret prompt";
        tracing::debug_span!("client.request", prompt).in_scope(message);
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    let more = [("BOTTICELLI_OBS_SPAN_FILTER", "debug"), ("RUST_LOG", "error")];
    if exporting_to(&peer, &more, run).is_some() {
        let spans = peer.received().spans;
        let client = spans.iter().find(|span| span.name == "client.request").expect("it was asked for");
        let message = spans.iter().find(|span| span.name == "bot.message").expect("it is there too");
        assert_eq!(message.parent_span_id, client.span_id);
        assert!(format!("{client:?}").contains("secret"));
    }
}

fn only_calls_pass(filter: &str) {
    let peer = Peer::grpc(Mood::Takes);
    let more = [("BOTTICELLI_OBS_SPAN_FILTER", filter), ("RUST_LOG", "off")];
    if exporting_to(&peer, &more, exports_a_message).is_some() {
        assert_eq!(names(&peer), ["chat gemini-2.5-flash", "chat llama-3.3-70b-versatile"]);
    }
}

#[test]
fn call_spans_pass_the_filter_off() {
    only_calls_pass("off");
}

#[test]
fn call_spans_pass_the_filter_error() {
    only_calls_pass("error");
}

#[test]
fn the_programs_own_http_stack_is_exported() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let own = Peer::grpc(Mood::Takes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
        runtime.block_on(async {
            let mut client = TraceServiceClient::connect(format!("http://{}", own.addr)).await.expect("it connects");
            client.export(ExportTraceServiceRequest::default()).await.expect("it is taken");
        });
        drop(runtime);
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    // Of the same crates the exporter is made of.
    let more = [("BOTTICELLI_OBS_SPAN_FILTER", "info,h2=trace,hyper=trace,tower=trace,tonic=trace")];
    if exporting_to(&peer, &more, run).is_some() {
        assert!(names(&peer).iter().any(|name| name == "Connection"), "{:?}", names(&peer));
    }
}

#[test]
fn a_sampler_that_is_off_exports_and_counts_nothing() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        message();
        telemetry.flush(FLUSH).expect("nothing waits");
        assert_eq!(exported(&telemetry), 0.0);
        assert_eq!(Page::parse(&telemetry.render()).sum("llm_requests_total"), 2.0);
    };
    let more = [("OTEL_TRACES_SAMPLER", "always_off")];
    if exporting_to(&peer, &more, run).is_some() {
        assert!(names(&peer).is_empty());
    }
}

#[test]
fn a_ratio_takes_whole_traces() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        (0..100).for_each(|_| message());
        telemetry.flush(FLUSH).expect("every span arrives");
        assert_eq!(Page::parse(&telemetry.render()).sum("llm_requests_total"), 200.0);
        assert_eq!(Page::parse(&telemetry.render()).sum("botticelli_obs_spans_dropped_total"), 0.0);
    };
    let more = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    if exporting_to(&peer, &more, run).is_some() {
        let mut traces: HashMap<Vec<u8>, usize> = HashMap::new();
        for span in peer.received().spans {
            *traces.entry(span.trace_id).or_default() += 1;
        }
        assert!((20..=80).contains(&traces.len()), "{} of 100 traces", traces.len());
        assert!(traces.values().all(|&spans| spans == 3), "{traces:?}");
    }
}

#[test]
fn the_sampler_of_the_code_beats_that_of_the_environment() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry =
            Builder::new().without_listener().with_sampler(Sampler::AlwaysOn).install().expect("it installs");
        message();
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    let more = [("OTEL_TRACES_SAMPLER", "always_off")];
    if exporting_to(&peer, &more, run).is_some() {
        assert_eq!(names(&peer).len(), 3);
    }
}

fn strings(span: &Span) -> Vec<&str> {
    let of_events = span.events.iter().flat_map(|event| &event.attributes);
    let values =
        span.attributes.iter().chain(of_events).filter_map(|attribute| attribute.value.as_ref()?.value.as_ref());
    values.filter_map(|value| if let Value::StringValue(text) = value { Some(text.as_str()) } else { None }).collect()
}

#[test]
fn limits_hold() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let others = [tracing::info_span!("first"), tracing::info_span!("second")];
        tracing::info_span!("bot.message", text = "Grüße aus Köln").in_scope(|| {
            for other in &others {
                tracing::Span::current().follows_from(other);
            }
            (0..5).for_each(|number| tracing::info!(number, text = "Grüße aus Köln", "a line"));
        });
        drop(others);
        message();
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    let more = [
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "6"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "2"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "1"),
    ];
    if exporting_to(&peer, &more, run).is_some() {
        let spans = peer.received().spans;
        assert_eq!(spans.len(), 6);
        for span in &spans {
            assert!(span.attributes.len() <= 3, "{span:?}");
            assert!(strings(span).iter().all(|value| value.chars().count() <= 6), "{span:?}");
        }
        let busy = spans.iter().find(|span| !span.events.is_empty()).expect("there were lines");
        assert_eq!((busy.events.len(), busy.links.len()), (2, 1));
        assert!(strings(busy).contains(&"Grüße "), "{busy:?}");
    }
}

#[test]
fn batches_are_as_large_as_they_may_be() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        (0..20).for_each(|_| LlmCall::start("gemini", "gemini-2.5-flash").finish());
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    let more = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7"), ("OTEL_BSP_SCHEDULE_DELAY", "600000")];
    if exporting_to(&peer, &more, run).is_some() {
        let batches = peer.received().batches;
        assert_eq!(batches.iter().sum::<usize>(), 20);
        assert!(batches.iter().all(|&spans| spans <= 7), "{batches:?}");
    }
}

#[test]
fn spans_are_exported_after_the_delay_unasked() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        message();
        wait_for("the spans are exported", FLUSH, || (exported(&telemetry) >= 3.0).then_some(()));
    };
    let more = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
    if exporting_to(&peer, &more, run).is_some() {
        assert_eq!(names(&peer).len(), 3);
    }
}

fn gives_up_in_time(variable: &str) {
    let peer = Peer::grpc(Mood::NeverAnswers);
    exporting_to(&peer, &[(variable, "300"), ("OTEL_BSP_SCHEDULE_DELAY", "50")], || {
        let telemetry = start();
        message();
        // Well before the 10 s that are the default.
        wait_for("it has tried again", Duration::from_secs(9), || {
            let page = Page::parse(&telemetry.render());
            (page.value("botticelli_obs_export_failures_total", &[("signal", "traces")]) >= 2.0).then_some(())
        });
        let error = telemetry.flush(Duration::from_millis(300)).expect_err("nobody answers");
        assert_eq!((error.lost_spans(), error.waiting_spans()), (0, 3));
        drop(telemetry);
    });
}

#[test]
fn the_timeout_of_the_batch_processor_holds() {
    gives_up_in_time("OTEL_BSP_EXPORT_TIMEOUT");
}

#[test]
fn the_timeout_of_the_exporter_holds() {
    gives_up_in_time("OTEL_EXPORTER_OTLP_TIMEOUT");
}

/// What an outgoing request inside a call would carry.
fn carried() -> HashMap<String, String> {
    use opentelemetry::baggage::BaggageExt;
    use opentelemetry::{Context, KeyValue, global};

    let mut headers = HashMap::new();
    let call = LlmCall::start("gemini", "gemini-2.5-flash");
    call.span().in_scope(|| {
        let cx = Context::current_with_baggage([KeyValue::new("channel", "discord")]);
        global::get_text_map_propagator(|propagator| propagator.inject_context(&cx, &mut headers));
    });
    call.finish();
    headers
}

#[test]
fn a_trace_and_its_baggage_travel_on() {
    let peer = Peer::grpc(Mood::Takes);
    let run = || {
        let telemetry = start();
        let headers = carried();
        assert_eq!(headers.get("baggage").map(String::as_str), Some("channel=discord"));
        tracing::info!("traceparent {}", headers["traceparent"]);
        telemetry.shutdown(FLUSH).expect("every span arrives");
    };
    if let Some(output) = exporting_to(&peer, &[], run) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let span = &peer.received().spans[0];
        let expected = format!("traceparent 00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(log.contains(&expected), "{expected}: {log}");
    }
}

fn travels(propagators: &str, expected: &[&str]) {
    let peer = Peer::grpc(Mood::Takes);
    exporting_to(&peer, &[("OTEL_PROPAGATORS", propagators)], || {
        let _telemetry = start();
        let headers = carried();
        let mut names: Vec<&str> = headers.keys().map(String::as_str).filter(|name| *name != "tracestate").collect();
        names.sort_unstable();
        assert_eq!(names, expected);
    });
}

#[test]
fn without_propagators_nothing_travels() {
    travels("none", &[]);
}

#[test]
fn baggage_travels_alone() {
    travels("baggage", &["baggage"]);
}

#[test]
fn a_trace_travels_alone() {
    travels("tracecontext", &["traceparent"]);
}

#[test]
fn the_stdout_exporter_prints_a_line_a_span() {
    let run = || {
        let exporter = TraceExporter::Stdout;
        let telemetry = Builder::new().without_listener().with_trace_exporter(exporter).install().expect("it installs");
        message();
        telemetry.shutdown(FLUSH).expect("standard output takes everything");
    };
    if let Some(output) = in_own_process(&[], run) {
        let printed = String::from_utf8_lossy(&output.stdout);
        let line = |text: &str| printed.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{printed}"));
        assert!(line(r#"span "chat gemini-2.5-flash" client "#).contains(" unset "), "{printed}");
        assert!(line(r#"span "chat llama-3.3-70b-versatile" client "#).contains(r#" error.type="rate_limit""#));
        assert!(line(r#"span "bot.message" internal "#).contains(r#" channel="discord""#), "{printed}");
    }
}
