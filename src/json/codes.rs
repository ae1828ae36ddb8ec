//! What providers call their failures.

use crate::error_type::ErrorType::{
    self, Auth, Cancelled, ContentFilter, ContextLength, InvalidRequest, NotFound, Overloaded, Quota, RateLimit,
    ServerError, Timeout,
};

/// Words for each class.
pub(super) type Table = &'static [(ErrorType, &'static [&'static str])];

/// Codes, types and statuses that say more than an HTTP status. Case, `_`, `-`, `.` and spaces do not count.
pub(super) const CODES: Table = &[
    (
        RateLimit,
        &[
            "rate_limit_exceeded",
            "rate_limit_error",
            "rate_limited",
            "rate_limit",
            "rate_limit_reached",
            "rate_limit_reached_error",
            "resource_exhausted",
            "too_many_requests",
            "too_many_requests_error",
            "request_limit_exceeded",
            "limit_requests",
            "token_quota_reached",
            "service_tier_capacity_exceeded",
            // Gemini's interactions: a limit that resets. LiteLLM: a budget that resets.
            "quota_exceeded",
            "budget_exceeded",
            // Bedrock, and Qwen's own API.
            "throttling_exception",
            "throttling",
            "throttling_rate_quota",
            "throttling_burst_rate",
            "throttling_allocation_quota",
            "service_quota_exceeded_exception",
            // Zhipu: concurrency, frequency, calls a day, plan in a window of hours.
            "1302",
            "1303",
            "1304",
            "1308",
        ],
    ),
    (
        Quota,
        &[
            "insufficient_quota",
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "payment_required",
            "insufficient_credits",
            "insufficient_balance",
            "credits_exhausted",
            "arrearage",
            "account_overdue_error",
            "1113",
        ],
    ),
    (
        Auth,
        &[
            "invalid_api_key",
            "incorrect_api_key_error",
            "wrong_api_key",
            "api_key_invalid",
            "authentication",
            "authentication_error",
            "invalid_authentication_error",
            "permission_error",
            "permission_denied",
            "unauthenticated",
            "unauthorized",
            "access_denied_exception",
            "expired_token_exception",
            "unrecognized_client_exception",
        ],
    ),
    (
        NotFound,
        &[
            "model_not_found",
            "unknown_model",
            "model_not_supported",
            "not_found",
            "not_found_error",
            "deployment_not_found",
            "resource_not_found_error",
            "resource_not_found_exception",
            "resource_does_not_exist",
            "1211",
        ],
    ),
    (Timeout, &["timeout", "timeout_error", "deadline_exceeded", "vector_store_timeout", "model_timeout_exception"]),
    (
        Overloaded,
        &[
            "overloaded",
            "overloaded_error",
            "engine_overloaded_error",
            "server_overloaded",
            "system_overloaded",
            "over_capacity",
            "capacity_exceeded",
            "queue_exceeded",
            "unavailable",
            "service_unavailable",
            "service_unavailable_error",
            "service_unavailable_exception",
            "model_not_ready_exception",
            "slow_down",
            "1305",
        ],
    ),
    (
        ContextLength,
        &[
            "context_length_exceeded",
            "context_window_exceeded_error",
            "exceed_context_size_error",
            "tokens_limit_reached",
            "model_max_prompt_tokens_exceeded",
            "1261",
        ],
    ),
    (
        ContentFilter,
        &[
            "content_filter",
            "content_policy_violation",
            "image_content_policy_violation",
            "responsible_ai_policy_violation",
            "moderation_blocked",
            "invalid_prompt",
            "bio_policy",
            "cyber_policy",
            "data_inspection_failed",
            "input_text_sensitive_content_detected",
            "output_text_sensitive_content_detected",
            "hooks_failed",
            "1301",
        ],
    ),
    (Cancelled, &["cancelled"]),
];

/// Codes that say less than an HTTP status.
pub(super) const GENERAL_CODES: Table = &[
    (
        ServerError,
        &[
            "server_error",
            "api_error",
            "internal",
            "internal_error",
            "internal_server_error",
            "internal_server_exception",
            "model_error",
        ],
    ),
    (
        InvalidRequest,
        &[
            "invalid_request",
            "invalid_request_error",
            "invalid_argument",
            "failed_precondition",
            "bad_request",
            "bad_request_error",
            "request_too_large",
            "invalid_image_url",
            "validation_exception",
            "tool_use_failed",
        ],
    ),
    // Moonshot says so of a plan and of a limit that resets; then the message decides.
    (RateLimit, &["exceeded_current_quota_error"]),
];

/// Parts of messages, in lower case, that are more precise than any code beside them.
pub(super) const PLAIN_PHRASES: Table = &[
    (
        Quota,
        &[
            "credit balance is too low",
            "credits are depleted",
            "credits have been depleted",
            "insufficient balance",
            "insufficient credits",
            "insufficient funds",
            "balance is insufficient",
            "balance is not enough",
            "billing hard limit",
            "monthly included credits",
            "any credits or licenses",
            "used all available credits",
            "run out of credits",
            "out of credits",
            "monthly spending limit",
            "specified api usage limits",
        ],
    ),
    // Qwen's name for a limit on tokens a minute, beside the code `insufficient_quota`.
    (RateLimit, &["allocated quota exceeded", "out of call volume quota"]),
];

/// Parts of messages, in lower case, for causes without a code.
pub(super) const PHRASES: Table = &[
    (
        ContextLength,
        &[
            "prompt is too long",
            "prompt too long",
            "input is too long",
            "exceed context limit",
            "exceeds the context limit",
            "exceeds the context length",
            "maximum context length",
            "max context length",
            "context length exceeded",
            "context length of only",
            "context window exceeds",
            "exceeds the context window",
            "exceed the context window",
            "exceeds the model's context window",
            "exceeds the available context size",
            "contextwindowexceedederror",
            "maximum number of tokens allowed",
            "maximum prompt length is",
            "longer than the maximum model length",
            "reduce the length of the messages",
            "exceed the configured limit of",
            "prompt token count of",
            "prompt exceeds max length",
            "exceeded model token limit",
            "input token length too long",
            "range of input length should be",
            "`inputs` tokens + `max_new_tokens` must be",
            "too many tokens: total number",
            "cannot exceed the total tokens limit",
            "expected maxlength",
        ],
    ),
    (
        ContentFilter,
        &[
            "content filtering policy",
            "content management policy",
            "rejected as a result of our safety system",
            "violates usage guidelines",
            "your input was flagged",
            "content exists risk",
            "blocked input",
            "prompt blocked",
        ],
    ),
    (Quota, &["check your plan and billing details"]),
    (Auth, &["api key not valid", "api key expired", "incorrect api key", "invalid api key"]),
    (NotFound, &["provided model identifier is invalid", "model does not exist", "no such model", "unknown model"]),
    (RateLimit, &["too many tokens per day"]),
    (Overloaded, &["model is not ready", "capacity temporarily exceeded"]),
    (ServerError, &["encountered an unexpected error during processing"]),
    (Cancelled, &["request cancelled"]),
    // The whole body of Cloudflare's proxy: the provider did not answer, or did not take the connection.
    (Timeout, &["error code: 524", "error code: 522"]),
];

/// The numbers of `base_resp.status_code`, which MiniMax sends with status 200.
pub(super) const MINIMAX: &[(ErrorType, &[u64])] = &[
    (Timeout, &[1001]),
    (RateLimit, &[1002, 1039, 1041, 2056]),
    (Auth, &[1004, 2049]),
    (Quota, &[1008]),
    (ContentFilter, &[1026, 1027]),
    (InvalidRequest, &[2013]),
    (ServerError, &[1000, 1013, 1024, 1033]),
];

/// The numbers in `errors` of Cloudflare's Workers AI and of its gateway.
pub(super) const CLOUDFLARE: &[(ErrorType, &[u64])] = &[
    (Auth, &[10000]),
    (NotFound, &[5007, 7003]),
    (RateLimit, &[3036]),
    (Overloaded, &[3040]),
    (ContentFilter, &[2016, 2017]),
];

/// Whether a provider's code is a code of the tables.
pub(super) fn is(code: &str, known: &str) -> bool {
    // AWS puts a namespace before the name.
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' '));
    code.map(|byte| byte.to_ascii_lowercase()).eq(known.bytes().filter(|byte| *byte != b'_'))
}

/// Returns the class of the first text that matches.
pub(super) fn find<T: Copy>(table: &[(ErrorType, &[T])], matches: impl Fn(T) -> bool) -> Option<ErrorType> {
    table.iter().find(|(_, texts)| texts.iter().any(|text| matches(*text))).map(|(class, _)| *class)
}
