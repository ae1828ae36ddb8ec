//! Why generation stopped.

/// The values of the label `finish_reason`.
pub(crate) const FINISH_REASONS: &[&str] = &["stop", "length", "tool_calls", "content_filter", "error", "other"];

/// Maps a provider's word to the label value: those of OpenAI, Anthropic, Gemini, Ollama, Mistral and Cohere.
pub(crate) fn normalise(reason: &str) -> &'static str {
    let is = |words: &[&str]| words.iter().any(|word| reason.eq_ignore_ascii_case(word));
    if is(&["stop", "end_turn", "stop_sequence", "eos", "complete", "completed", "pause_turn"]) {
        "stop"
    } else if is(&["length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"]) {
        "length"
    } else if is(&["tool_calls", "tool_call", "tool_use", "function_call"]) {
        "tool_calls"
    } else if is(&[
        "content_filter",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "refusal",
        "language",
        "error_toxic",
    ]) {
        "content_filter"
    } else if is(&["error", "malformed_function_call", "unexpected_tool_call", "failed"]) {
        "error"
    } else {
        "other"
    }
}
