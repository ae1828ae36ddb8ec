use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", modle = "gemini-2.5-flash")]
async fn generate() -> String {
    String::new()
}

fn main() {}
