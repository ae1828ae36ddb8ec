use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = model)]
async fn generate() -> String {
    String::new()
}

fn main() {}
