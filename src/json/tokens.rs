//! Reads token counts, and converts each provider's arithmetic to that of `Usage`.

use serde_json::Value;

use crate::usage::Usage;

/// The tokens of the prompt and of the completion. Each is a [`Usage`] in which the other is 0. They are separate because the
/// events of a stream may report them at different times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    prompt: Option<Usage>,
    completion: Option<Usage>,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let prompt = Usage::new(usage.prompt(), 0).with_cache_read(usage.cache_read());
        let completion = Usage::new(0, usage.completion()).with_reasoning(usage.reasoning());
        Self { prompt: Some(prompt.with_cache_write(usage.cache_write())), completion: Some(completion) }
    }
}

impl Tokens {
    /// Reads the tokens of a body.
    pub(super) fn read(body: &Value) -> Self {
        // Groq's streams have them in `x_groq`.
        let usages = [&body["usage"], &body["x_groq"]["usage"]];
        let openai_like = usages.into_iter().map(|usage| {
            let chat = Self::of_chat_completions(usage);
            if chat == Self::default() { Self::of_messages_or_responses(usage) } else { chat }
        });
        let others = [Self::of_gemini(&body["usageMetadata"]), Self::of_ollama(body)];
        openai_like.chain(others).fold(Self::default(), Self::over)
    }

    /// Fills missing counts from earlier ones.
    pub(super) fn over(self, earlier: Self) -> Self {
        Self { prompt: self.prompt.or(earlier.prompt), completion: self.completion.or(earlier.completion) }
    }

    /// Returns both counts as one usage, if any is known.
    pub(super) fn usage(self) -> Option<Usage> {
        match (self.prompt, self.completion) {
            (Some(prompt), Some(completion)) => Some(prompt + completion),
            (prompt, completion) => prompt.or(completion),
        }
    }

    /// Reads the usage of OpenAI's chat completions, where both counts include their parts.
    ///
    /// Some compatible servers, such as xAI's, count reasoning in the total but not in the completion. So the completion is at
    /// least the total minus the prompt.
    fn of_chat_completions(usage: &Value) -> Self {
        let (prompt, total) = (count(usage, "prompt_tokens"), count(usage, "total_tokens"));
        let beyond_prompt = total.zip(prompt).map(|(total, prompt)| total.saturating_sub(prompt));
        Self {
            prompt: prompt.map(|all| prompt_of(all, count(&usage["prompt_tokens_details"], "cached_tokens"), None)),
            completion: count(usage, "completion_tokens")
                .max(beyond_prompt)
                .map(|all| completion_of(all, count(&usage["completion_tokens_details"], "reasoning_tokens"))),
        }
    }

    /// Reads the usage of Anthropic's messages and of OpenAI's responses, which use the same names. Anthropic does not count
    /// cached tokens in `input_tokens`, OpenAI does.
    fn of_messages_or_responses(usage: &Value) -> Self {
        let (read, written) = (count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens"));
        let prompt = count(usage, "input_tokens").map(|input| {
            let all = input.saturating_add(read.unwrap_or(0)).saturating_add(written.unwrap_or(0));
            prompt_of(all, read.or(count(&usage["input_tokens_details"], "cached_tokens")), written)
        });
        let reasoning = count(&usage["output_tokens_details"], "reasoning_tokens");
        Self { prompt, completion: count(usage, "output_tokens").map(|all| completion_of(all, reasoning)) }
    }

    /// Reads the usage of Gemini. Its prompt includes cached tokens but not the results of its own tools, and its candidates
    /// exclude thoughts. The live API names the candidates `responseTokenCount`.
    fn of_gemini(usage: &Value) -> Self {
        let prompt = sum([count(usage, "promptTokenCount"), count(usage, "toolUsePromptTokenCount")]);
        let candidates = count(usage, "candidatesTokenCount").or(count(usage, "responseTokenCount"));
        let thoughts = count(usage, "thoughtsTokenCount");
        Self {
            prompt: prompt.map(|all| prompt_of(all, count(usage, "cachedContentTokenCount"), None)),
            completion: sum([candidates, thoughts]).map(|all| completion_of(all, thoughts)),
        }
    }

    fn of_ollama(body: &Value) -> Self {
        Self {
            prompt: count(body, "prompt_eval_count").map(|all| prompt_of(all, None, None)),
            completion: count(body, "eval_count").map(|all| completion_of(all, None)),
        }
    }
}

/// Builds the usage of a prompt. The prompt is at least the sum of its parts, even if the provider's numbers disagree.
fn prompt_of(all: u64, read: Option<u64>, written: Option<u64>) -> Usage {
    let (read, written) = (read.unwrap_or(0), written.unwrap_or(0));
    Usage::new(all.max(read.saturating_add(written)), 0).with_cache_read(read).with_cache_write(written)
}

fn completion_of(all: u64, reasoning: Option<u64>) -> Usage {
    let reasoning = reasoning.unwrap_or(0);
    Usage::new(0, all.max(reasoning)).with_reasoning(reasoning)
}

fn sum(counts: [Option<u64>; 2]) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}

/// Reads a count: a number that is not negative. Some proxies write integers as `12.0`.
fn count(json: &Value, name: &str) -> Option<u64> {
    let number = &json[name];
    number.as_u64().or_else(|| number.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64))
}
