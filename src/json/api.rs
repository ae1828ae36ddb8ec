//! The APIs that are read.

/// An API of a provider, for [`Response::read_as`](super::Response::read_as).
///
/// Only the token counts depend on it: the same field name has different meanings in different APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI's chat completions, completions and embeddings, and what is compatible with them. `prompt_tokens` includes cached
    /// tokens.
    OpenAiChat,
    /// OpenAI's responses. `input_tokens` includes cached tokens.
    OpenAiResponses,
    /// Anthropic's messages. `input_tokens` excludes cached tokens.
    AnthropicMessages,
    /// Gemini's `generateContent`. `candidatesTokenCount` excludes thoughts.
    GeminiGenerateContent,
    /// Gemini's interactions. `total_output_tokens` excludes thoughts.
    GeminiInteractions,
    /// Ollama's own API.
    Ollama,
    /// Cohere's chat and embeddings.
    Cohere,
    /// Converse of Amazon Bedrock. `inputTokens` excludes cached tokens.
    BedrockConverse,
}
