//! Reads tokens, model, finish reasons and failures from providers' JSON. Feature `json`.
//!
//! [`Response`] reads a whole body, or one event of a stream, of these APIs:
//!
//! - OpenAI's chat completions and embeddings, and the many APIs that are compatible with them;
//! - OpenAI's responses;
//! - Anthropic's messages;
//! - Gemini's `generateContent` and interactions;
//! - Ollama's own API;
//! - Cohere's chat, Converse of Amazon Bedrock, llama.cpp, text-generation-inference, watsonx, and Workers AI of Cloudflare.
//!
//! [`StreamReader`] reads these out of the bytes of a stream.
//!
//! It recognises the API by the field names in the JSON; [`Api`] names it where they are ambiguous. Tokens are converted to the arithmetic of [`Usage`]: the prompt includes
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

mod api;
mod billing;
mod codes;
pub(crate) mod failure;
mod finish;
mod names;
mod path;
mod scan;
mod stream;
mod tokens;

pub use api::Api;
pub use serde_json::Value;
pub use stream::{Responses, StreamEnd, StreamReader};

use crate::call::LlmCall;
use crate::cost::usd;
use crate::error_type::ErrorType;
use crate::finish::FinishReasons;
use crate::outcome::Outcome;
use crate::usage::Usage;
use billing::Billing;
use finish::Callers;
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
    callers: Callers,
    billing: Billing,
    failure: Option<ErrorType>,
    /// The provider's code of the failure.
    code: Option<Box<str>>,
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

    /// Reads a body, an event of a stream, or an array of these, of a known API.
    ///
    /// [`read`](Self::read) guesses the API by the names of the fields. It can't know whether `input_tokens` without further counts
    /// includes cached tokens, for example.
    ///
    /// ```
    /// use botticelli_obs::json::{Api, Response, Value};
    ///
    /// let body: Value = r#"{"usage": {"input_tokens": 20, "input_tokens_details": {"cached_tokens": 8}}}"#.parse()?;
    /// assert_eq!(Response::read_as(Api::OpenAiResponses, &body).usage().map(|usage| usage.cache_read()), Some(8));
    /// assert_eq!(Response::read_as(Api::Ollama, &body).usage(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_as(api: Api, json: &Value) -> Self {
        let mut response = Self::default();
        response.add_as(Some(api), json);
        response
    }

    /// Reads the next event of the same stream. Its values replace those of earlier events; they do not add up. A count that is 0
    /// replaces none.
    pub fn add(&mut self, json: &Value) {
        self.add_as(None, json);
    }

    fn add_as(&mut self, api: Option<Api>, json: &Value) {
        match json {
            // Without server-sent events, Gemini streams one array of events.
            Value::Array(events) => events.iter().for_each(|event| self.add_event(api, event)),
            event => self.add_event(api, event),
        }
    }

    fn add_event(&mut self, api: Option<Api>, event: &Value) {
        let (body, has_status) = body(event);
        self.tokens = Tokens::read(body, api).over(self.tokens);
        self.model = text(body, "model").or(text(body, "modelVersion")).or(self.model.take());
        self.id = text(body, "id").or(text(body, "responseId")).or(self.id.take());
        self.billing.update(Billing::read(body));
        let reasons = &mut self.finish_reasons;
        finish::read(body, has_status, &mut self.callers, |choice, reason| reasons.set(choice, reason));
        if let Some(failure) = failure::of(body, has_status) {
            (self.failure, self.code) = (Some(failure), failure::code(body).map(Box::from));
        }
    }

    /// Adds what a later event of the same stream has reported.
    fn merge(&mut self, later: &Self) {
        self.tokens = later.tokens.over(self.tokens);
        for (place, text) in [(&mut self.model, &later.model), (&mut self.id, &later.id)] {
            if text.is_some() && place != text {
                place.clone_from(text);
            }
        }
        later.finish_reasons.iter().for_each(|(choice, reason)| self.finish_reasons.set(choice, reason));
        self.callers = later.callers;
        self.billing.update(later.billing.clone());
        if later.failure.is_some() {
            (self.failure, self.code) = (later.failure, later.code.clone());
        }
    }

    /// Sets the tokens used, for an API that is not read.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.tokens = usage.into();
        self
    }

    /// Sets the class of the failure, for one that the JSON does not report.
    #[must_use]
    pub fn with_failure(mut self, failure: ErrorType) -> Self {
        self.failure = Some(failure);
        self
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

    /// Returns what the call has cost in US dollars, if the provider says it, as OpenRouter, Perplexity and xAI do.
    pub fn cost(&self) -> Option<f64> {
        self.billing.cost.map(usd)
    }

    /// Returns the tier by which the call was served, in the provider's words, such as `default` or `flex`.
    pub fn service_tier(&self) -> Option<&str> {
        self.billing.service_tier.as_deref()
    }

    /// Returns the class of the failure, if the JSON reports one.
    pub fn failure(&self) -> Option<ErrorType> {
        self.failure
    }

    /// Returns the provider's code of the failure, such as `insufficient_quota`.
    pub fn error_code(&self) -> Option<&str> {
        self.code.as_deref()
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
        if let Some(cost) = self.cost() {
            call.record_cost(cost);
        }
        // What is told of nearly every call needs no memory.
        if let Some(tier) = self.service_tier().filter(|tier| !matches!(*tier, "default" | "standard")) {
            call.record_service_tier(tier);
        }
        if let Some(failure) = self.failure {
            call.record_error(failure);
        }
        if let Some(code) = &self.code {
            call.record_error_code(code);
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

/// Returns the part of an event that looks like a body, and whether its `status` says how the call ended.
fn body(event: &Value) -> (&Value, bool) {
    let name = event["type"].as_str().or(event["event_type"].as_str()).unwrap_or_default();
    let (inner, has_status) = match name {
        "message_start" => (&event["message"], false),
        // Cohere, in its two versions.
        "message-end" => (&event["delta"], false),
        "stream-end" => (&event["response"], false),
        name if name.starts_with("response.") => (&event["response"], true),
        name if name.starts_with("interaction.") => (&event["interaction"], true),
        _ => (&Value::Null, false),
    };
    if inner.is_object() {
        return (inner, has_status);
    }
    (event, matches!(event["object"].as_str(), Some("response" | "realtime.response" | "interaction")))
}
