use botticelli_obs::llm_call;

#[llm_call(provider = "gemini", model = "gemini-2.5-flash", usage = |_| None, report = |_, _| ())]
async fn generate() -> String {
    String::new()
}

fn main() {}
