use botticelli_obs::{LlmResponse, llm_call};

struct Reply;

impl LlmResponse for Reply {}

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
async fn generate(prompt: &str) -> Reply {
    prompt.len()
}

fn main() {}
