//! What providers' JSON tells about a call: tokens, model, finish reasons, failures. Feature `json`.
//!
//! [`Response`] reads a whole body or one event of a stream, of OpenAI's chat completions (and the many APIs that are compatible with
//! them) and responses, Anthropic's messages, Gemini's `generateContent`, and Ollama. Which one it is shows in the JSON itself.
//! Tokens come out in the arithmetic of [`Usage`], whatever the provider's own is; what an event of a stream leaves out stays as
//! an earlier one has told it.
//!
//! ```
//! use botticelli_obs::{LlmCall, json};
//!
//! # async fn send(_: &str) -> std::io::Result<json::Value> { Ok(json::Value::Null) }
//! # async fn example() -> std::io::Result<()> {
//! let call = LlmCall::start("anthropic", "claude-sonnet-4-5");
//! let body = call.observe_with(send("Who painted the Primavera?"), |call, result| match result {
//!     Ok(body) => call.record_json(body),
//!     Err(error) => call.record_error(error),
//! });
//! let text = body.await?["content"][0]["text"].take();
//! # Ok(()) }
//! ```
//!
//! Where the status of a response says that the call has failed, [`ErrorType::from_http_response`] reads its body as well.

mod failure;
mod tokens;

pub use serde_json::Value;

use crate::call::LlmCall;
use crate::error_type::ErrorType;
use crate::outcome::Outcome;
use crate::usage::Usage;
use tokens::Tokens;

/// What a provider's JSON tells about a call; nothing else of it is kept.
///
/// It is an [`Outcome`], so that calls can be observed around futures of it and streams of it:
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use botticelli_obs::LlmCall;
/// use botticelli_obs::json::{Response, Value};
/// use botticelli_obs::testing::Capture;
/// use futures_util::{FutureExt, StreamExt, stream};
///
/// let events = [
///     r#"{"type": "message_start", "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1}}}"#,
///     r#"{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}"#,
/// ];
/// let events = stream::iter(events).map(|event| Response::read(&event.parse::<Value>().unwrap_or_default()));
///
/// let capture = Capture::new();
/// let read = async { LlmCall::start("anthropic", "claude-sonnet-4-5").wrap_stream(events).count().await };
/// capture.observe(read).now_or_never();
/// assert_eq!(capture.llm("anthropic", "claude-sonnet-4-5").prompt_tokens(), 125);
/// assert_eq!(capture.llm("anthropic", "claude-sonnet-4-5").completion_tokens(), 15);
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    tokens: Tokens,
    model: Option<Box<str>>,
    id: Option<Box<str>>,
    /// By choice.
    finish_reasons: Vec<(usize, Box<str>)>,
    failure: Option<ErrorType>,
}

impl Response {
    /// Reads a body, an event of a stream, or an array of these; of JSON that is something else it tells nothing.
    pub fn read(json: &Value) -> Self {
        let mut response = Self::default();
        response.add(json);
        response
    }

    /// Reads the next event of the same stream: what it tells replaces what earlier ones have told.
    pub fn add(&mut self, json: &Value) {
        match json {
            // Without server-sent events, Gemini streams one long array.
            Value::Array(events) => events.iter().for_each(|event| self.add_event(event)),
            event => self.add_event(event),
        }
    }

    fn add_event(&mut self, event: &Value) {
        let body = match event["type"].as_str() {
            Some("message_start") => &event["message"],
            Some(name) if name.starts_with("response.") => &event["response"],
            _ => event,
        };
        self.tokens = Tokens::read(body).over(self.tokens);
        self.model = text(body, "model").or(text(body, "modelVersion")).or(self.model.take());
        self.id = text(body, "id").or(text(body, "responseId")).or(self.id.take());
        for (choice, reason) in finish_reasons(body) {
            self.finish_reasons.retain(|(known, _)| *known != choice);
            self.finish_reasons.push((choice, reason.into()));
        }
        self.failure = failure::of(body).or(self.failure);
    }

    /// Returns the tokens used, if it says so.
    pub fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }

    /// Returns the model that answered.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the provider's id of the response.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns why generation stopped, in the provider's words, for each choice that did.
    pub fn finish_reasons(&self) -> impl Iterator<Item = &str> {
        self.finish_reasons.iter().map(|(_, reason)| &**reason)
    }

    /// Returns the class of failure, if it tells of one.
    pub fn failure(&self) -> Option<ErrorType> {
        self.failure
    }
}

impl Outcome for Response {
    fn record_in(&self, call: &mut LlmCall) {
        let earlier = call.usage().map(Tokens::from).unwrap_or_default();
        if self.tokens != Tokens::default()
            && let Some(usage) = self.tokens.over(earlier).usage()
        {
            call.record_usage(usage);
        }
        if let Some(model) = &self.model {
            call.record_response_model(model);
        }
        if let Some(id) = &self.id {
            call.record_response_id(id);
        }
        for (choice, reason) in &self.finish_reasons {
            call.record_choice(*choice, reason);
        }
        if let Some(failure) = self.failure {
            call.record_error(failure);
        }
    }
}

impl LlmCall {
    /// Records what a provider's JSON tells, a whole body or an event of a stream: see [`json`](crate::json).
    pub fn record_json(&mut self, json: &Value) {
        Response::read(json).record_in(self);
    }
}

fn text(json: &Value, name: &str) -> Option<Box<str>> {
    json[name].as_str().filter(|text| !text.is_empty()).map(Box::from)
}

/// Why each choice stopped, in the provider's words.
fn finish_reasons(body: &Value) -> Vec<(usize, &str)> {
    let of_choices = |choices: &'static str, reason: &'static str| {
        let choices = body[choices].as_array().into_iter().flatten().enumerate();
        choices.filter_map(move |(at, choice)| {
            let index = choice["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            Some((index.unwrap_or(at), choice[reason].as_str()?))
        })
    };
    let chat = of_choices("choices", "finish_reason").chain(of_choices("candidates", "finishReason"));
    // Anthropic whole, Anthropic streamed, Ollama.
    let only = [&body["stop_reason"], &body["delta"]["stop_reason"], &body["done_reason"]];
    let only = only.into_iter().find_map(Value::as_str).or_else(|| reason_of_responses(body));
    chat.chain(only.map(|reason| (0, reason))).collect()
}

/// OpenAI's responses have a status instead, which is the same for an answer and for the call of a tool.
fn reason_of_responses(body: &Value) -> Option<&str> {
    if body["object"] != "response" {
        return None;
    }
    match body["status"].as_str()? {
        "completed" => {
            let mut items = body["output"].as_array().into_iter().flatten().filter_map(|item| item["type"].as_str());
            Some(items.find(|name| matches!(*name, "function_call" | "custom_tool_call")).unwrap_or("completed"))
        }
        "incomplete" => body["incomplete_details"]["reason"].as_str().or(Some("incomplete")),
        _ => None,
    }
}
