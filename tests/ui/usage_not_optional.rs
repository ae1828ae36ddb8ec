use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", usage = |_| botticelli_obs::Usage::new(12, 30))]
async fn generate() -> String {
    String::new()
}

fn main() {}
