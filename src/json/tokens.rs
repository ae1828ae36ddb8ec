//! Reads token counts, and converts each provider's arithmetic to that of `Usage`.

use serde_json::Value;

use super::api::Api;
use super::path::{at, count, first_count};
use crate::usage::Usage;

/// Where an API has its counts, and what they include. Of several paths of a field, the first count that is not 0 is read.
struct Shape {
    /// What `Response::read_as` selects it by. `None`: no API of which the shape is ambiguous.
    api: Option<Api>,
    /// The paths of the objects with the counts.
    at: &'static [&'static str],
    /// If the API is to be guessed, one of these paths must exist, unless there are none.
    only_with: &'static [&'static str],
    input: &'static [&'static str],
    cache_read: &'static [&'static str],
    cache_write: &'static [&'static str],
    /// A part of those that are written.
    cache_write_1h: &'static [&'static str],
    output: &'static [&'static str],
    reasoning: &'static [&'static str],
    /// The sum of all. It tells what stands beside input and output although the API says that they include it.
    total: &'static [&'static str],
    beside: Beside,
}

/// What stands beside the input or the output. Otherwise they include it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beside {
    cache: bool,
    reasoning: bool,
}

const NOTHING: Shape = Shape {
    api: None,
    at: &[""],
    only_with: &[],
    input: &[],
    cache_read: &[],
    cache_write: &[],
    cache_write_1h: &[],
    output: &[],
    reasoning: &[],
    total: &[],
    beside: Beside { cache: false, reasoning: false },
};

/// All shapes. The first one with a count that is not 0 is read, for the prompt and for the completion.
const SHAPES: &[Shape] = &[
    // Groq streams them in `x_groq`, Moonshot in the choice, and Cloudflare has them in a result.
    Shape {
        api: Some(Api::OpenAiChat),
        at: &["usage", "x_groq.usage", "choices.0.usage", "result.usage"],
        only_with: &["prompt_tokens", "completion_tokens", "total_tokens"],
        input: &["prompt_tokens"],
        // OpenAI; DeepSeek; Moonshot and Together; Mistral; LiteLLM.
        cache_read: &[
            "prompt_tokens_details.cached_tokens",
            "prompt_cache_hit_tokens",
            "cached_tokens",
            "num_cached_tokens",
            "cache_read_input_tokens",
        ],
        // OpenAI and OpenRouter; Qwen; LiteLLM.
        cache_write: &[
            "prompt_tokens_details.cache_write_tokens",
            "prompt_tokens_details.cache_creation_input_tokens",
            "prompt_tokens_details.cache_creation_tokens",
            "cache_creation_input_tokens",
        ],
        output: &["completion_tokens"],
        // OpenAI; Perplexity.
        reasoning: &["completion_tokens_details.reasoning_tokens", "reasoning_tokens"],
        total: &["total_tokens"],
        ..NOTHING
    },
    // The singular `token` is that of transcriptions and of the realtime API.
    Shape {
        api: Some(Api::OpenAiResponses),
        at: &["usage"],
        only_with: &["input_tokens_details", "input_token_details", "output_tokens_details.reasoning_tokens"],
        input: &["input_tokens"],
        cache_read: &["input_tokens_details.cached_tokens", "input_token_details.cached_tokens"],
        cache_write: &["input_tokens_details.cache_write_tokens"],
        output: &["output_tokens"],
        reasoning: &["output_tokens_details.reasoning_tokens", "output_token_details.reasoning_tokens"],
        ..NOTHING
    },
    Shape {
        api: Some(Api::AnthropicMessages),
        at: &["usage"],
        input: &["input_tokens"],
        cache_read: &["cache_read_input_tokens"],
        cache_write: &[
            "cache_creation_input_tokens",
            "cache_creation.ephemeral_5m_input_tokens + cache_creation.ephemeral_1h_input_tokens",
        ],
        cache_write_1h: &["cache_creation.ephemeral_1h_input_tokens"],
        output: &["output_tokens"],
        reasoning: &["output_tokens_details.thinking_tokens"],
        beside: Beside { cache: true, reasoning: false },
        ..NOTHING
    },
    Shape {
        api: Some(Api::BedrockConverse),
        at: &["usage", "metadata.usage"],
        input: &["inputTokens"],
        cache_read: &["cacheReadInputTokens"],
        cache_write: &["cacheWriteInputTokens"],
        output: &["outputTokens"],
        beside: Beside { cache: true, reasoning: false },
        ..NOTHING
    },
    // The prompt includes cached tokens but not the results of Gemini's own tools. The live API has `responseTokenCount`.
    Shape {
        api: Some(Api::GeminiGenerateContent),
        at: &["usageMetadata"],
        input: &["promptTokenCount + toolUsePromptTokenCount"],
        cache_read: &["cachedContentTokenCount"],
        output: &["candidatesTokenCount", "responseTokenCount"],
        reasoning: &["thoughtsTokenCount"],
        beside: Beside { cache: false, reasoning: true },
        ..NOTHING
    },
    Shape {
        api: Some(Api::GeminiInteractions),
        at: &["usage"],
        input: &["total_input_tokens + total_tool_use_tokens"],
        cache_read: &["total_cached_tokens"],
        output: &["total_output_tokens"],
        reasoning: &["total_thought_tokens"],
        beside: Beside { cache: false, reasoning: true },
        ..NOTHING
    },
    // Embeddings have no `tokens`, only what is billed.
    Shape {
        api: Some(Api::Cohere),
        at: &["usage.tokens", "meta.tokens", "usage.billed_units", "meta.billed_units"],
        input: &["input_tokens"],
        output: &["output_tokens"],
        ..NOTHING
    },
    Shape { api: Some(Api::Ollama), input: &["prompt_eval_count"], output: &["eval_count"], ..NOTHING },
    // llama.cpp's own API, that of text-generation-inference, watsonx, Bedrock's Llama and Titan, Replicate, Vertex.
    Shape { input: &["tokens_evaluated"], output: &["tokens_predicted"], ..NOTHING },
    Shape { at: &["details"], input: &["input_length"], output: &["generated_tokens"], ..NOTHING },
    Shape { input: &["results.*.input_token_count"], output: &["results.*.generated_token_count"], ..NOTHING },
    Shape { input: &["prompt_token_count"], output: &["generation_token_count"], ..NOTHING },
    Shape { input: &["inputTextTokenCount"], output: &["results.*.tokenCount"], ..NOTHING },
    Shape { at: &["metrics"], input: &["input_token_count"], output: &["output_token_count"], ..NOTHING },
    Shape { input: &["predictions.*.embeddings.statistics.token_count"], ..NOTHING },
];

