use botticelli_obs::llm_call;

#[llm_call(provider = 5, model = "gemini-2.5-flash")]
async fn generate() -> String {
    String::new()
}

fn main() {}
