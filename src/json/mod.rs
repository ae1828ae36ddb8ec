//! Reads tokens, model, finish reasons and failures from providers' JSON. Feature `json`.
//!
//! [`Response`] reads a whole body, or one event of a stream, of these APIs:
//!
//! - OpenAI's chat completions and embeddings, and the many APIs that are compatible with them;
//! - OpenAI's responses;
//! - Anthropic's messages;
//! - Gemini's `generateContent`;
//! - Ollama's own API.
//!
//! It recognises the API by the field names in the JSON. Tokens are converted to the arithmetic of [`Usage`]: the prompt includes
//! cached tokens, the completion includes reasoning. In a stream, a field that an event leaves out keeps the value of an earlier
//! event.
//!
//! ```
//! use botticelli_obs::{LlmCall, json};
//!
//! async fn ask(
//!     send: impl Future<Output = std::io::Result<json::Value>>,
//! ) -> std::io::Result<json::Value> {
//!     let call = LlmCall::start("anthropic", "claude-sonnet-4-5");
//!     let body = call.observe_with(send, |call, result| match result {
//!         Ok(body) => call.record_json(body),
//!         Err(error) => call.record_error(error),
//!     });
//!     Ok(body.await?["content"][0]["text"].take())
//! }
//! ```
//!
//! For a response whose HTTP status is an error, use [`ErrorType::from_http_response`], which reads status and body.

mod failure;
mod tokens;

pub use serde_json::Value;

use crate::call::LlmCall;
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::outcome::Outcome;
use crate::usage::Usage;
use tokens::Tokens;

/// The facts about a call in a provider's JSON. Nothing else of the JSON is kept, in particular no text.
///
/// It implements [`Outcome`], so [`LlmCall`] can observe a future or a stream of it:
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
    finish_reasons: FinishReasons,
    failure: Option<ErrorType>,
}

impl Response {
    /// Reads a body, an event of a stream, or an array of these. From any other JSON it reads nothing; it never fails.
    ///
    /// ```
    /// use botticelli_obs::Usage;
    /// use botticelli_obs::json::{Response, Value};
    ///
    /// let body: Value = r#"{"model": "llama3.2", "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 4}"#.parse()?;
    /// let response = Response::read(&body);
    /// assert_eq!(response.usage(), Some(Usage::new(26, 4)));
    /// assert_eq!(response.model(), Some("llama3.2"));
    /// assert!(response.finish_reasons().eq(["stop"]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(json: &Value) -> Self {
        let mut response = Self::default();
        response.add(json);
        response
    }

    /// Reads the next event of the same stream. Its values replace those of earlier events; they do not add up.
    pub fn add(&mut self, json: &Value) {
        match json {
            // Without server-sent events, Gemini streams one array of events.
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
        finish_reasons(body).for_each(|(choice, reason)| self.finish_reasons.set(choice, reason));
        self.failure = failure::of(body).or(self.failure);
    }

    /// Returns the tokens used, if the JSON has any token count. A count that is missing beside another one is 0.
    pub fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }

    /// Returns the model that answered, as the provider names it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the provider's id of the response.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the finish reason of each choice that has finished, in the provider's words.
    pub fn finish_reasons(&self) -> impl Iterator<Item = &str> {
        self.finish_reasons.iter().map(|(_, reason)| reason)
    }

    /// Returns the class of the failure, if the JSON reports one.
    pub fn failure(&self) -> Option<ErrorType> {
        self.failure
    }
}

impl Outcome for Response {
    fn record_in(&self, call: &mut LlmCall) {
        // An event may have only one of the two counts: the other one stays as recorded.
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
        self.finish_reasons.iter().for_each(|(choice, reason)| call.record_choice(choice, reason));
        if let Some(failure) = self.failure {
            call.record_error(failure);
        }
    }
}

impl LlmCall {
    /// Records tokens, models, finish reasons and failures from a provider's JSON: a whole body, or an event of a stream. See
    /// [`json`](crate::json) for the APIs it reads.
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use botticelli_obs::{LlmCall, json, testing::Capture};
    ///
    /// let capture = Capture::new();
    /// capture.run(|| {
    ///     let mut call = LlmCall::start("ollama", "llama3.2");
    ///     let body: json::Value = r#"{"done_reason": "stop", "prompt_eval_count": 26, "eval_count": 4}"#.parse().unwrap_or_default();
    ///     call.record_json(&body);
    ///     call.finish();
    /// });
    /// assert_eq!(capture.llm("ollama", "llama3.2").tokens(), 30);
    /// # }
    /// ```
    pub fn record_json(&mut self, json: &Value) {
        Response::read(json).record_in(self);
    }
}

fn text(json: &Value, name: &str) -> Option<Box<str>> {
    json[name].as_str().filter(|text| !text.is_empty()).map(Box::from)
}

/// Returns the finish reasons with the index of their choice.
fn finish_reasons(body: &Value) -> impl Iterator<Item = (usize, &str)> {
    let of_choices = move |choices: &'static str, reason: &'static str| {
        let choices = body[choices].as_array().into_iter().flatten().enumerate();
        choices.filter_map(move |(at, choice)| {
            let index = choice["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            Some((index.unwrap_or(at), choice[reason].as_str()?))
        })
    };
    let chat = of_choices("choices", "finish_reason").chain(of_choices("candidates", "finishReason"));
    // Anthropic's body, Anthropic's stream, Ollama: they have a single choice.
    let single = [&body["stop_reason"], &body["delta"]["stop_reason"], &body["done_reason"]];
    let single = single.into_iter().find_map(Value::as_str).or_else(|| reason_of_responses(body));
    chat.chain(single.map(|reason| (0, reason)))
}

/// Returns the finish reason of OpenAI's responses API, which has a status instead. The status of a tool call is `completed` like
/// that of an answer, so the output decides.
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
