use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash")]
async fn generate(prompt: &str) -> String {
    prompt.len()
}

fn main() {}
