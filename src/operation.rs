//! What a call asks a provider for.

/// An operation as it is on labels: one of the conventions' words, or `other`, which bounds the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Chat,
    GenerateContent,
    TextCompletion,
    Embeddings,
    Other,
}

impl Operation {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "chat" => Self::Chat,
            "generate_content" => Self::GenerateContent,
            "text_completion" => Self::TextCompletion,
            "embeddings" => Self::Embeddings,
            _ => Self::Other,
        }
    }

    #[cfg(feature = "install")]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::GenerateContent => "generate_content",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Other => "other",
        }
    }
}
