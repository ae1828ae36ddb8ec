//! Classifies failures in providers' JSON.

use serde_json::Value;

use crate::error_type::ErrorType;

/// The error codes, types and statuses of OpenAI, Azure, Groq, Anthropic and Google, in lower case.
const CODES: &[(ErrorType, &[&str])] = &[
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

/// Parts of messages, in lower case, for causes to which Anthropic, Gemini, Ollama and vLLM give no code of their own: they
/// report an invalid request.
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
    /// Classifies a failed response by its HTTP status code and its body.
    ///
    /// The body is more precise than the status for a prompt that is too long, for content that was filtered, and for an account
    /// without credit. A body that is no JSON, or of an unknown shape, is ignored: then the result is that of
    /// [`from_http_status`](Self::from_http_status).
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

/// Returns the failure that a body or an event reports.
pub(super) fn of(body: &Value) -> Option<ErrorType> {
    let error = error(body);
    if !error.is_null() {
        return Some(classify(error, ErrorType::Unknown));
    }
    // Gemini answers a blocked prompt with status 200 and no candidates.
    let is_blocked = body["promptFeedback"]["blockReason"].is_string() && body["candidates"].is_null();
    match body["status"].as_str().filter(|_| body["object"] == "response") {
        Some("failed") => Some(ErrorType::Unknown),
        Some("cancelled") => Some(ErrorType::Cancelled),
        _ => is_blocked.then_some(ErrorType::ContentFilter),
    }
}

/// Returns the error object of a body, or null. A stream of OpenAI's responses API reports it as an event of type `error`.
fn error(body: &Value) -> &Value {
    match &body["error"] {
        error @ (Value::Object(_) | Value::String(_)) => error,
        _ if body["type"] == "error" => body,
        _ => &Value::Null,
    }
}

/// Classifies an error. The first of these that is known wins:
///
/// 1. a specific code of the body, such as `context_length_exceeded`;
/// 2. the HTTP status, `by_status`, which is `Unknown` where none is known;
/// 3. a numeric `code` of the body, which is a status;
/// 4. a general code of the body: `server_error` or `invalid_request_error`.
///
/// If that gives an invalid request or nothing, the message may name a more precise cause.
fn classify(error: &Value, by_status: ErrorType) -> ErrorType {
    let by_code = codes(error).find_map(|code| find(CODES, |known| code.eq_ignore_ascii_case(known)));
    let by_number =
        || error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).map(ErrorType::from_http_status);
    let class = match by_code {
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

/// Returns the codes of an error, the most precise first.
fn codes(error: &Value) -> impl Iterator<Item = &str> {
    let details = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    let codes = [&error["innererror"]["code"], &error["code"], &error["type"], &error["status"]];
    details.chain(codes).filter_map(Value::as_str)
}

fn find(table: &[(ErrorType, &[&str])], mut matches: impl FnMut(&str) -> bool) -> Option<ErrorType> {
    table.iter().find(|(_, texts)| texts.iter().any(|text| matches(text))).map(|(class, _)| *class)
}
