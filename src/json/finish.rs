//! Reads finish reasons.

use serde_json::Value;

use super::path::at;
use crate::finish::normalise;

/// Where the arrays of choices are, and their finish reasons in them. The second is that of Qwen's own API.
const CHOICES: &[(&str, &str)] =
    &[("choices", "finish_reason"), ("output.choices", "finish_reason"), ("candidates", "finishReason")];

/// Where APIs with a single choice have its finish reason: Anthropic whole and streamed, Ollama, Cohere, Bedrock whole and
/// streamed, text-generation-inference, watsonx, Bedrock's Titan, llama.cpp.
const SINGLE: &[&str] = &[
    "stop_reason",
    "delta.stop_reason",
    "done_reason",
    "finish_reason",
    "stopReason",
    "messageStop.stopReason",
    "details.finish_reason",
    "results.0.stop_reason",
    "results.0.completionReason",
    "stop_type",
];

/// The choices that have called a tool, as bits. Gemini and Ollama give the finish reason of an answer to a tool call, perhaps in
/// a later event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Callers(u128);

impl Callers {
    fn add(&mut self, choice: usize) {
        self.0 |= 1_u128.checked_shl(u32::try_from(choice).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    fn has(self, choice: usize) -> bool {
        u32::try_from(choice).is_ok_and(|choice| self.0.checked_shr(choice).is_some_and(|bits| bits & 1 == 1))
    }

    fn read(&mut self, body: &Value) {
        for (choice, candidate) in choices(&body["candidates"]) {
            let mut parts = candidate["content"]["parts"].as_array().into_iter().flatten();
            if parts.any(|part| part["functionCall"].is_object()) {
                self.add(choice);
            }
        }
        if body["message"]["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()) {
            self.add(0);
        }
    }

    fn reason(self, choice: usize, reason: &str) -> &str {
        if self.has(choice) && normalise(reason) == "stop" { "tool_calls" } else { reason }
    }
}

/// Calls `found` with the index and the finish reason of each choice that has finished.
pub(super) fn read(body: &Value, has_status: bool, callers: &mut Callers, mut found: impl FnMut(usize, &str)) {
    callers.read(body);
    for (path, name) in CHOICES {
        for (choice, value) in choices(at(body, path)) {
            if let Some(reason) = reason(&value[*name]) {
                found(choice, callers.reason(choice, reason));
            }
        }
    }
    let single = SINGLE.iter().find_map(|path| reason(at(body, path)));
    if let Some(reason) = single.or_else(|| of_status(body).filter(|_| has_status)) {
        found(0, callers.reason(0, reason));
    }
}

/// Returns the choices with their indices.
fn choices(choices: &Value) -> impl Iterator<Item = (usize, &Value)> {
    choices.as_array().into_iter().flatten().enumerate().map(|(at, choice)| {
        let index = choice["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        (index.unwrap_or(at), choice)
    })
}

/// Returns a reason, unless it says that the choice has not finished.
fn reason(json: &Value) -> Option<&str> {
    json.as_str().filter(|reason| !matches!(*reason, "" | "null" | "none" | "not_finished"))
}

/// Returns the finish reason of OpenAI's responses and of Gemini's interactions, which have a status instead. The status of a tool
/// call of the former is `completed` like that of an answer, so the output decides.
fn of_status(body: &Value) -> Option<&str> {
    match body["status"].as_str()? {
        "completed" => {
            let mut items = body["output"].as_array().into_iter().flatten().filter_map(|item| item["type"].as_str());
            // An item that the caller must act on is named as the reason is.
            Some(items.find(|name| normalise(name) == "tool_calls").unwrap_or("completed"))
        }
        "requires_action" => Some("tool_calls"),
        "incomplete" => body["incomplete_details"]["reason"].as_str().or(Some("incomplete")),
        _ => None,
    }
}
