use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", usage = |prompt, completion| None)]
async fn generate() -> String {
    String::new()
}

fn main() {}
