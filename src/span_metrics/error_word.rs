//! The words of other libraries for failures.

use crate::error_type::ErrorType;

/// Returns the class for the `error.type` of another library's span: an HTTP status, one of this crate's classes, a provider's code, or
/// a word of genai. Any other is `unknown`.
pub(super) fn class(word: &str) -> ErrorType {
    if let Ok(status) = word.parse() {
        return ErrorType::from_http_status(status);
    }
    if let Ok(class) = word.parse() {
        return class;
    }
    let is = |known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is(&["rate_limit_error", "rate_limit_exceeded", "too_many_requests", "resource_exhausted"]) {
        ErrorType::RateLimit
    } else if is(&["insufficient_quota", "billing_error"]) {
        ErrorType::Quota
    } else if is(&[
        "requires_api_key",
        "no_auth_resolver",
        "no_auth_data",
        "authentication_error",
        "permission_error",
        "invalid_api_key",
    ]) {
        ErrorType::Auth
    } else if is(&["connect", "connection_error", "reqwest", "dns", "tls"]) {
        ErrorType::Network
    } else if is(&["timeout_error", "deadline_exceeded"]) {
        ErrorType::Timeout
    } else if is(&[
        "chat_req_has_no_messages",
        "last_chat_message_is_not_user",
        "message_role_not_supported",
        "message_content_type_not_supported",
        "json_mode_without_instruction",
        "verbosity_parsing",
        "reasoning_parsing",
        "service_tier_parsing",
        "prompt_cache_retention_parsing",
        "model_mapper_failed",
        "resolver",
        "adapter_not_supported",
        "adapter_kind_mismatch",
        "cache_breakpoint_no_eligible_content",
        "invalid_request_error",
    ]) {
        ErrorType::InvalidRequest
    } else if is(&["not_found_error", "model_not_found"]) {
        ErrorType::NotFound
    } else if is(&["api_error", "internal_server_error"]) {
        ErrorType::ServerError
    } else if is(&["overloaded_error"]) {
        ErrorType::Overloaded
    } else if is(&["context_length_exceeded"]) {
        ErrorType::ContextLength
    } else if is(&["content_policy_violation"]) {
        ErrorType::ContentFilter
    } else if is(&[
        "response_not_json",
        "response_invalid_json",
        "invalid_json_response_element",
        "chat_response_generation",
        "no_chat_response",
        "json_value_ext",
        "serde_json",
        "stream_parse",
    ]) {
        ErrorType::Decode
    } else if is(&["web_stream"]) {
        ErrorType::Stream
    } else if is(&["canceled"]) {
        ErrorType::Cancelled
    } else {
        ErrorType::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_classes_and_words_are_known() {
        for (word, class) in [
            ("429", ErrorType::RateLimit),
            ("402", ErrorType::Quota),
            ("500", ErrorType::ServerError),
            ("99999", ErrorType::Unknown),
            ("quota", ErrorType::Quota),
            ("Timeout", ErrorType::Timeout),
            ("connect", ErrorType::Network),
            ("requires_api_key", ErrorType::Auth),
            ("web_stream", ErrorType::Stream),
            ("internal", ErrorType::Unknown),
        ] {
            assert_eq!(super::class(word), class, "{word}");
        }
    }
}
