//! Finish reasons: why generation stopped.

/// The values of the label `finish_reason`.
pub(crate) const FINISH_REASONS: &[&str] = &["stop", "length", "tool_calls", "content_filter", "error", "other"];

/// Maps a provider's finish reason to a value of [`FINISH_REASONS`], regardless of case.
///
/// It knows the reasons of OpenAI, Anthropic, Gemini, Ollama, Mistral, Cohere, Bedrock and others. Any other one is `other`, which
/// bounds the label.
pub(crate) fn normalise(reason: &str) -> &'static str {
    // Gemini's OpenAI-compatible API: `function_call_filter: MALFORMED_FUNCTION_CALL`.
    let reason = reason.rsplit(": ").next().unwrap_or(reason);
    let is = |known: &[&str]| known.iter().any(|known| reason.eq_ignore_ascii_case(known));
    if is(&[
        "stop",
        "end_turn",
        "stop_sequence",
        "eos",
        "eos_token",
        "word",
        "finish",
        "finished",
        "complete",
        "completed",
        "pause_turn",
    ]) {
        "stop"
    } else if is(&[
        "length",
        "limit",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "model_length",
        "model_context_window_exceeded",
        "compaction",
    ]) {
        "length"
    } else if is(&[
        "tool_calls",
        "tool_call",
        "tool_use",
        "function_call",
        "custom_tool_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_approval_request",
    ]) {
        "tool_calls"
    } else if is(&[
        "content_filter",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "image_safety",
        "image_prohibited_content",
        "image_recitation",
        "model_armor",
        "refusal",
        "language",
        "error_toxic",
        "sensitive",
        "content_filtered",
        "guardrail_intervened",
    ]) {
        "content_filter"
    } else if is(&[
        "error",
        "malformed_function_call",
        "malformed_response",
        "malformed_model_output",
        "malformed_tool_use",
        "missing_thought_signature",
        "insufficient_system_resource",
        "network_error",
        "timeout",
        "abort",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "failed",
    ]) {
        "error"
    } else {
        "other"
    }
}

/// The maximum number of choices in a call, as in OpenAI's API. More are malformed, and ignored.
const MAX_CHOICES: usize = 128;

/// The finish reason of each choice, in the provider's words, in the order of their arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinishReasons(Vec<(usize, Box<str>)>);

impl FinishReasons {
    /// Sets the finish reason of a choice. It replaces an earlier one of the same choice.
    pub(crate) fn set(&mut self, choice: usize, reason: &str) {
        match self.0.iter().position(|(known, _)| *known == choice) {
            Some(at) if *self.0[at].1 == *reason => {}
            Some(at) => self.0[at].1 = reason.into(),
            None if self.0.len() == MAX_CHOICES => {}
            None => self.0.push((choice, reason.into())),
        }
    }

    /// Adds the finish reason of one more choice.
    pub(crate) fn add(&mut self, reason: &str) {
        let next = self.0.iter().map(|(choice, _)| choice.saturating_add(1)).max();
        self.set(next.unwrap_or(0), reason);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many choices finished for each of [`FINISH_REASONS`].
    pub(crate) fn counts(&self) -> [u8; FINISH_REASONS.len()] {
        let mut counts = [0_u8; _];
        for (_, reason) in self.iter() {
            let label = normalise(reason);
            if let Some(count) = FINISH_REASONS.iter().position(|known| *known == label).map(|at| &mut counts[at]) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }

    /// Iterates over the indices of the choices and their reasons.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(|(choice, reason)| (*choice, &**reason))
    }
}
