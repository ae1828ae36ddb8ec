//! The spans of tasks and tool calls, and what calls inside have of them.

use botticelli_obs::testing::{Attribute, Capture, CapturedSpan};
use botticelli_obs::{ErrorType, LlmCall, LlmTask, LlmToolCall};

fn text(span: &CapturedSpan, name: &str) -> Option<String> {
    span.attribute(name).map(|value| match value {
        Attribute::Text(text) => text,
        other => panic!("{name} is {other:?}"),
    })
}

/// Returns the span of this name.
fn named<'a>(spans: &'a [CapturedSpan], name: &str) -> &'a CapturedSpan {
    spans.iter().find(|span| span.name() == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

#[test]
fn spans_are_named_as_the_conventions_say_and_hand_ids_down() {
    let capture = Capture::new();
    capture.run(|| {
        let narrative = LlmTask::builder("evening_story").as_workflow().with_run_id("run-7").start();
        narrative.scope_sync(|| {
            let agent = LlmTask::builder("writer").with_kind("agent").with_conversation_id("conv-1").start();
            agent.scope_sync(|| {
                LlmCall::start("gemini", "gemini-2.5-flash").finish();
                drop(LlmToolCall::builder("search").with_call_id("call_9").start());
                LlmToolCall::builder("search").with_call_id("call_9").start().fail(ErrorType::Network);
                LlmTask::start("editor").scope_sync(|| LlmCall::start("ollama", "llama3.2").finish());
            });
            agent.fail(ErrorType::ContextLength);
            LlmCall::start("groq", "llama-3.3-70b").finish();
        });
        narrative.finish();
    });
    let spans = capture.spans();
    let workflow = named(&spans, "invoke_workflow evening_story");
    assert_eq!(text(workflow, "gen_ai.operation.name").as_deref(), Some("invoke_workflow"));
    assert_eq!(text(workflow, "gen_ai.workflow.name").as_deref(), Some("evening_story"));
    assert_eq!(text(workflow, "openinference.span.kind").as_deref(), Some("CHAIN"));
    assert_eq!(text(workflow, "botticelli.run.id").as_deref(), Some("run-7"));
    assert_eq!(text(workflow, "gen_ai.agent.name"), None);
    assert!(!workflow.is_error() && !workflow.is_client() && workflow.parent_id().is_none());

    let agent = named(&spans, "invoke_agent writer");
    assert_eq!(agent.parent_id(), Some(workflow.id()));
    assert_eq!(text(agent, "gen_ai.agent.name").as_deref(), Some("writer"));
    assert_eq!(text(agent, "botticelli.task.kind").as_deref(), Some("agent"));
    assert_eq!(text(agent, "openinference.span.kind"), None);
    assert_eq!((agent.is_error(), text(agent, "error.type").as_deref()), (true, Some("context_length")));
    assert!(agent.attribute("gen_ai.usage.input_tokens").is_none());

    for (name, agent_name, conversation, parent) in [
        ("chat gemini-2.5-flash", Some("writer"), Some("conv-1"), agent),
        ("execute_tool search", Some("writer"), Some("conv-1"), agent),
        ("invoke_agent editor", Some("editor"), Some("conv-1"), agent),
        ("chat llama3.2", Some("editor"), Some("conv-1"), named(&spans, "invoke_agent editor")),
        ("chat llama-3.3-70b", None, None, workflow),
    ] {
        let span = named(&spans, name);
        assert_eq!(text(span, "gen_ai.agent.name").as_deref(), agent_name, "{name}");
        assert_eq!(text(span, "gen_ai.conversation.id").as_deref(), conversation, "{name}");
        assert_eq!(span.parent_id(), Some(parent.id()), "{name}");
    }
    let tool = named(&spans, "execute_tool search");
    assert_eq!(text(tool, "gen_ai.tool.name").as_deref(), Some("search"));
    assert_eq!(text(tool, "gen_ai.tool.call.id").as_deref(), Some("call_9"));
    let failed = spans.iter().filter(|span| span.name() == "execute_tool search" && span.is_error()).count();
    assert_eq!(failed, 2);
}

#[test]
fn cost_is_on_the_span_of_its_call_alone() {
    let capture = Capture::new();
    capture.run(|| {
        LlmTask::start("writer").scope_sync(|| {
            let mut call = LlmCall::start("openrouter", "gpt-4o");
            call.record_cost(0.002_5);
            call.finish();
        });
    });
    let spans = capture.spans();
    assert_eq!(named(&spans, "chat gpt-4o").attribute("gen_ai.usage.cost"), Some(Attribute::Float(0.002_5)));
    assert_eq!(named(&spans, "invoke_agent writer").attribute("gen_ai.usage.cost"), None);
}
