//! The fields that are read, by name. The scanner keeps these and passes over all others.

/// What is kept of the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A text, a number or a literal.
    Scalars,
    /// An object or an array, but no text or number: so no content is kept.
    Containers,
    /// Either.
    All,
}

const SCALARS: &[&str] = &[
    // Of an answer or an event.
    "type",
    "object",
    "event_type",
    "model",
    "modelVersion",
    "id",
    "responseId",
    "index",
    "status",
    "done",
    "is_finished",
    "success",
    "blockReason",
    "turnComplete",
    "code",
    "status_code",
    "statusCode",
    "http_status_code",
    "raw_status_code",
    "http_code",
    "error_type",
    "error_code",
    "errorType",
    "__type",
    "status_msg",
    "msg",
    "reason",
    // Finish reasons.
    "finish_reason",
    "finishReason",
    "stop_reason",
    "done_reason",
    "stopReason",
    "completionReason",
    "stop_type",
    // Costs.
    "total_cost",
    "cost_in_usd_ticks",
    "is_byok",
    "upstream_inference_cost",
    "service_tier",
    // Counts.
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "prompt_cache_hit_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_tokens",
    "input_tokens",
    "output_tokens",
    "thinking_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "responseTokenCount",
    "thoughtsTokenCount",
    "total_input_tokens",
    "total_tool_use_tokens",
    "total_cached_tokens",
    "total_output_tokens",
    "total_thought_tokens",
    "prompt_eval_count",
    "eval_count",
    "tokens_evaluated",
    "tokens_predicted",
    "input_length",
    "generated_tokens",
    "input_token_count",
    "generated_token_count",
    "prompt_token_count",
    "generation_token_count",
    "inputTextTokenCount",
    "tokenCount",
    "output_token_count",
    "token_count",
];

const CONTAINERS: &[&str] = &[
    "usage",
    "x_groq",
    "choices",
    "result",
    "results",
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "input_token_details",
    "output_tokens_details",
    "output_token_details",
    "cache_creation",
    "cost_details",
    "iterations",
    "metadata",
    "usageMetadata",
    "tokens",
    "billed_units",
    "meta",
    "metrics",
    "predictions",
    "embeddings",
    "statistics",
    "output",
    "candidates",
    "content",
    "parts",
    "functionCall",
    "tool_calls",
    "delta",
    "messageStop",
    "response",
    "interaction",
    "innererror",
    "incomplete_details",
    "promptFeedback",
    "base_resp",
    "status_details",
    "serverContent",
];

/// Objects in some answers and texts in others.
const ALL: &[&str] = &["cost", "error", "errors", "message", "detail", "details"];

/// Returns what is kept of the field with this name.
pub(super) fn keep(name: &str) -> Option<Keep> {
    let tables = [(SCALARS, Keep::Scalars), (CONTAINERS, Keep::Containers), (ALL, Keep::All)];
    tables.into_iter().find(|(names, _)| names.contains(&name)).map(|(_, keep)| keep)
}

/// The shares of the memory of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Share {
    /// The fields of the root, and counts.
    #[default]
    Root,
    /// Choices and errors.
    Choices,
    /// Content, of which there may be any amount.
    Content,
}

impl Share {
    /// Returns the share of what is inside the field with this name.
    pub(super) fn inside(self, name: &str) -> Self {
        match name {
            _ if self == Self::Content => self,
            "usage" | "usageMetadata" => Self::Root,
            "content" | "message" | "output" | "parts" | "embeddings" | "tool_calls" | "metadata" => Self::Content,
            _ if self == Self::Root => Self::Choices,
            _ => self,
        }
    }
}

/// Whether a field is something that a model has generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    No,
    /// If it is a text that is not empty.
    Text,
    /// If it is an object, or an array of them: a call of a tool, or a token.
    Object,
}

impl Content {
    /// Returns that of the field with this name.
    pub(super) fn of(name: &str) -> Self {
        const TEXTS: &[&str] = &[
            "content",
            "text",
            "delta",
            "reasoning",
            "reasoning_content",
            "thinking",
            "arguments",
            "partial_json",
            "refusal",
            "response",
            "generated_text",
            "tool_plan",
            "transcript",
        ];
        const OBJECTS: &[&str] = &["tool_calls", "functionCall", "input", "token"];
        match name {
            name if TEXTS.contains(&name) => Self::Text,
            name if OBJECTS.contains(&name) => Self::Object,
            _ => Self::No,
        }
    }
}