/// The counts of a body or an event. They are kept apart because the events of a stream report them at different times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
    beside: Beside,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self {
            input: Some(usage.prompt()),
            cache_read: Some(usage.cache_read()),
            cache_write: Some(usage.cache_write()),
            cache_write_1h: Some(usage.cache_write_1h()),
            output: Some(usage.completion()),
            reasoning: Some(usage.reasoning()),
            beside: Beside::default(),
        }
    }
}

impl Tokens {
    /// Reads the tokens of a body, of one API or of any.
    pub(super) fn read(body: &Value, api: Option<Api>) -> Self {
        let shapes = SHAPES.iter().filter(|shape| api.is_none() || shape.api == api);
        let mut all = Self::default();
        for (shape, place) in shapes.flat_map(|shape| shape.at.iter().map(move |path| (shape, path))) {
            let usage = at(body, place);
            let is_it = || shape.only_with.is_empty() || shape.only_with.iter().any(|path| !at(usage, path).is_null());
            if usage.is_object() && (api.is_some() || is_it()) {
                all = all.or(shape.read(usage));
            }
        }
        all
    }

    /// Takes the prompt and the completion of another shape where this one has none.
    fn or(self, other: Self) -> Self {
        let prompt = if self.weight_of_prompt() < other.weight_of_prompt() { other } else { self };
        let completion = if self.weight_of_completion() < other.weight_of_completion() { other } else { self };
        Self {
            output: completion.output,
            reasoning: completion.reasoning,
            beside: Beside { cache: prompt.beside.cache, reasoning: completion.beside.reasoning },
            ..prompt
        }
    }

    fn weight_of_prompt(&self) -> u8 {
        weight([self.input, self.cache_read, self.cache_write])
    }

    fn weight_of_completion(&self) -> u8 {
        weight([self.output, self.reasoning, None])
    }

    /// Fills missing counts from earlier ones. A 0 is missing, too: some servers write zeros before they count, or after.
    pub(super) fn over(self, earlier: Self) -> Self {
        // As a call remembers them, so that a call which learns event by event gets the same.
        let earlier = earlier.usage().map_or(earlier, Self::from);
        let beside = Beside {
            cache: self.weight_of_prompt() > 0 && self.beside.cache,
            reasoning: self.weight_of_completion() > 0 && self.beside.reasoning,
        };
        let earlier = earlier.with(beside);
        Self {
            input: later(self.input, earlier.input),
            cache_read: later(self.cache_read, earlier.cache_read),
            cache_write: later(self.cache_write, earlier.cache_write),
            cache_write_1h: later(self.cache_write_1h, earlier.cache_write_1h),
            output: later(self.output, earlier.output),
            reasoning: later(self.reasoning, earlier.reasoning),
            beside,
        }
    }

