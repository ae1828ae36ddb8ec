use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", error_type = |_| botticelli_obs::ErrorType::Auth)]
async fn generate() -> String {
    String::new()
}

fn main() {}
