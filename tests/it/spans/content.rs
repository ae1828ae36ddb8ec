//! What people and models say is not exported, whoever has put it on a span, unless it was asked for.

use std::time::Duration;

use botticelli_obs::{Builder, LlmCall, TraceExporter};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::support::in_own_process;
use crate::support::peer::{Mood, Peer};

const FLUSH: Duration = Duration::from_secs(30);
const CAPTURE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

/// Spans as rig-core 0.44 and genai 0.7 make them, and as the older conventions have it.
fn spans_with_secrets() {
    let secret = "secret: the launch code";
    let agent = tracing::info_span!(
        "invoke_agent",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = "bot",
        gen_ai.system_instructions = secret,
        gen_ai.prompt = secret,
        gen_ai.completion = tracing::field::Empty,
        gen_ai.prompt.name = "kept: greeting",
    );
    agent.record("gen_ai.completion", secret);
    agent.in_scope(|| {
        let chat = tracing::info_span!(
            "genai.chat",
            otel.name = "chat gpt-4o-mini",
            "gen_ai.request.model" = "kept: gpt-4o-mini",
            "gen_ai.system_instructions" = secret,
            "gen_ai.input.messages" = tracing::field::Empty,
            "gen_ai.output.messages" = tracing::field::Empty,
            "gen_ai.tool.definitions" = tracing::field::Empty,
        );
        for name in ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"] {
            chat.record(name, secret);
        }
        drop(chat);
        let (arguments, result) = (r#"{"secret":"of the caller"}"#, "secret: of the tool");
        let tool = tracing::info_span!(
            "execute_tool",
            gen_ai.tool.name = "kept: search",
            gen_ai.tool.call.id = "kept: call_1",
            gen_ai.tool.call.arguments = arguments,
            gen_ai.tool.call.result = tracing::field::Empty,
        );
        tool.record("gen_ai.tool.call.result", result);
        // rig repeats both in a log line.
        tool.in_scope(|| {
            tracing::info!("executed tool search with args {arguments}. result: {result}");
            tracing::info!("kept: a line of the tool");
        });
        tracing::info_span!(
            "older",
            "gen_ai.prompt.0.content" = secret,
            "gen_ai.prompt.0.role" = secret,
            "gen_ai.completion.0.content" = secret,
            "llm.prompts" = secret,
            "llm.completions.0.content" = secret,
            "llm.input_messages.0.message.content" = secret,
            "llm.output_messages.0.message.content" = secret,
            "traceloop.entity.input" = secret,
            "traceloop.entity.output" = secret,
            "input.value" = secret,
            "output.value" = secret,
            "llm.model_name" = "kept: a model",
        )
        .in_scope(|| {
            tracing::event!(name: "gen_ai.content.prompt", tracing::Level::INFO, { gen_ai.prompt = secret });
            tracing::event!(name: "gen_ai.user.message", tracing::Level::INFO, { content = secret });
            tracing::event!(name: "gen_ai.choice", tracing::Level::INFO, { choice = secret });
            tracing::info!(gen_ai.input.messages = secret, kept = "kept: a field", "kept: a line");
        });
    });
    LlmCall::start("openai", "gpt-4o-mini").finish();
}

fn run(builder: Builder) {
    let telemetry = builder.without_listener().install().expect("it installs");
    spans_with_secrets();
    telemetry.shutdown(FLUSH).expect("every span arrives");
}

fn exported(more: &[(&str, &str)], builder: impl FnOnce() -> Builder) -> Option<Vec<Span>> {
    let peer = Peer::grpc(Mood::Takes);
    let endpoint = format!("http://{}", peer.addr);
    let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], more].concat();
    in_own_process(&variables, || run(builder())).map(|_| peer.received().spans)
}

fn stays_at_home(more: &[(&str, &str)]) {
    if let Some(spans) = exported(more, Builder::new) {
        let text = format!("{spans:#?}");
        assert_eq!(spans.len(), 5);
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(text.matches("kept: ").count(), 8, "{text}");
    }
}

#[test]
fn content_is_not_exported() {
    stays_at_home(&[]);
}

#[test]
fn content_is_not_exported_where_it_is_refused() {
    stays_at_home(&[(CAPTURE, "NO_CONTENT")]);
}

#[test]
fn content_is_exported_where_it_is_asked_for() {
    if let Some(spans) = exported(&[(CAPTURE, "true")], Builder::new) {
        let text = format!("{spans:#?}");
        assert!(text.matches("secret").count() > 20, "{text}");
    }
}

#[test]
fn the_code_can_ask_for_content() {
    let more = [(CAPTURE, "false")];
    if let Some(spans) = exported(&more, || Builder::new().with_message_content()) {
        assert!(format!("{spans:#?}").contains("secret"));
    }
}

#[test]
fn content_is_not_printed_either() {
    if let Some(output) = in_own_process(&[("RUST_LOG", "off")], || {
        run(Builder::new().with_trace_exporter(TraceExporter::Stdout));
    }) {
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains("kept: search") && !printed.contains("secret"), "{printed}");
    }
}

#[test]
fn another_word_for_the_capture_is_an_error() {
    in_own_process(&[(CAPTURE, "maybe")], || {
        let error = Builder::new().without_listener().install().expect_err("it is neither true nor false");
        assert!(error.to_string().contains(CAPTURE), "{error}");
    });
}
