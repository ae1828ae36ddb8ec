//! Failures, by the words providers use for them.

use serde_json::Value;

use crate::error_type::ErrorType;

/// Codes, types and statuses of errors: of OpenAI, Azure, Groq, Anthropic, Google.
const WORDS: &[(ErrorType, &[&str])] = &[
    (
        ErrorType::RateLimit,
        &["rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "billing_error", "resource_exhausted"],
    ),
    (
        ErrorType::Auth,
        &[
            "invalid_api_key",
            "authentication_error",
            "permission_error",
            "api_key_invalid",
            "permission_denied",
            "unauthenticated",
        ],
    ),
    (ErrorType::NotFound, &["model_not_found", "not_found_error", "deploymentnotfound", "not_found"]),
    (ErrorType::Timeout, &["timeout_error", "deadline_exceeded"]),
    (ErrorType::Overloaded, &["overloaded_error", "capacity_exceeded", "unavailable", "slow_down"]),
    (ErrorType::ContextLength, &["context_length_exceeded"]),
    (
        ErrorType::ContentFilter,
        &["content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"],
    ),
    (ErrorType::ServerError, &["server_error", "api_error", "internal"]),
    (ErrorType::InvalidRequest, &["invalid_request_error", "invalid_argument", "failed_precondition"]),
];

/// What Anthropic, Gemini, Ollama and vLLM tell in the message alone, of an otherwise invalid request.
const PHRASES: &[(ErrorType, &[&str])] = &[
    (
        ErrorType::ContextLength,
        &[
            "prompt is too long",
            "context limit",
            "context length",
            "context window",
            "maximum number of tokens allowed",
        ],
    ),
    (ErrorType::ContentFilter, &["content filtering policy"]),
    (ErrorType::RateLimit, &["credit balance is too low", "usage limits"]),
];

impl ErrorType {
    /// Classifies a response by its HTTP status code, and by its body where that says more: that the prompt was too long, was
    /// refused by a content filter, or that the account has no credit left.
    ///
    /// ```
    /// use botticelli_obs::ErrorType;
    ///
    /// let body = br#"{"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}}"#;
    /// assert_eq!(ErrorType::from_http_response(400, body), ErrorType::ContextLength);
    /// assert_eq!(ErrorType::from_http_response(502, b"<html>Bad Gateway</html>"), ErrorType::ServerError);
    /// ```
    pub fn from_http_response(status: u16, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        // Google's streams put the error into an array.
        let body = json.as_array().and_then(|events| events.first()).unwrap_or(&json);
        classify(error(body), Self::from_http_status(status))
    }
}

/// The failure a body or event tells of.
pub(super) fn of(body: &Value) -> Option<ErrorType> {
    let error = error(body);
    if !error.is_null() {
        return Some(classify(error, ErrorType::Unknown));
    }
    // Gemini answers a prompt it refuses with a success that has no candidates.
    let is_refused = body["promptFeedback"]["blockReason"].is_string() && body["candidates"].is_null();
    match body["status"].as_str().filter(|_| body["object"] == "response") {
        Some("failed") => Some(ErrorType::Unknown),
        Some("cancelled") => Some(ErrorType::Cancelled),
        _ => is_refused.then_some(ErrorType::ContentFilter),
    }
}

/// The error of a body; OpenAI's responses stream it as an event.
fn error(body: &Value) -> &Value {
    match &body["error"] {
        error @ (Value::Object(_) | Value::String(_)) => error,
        _ if body["type"] == "error" => body,
        _ => &Value::Null,
    }
}

/// Classifies an error by its words, which may say more than the status, and by the status, which is more than a general word.
fn classify(error: &Value, by_status: ErrorType) -> ErrorType {
    let by_word = words(error).find_map(|word| find(WORDS, |known| word.eq_ignore_ascii_case(known)));
    let by_number =
        || error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).map(ErrorType::from_http_status);
    let class = match by_word {
        Some(class) if !matches!(class, ErrorType::InvalidRequest | ErrorType::ServerError) => class,
        general => [Some(by_status), by_number(), general]
            .into_iter()
            .flatten()
            .find(|class| *class != ErrorType::Unknown)
            .unwrap_or(ErrorType::Unknown),
    };
    if !matches!(class, ErrorType::InvalidRequest | ErrorType::Unknown) {
        return class;
    }
    let message = error.as_str().or(error["message"].as_str()).unwrap_or_default().to_ascii_lowercase();
    find(PHRASES, |phrase| message.contains(phrase)).unwrap_or(class)
}

/// The words of an error, the most precise first.
fn words(error: &Value) -> impl Iterator<Item = &str> {
    let details = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    let words = [&error["innererror"]["code"], &error["code"], &error["type"], &error["status"]];
    details.chain(words).filter_map(Value::as_str)
}

fn find(table: &[(ErrorType, &[&str])], mut is_it: impl FnMut(&str) -> bool) -> Option<ErrorType> {
    table.iter().find(|(_, words)| words.iter().any(|word| is_it(word))).map(|(class, _)| *class)
}
