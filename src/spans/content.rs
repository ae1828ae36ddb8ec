//! Removes what people and models say from spans.

use std::borrow::Cow;

use opentelemetry::trace::Event;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// Whether an attribute has the text of prompts, answers, instructions, documents or tools, by any of the conventions in use.
///
/// Every attribute of every span comes through here, so the first parts of its name decide.
fn is_content(key: &str) -> bool {
    let (namespace, name) = split(key);
    match namespace {
        "gen_ai" => is_gen_ai_content(name),
        // OpenLLMetry, and OpenInference below.
        "traceloop" => matches!(name, "entity.input" | "entity.output"),
        "llm" => {
            let families = [
                "prompts",
                "completions",
                "choices",
                "input_messages",
                "output_messages",
                "request.functions",
                "tools",
            ];
            matches!(name, "function_call" | "prompt_template.template" | "prompt_template.variables")
                || families.iter().any(|family| name.starts_with(family))
        }
        "input" | "output" => name == "value",
        "embedding" => name.starts_with("embeddings"),
        "retrieval" => name == "query" || name.starts_with("documents"),
        "reranker" => !matches!(name, "model_name" | "top_k"),
        "tool" => name == "parameters",
        "tool_call" => name == "function.arguments",
        "langfuse" => {
            let name = name.trim_start_matches("observation.").trim_start_matches("trace.");
            matches!(name, "input" | "output")
        }
        "lmnr" => matches!(name, "span.input" | "span.output"),
        "mlflow" => matches!(name, "spanInputs" | "spanOutputs"),
        // The AI SDK.
        "ai" => {
            name.starts_with("prompt")
                || matches!(name, "response.text" | "response.toolCalls" | "toolCall.args" | "toolCall.result")
        }
        // Pydantic AI.
        "tool_arguments" | "tool_response" => name.is_empty(),
        _ => false,
    }
}

/// Splits a name at its first dot. These names are so short that `str::split_once` takes three times as long.
fn split(name: &str) -> (&str, &str) {
    let dot = name.bytes().position(|byte| byte == b'.');
    dot.map_or((name, ""), |dot| (&name[..dot], &name[dot + 1..]))
}

/// The same for the names after `gen_ai.`: what the conventions of OpenTelemetry call opt-in, and what older versions had.
fn is_gen_ai_content(name: &str) -> bool {
    let (area, name) = split(name);
    match area {
        "input" | "output" => name.is_empty() || name.starts_with("messages"),
        "system_instructions" | "completion" | "content" => true,
        // There is also one for each message, such as `gen_ai.prompt.0.content`.
        "prompt" => !matches!(name, "id" | "name" | "version"),
        "tool" => {
            matches!(name.trim_start_matches("call."), "definitions" | "arguments" | "input" | "output" | "result")
        }
        "request" => name == "messages",
        "response" => matches!(name, "text" | "tool_calls"),
        "retrieval" => name == "query.text" || name.starts_with("documents"),
        "evaluation" => name == "explanation",
        _ => false,
    }
}

/// Events that are a message.
const EVENTS: &[&str] = &[
    "gen_ai.content.prompt",
    "gen_ai.content.completion",
    "gen_ai.content.tool_call",
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
];

/// Removes attributes and events with content from a span.
pub(super) fn remove(span: &mut SpanData) {
    let mut removed = Vec::new();
    remove_attributes(&mut span.attributes, &mut removed);
    if span.events.events.is_empty() {
        return;
    }
    span.events.events.retain_mut(|event| {
        remove_attributes(&mut event.attributes, &mut removed);
        !EVENTS.contains(&event.name.as_ref())
    });
    // A library may repeat in a log line what it has put on the span, as rig does with the arguments and results of tools.
    removed.retain(|text| text.len() >= SHORTEST_REPEATED);
    if !removed.is_empty() {
        span.events.events.retain(|event| !removed.iter().any(|text| repeats(event, text)));
    }
}

/// In bytes. A shorter text, such as `{}` or a number, may be anywhere.
const SHORTEST_REPEATED: usize = 3;

fn remove_attributes(attributes: &mut Vec<KeyValue>, removed: &mut Vec<String>) {
    // `Vec::extract_if` looks at every attribute too, and moves none if there is nothing to remove.
    for attribute in attributes.extract_if(.., |attribute| is_content(attribute.key.as_str())) {
        if let Value::String(text) = attribute.value {
            removed.push(text.as_str().to_owned());
        }
    }
}

fn repeats(event: &Event, text: &str) -> bool {
    let values = event.attributes.iter().map(|attribute| attribute.value.as_str());
    std::iter::once(Cow::Borrowed(event.name.as_ref())).chain(values).any(|value| value.contains(text))
}

#[cfg(test)]
mod tests {
    use super::is_content;

    #[test]
    fn attributes_with_content_are_told_from_others() {
        for key in [
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "gen_ai.prompt",
            "gen_ai.prompt.0.content",
            "gen_ai.completion",
            "gen_ai.completion.0.tool_calls.0.arguments",
            "gen_ai.content.prompt",
            "gen_ai.retrieval.documents",
            "traceloop.entity.input",
            "traceloop.entity.output",
            "llm.prompts",
            "llm.prompts.0.content",
            "llm.completions.0.content",
            "llm.input_messages.0.message.content",
            "llm.output_messages.0.message.content",
            "llm.request.functions.0.parameters",
            "llm.tools.0.tool.json_schema",
            "input.value",
            "output.value",
            "retrieval.documents.0.document.content",
            "tool.parameters",
            "langfuse.input",
            "langfuse.trace.input",
            "langfuse.observation.output",
            "ai.prompt.messages",
            "ai.toolCall.args",
            "mlflow.spanInputs",
            "tool_arguments",
        ] {
            assert!(is_content(key), "{key}");
        }
        for key in [
            "gen_ai.operation.name",
            "gen_ai.provider.name",
            "gen_ai.request.model",
            "gen_ai.response.finish_reasons",
            "gen_ai.usage.input_tokens",
            "gen_ai.output.type",
            "gen_ai.prompt.name",
            "gen_ai.tool.name",
            "gen_ai.tool.call.id",
            "gen_ai.tool.description",
            "gen_ai.conversation.id",
            "error.type",
            "input.mime_type",
            "llm.model_name",
            "llm.token_count.prompt",
            "langfuse.user.id",
            "channel",
            "prompt_tokens",
            "tool",
        ] {
            assert!(!is_content(key), "{key}");
        }
    }
}
