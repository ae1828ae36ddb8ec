use botticelli_obs::llm_call;

#[llm_call(model = "gemini-2.5-flash")]
async fn generate() -> String {
    String::new()
}

fn main() {}
