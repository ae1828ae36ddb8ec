//! Finds and classifies the failures that providers' JSON reports.

use serde_json::Value;

use super::codes::{CLOUDFLARE, CODES, GENERAL_CODES, MINIMAX, PHRASES, PLAIN_PHRASES, find, is};
use super::path::{at, number};
use crate::error_type::ErrorType;

/// Where bodies and events have an error: an object, a text, or an array of these.
const PLACES: &[&str] = &["error", "x_groq.error", "status_details.error"];

/// Where the body of a refused request has its error, if there is none in [`PLACES`].
const PLACES_OF_REFUSALS: &[&str] = &["detail", "errors"];

/// Where an error has its code, the most precise first. A reason stands in Google's `details`.
const CODES_AT: &[&str] =
    &["innererror.code", "code", "type", "status", "error_type", "error_code", "__type", "errorType"];

/// Where an error has an HTTP status.
const STATUSES_AT: &[&str] =
    &["code", "status", "statusCode", "status_code", "http_status_code", "raw_status_code", "http_code"];

/// Where an error has its message.
const MESSAGES_AT: &[&str] = &["", "message", "detail", "msg", "status_msg"];

/// Bodies that are longer have no message to find.
const MAX_TEXT: usize = 4096;

impl ErrorType {
    /// Classifies a failed response by its HTTP status code and its body.
    ///
    /// The body is more precise than the status for a prompt that is too long, for content that was filtered, for exhausted
    /// credit, and for a provider that is over capacity. It may be JSON, an event of a stream, or plain text. If it says nothing
    /// that is known, and for HTML, the result is that of [`from_http_status`](Self::from_http_status).
    ///
    /// ```
    /// use botticelli_obs::ErrorType;
    ///
    /// let body = br#"{"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}}"#;
    /// assert_eq!(ErrorType::from_http_response(400, body), ErrorType::ContextLength);
    /// assert_eq!(ErrorType::from_http_response(502, b"<html>Bad Gateway</html>"), ErrorType::ServerError);
    /// ```
    pub fn from_http_response(status: u16, body: &[u8]) -> Self {
        of_answer(status, body).0
    }
}

/// Returns the class of a failed response, as [`ErrorType::from_http_response`] does, and the provider's code.
pub(crate) fn of_answer(status: u16, body: &[u8]) -> (ErrorType, Option<Box<str>>) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let json = serde_json::from_slice(body).unwrap_or_else(|_| of_text(&String::from_utf8_lossy(body)));
    // Google's streams put the error into an array.
    let body = json.as_array().and_then(|events| events.first()).unwrap_or(&json);
    let error = find_refusal(body);
    (classify(error, body, ErrorType::from_http_status(status)), code(body).map(Box::from))
}

fn find_refusal(body: &Value) -> &Value {
    find_error(body).or_else(|| at_any(body, PLACES_OF_REFUSALS)).unwrap_or(body)
}

/// Returns the most precise code of a failure that is a word, such as `insufficient_quota`.
pub(super) fn code(body: &Value) -> Option<&str> {
    let error = find_refusal(body);
    let is_code = |text: &&str| !text.is_empty() && *text != "error";
    let mut codes = CODES_AT.iter().map(|place| at(error, place)).chain(CODES_AT.iter().map(|place| at(body, place)));
    codes.find_map(|code| code.as_str().filter(is_code))
}

/// Returns the JSON of the first event, or the text itself unless it is HTML or long.
fn of_text(text: &str) -> Value {
    let event = text.lines().find_map(|line| line.strip_prefix("data:")?.parse().ok());
    let plain = || (text.len() <= MAX_TEXT && !text.trim_start().starts_with('<')).then(|| text.into());
    event.or_else(plain).unwrap_or_default()
}

/// Returns the failure that a body or an event reports. Of some the status is one.
pub(super) fn of(body: &Value, has_status: bool) -> Option<ErrorType> {
    if let Some(error) = find_error(body) {
        return Some(classify(error, body, ErrorType::Unknown));
    }
    // Gemini answers a blocked prompt with status 200 and no candidates.
    let has_candidates =
        body["candidates"].as_array().is_some_and(|candidates| candidates.iter().any(Value::is_object));
    if body["promptFeedback"]["blockReason"].is_string() && !has_candidates {
        return Some(ErrorType::ContentFilter);
    }
    match body["status"].as_str().filter(|_| has_status) {
        Some("failed") => Some(ErrorType::Unknown),
        Some("cancelled") => Some(ErrorType::Cancelled),
        _ => None,
    }
}

/// Classifies the data of an event that is named `error`, wherever in it the error is.
pub(super) fn of_error_event(body: &Value) -> ErrorType {
    of(body, false).unwrap_or_else(|| classify(body, body, ErrorType::Unknown))
}