    /// Returns the same counts, in another arithmetic.
    fn with(self, beside: Beside) -> Self {
        let input = self.input.map(|input| convert(input, self.cached(), self.beside.cache, beside.cache));
        let reasoning = self.reasoning.unwrap_or(0);
        let output = self.output.map(|output| convert(output, reasoning, self.beside.reasoning, beside.reasoning));
        Self { input, output, beside, ..self }
    }

    fn cached(&self) -> u64 {
        self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0))
    }

    /// Returns both counts as one usage, if any is known. Each is at least the sum of its parts, even if the provider's numbers
    /// disagree.
    pub(super) fn usage(self) -> Option<Usage> {
        if self == (Self { beside: self.beside, ..Self::default() }) {
            return None;
        }
        let included = self.with(Beside::default());
        let (read, written) = (self.cache_read.unwrap_or(0), self.cache_write.unwrap_or(0));
        let reasoning = self.reasoning.unwrap_or(0);
        let prompt = included.input.unwrap_or(0).max(self.cached());
        let completion = included.output.unwrap_or(0).max(reasoning);
        let usage = Usage::new(prompt, completion).with_cache_read(read).with_cache_write(written);
        let written_1h = self.cache_write_1h.unwrap_or(0).min(written);
        Some(usage.with_cache_write_1h(written_1h).with_reasoning(reasoning))
    }
}

impl Shape {
    fn read(&self, usage: &Value) -> Tokens {
        // A turn in which Anthropic has compacted the context: the counts above leave the compaction out.
        if let Some(turns @ [_, ..]) = usage["iterations"].as_array().map(Vec::as_slice) {
            let sum =
                |paths: &[&str]| turns.iter().filter_map(|turn| first_count(turn, paths)).reduce(u64::saturating_add);
            return self.tokens(sum);
        }
        let mut tokens = self.tokens(|paths| first_count(usage, paths));
        let total = self.total.iter().find_map(|path| count(usage, path));
        if let (Some(total), Some(input @ 1..)) = (total, tokens.input) {
            tokens.explain(total.saturating_sub(input).saturating_sub(tokens.output.unwrap_or(0)));
        }
        // Perplexity's deep research: what exceeds the whole can't be a part of it.
        tokens.beside.reasoning |= !self.total.is_empty() && tokens.reasoning > tokens.output;
        tokens
    }

    fn tokens(&self, read: impl Fn(&[&str]) -> Option<u64>) -> Tokens {
        Tokens {
            input: read(self.input),
            cache_read: read(self.cache_read),
            cache_write: read(self.cache_write),
            cache_write_1h: read(self.cache_write_1h),
            output: read(self.output),
            reasoning: read(self.reasoning),
            beside: self.beside,
        }
    }
}

impl Tokens {
    /// Finds what the rest of a total is, beyond input and output. Some gateways count cached tokens beside the prompt, xAI
    /// counts reasoning beside the completion, and Gemini's OpenAI-compatible API has its thoughts in the total alone. Where
    /// reasoning is stated and explains nothing, the rest is something else.
    fn explain(&mut self, rest: u64) {
        if rest == 0 {
            self.output = self.output.or(Some(0));
        } else if rest == self.cached() {
            self.beside.cache = true;
        } else if Some(rest) == self.reasoning {
            self.beside.reasoning = true;
        } else if self.reasoning.is_none() {
            self.output = Some(self.output.unwrap_or(0).saturating_add(rest));
        }
    }
}

/// Converts a count to one that includes a part, or from it.
fn convert(count: u64, part: u64, is_beside: bool, will_be: bool) -> u64 {
    match (is_beside, will_be) {
        (true, false) => count.saturating_add(part),
        (false, true) => count.saturating_sub(part),
        _ => count,
    }
}

/// 2 if any count is not 0, 1 if any is known, else 0.
fn weight(counts: [Option<u64>; 3]) -> u8 {
    counts.into_iter().map(|count| count.map_or(0, |count| if count == 0 { 1 } else { 2 })).max().unwrap_or(0)
}

fn later(count: Option<u64>, earlier: Option<u64>) -> Option<u64> {
    match count {
        Some(0) | None => earlier.or(count),
        count => count,
    }
}
