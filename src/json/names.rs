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

/// Texts that a model has generated.
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

/// Objects that a model has generated, or arrays of them: calls of tools, a token.
const OBJECTS: &[&str] = &["tool_calls", "functionCall", "input", "token"];

/// What is known of a field by its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) keep: Option<Keep>,
    pub(super) content: Content,
}

/// Whether a field is something that a model has generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    No,
    /// If it is a text that is not empty.
    Text,
    /// If it is an object, or an array of them.
    Object,
}

/// All names, each in the first free place from that of its hash: every name of an event is looked up.
static KNOWN: [Known; PLACES] = {
    let mut known = [NOTHING; PLACES];
    add(&mut known, SCALARS, Some(Keep::Scalars), Content::No);
    add(&mut known, CONTAINERS, Some(Keep::Containers), Content::No);
    add(&mut known, ALL, Some(Keep::All), Content::No);
    add(&mut known, TEXTS, None, Content::Text);
    add(&mut known, OBJECTS, None, Content::Object);
    known
};

const PLACES: usize = 512;
const NOTHING: Known = Known { name: "", keep: None, content: Content::No };

/// Adds names, or what is further known of them.
const fn add(known: &mut [Known; PLACES], names: &[&'static str], keep: Option<Keep>, content: Content) {
    let mut at = 0;
    while at < names.len() {
        let place = place(known, names[at].as_bytes());
        known[place].name = names[at];
        if keep.is_some() {
            known[place].keep = keep;
        }
        if !matches!(content, Content::No) {
            known[place].content = content;
        }
        at += 1;
    }
}

/// Returns the place of a name, or the one where it would be.
const fn place(known: &[Known; PLACES], name: &[u8]) -> usize {
    let (first, middle, last) = match name {
        [] => (0, 0, 0),
        name => (name[0], name[name.len() / 2], name[name.len() - 1]),
    };
    let mut place = (name.len() * 61 + first as usize * 7 + middle as usize * 31 + last as usize * 131) % PLACES;
    while !known[place].name.is_empty() && !is_equal(known[place].name.as_bytes(), name) {
        place = (place + 1) % PLACES;
    }
    place
}

const fn is_equal(name: &[u8], other: &[u8]) -> bool {
    let mut is_equal = name.len() == other.len();
    let mut at = 0;
    while is_equal && at < name.len() {
        is_equal = name[at] == other[at];
        at += 1;
    }
    is_equal
}

/// Returns what is known of the field with this name.
pub(super) fn known(name: &[u8]) -> &'static Known {
    &KNOWN[place(&KNOWN, name)]
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