/// Returns the error of a body, wherever the provider puts it.
fn find_error(body: &Value) -> Option<&Value> {
    let is_error = |name: &str| body[name] == "error";
    let of_choice = || {
        let choices = body["choices"].as_array().into_iter().flatten();
        choices.map(|choice| &choice["error"]).find_map(filled)
    };
    let of_minimax =
        || Some(&body["base_resp"]).filter(|resp| number(&resp["status_code"]).is_some_and(|code| code > 0));
    let of_cloudflare = || filled(&body["errors"]).filter(|_| body["success"] == false);
    at_any(body, PLACES)
        .or_else(|| ["type", "object", "event_type"].into_iter().any(is_error).then_some(body))
        .or_else(of_choice)
        .or_else(of_minimax)
        .or_else(of_cloudflare)
}

fn at_any<'a>(body: &'a Value, places: &[&str]) -> Option<&'a Value> {
    places.iter().find_map(|place| filled(at(body, place)))
}

/// Returns an error that is not empty; of an array the first.
fn filled(error: &Value) -> Option<&Value> {
    match error {
        Value::Array(errors) => errors.first().and_then(filled),
        Value::Object(fields) => (!fields.is_empty()).then_some(error),
        Value::String(text) => (!text.is_empty()).then_some(error),
        _ => None,
    }
}

/// Classifies an error inside a body. The first of these that is known wins:
///
/// 1. an unambiguous phrase in the message, such as one about the balance of the account;
/// 2. a specific code of the body, such as `context_length_exceeded`;
/// 3. a phrase, unless the class that follows is as precise;
/// 4. the HTTP status, `by_status`, which is `Unknown` where none is known;
/// 5. a status in the body;
/// 6. a general code of the body, such as `server_error`.
fn classify(error: &Value, body: &Value, by_status: ErrorType) -> ErrorType {
    let message = MESSAGES_AT.iter().find_map(|place| at(error, place).as_str()).unwrap_or_default();
    // Gateways pass on the JSON that they got: as an object, or as text in the message.
    if let Some(inner) = find_error(error).filter(|inner| !std::ptr::eq(*inner, error) && inner.is_object()) {
        return classify(inner, error, by_status);
    }
    if let Some(inner) = inner_json(message) {
        return classify(find_error(&inner).unwrap_or(&inner), &inner, by_status);
    }
    let message = message.to_ascii_lowercase();
    let by_phrase = |table| find(table, |phrase| message.contains(phrase));
    let precise = by_phrase(PLAIN_PHRASES).or_else(|| by_number(error, body)).or_else(|| by_code(CODES, error, body));
    if let Some(class) = precise {
        return class;
    }
    let by_http = || status(error).or_else(|| status(body)).map(ErrorType::from_http_status);
    let class = Some(by_status).filter(|class| *class != ErrorType::Unknown).or_else(by_http);
    let class = class.or_else(|| by_code(GENERAL_CODES, error, body)).unwrap_or(ErrorType::Unknown);
    match (class, by_phrase(PHRASES)) {
        // Too many tokens for a minute are not too many for the model.
        (ErrorType::RateLimit, Some(ErrorType::ContextLength)) | (ErrorType::Quota | ErrorType::NotFound, _) => class,
        (class, by_phrase) => by_phrase.unwrap_or(class),
    }
}

fn inner_json(message: &str) -> Option<Value> {
    let is_json = message.len() <= MAX_TEXT && message.trim_start().starts_with('{');
    // Only an object inside a text, never a text inside a text: so this ends.
    is_json.then(|| message.trim().parse().ok()).flatten().filter(|inner: &Value| inner["error"].is_object())
}

/// Returns the class of a number that only one provider's body can have.
fn by_number(error: &Value, body: &Value) -> Option<ErrorType> {
    let is_code = |name: &str, table| number(&error[name]).and_then(|code| find(table, |known| known == code));
    if body["base_resp"].is_object() {
        return is_code("status_code", MINIMAX);
    }
    (body["success"] == false).then(|| is_code("code", CLOUDFLARE)).flatten()
}

/// Returns the class of the first code that a table has.
fn by_code(table: &[(ErrorType, &[&str])], error: &Value, body: &Value) -> Option<ErrorType> {
    let details = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    let of_error = CODES_AT.iter().map(|place| at(error, place));
    // xAI and Databricks have the code beside the error, and Groq has nothing but a code.
    let of_body = CODES_AT.iter().map(|place| at(body, place)).chain([error]);
    let mut codes = details.chain(of_error).chain(of_body).filter_map(Value::as_str);
    codes.find_map(|code| find(table, |known| is(code, known)))
}

/// Returns the HTTP status that an error states, as a number or as text.
fn status(error: &Value) -> Option<u16> {
    let statuses = STATUSES_AT.iter().filter_map(|place| number(at(error, place)));
    statuses.filter_map(|status| u16::try_from(status).ok()).find(|status| (400..600).contains(status))
}
