//! Providers and models that a program may use together: some names are long, and some end alike.

pub const PAIRS: [(&str, &str); 6] = [
    ("gemini", "gemini-2.5-flash"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("openai", "gpt-4o-mini"),
    ("mistral", "mistral-small-latest"),
    ("groq", "llama-3.3-70b-versatile"),
    ("bedrock", "anthropic.claude-sonnet-4-20250514-v1:0"),
];
