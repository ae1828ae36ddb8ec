//! The tokens of a call.

use std::ops::Add;

/// Counts the tokens of one call as the OpenTelemetry GenAI conventions v1.41.1 do.
///
/// The prompt tokens include those read from or written to a cache, and the completion tokens include those spent on reasoning.
/// Some providers report these separately: add Anthropic's cached tokens to `input_tokens`, and Gemini's `thoughtsTokenCount` to
/// `candidatesTokenCount`. The feature `json` does this.
///
/// ```
/// use botticelli_obs::Usage;
///
/// let usage = Usage::new(1_200, 300).with_cache_read(1_000).with_reasoning(120);
/// assert_eq!(usage.total(), 1_500);
/// ```
///
/// Usages can be added, for example those of retries. Each field is added separately and capped at `u64::MAX`:
///
/// ```
/// use botticelli_obs::Usage;
///
/// let tries = [Usage::new(12, 0), Usage::new(12, 30)];
/// let sum = tries.into_iter().fold(Usage::default(), |sum, usage| sum + usage);
/// assert_eq!(sum, Usage::new(24, 30));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    prompt: u64,
    completion: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_1h: u64,
    reasoning: u64,
}

impl Usage {
    /// Creates a usage of `prompt` and `completion` tokens.
    pub const fn new(prompt: u64, completion: u64) -> Self {
        Self { prompt, completion, cache_read: 0, cache_write: 0, cache_write_1h: 0, reasoning: 0 }
    }

    /// Sets how many of the prompt tokens were read from a cache. Defaults to 0.
    #[must_use]
    pub const fn with_cache_read(mut self, tokens: u64) -> Self {
        self.cache_read = tokens;
        self
    }

    /// Sets how many of the prompt tokens were written to a cache. Defaults to 0.
    #[must_use]
    pub const fn with_cache_write(mut self, tokens: u64) -> Self {
        self.cache_write = tokens;
        self
    }

    /// Sets how many of the tokens written to a cache are kept there for an hour, which costs more with some providers. They are a part
    /// of those of [`with_cache_write`](Self::with_cache_write). Defaults to 0.
    #[must_use]
    pub const fn with_cache_write_1h(mut self, tokens: u64) -> Self {
        self.cache_write_1h = tokens;
        self
    }

    /// Sets how many of the completion tokens were spent on reasoning. Defaults to 0.
    #[must_use]
    pub const fn with_reasoning(mut self, tokens: u64) -> Self {
        self.reasoning = tokens;
        self
    }

    /// Returns the prompt tokens.
    pub const fn prompt(&self) -> u64 {
        self.prompt
    }

    /// Returns the completion tokens.
    pub const fn completion(&self) -> u64 {
        self.completion
    }

    /// Returns the prompt tokens read from a cache.
    pub const fn cache_read(&self) -> u64 {
        self.cache_read
    }

    /// Returns the prompt tokens written to a cache.
    pub const fn cache_write(&self) -> u64 {
        self.cache_write
    }

    /// Returns the prompt tokens written to a cache for an hour.
    pub const fn cache_write_1h(&self) -> u64 {
        self.cache_write_1h
    }

    /// Returns the completion tokens spent on reasoning.
    pub const fn reasoning(&self) -> u64 {
        self.reasoning
    }

    /// Returns prompt and completion together, capped at `u64::MAX`.
    pub const fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Returns this usage with every field that is 0 taken from another one.
    pub(crate) const fn filled_from(self, other: Self) -> Self {
        const fn or(own: u64, other: u64) -> u64 {
            if own == 0 { other } else { own }
        }
        Self {
            prompt: or(self.prompt, other.prompt),
            completion: or(self.completion, other.completion),
            cache_read: or(self.cache_read, other.cache_read),
            cache_write: or(self.cache_write, other.cache_write),
            cache_write_1h: or(self.cache_write_1h, other.cache_write_1h),
            reasoning: or(self.reasoning, other.reasoning),
        }
    }

    /// Returns the bitwise OR of all fields. It has no bit above the highest bit of the largest field.
    #[inline]
    pub(crate) const fn bits(&self) -> u64 {
        self.prompt | self.completion | self.cache_read | self.cache_write | self.cache_write_1h | self.reasoning
    }

    /// Whether any of the tokens were cached or spent on reasoning.
    pub(crate) const fn has_parts(&self) -> bool {
        self.cache_read | self.cache_write | self.reasoning != 0
    }
}

/// Adds each field separately, capped at `u64::MAX`.
impl Add for Usage {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(more.prompt),
            completion: self.completion.saturating_add(more.completion),
            cache_read: self.cache_read.saturating_add(more.cache_read),
            cache_write: self.cache_write.saturating_add(more.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_add(more.cache_write_1h),
            reasoning: self.reasoning.saturating_add(more.reasoning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_a_sum_is_capped() {
        let most = Usage::new(u64::MAX, u64::MAX).with_cache_read(u64::MAX).with_cache_write(u64::MAX);
        let most = most.with_cache_write_1h(u64::MAX).with_reasoning(u64::MAX);
        assert_eq!(most + most, most);
        let one = Usage::new(1, 2).with_cache_read(3).with_cache_write(4).with_cache_write_1h(2).with_reasoning(5);
        let two = Usage::new(2, 4).with_cache_read(6).with_cache_write(8).with_cache_write_1h(4).with_reasoning(10);
        assert_eq!(one + one, two);
        assert_eq!(one + Usage::default(), one);
    }
}
