use botticelli_obs::llm_call;

#[llm_call(provider = "gemini")]
async fn generate() -> String {
    String::new()
}

fn main() {}
