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
    } else if is(&["tool_calls", "tool_call", "tool_use", "function_call", "custom_tool_call"]) {
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
    ]) {
        "content_filter"
    } else if is(&[
        "error",
        "malformed_function_call",
        "malformed_response",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "failed",
    ]) {
        "error"
    } else {
        "other"
    }
}

/// The most choices a call can have, as OpenAI's API has it; what tells of more is broken.
const MOST_CHOICES: usize = 128;

/// Why each choice stopped, in the provider's words, in the order that was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FinishReasons(Vec<(usize, Box<str>)>);

impl FinishReasons {
    /// Sets why a choice stopped; again replaces the earlier reason.
    pub(crate) fn set(&mut self, choice: usize, reason: &str) {
        match self.0.iter().position(|(known, _)| *known == choice) {
            Some(at) if *self.0[at].1 == *reason => {}
            Some(at) => self.0[at].1 = reason.into(),
            None if self.0.len() == MOST_CHOICES => {}
            None => self.0.push((choice, reason.into())),
        }
    }

    /// Adds the reason of one more choice.
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.iter().map(|(choice, reason)| (*choice, &**reason))
    }
}
