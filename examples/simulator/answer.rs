//! One simulated answer: its text, usage and latencies.

use std::time::Duration;

use serde_json::{Value, json};

use super::Model;

const WORDS: &[&str] = &[
    "the ",
    "spring ",
    "of ",
    "Florence ",
    "was ",
    "painted ",
    "in ",
    "tempera ",
    "on ",
    "poplar ",
    "and ",
    "nobody ",
    "knows ",
    "for ",
    "whom. ",
    "It ",
    "hung ",
    "in ",
    "a ",
    "bedroom, ",
];

pub(super) struct Answer {
    pub(super) words: Vec<&'static str>,
    pub(super) until_first_token: Duration,
    pub(super) pause: Duration,
    model: &'static str,
    id: String,
    prompt: u64,
    cached: u64,
    reasoning: u64,
    includes_usage: bool,
    /// Whether it asks for a tool instead of answering.
    calls_tool: bool,
}

impl Answer {
    pub(super) fn new(model: &Model, request: &Value, scale: f64, random: &mut fastrand::Rng) -> Self {
        let text: usize =
            request["messages"].as_array().into_iter().flatten().map(|message| message.to_string().len()).sum();
        let prompt = text as u64 / 4 + 4;
        let count = random.usize(8..60);
        // Latencies of servers are approximately log-normal, with a long tail.
        let spread = (random_normal(random) * 0.4).exp().min(8.0);
        Self {
            words: (0..count).map(|at| WORDS[at % WORDS.len()]).collect(),
            until_first_token: model.first_token.mul_f64(spread * scale),
            pause: Duration::from_secs_f64(scale / model.tokens_per_second),
            model: model.name,
            id: format!("chatcmpl-{:016x}", random.u64(..)),
            prompt,
            cached: if random.bool() { prompt / 2 } else { 0 },
            reasoning: (count as f64 * model.reasoning) as u64,
            includes_usage: request["stream_options"]["include_usage"] == true,
            calls_tool: calls_tool(request),
        }
    }

    pub(super) fn completion(&self) -> Value {
        let message = if self.calls_tool {
            let function = json!({"name": "search", "arguments": "{\"query\":\"the lady in the shell\"}"});
            json!({
                "role": "assistant",
                "content": null,
                "refusal": null,
                "tool_calls": [{"id": format!("call_{}", &self.id[9..]), "type": "function", "function": function}],
            })
        } else {
            json!({"role": "assistant", "content": self.words.concat(), "refusal": null})
        };
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": 1_764_000_000,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": message,
                "finish_reason": if self.calls_tool { "tool_calls" } else { "stop" },
                "logprobs": null,
            }],
            "usage": self.usage(),
        })
    }

    pub(super) fn chunk(&self, word: &str) -> Value {
        self.stream_event(json!([{"index": 0, "delta": {"content": word}, "finish_reason": null}]), &Value::Null)
    }

    pub(super) fn last_chunk(&self) -> Value {
        self.stream_event(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), &Value::Null)
    }

    /// Returns the chunk with the usage and without choices, if the request has `stream_options.include_usage`.
    pub(super) fn usage_chunk(&self) -> Option<Value> {
        self.includes_usage.then(|| self.stream_event(json!([]), &self.usage()))
    }

    fn stream_event(&self, choices: Value, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": 1_764_000_000,
            "model": self.model,
            "choices": choices,
            "usage": usage,
        })
    }

    fn usage(&self) -> Value {
        let completion = self.words.len() as u64 + self.reasoning;
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": completion,
            "total_tokens": self.prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        })
    }
}

/// Whether the request offers tools, and none was called for it yet.
fn calls_tool(request: &Value) -> bool {
    let messages = request["messages"].as_array();
    request["tools"].is_array()
        && messages.and_then(|messages| messages.last()).is_some_and(|last| last["role"] != "tool")
}

/// Returns a normally distributed number with mean 0 and deviation 1 (Box-Muller transform).
fn random_normal(random: &mut fastrand::Rng) -> f64 {
    let (a, b) = (1.0 - random.f64(), random.f64());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}
